"""The sandbox's process: puts its parts together, says where it listens, and ends with its starter."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_fileflow.sandbox import LOG_FILE, address_of, backends, hold_lock
from pytest_fileflow.sandbox.calls import read as read_calls

if TYPE_CHECKING:
    from pytest_fileflow.sandbox.aws import Gateway
    from pytest_fileflow.sandbox.environment import Answer, Invocation
    from pytest_fileflow.sandbox.programs import Program
    from pytest_fileflow.sandbox.sftp import SftpServers

_PARENT_CHECK_SECONDS = 1.0
_LOG = logging.getLogger("pytest_fileflow.sandbox")


class _SftpSide:
    """The SFTP servers, made in the background: their library takes longer to import than S3 can wait."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._servers: SftpServers | None = None
        self.arrived: Any = None

    def __call__(self) -> SftpServers:
        with self._lock:
            if self._servers is None:
                from pytest_fileflow.sandbox.sftp import SftpServers

                self._servers = SftpServers(self._directory, self.arrived)
            return self._servers

    def stop(self) -> None:
        with self._lock:
            if self._servers is not None:
                self._servers.stop()


class _Sandbox:
    """Everything that runs in this process."""

    def __init__(self, directory: Path, token: str) -> None:
        from pytest_fileflow.sandbox import aws
        from pytest_fileflow.sandbox.deployed import Deployed, process_environment
        from pytest_fileflow.sandbox.lambda_api import FunctionLogs, Lambdas
        from pytest_fileflow.sandbox.lambda_runtime import Pool
        from pytest_fileflow.sandbox.routes import Routes
        from pytest_fileflow.sandbox.s3_faults import S3Faults
        from pytest_fileflow.sandbox.switches import Switches
        from pytest_fileflow.sandbox.web import make_http_server

        self._token = token
        self._directory = directory
        self._switches = Switches()
        self._routes = Routes(self._switches)
        self._tables = aws.Tables()
        self._logs = FunctionLogs()
        self._sftp = _SftpSide(directory / "sftp")
        self._sftp.arrived = self._arrived
        self._gateway: Gateway = aws.Gateway(self._tables, token, self._private_api())
        self._gateway.arrived = self._arrived
        self._gateway.faults = S3Faults(self._switches)
        self._server = make_http_server(self._gateway)
        self.port = self._server.server_port
        self._url = f"http://127.0.0.1:{self.port}"
        self._pool = Pool(directory, self._ended)
        self._transfer = self._make_transfer()
        address = address_of(self.port, token, directory)
        self._deployed = Deployed(directory, process_environment(directory, self._url), self._logs.stream, address)
        self._lambdas = self._gateway.lambdas = Lambdas(
            self._tables.functions, self._deployed, self._transfer, self._pool, self._is_throttled
        )
        self._change_moto()
        self._provisioner: Any = None
        self._provisioning = threading.Lock()
        threading.Thread(target=self._server.serve_forever, daemon=True, name="http").start()

    def load_rest(self) -> None:
        """Load what the first flows will need, while the starter already goes on."""
        threading.Thread(target=self._load, daemon=True, name="load").start()

    def stop(self) -> None:
        """End everything that was started here."""
        self._server.socket.close()
        self._pool.stop()
        self._sftp.stop()

    def _load(self) -> None:
        try:
            self._provision([])
            backends.preload()
        except Exception:  # noqa: BLE001 - logged; the first request that needs it raises it again
            _LOG.exception("a part of the sandbox could not be loaded")

    def _private_api(self) -> dict[str, Any]:
        return {
            "ping": lambda _: {"pid": os.getpid()},
            "flows": self._provision,
            "servers": lambda _: self._list_servers(),
            "claim": self._claim,
            "settle": self._settle,
            "park": self._park,
            "asked_for": self._asked_for,
            "webhooks": lambda _: self._gateway.webhooks.posts(),
            "recorded_calls": lambda _: read_calls(self._directory),
        }

    def _change_moto(self) -> None:
        """Have moto do what it leaves out, a service at a time, once somebody uses it."""
        from pytest_fileflow.sandbox import machines, moto_buckets, moto_functions, moto_rules

        def lambdas() -> None:
            moto_functions.prepare(self._lambdas.start_deployed)
            self._deployed.is_empty = False

        backends.before_use("s3", moto_buckets.prepare)
        backends.before_use("lambda", lambdas)
        backends.before_use("stepfunctions", lambda: machines.prepare(self._url))
        starters = {"lambda": self._lambdas.start_deployed, "states": machines.start}
        backends.before_use("events", lambda: moto_rules.prepare(starters))

    def _make_transfer(self) -> Program:
        from pytest_fileflow.sandbox.aws import TRANSFER_KEY_ID
        from pytest_fileflow.sandbox.programs import transfer_program

        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": TRANSFER_KEY_ID,
            "AWS_ENDPOINT_URL": self._url,
            "FILEFLOW_SANDBOX_TOKEN": self._token,
            "PYTHONUNBUFFERED": "1",
        }
        return transfer_program(self._directory, environment)

    def _provision(self, flows: list[dict[str, object]]) -> object:
        with self._provisioning:
            if self._provisioner is None:
                from pytest_fileflow.sandbox.provision import Provisioner

                url = f"{self._url}/_fileflow/webhook/alerts"
                self._provisioner = Provisioner(self._tables, self._routes, self._switches, self._sftp, url)
        made = self._provisioner.add(flows)
        if flows:
            threading.Thread(target=self._pool.warm, args=(self._transfer,), daemon=True, name="warm").start()
        return {**made, **self._list_servers()}

    def _list_servers(self) -> dict[str, object]:
        servers = self._sftp()
        faulty = [[place, *servers.faulty_address(place)] for place in self._switches.places() if place[0] == "SFTP"]
        return {
            "servers": [[host, port, *real] for (host, port), real in servers.addresses().items()],
            "faulty": faulty,
        }

    def _arrived(self, place: tuple[str, ...], name: str, event: dict[str, object]) -> None:
        for function in self._routes.appeared(place, name):
            self._lambdas.start(function, event)

    def _claim(self, question: dict[str, Any]) -> object:
        from pytest_fileflow.sandbox.provision import describe
        from pytest_fileflow.sandbox.routes import function_name

        function = function_name(question["function"])
        claim, known = self._routes.claim(function, question["event"], question["request_id"], question["skip"])
        if claim is None:
            return {"job": None, "known": known}
        route, switches = claim.route, self._switches
        job = {
            "claim_id": claim.claim_id,
            "flow_id": route.flow_id,
            "name": claim.name,
            "source": describe(route.source, self._sftp, faulty=switches.at_side(route.flow_id, "source")),
            "target": describe(route.target, self._sftp, faulty=switches.at_side(route.flow_id, "target")),
            "work": route.work,
            "asked": self._pool.asked(question["request_id"]) or time.time(),
            "faults": switches.of_transfer(route.flow_id),
            "earlier": switches.earlier(route.flow_id),
        }
        return {"job": job, "known": True}

    def _park(self, told: dict[str, Any]) -> object:
        self._pool.park(told["request_id"], told["limit"])
        return {}

    def _is_throttled(self, function: str, event: object) -> bool:
        return any(self._switches.is_throttled(flow_id) for flow_id in self._routes.flows_meant(function, event))

    def _asked_for(self, question: dict[str, Any]) -> object:
        from pytest_fileflow.sandbox.provision import describe
        from pytest_fileflow.sandbox.routes import function_name

        asked = self._routes.asked_for(function_name(question["function"]), question["event"])
        at = self._switches.at_side
        return {
            "files": [
                {"name": name, "source": describe(route.source, self._sftp, faulty=at(route.flow_id, "source"))}
                for route, name in asked
            ]
        }

    def _settle(self, told: dict[str, Any]) -> object:
        self._routes.settle(told["claim_id"], told["outcome"], told["owner"])
        return {}

    def _ended(self, invocation: Invocation, answer: Answer) -> None:
        self._routes.release(invocation.request_id)
        self._logs.write(invocation, answer)
        _LOG.info("%s\n%s", invocation.arn, answer.log.rstrip())


def _keep_running(starter: int) -> None:
    """Return when standard input ends, which the starter holds open, or when the starter is gone."""
    while os.getppid() == starter:
        if select.select([0], [], [], _PARENT_CHECK_SECONDS)[0] and not os.read(0, 1024):
            return


def _log_to(directory: Path) -> None:
    logging.basicConfig(
        filename=directory / LOG_FILE, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO
    )
    for noisy in ("asyncssh", "werkzeug", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # of each state that fails it writes the whole tree of its parser, where the execution says why in a line
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)


def _allow_many_files() -> None:
    """Raise the limit of open files as far as allowed: each server and each connection needs one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems cap lower than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(words: dict[str, object]) -> None:
    """Tell the starter, then join standard output and the log: libraries print now and then."""
    os.write(1, json.dumps(words).encode() + b"\n")
    os.dup2(2, 1)


def main() -> NoReturn:
    """Run until the starter ends or says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, who still cleans up here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    first = sys.stdin.buffer.readline()
    if not first:
        sys.exit("This process is started by pytest_fileflow.sandbox.Sandbox.start().")
    settings = json.loads(first)
    directory = Path(settings["directory"])
    lock, sandbox, status = hold_lock(directory), None, 0
    try:
        _log_to(directory)
        _allow_many_files()
        sandbox = _Sandbox(directory, settings["token"])
        _say({"port": sandbox.port})
        sandbox.load_rest()
        _keep_running(settings["starter"])
    except Exception as error:  # noqa: BLE001 - whatever it is, the starter hears of it
        _LOG.exception("the sandbox could not run")
        _say({"error": f"{type(error).__name__}: {error}"})
        status = 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if sandbox is not None:
            sandbox.stop()
        if status == 0:
            shutil.rmtree(directory, ignore_errors=True)
        # Nothing is left to wait for; threads of libraries must not hold up the end.
        lock.close()
        os._exit(status)


if __name__ == "__main__":
    main()
