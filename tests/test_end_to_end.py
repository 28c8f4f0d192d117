"""Without the sandbox: real OpenSSH servers, an S3 API over HTTP, a Lambda API that runs this file's transfer."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import threading
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.answers import Answer, AnswerServer, Request
from tests.support.openssh import OpenSsh, generate_key
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:lambda:us-east-1:123456789012:function:{}"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}"

CHANGES = {
    "packer": gzip.compress,
    "shuffler": lambda content: content[1_000_000:2_000_000] + content[:1_000_000] + content[2_000_000:],
}


class Mover:
    """The system under test: copies the file an event names, from and to buckets and server folders."""

    def __init__(self, s3) -> None:
        self.s3 = s3

    def __call__(self, request: Request) -> Answer:
        function = urllib.parse.unquote(request.path).split("/functions/")[1].split("/")[0].rpartition(":")[2]
        headers = {"x-amzn-RequestId": f"request-{function}", "Content-Type": "application/json"}
        if function == "absent":
            body = {"Type": "User", "Message": f"Function not found: {ARN.format(function)}"}
            return Answer(404, json.dumps(body).encode(), {**headers, "x-amzn-ErrorType": "ResourceNotFoundException"})
        if request.headers.get("X-Amz-Invocation-Type") == "DryRun":
            return Answer(204, b"", headers)
        if function == "broken":
            body = {"errorType": "KeyError", "errorMessage": "'flowConfigId'"}
            return Answer(200, json.dumps(body).encode(), {**headers, "X-Amz-Function-Error": "Unhandled"})
        event = {"work": function, **json.loads(request.body)}
        if request.headers.get("X-Amz-Invocation-Type") == "Event":
            threading.Thread(target=self.copy, args=(event,), daemon=True).start()
            return Answer(202, b"", headers)
        self.copy(event)
        return Answer(200, b'{"moved": 1}', headers)

    def copy(self, event: dict[str, str]) -> None:
        change = CHANGES.get(event["work"], lambda content: content)
        self.put(event["target"], change(self.get(event["source"])))

    def get(self, uri: str) -> bytes:
        place, path = split(uri)
        return path.read_bytes() if place is None else self.s3.get_object(Bucket=place, Key=str(path))["Body"].read()

    def put(self, uri: str, content: bytes) -> None:
        place, path = split(uri)
        if place is not None:
            self.s3.put_object(Bucket=place, Key=str(path), Body=content)
            return
        with path.open("wb") as file:  # not whole at once: the tester must not judge what is still being written
            for start in range(0, len(content), 1024 * 1024):
                file.write(content[start : start + 1024 * 1024])
                file.flush()
        shutil.chown(path, path.parent.stat().st_uid)


def split(uri: str) -> tuple[str | None, Path]:
    parts = urllib.parse.urlsplit(uri)
    return (None, Path(parts.path)) if parts.scheme == "sftp" else (parts.netloc, Path(parts.path.lstrip("/")))


class System:
    """All servers, and what configs need to name them."""

    def __init__(
        self, moto: MotoServer, left: OpenSsh, right: OpenSsh, s3, secrets, *, functions: AnswerServer
    ) -> None:
        self.moto, self.left, self.right, self.s3, self.secrets = moto, left, right, s3, secrets
        self.functions = functions

    def sftp(self, server: OpenSsh, folder: str, secret: str = "left", **changes: object) -> dict[str, object]:
        place = {
            "type": "SFTP",
            "host": server.host,
            "port": server.port,
            "username": server.user,
            "dir": str(server.root / folder),
            "secret_arn": SECRET.format(secret),
            "host_key": server.host_key,
            **changes,
        }
        return {name: value for name, value in place.items() if value is not None}

    def parameters(self):
        return contextlib.closing(self.moto.session().client("ssm"))

    def leftovers(self) -> list[str]:
        objects = [
            f"s3://{bucket['Name']}/{item['Key']}"
            for bucket in self.s3.list_buckets()["Buckets"]
            for item in self.s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
        ]
        files = [str(path) for server in (self.left, self.right) for path in server.root.rglob("*") if path.is_file()]
        return objects + files


@pytest.fixture
def system(monkeypatch) -> Iterator[System]:
    with MotoServer() as moto, OpenSsh() as left, OpenSsh() as right:
        for name, value in moto.environment.items():
            monkeypatch.setenv(name, value)
        session = moto.session()
        s3, secrets = session.client("s3"), session.client("secretsmanager")
        with AnswerServer(Mover(s3)) as functions:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", functions.url)
            for bucket in ("source-bucket", "target-bucket"):
                s3.create_bucket(Bucket=bucket)
            for server in (left, right):
                for folder in ("out", "in"):
                    server.directory(folder)
            for name, server in (("left", left), ("right", right)):
                secrets.create_secret(Name=name, SecretString=json.dumps({"privateKey": server.private_key}))
            yield System(moto, left, right, s3, secrets, functions=functions)
            s3.close()
            secrets.close()


def config(flow_id: str, source: object, target: object, function: str = "mover", **more: object) -> dict[str, object]:
    transfer = {
        "lambda_arn": ARN.format(function),
        "payload": {"source": "${source.uri}", "target": "${target.uri}"},
        **more.pop("transfer", {}),
    }
    rules = {"expect_within_seconds": 60, "post_arrival_wait_seconds": 1}
    sizes = {"sizes": {"smoke": "4KiB", "typical": "5MiB"}}
    return {
        "flow_id": flow_id,
        "source": source,
        "target": target,
        "transfer": transfer,
        "validation": rules,
        "testdata": sizes,
        **more,
    }


@pytest.fixture
def outside(suite):
    """A suite whose flows use the real fixtures."""
    suite.pytester.makeconftest("")
    return suite


def bucket(name: str, prefix: str = "", **more: object) -> dict[str, object]:
    return {"type": "S3", "bucket": name, "prefix": prefix, **more}


def test_four_directions_pass_and_leave_nothing_behind(outside, system, monkeypatch):
    outside.add("flows/keys/left.pem", text=system.left.private_key).chmod(0o600)
    monkeypatch.setenv("RIGHT_KEY", system.right.private_key)
    with system.parameters() as parameters:
        parameters.put_parameter(Name="/sftp/right", Value=system.right.private_key, Type="SecureString")
    s3_out, s3_in = bucket("source-bucket", "out/"), bucket("target-bucket", "in/")
    sync = {"invocation": "RequestResponse"}
    outside.add("flows/a.json", config("s3_to_s3", s3_out, s3_in, testdata={"sizes": {"smoke": 0, "typical": "70MiB"}}))
    outside.add("flows/b.json", config("s3_to_sftp", s3_out, system.sftp(system.left, "in"), transfer=sync))
    outside.add(
        "flows/c.json", config("sftp_to_s3", system.sftp(system.right, "out", secret_arn="env:RIGHT_KEY"), s3_in)
    )
    outside.add(
        "flows/d.json",
        config(
            "sftp_to_sftp",
            system.sftp(system.left, "out", secret_arn="file:keys/left.pem"),
            system.sftp(system.right, "in", secret_arn="ssm:/sftp/right"),
        ),
    )
    result = outside.run_apart("flows", "-n", "2", "--junitxml=junit.xml", "--html=report.html")
    result.assert_outcomes(passed=12)
    records = outside.records()
    assert {record["direction"] for record in records} == {"S3->S3", "S3->SFTP", "SFTP->S3", "SFTP->SFTP"}
    assert all(record["residue"] == [] for record in records)
    assert system.leftovers() == []


def test_damage_is_named_at_either_end(outside, system):
    random = {"size_bytes": "5MiB"}
    ends = {"s3": (bucket("source-bucket", "out/"), bucket("target-bucket", "in/"))}
    ends["sftp"] = system.sftp(system.left, "out"), system.sftp(system.left, "in")
    for work in CHANGES:
        for source, target in (("s3", "sftp"), ("sftp", "s3")):
            flow = config(f"{work}_to_{target}", ends[source][0], ends[target][1], work, testdata=random)
            outside.add(f"flows/{work}_{target}.json", flow)
    outside.run_apart("flows", "-m", "not contract").assert_outcomes(failed=4, deselected=4)
    records = {record["flow_id"]: record for record in outside.records()}
    for target in ends:
        assert records[f"packer_to_{target}"]["cause"] == "content.recompressed"
        assert "holds the right bytes packed as gzip" in records[f"packer_to_{target}"]["reason"]
        shuffled = records[f"shuffler_to_{target}"]
        assert shuffled["cause"] == "content.corrupt"
        assert "1000000 bytes at offset 0 and as many at offset 1000000 have changed places" in shuffled["reason"]
        assert (shuffled["evidence"]["first_difference"], shuffled["evidence"]["blocks_differing"]) == (0, 489)
    assert system.leftovers() == []


def test_hard_errors_end_a_run_at_once_each_with_its_cause(outside, system, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # no known_hosts there
    left, other = system.left, generate_key()
    system.secrets.create_secret(Name="rotated", SecretString=json.dumps({"privateKey": other.private}))
    system.secrets.create_secret(Name="garbled", SecretString="-----BEGIN NOTHING-----")
    (left.root / "in").chmod(0o500)
    (left.root / "locked").mkdir(mode=0o500)
    good_in, good_out = bucket("target-bucket", "in/"), bucket("source-bucket", "out/")
    sync = {"invocation": "RequestResponse"}
    cases = {
        "auth.rejected": config("rotated_key", system.sftp(left, "out", "rotated"), good_in),
        "hostkey.unknown": config("unknown_host", good_out, system.sftp(left, "in", host_key=None)),
        "hostkey.mismatch": config("changed_host", good_out, system.sftp(left, "in", host_key=other.fingerprint)),
        "net.refused": config("closed_port", system.sftp(left, "out", port=free_port()), good_in),
        "net.dns": config("no_such_host", system.sftp(left, "out", host="sftp.partner.invalid"), good_in),
        "location.missing": config("no_bucket", good_out, bucket("no-such-bucket")),
        "location.missing 2": config("no_source_bucket", bucket("no-such-bucket"), good_in),
        "location.missing 3": config("no_directory", good_out, system.sftp(left, "no/such/folder")),
        "location.missing 4": config("no_source_directory", system.sftp(left, "nowhere"), good_in),
        "secret.missing": config("no_secret", system.sftp(left, "out", "nobody"), good_in),
        "secret.malformed": config("bad_secret", system.sftp(left, "out", "garbled"), good_in),
        "trigger.not_found": config("no_function", good_out, good_in, "absent"),
        "trigger.function_error": config("broken_function", good_out, good_in, "broken", transfer=sync),
        "access.denied": config("read_only", system.sftp(left, "locked"), good_in),
    }
    for flow in cases.values():
        flow["validation"] = {"expect_within_seconds": 900}
        flow["testdata"] = {"size_bytes": 4096}
    outside.add("flows/all.json", *cases.values())
    result = outside.run_apart("flows", "-m", "not contract")
    result.assert_outcomes(failed=len(cases), deselected=len(cases))
    found = {record["flow_id"]: record for record in outside.records()}
    assert {flow["flow_id"]: found[flow["flow_id"]]["cause"] for flow in cases.values()} == {
        flow["flow_id"]: cause.split()[0] for cause, flow in cases.items()
    }
    assert result.duration < 60  # and not 900
    assert other.private not in result.stdout.str()
    assert "NOTHING" not in result.stdout.str()
    assert system.leftovers() == []


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_a_denied_bucket_is_named_with_the_action(outside, system, monkeypatch):
    iam = system.moto.session().client("iam")
    iam.create_user(UserName="tester")
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    allowed = {
        "Effect": "Allow",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::source-bucket", "arn:aws:s3:::source-bucket/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="tester", PolicyName="source-only", PolicyDocument=policy)
    iam.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    outside.add("flows/a.json", config("denied", bucket("source-bucket"), bucket("target-bucket")))
    system.moto.enforce_permissions(after_calls=0)
    outside.run_apart("flows", "-k", "smoke").assert_outcomes(failed=1, deselected=2)
    system.moto.enforce_permissions(after_calls=None)
    (record,) = outside.records()
    assert record["cause"] == "access.denied"
    assert "s3:GetObject" in record["reason"]
    assert "s3://target-bucket/" in record["reason"]
    assert "s3:ListBucket" in record["hint"]
    assert system.leftovers() == []


def test_credentials_that_do_not_exist_are_the_testers_fault(outside, system):
    outside.add("flows/a.json", config("stranger", bucket("source-bucket"), bucket("target-bucket")))
    system.moto.enforce_permissions(after_calls=0)
    outside.run_apart("flows", "-k", "smoke").assert_outcomes(errors=1, deselected=2)
    system.moto.enforce_permissions(after_calls=None)
    assert [record["cause"] for record in outside.records()] == ["tester.credentials"]


def contract_rows(record: dict) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in record["checks"]}


def test_a_contract_says_in_seconds_what_a_long_wait_would_not(outside, system, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # no known_hosts there
    left = system.left
    system.secrets.create_secret(Name="rotated", SecretString=json.dumps({"privateKey": generate_key().private}))
    (left.root / "locked").mkdir(mode=0o555)
    (left.root / "drop").mkdir()
    left.own(left.root / "drop")
    (left.root / "drop").chmod(0o300)
    good_in, good_out = bucket("target-bucket", "in/"), bucket("source-bucket", "out/")
    event = {"mode": "event", "lambda_arn": None, "payload": None}
    flows = {
        "well": ("", config("well", system.sftp(left, "out"), good_in)),
        "well_event": ("", config("well_event", system.sftp(left, "out"), good_in, transfer=event)),
        "drop_box": ("", config("drop_box", good_out, system.sftp(left, "drop"))),
        "rotated": ("source.login", config("rotated", system.sftp(left, "out", "rotated"), good_in)),
        "unknown": ("target.host_key", config("unknown", good_out, system.sftp(left, "in", host_key=None))),
        "read_only": ("target.writable", config("read_only", good_out, system.sftp(left, "locked"))),
        "read_only_event": (
            "source.writable",
            config("read_only_event", system.sftp(left, "locked"), good_in, transfer=event),
        ),
        "nowhere": ("source.directory", config("nowhere", system.sftp(left, "no/such"), good_in)),
        "no_secret": ("source.secret", config("no_secret", system.sftp(left, "out", "nobody"), good_in)),
        "no_bucket": ("target.prefix", config("no_bucket", good_out, bucket("no-such-bucket"))),
        "closed": ("source.port", config("closed", system.sftp(left, "out", port=free_port()), good_in)),
        "no_host": ("source.name", config("no_host", system.sftp(left, "out", host="sftp.partner.invalid"), good_in)),
        "no_function": ("transfer.invocable", config("no_function", good_out, good_in, "absent")),
    }
    for _, flow in flows.values():
        flow["validation"] = {"expect_within_seconds": 900}
        flow["transfer"] = {name: value for name, value in flow["transfer"].items() if value is not None}
    outside.add("flows/all.json", *(flow for _, flow in flows.values()))
    outside.run_apart("flows", "-m", "contract").assert_outcomes(
        passed=3, failed=len(flows) - 3, deselected=2 * len(flows)
    )
    found = {record["flow_id"]: record for record in outside.records()}
    failed = {
        flow_id: [name for name, outcome in contract_rows(record).items() if outcome == "failed"]
        for flow_id, record in found.items()
    }
    assert failed == {flow_id: [row] if row else [] for flow_id, (row, _) in flows.items()}
    assert system.left.log().count("Accepted publickey") >= 1
    assert system.functions.requests == [
        request for request in system.functions.requests if request.headers["X-Amz-Invocation-Type"] == "DryRun"
    ]
    assert system.leftovers() == []
    (left.root / "drop").chmod(0o700)


def test_a_rejected_login_is_known_before_anything_is_sent_and_waited_for(outside, system):
    system.secrets.create_secret(Name="rotated", SecretString=json.dumps({"privateKey": generate_key().private}))
    flow = config("rotated", bucket("source-bucket", "out/"), system.sftp(system.left, "in", "rotated"))
    flow["validation"] = {"expect_within_seconds": 900}
    outside.add("flows/rotated.json", flow)
    outside.run_apart("flows").assert_outcomes(failed=3)
    contract, *transfers = sorted(outside.records(), key=lambda record: record["kind"])
    assert contract["kind"] == "contract"
    assert {record["cause"] for record in (contract, *transfers)} == {"auth.rejected"}
    assert all(record["reason"].startswith("not sent: the contract failed: ") for record in transfers)
    assert all("seeded" not in record["timeline"] for record in transfers)
    stamps = [stamp for record in (contract, *transfers) for stamp in record["timeline"].values()]
    assert seconds_between(min(stamps), max(stamps)) < 5
    assert system.leftovers() == []


def seconds_between(first: str, last: str) -> float:
    from datetime import datetime

    begun, ended = (datetime.fromisoformat(stamp.replace("Z", "+00:00")) for stamp in (first, last))
    return (ended - begun).total_seconds()


def test_a_missing_permission_is_known_before_anything_is_sent(outside, system, monkeypatch):
    as_a_user_who_may(system, monkeypatch, "s3:ListBucket", "s3:GetObject")
    flow = config("denied", bucket("source-bucket", "out/"), bucket("target-bucket", "in/"))
    flow["validation"] = {"expect_within_seconds": 900}
    outside.add("flows/denied.json", flow)
    system.moto.enforce_permissions(after_calls=0)
    outside.run_apart("flows").assert_outcomes(failed=3)
    system.moto.enforce_permissions(after_calls=None)
    contract, *transfers = sorted(outside.records(), key=lambda record: record["kind"])
    rows = contract_rows(contract)
    assert [name for name, outcome in rows.items() if outcome == "failed"] == ["source.writable", "target.writable"]
    assert "s3:PutObject on s3://source-bucket/out/" in contract["reason"]
    assert "s3:PutObject on s3://target-bucket/in/" in contract["evidence"]["also_wrong"][0]
    assert {record["cause"] for record in transfers} == {"access.denied"}
    assert system.leftovers() == []


def as_a_user_who_may(system: System, monkeypatch, *actions: str) -> None:
    iam = system.moto.session().client("iam")
    iam.create_user(UserName="weak")
    key = iam.create_access_key(UserName="weak")["AccessKey"]
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="weak", PolicyName="some", PolicyDocument=policy)
    iam.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])


@pytest.mark.parametrize("mode", ["event", "invoke"])
def test_a_key_that_refuses_is_the_cause_and_not_the_bucket(outside, system, monkeypatch, mode):
    """Moto lets any key encrypt: this server answers as S3 does where the key's policy does not."""
    refused = "not authorized to perform: kms:GenerateDataKey on the resource"

    def answer(request: Request) -> Answer:
        if request.method in ("PUT", "POST"):
            return Answer(403, f"<Error><Code>AccessDenied</Code><Message>{refused}</Message></Error>".encode())
        return Answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

    source = bucket("source-bucket", kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/k")
    flow = config("encrypted", source, bucket("target-bucket"), contract={"probe_target": False})
    if mode == "event":
        flow["transfer"] = {"mode": "event"}
    outside.add("flows/encrypted.json", flow)
    with AnswerServer(answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        outside.run_apart("flows", "-m", "contract").assert_outcomes(failed=1, deselected=2)
    (record,) = outside.records()
    assert record["cause"] == "kms.denied"
    assert contract_rows(record)["source.kms"] == "failed"
    assert "source.writable" not in contract_rows(record)


def test_canaries_write_nothing_and_invoke_nothing(outside, system):
    (system.left.root / "in").chmod(0o500)
    outside.add("flows/a.json", config("acme", bucket("source-bucket", "out/"), system.sftp(system.left, "in")))
    outside.run_apart("flows", "-m", "canary", "-n", "2").assert_outcomes(passed=1)
    (record,) = outside.records()
    assert (record["kind"], record["outcome"]) == ("canary", "passed")
    assert list(contract_rows(record))[-1] == "target.directory"
    assert system.functions.requests == []
    assert system.leftovers() == []
