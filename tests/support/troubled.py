"""A transfer system of real parts that misbehaves on demand: sshd, S3 over HTTP, a Lambda API, proxies between."""

from __future__ import annotations

import http.client
import io
import json
import re
import shutil
import threading
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_fileflow import payload
from pytest_fileflow.faults import FAULTS, Fault
from pytest_fileflow.sandbox.damage import damaged
from tests.support.answers import Answer, AnswerServer, Request
from tests.support.openssh import OpenSsh, generate_key
from tests.support.proxy import TcpProxy
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1024 * 1024
SLO, GRACE = 15.0, 6.0
BREAK_AFTER = 200 * 1024  # bytes of a connection: beyond the handshake, within the file
FULL_AT = 16  # bytes that fit on the full disk
SLOW = 0.05  # seconds an answer comes late
ARN = "arn:aws:lambda:us-east-1:123456789012:function:{}"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
STALLED = "stalled_connection"  # no fault of the sandbox: only a real network falls silent for so long
TIMEOUT = 3  # seconds that the flows of STALLED wait for an answer
EARLIER = "an-earlier-run"  # the run whose bytes a stale transfer delivers
DIRECTIONS = ("S3->S3", "S3->SFTP", "SFTP->S3", "SFTP->SFTP")


class S3Door:
    """What stands before the S3 server: it denies, breaks, dawdles or is full in folders that are called so.

    moto judges neither key policies nor keys, so this answers for them in AWS's words (S3 API reference,
    error responses; KMS developer guide, "AccessDenied").
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines = threading.local()

    def __call__(self, request: Request) -> Answer:
        met = re.search(r"trouble-([a-z_]+)", urllib.parse.unquote(request.path))
        trouble = met[1] if met else ""
        is_read = request.method == "GET" and "list-type" not in request.path
        if trouble == "slow_network":
            time.sleep(SLOW)
        if trouble == "denied_prefix":
            return _refusal(403, "AccessDenied", f"User is not authorized to perform this action on {request.path}")
        if trouble == "denied_kms_key" and (request.method in ("PUT", "POST") or is_read):
            action = "kms:Decrypt" if request.method == "GET" else "kms:GenerateDataKey"
            because = "because no resource-based policy allows the action"
            words = f"User: arn:aws:iam::123456789012:user/t is not authorized to perform: {action} on resource: {KEY} "
            return _refusal(403, "AccessDenied", words + because)
        if trouble == "disk_full" and request.method in ("PUT", "POST"):
            return _refusal(503, "SlowDown", "Please reduce your request rate.")
        if trouble == STALLED and (request.method in ("PUT", "POST") or is_read):
            return Answer(200, b"", hold=threading.Event())
        if trouble == "connection_reset" and request.method in ("PUT", "POST"):
            raise ConnectionResetError
        answer = self._forward(request)
        if trouble == "connection_reset" and is_read:
            return Answer(answer.status, answer.body[: len(answer.body) // 2], answer.headers, length=len(answer.body))
        return answer

    def _forward(self, request: Request) -> Answer:
        line = getattr(self._lines, "line", None)
        if line is None:
            line = self._lines.line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            line.request(request.method, request.path, request.body, dict(request.headers))
            said = line.getresponse()
            body = said.read()
        except OSError:
            line.close()
            raise
        hop = ("connection", "transfer-encoding", "content-length", "server", "date")
        headers = {name: value for name, value in said.getheaders() if name.lower() not in hop}
        length = int(said.headers.get("Content-Length", 0)) if request.method == "HEAD" else None
        return Answer(said.status, body, headers, length=length)


def _refusal(status: int, code: str, message: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>R</RequestId></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


class Mover:
    """The system under test: copies the file that an event names, with the fault that the event names."""

    def __init__(self, s3: Any, logs: Any) -> None:
        self.s3, self.logs = s3, logs
        self._timers: list[threading.Timer] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        event = json.loads(request.body or b"{}")
        headers = {"x-amzn-RequestId": f"request-{threading.get_ident()}-{time.monotonic_ns()}"}
        if request.headers.get("X-Amz-Invocation-Type") == "DryRun":
            return Answer(204, b"", headers)
        fault = Fault.parse(event["fault"]) if event.get("fault") else None
        is_sync = request.headers.get("X-Amz-Invocation-Type") == "RequestResponse"
        if fault and fault.name == "throttle":
            words = json.dumps(
                {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
            )
            return Answer(429, words.encode(), {**headers, "x-amzn-ErrorType": "TooManyRequestsException"})
        if fault and fault.kind.part == "function":
            report = _failure(fault, headers["x-amzn-RequestId"])
            self._log(event["function"], headers["x-amzn-RequestId"], report)
            failed = {**headers, "X-Amz-Function-Error": "Unhandled"}
            return Answer(200, json.dumps(report).encode(), failed) if is_sync else Answer(202, b"", headers)
        if is_sync:
            self.move(event, fault)
            return Answer(200, b'{"moved": 1}', headers)
        threading.Thread(target=self.move, args=(event, fault), daemon=True).start()
        return Answer(202, b"", headers)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def move(self, event: dict[str, str], fault: Fault | None) -> None:
        """Deliver a file; a fault of an end is met by the tester, and here the end is reached directly."""
        source, target, name = event["source"], event["target"], fault.name if fault else ""
        if name == "drop":
            return
        if name == "lose":
            self.remove(source)
            return
        if name == "delay":
            timer = threading.Timer(SLO + GRACE / 2, self.put, (target, self.get(source)))
            timer.daemon = True
            self._timers.append(timer)
            timer.start()
            return
        content = self.get(source)
        if name == "stale":
            pattern = next(pattern for pattern in payload.PATTERNS if pattern.name == event["pattern"])
            content = payload.open_payload(pattern, EARLIER, len(content)).read()
        elif fault and fault.kind.part == "transfer" and name in DAMAGES:
            content = damaged(fault, io.BytesIO(content), len(content))[0].read()
        self._deliver(name, target, content)

    def _deliver(self, name: str, target: str, content: bytes) -> None:
        folder, _, file = target.rpartition("/")
        if name == "misplace":
            target = f"{folder.rpartition('/')[0]}/elsewhere/{file}"
        if name == "rename":
            target = f"{folder}/renamed_{file}"
        if name in ("slow_writer", "stalled_writer"):
            self._write_slowly(target, content, ends=name == "slow_writer")
            return
        self.put(target, content)
        if name == "duplicate":
            stem, dot, ending = file.rpartition(".")
            self.put(f"{folder}/{stem} (1){dot}{ending}", content)

    def _write_slowly(self, target: str, content: bytes, *, ends: bool) -> None:
        place, path = split(target)
        half = len(content) // 2
        if place is not None:
            made = self.s3.create_multipart_upload(Bucket=place, Key=str(path))
            time.sleep(1)  # the writer that is simulated is slow
            where = {"Bucket": place, "Key": str(path), "UploadId": made["UploadId"]}
            part = self.s3.upload_part(**where, PartNumber=1, Body=content if ends else content[:half])
            if ends:
                listed = [{"PartNumber": 1, "ETag": part["ETag"]}]
                self.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})
            return
        with path.open("wb") as file:
            shutil.chown(path, path.parent.stat().st_uid)
            for start in range(0, half, half // 8):
                file.write(content[start : min(start + half // 8, half)])
                file.flush()
                time.sleep(0.1 if ends else 0.5)  # long enough to be seen to grow
            if ends:
                file.write(content[half:])

    def get(self, uri: str) -> bytes:
        place, path = split(uri)
        return path.read_bytes() if place is None else self.s3.get_object(Bucket=place, Key=str(path))["Body"].read()

    def put(self, uri: str, content: bytes) -> None:
        place, path = split(uri)
        if place is not None:
            self.s3.put_object(Bucket=place, Key=str(path), Body=content)
            return
        path.parent.mkdir(exist_ok=True)
        shutil.chown(path.parent, path.parents[1].stat().st_uid)
        hidden = path.with_name(f".{path.name}.part")
        hidden.write_bytes(content)
        shutil.chown(hidden, path.parent.stat().st_uid)
        hidden.replace(path)

    def remove(self, uri: str) -> None:
        place, path = split(uri)
        if place is None:
            path.unlink()
        else:
            self.s3.delete_object(Bucket=place, Key=str(path))

    def _log(self, function: str, request_id: str, report: dict[str, str]) -> None:
        group, now = f"/aws/lambda/{function}", int(time.time() * 1000)
        said = report["errorMessage"].partition("Error: ")[2] or report["errorMessage"]
        status = "timeout" if "timed out" in said else "error"
        lines = [
            f"START RequestId: {request_id} Version: $LATEST",
            f"[ERROR] {report['errorType']}: {said}"
            if "Runtime" not in report["errorType"]
            else f"{request_id} {said}",
            f"END RequestId: {request_id}",
            f"REPORT RequestId: {request_id}\tDuration: 12.00 ms\tStatus: {status}\tError Type: {report['errorType']}",
        ]
        with self._lock:
            self.logs.create_log_group(logGroupName=group)
            self.logs.create_log_stream(logGroupName=group, logStreamName="2026/11/24/[$LATEST]0")
            events = [{"timestamp": now, "message": line} for line in lines]
            self.logs.put_log_events(logGroupName=group, logStreamName="2026/11/24/[$LATEST]0", logEvents=events)


def _failure(fault: Fault, request_id: str) -> dict[str, str]:
    """Return what Lambda reports of a function that failed (developer guide, "error handling and retries")."""
    if fault.name == "timeout":
        said = f"RequestId: {request_id} Error: Task timed out after 3.00 seconds"
        return {"errorType": "Sandbox.Timedout", "errorMessage": said}
    if fault.name == "crash":
        said = f"RequestId: {request_id} Error: Runtime exited with error: signal: killed"
        return {"errorType": "Runtime.ExitError", "errorMessage": said}
    return {"errorType": "KeyError", "errorMessage": "'flowConfigId'"}


DAMAGES = frozenset(["truncate", "oversize", "bit_flip", "block_swap", "zeros", "crlf", "bom", "gzip", "reencode"])


def split(uri: str) -> tuple[str | None, Path]:
    parts = urllib.parse.urlsplit(uri)
    path = urllib.parse.unquote(parts.path)
    return (None, Path(path)) if parts.scheme == "sftp" else (parts.netloc, PurePosixPath(path.lstrip("/")))  # type: ignore[return-value]


class Troubled:
    """``with Troubled() as system:`` starts all servers; ``flow`` returns a config with one fault in it."""

    def __enter__(self) -> Troubled:
        with ExitStack() as stack:
            self.moto = stack.enter_context(MotoServer())
            self.left, self.right = stack.enter_context(OpenSsh()), stack.enter_context(OpenSsh())
            self.full = stack.enter_context(OpenSsh(limits={"fsize": FULL_AT}))
            session = self.moto.session()
            clients = {
                name: session.client(name, endpoint_url=self.moto.url) for name in ("s3", "logs", "secretsmanager")
            }
            self.s3 = clients["s3"]
            for bucket in ("source-bucket", "target-bucket"):
                self.s3.create_bucket(Bucket=bucket)
            for name, server in (("left", self.left), ("right", self.right), ("full", self.full)):
                secret = json.dumps({"privateKey": server.private_key})
                clients["secretsmanager"].create_secret(Name=name, SecretString=secret)
            rotated = json.dumps({"privateKey": generate_key().private})
            clients["secretsmanager"].create_secret(Name="rotated", SecretString=rotated)
            self.mover = Mover(self.s3, clients["logs"])
            stack.callback(self.mover.close)
            self.functions = stack.enter_context(AnswerServer(self.mover))
            self.door = stack.enter_context(AnswerServer(S3Door(self.moto.port)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.moto.environment,
            "AWS_ENDPOINT_URL_S3": self.door.url,
            "AWS_ENDPOINT_URL_LAMBDA": self.functions.url,
        }

    def flow(
        self, direction: str, fault: Fault | None, *, invocation: str = "Event", suffix: str = ""
    ) -> dict[str, Any]:
        """Return the config of a flow with a fault; what it names exists from then on, unless that is the fault."""
        kinds = dict(zip(("source", "target"), direction.split("->"), strict=True))
        trouble = fault.text if fault else "nothing"
        name = f"{direction.replace('->', '_to_').lower()}--{trouble}--{invocation.lower()}{suffix}"
        at = fault.side if fault else None
        ends = {
            side: (self._s3_end if kind == "S3" else self._sftp_end)(side, name, fault if side == at else None)
            for side, kind in kinds.items()
        }
        pattern = "csv" if fault and fault.name == "crlf" else "random"
        event = {"source": "${source.uri}", "target": "${target.uri}", "pattern": pattern, "function": name}
        return {
            "flow_id": name,
            **ends,
            "transfer": {
                "lambda_arn": ARN.format(re.sub(r"[^A-Za-z0-9_-]", "-", name)),
                "invocation": invocation,
                "payload": {**event, "fault": fault.text if fault and not at else ""},
            },
            "validation": {"expect_within_seconds": SLO, "grace_seconds": GRACE, "post_arrival_wait_seconds": 0.5},
            "testdata": {"size_bytes": SIZE, "pattern": pattern},
        }

    def _s3_end(self, side: str, name: str, fault: Fault | None) -> dict[str, Any]:
        bucket = "no-such-bucket" if fault and fault.name == "missing_bucket" else f"{side}-bucket"
        folder = f"trouble-{fault.name}/" if fault else ""
        end = {"type": "S3", "bucket": bucket, "prefix": f"{folder}{name}/in/"}
        return {**end, "kms_key_arn": KEY} if fault and fault.name == "denied_kms_key" else end

    def _sftp_end(self, side: str, name: str, fault: Fault | None) -> dict[str, Any]:
        trouble = fault.name if fault else ""
        which = "full" if trouble == "disk_full" else {"source": "left", "target": "right"}[side]
        server: OpenSsh = getattr(self, which)
        folder = server.root / side / name / "in"
        if trouble != "missing_directory":
            server.directory(f"{side}/{name}/in")
            for above in (folder.parent, folder.parent.parent):
                server.own(above)
        if trouble == "read_only_directory":
            folder.chmod(0o500)
        port = server.port
        if trouble in ("connection_reset", "slow_network", STALLED):
            proxy = self._stack.enter_context(TcpProxy(server.host, server.port))
            proxy.reset_after = BREAK_AFTER if trouble == "connection_reset" else None
            proxy.stall_after = BREAK_AFTER if trouble == STALLED else None
            proxy.delay_seconds = SLOW if trouble == "slow_network" else 0.0
            port = proxy.port
        return {
            "type": "SFTP",
            "host": server.host,
            "port": port,
            "username": server.user,
            "dir": str(folder),
            "secret_arn": SECRET.format("rotated" if trouble == "rejected_key" else which),
            "host_key": generate_key().fingerprint if trouble == "changed_host_key" else server.host_key,
        }


NOT_OF_COPIES = ("as_sent", "bare")  # they change nothing in a flow that only copies


def pairs() -> Iterator[tuple[str, Fault | None, str]]:
    """Yield every direction with every fault that is possible in it, at either end, and how the function is invoked."""
    for direction in DIRECTIONS:
        kinds = dict(zip(("source", "target"), direction.split("->"), strict=True))
        yield direction, None, "Event"
        for kind in FAULTS.values():
            if kind.name in NOT_OF_COPIES:
                continue
            if kind.part == "endpoint":
                for side in ("source", "target"):
                    if kinds[side] in kind.ends:
                        yield direction, Fault(kind.name, side), "Event"
            else:
                ways = ("Event", "RequestResponse") if kind.part == "function" else ("Event",)
                for way in ways:
                    yield direction, Fault(kind.name), way
        for side in ("source", "target"):
            yield direction, Fault(STALLED, side), "Event"


IMPATIENT = f"""
import pytest
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.endpoints.line import Timeouts
from pytest_fileflow.endpoints.ssh import SshSessions
from pytest_fileflow.secret import Secrets

@pytest.fixture(scope="session")
def fileflow_clients(aws_session):
    return AwsClients(aws_session, read_timeouts={{"s3": {TIMEOUT}}})

@pytest.fixture(scope="session")
def fileflow_ssh(fileflow_clients):
    sessions = SshSessions(Secrets(fileflow_clients).credentials, timeouts=Timeouts(operation={TIMEOUT}))
    yield sessions
    sessions.close()
"""
"""A conftest.py for the flows of STALLED: they need not wait a minute for an answer that never comes."""
