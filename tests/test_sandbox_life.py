"""The sandbox comes up quickly, serves several processes, and is gone without trace however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import pytest_fileflow.sandbox as module
from pytest_fileflow.cli import main
from pytest_fileflow.errors import SandboxFailed
from pytest_fileflow.model import Flow, S3Location, Transfer
from pytest_fileflow.sandbox import Sandbox
from tests.support.sandbox_tools import Store, client, eventually, make_flow

ROOT = Path(__file__).parents[1]

STARTER = """
import json, os, sys, time
from pytest_fileflow.model import Flow, S3Location, Transfer
from pytest_fileflow.sandbox import Sandbox
sandbox = Sandbox.start()
sandbox.provision([Flow("f", S3Location("in-bucket"), S3Location("out-bucket"), Transfer("invoke", "f"))])
print(sandbox.address, flush=True)
{then}
"""


def processes(directory: Path) -> list[int]:
    """Return the processes whose environment names a sandbox's directory: itself and its functions."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"HOME={directory}\0".encode() in environment:
                found.append(int(entry.name))
    return found


def port_open(sandbox: Sandbox) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(sandbox.endpoint_url.rpartition(":")[2]))) == 0


def directory_of(sandbox: Sandbox) -> Path:
    return Path(sandbox.environment()["AWS_CONFIG_FILE"]).parents[1]


def lock_is_free(directory: Path) -> bool:
    """Tell whether the kernel has let go of a killed sandbox's lock: a little after the kill."""
    with (directory / "lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def assert_gone(sandbox: Sandbox) -> None:
    directory = directory_of(sandbox)
    eventually(lambda: not processes(directory))
    eventually(lambda: not port_open(sandbox))
    eventually(lambda: not directory.exists())


def start_elsewhere(then: str) -> tuple[subprocess.Popen[bytes], Sandbox]:
    starter = subprocess.Popen([sys.executable, "-c", STARTER.format(then=then)], cwd=ROOT, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    sandbox = Sandbox.connect(starter.stdout.readline().decode().strip())
    eventually(lambda: len(processes(directory_of(sandbox))) == 2)  # itself, and a warm function
    return starter, sandbox


pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


def test_up_in_two_seconds() -> None:
    took = []
    while not took or (min(took) >= 2 and len(took) < 5):  # a busy machine gets another try
        began = time.monotonic()
        with Sandbox.start():
            took.append(time.monotonic() - began)
    assert min(took) < 2, f"up after {took} s"


def test_gone_after_stop() -> None:
    sandbox = Sandbox.start()
    assert port_open(sandbox)
    sandbox.provision([make_flow("f", "SFTP", "S3", Transfer("event"))])
    address, port, _ = sandbox.route("source.example.com", 22)
    eventually(lambda: len(processes(directory_of(sandbox))) == 2)

    sandbox.stop()

    assert not processes(directory_of(sandbox))
    assert not directory_of(sandbox).exists()
    assert not port_open(sandbox)
    with socket.socket() as probe:
        assert probe.connect_ex((address, port)) != 0
    sandbox.stop()  # a second time is no error


def test_stop_does_not_wait_for_a_transfer_under_way() -> None:
    with Sandbox.start() as sandbox:
        sandbox.provision([make_flow("f", "S3", "SFTP", Transfer("event"))])
        Store(sandbox, S3Location("bucket-source", "partners/f/")).put("big.bin", bytes(64_000_000))
        began = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - began < 5
        assert_gone(sandbox)


def test_only_this_machine_can_reach_it() -> None:
    with Sandbox.start() as sandbox:
        sandbox.provision([make_flow("f", "SFTP", "S3", Transfer("event"))])
        ours = {int(sandbox.endpoint_url.rpartition(":")[2]), sandbox.route("source.example.com", 22)[1]}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        bound = {tuple(row[1].split(":")) for row in rows if row[3] == "0A"}
        hosts = {host for host, port in bound if int(port, 16) in ours}
        assert hosts == {"0100007F"}
        wide = Path("/proc/net/tcp6").read_text() if Path("/proc/net/tcp6").exists() else ""
        assert not any(f":{port:04X} " in wide for port in ours)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_gone_when_its_starter_is_killed(how: signal.Signals) -> None:
    starter, sandbox = start_elsewhere("time.sleep(600)")
    with starter:
        starter.send_signal(how)
        starter.wait(20)
    assert_gone(sandbox)


def test_gone_when_its_starter_forgets_to_stop_it() -> None:
    starter, sandbox = start_elsewhere("sys.stdin.close(); time.sleep(1); os._exit(0)")
    with starter:
        starter.wait(20)
    assert_gone(sandbox)


def test_gone_though_a_fork_of_its_starter_lives_on() -> None:
    starter, sandbox = start_elsewhere(
        "pid = os.fork()\nif pid: print(pid, flush=True); time.sleep(600)\nelse: time.sleep(600)"
    )
    assert starter.stdout is not None
    fork = int(starter.stdout.readline())
    with starter:
        starter.kill()
        starter.wait(20)
        assert_gone(sandbox)
        os.kill(fork, signal.SIGKILL)


def test_nothing_is_left_when_the_sandbox_itself_is_killed() -> None:
    with Sandbox.start() as sandbox:
        sandbox.provision([make_flow("f", "S3", "S3", Transfer("invoke", "f"))])
        running = eventually(lambda: (found := processes(directory_of(sandbox)))[1:] and found)
        os.kill(min(running), signal.SIGKILL)
        eventually(lambda: not processes(directory_of(sandbox)))
        with pytest.raises(SandboxFailed, match="does not answer"):
            sandbox.provision([])
    assert_gone(sandbox)


def test_sigterm_ends_it_in_order() -> None:
    with Sandbox.start() as sandbox:
        (process,) = processes(directory_of(sandbox))
        os.kill(process, signal.SIGINT)  # Ctrl-C hits a whole terminal: no reason to end
        assert port_open(sandbox)
        os.kill(process, signal.SIGTERM)
        assert_gone(sandbox)


def test_directory_of_a_sandbox_killed_with_its_starter_goes_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A place of its own: whatever sandbox other tests start at the same time would remove it first.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    starter, sandbox = start_elsewhere("time.sleep(600)")
    with starter:
        for process in (*processes(directory_of(sandbox)), starter.pid):
            os.kill(process, signal.SIGKILL)
        starter.wait(20)
    eventually(lambda: lock_is_free(directory_of(sandbox)))
    with Sandbox.start() as other:
        assert not directory_of(sandbox).exists()
        with Sandbox.start():
            assert directory_of(other).exists(), "one in use is left alone"


def test_connected_handle_does_not_stop_it() -> None:
    with Sandbox.start() as sandbox:
        with Sandbox.connect(json.loads(json.dumps(sandbox.address))) as other:
            assert other.endpoint_url == sandbox.endpoint_url
        assert port_open(sandbox)


def test_two_processes_provision_the_same_flows_at_once() -> None:
    code = (
        "import sys; from pytest_fileflow.sandbox import Sandbox\n"
        "from tests.support.sandbox_tools import make_flow, Transfer\n"
        "sandbox = Sandbox.connect(sys.stdin.readline().strip())\n"
        "flows = [make_flow(f'f{i}', 'SFTP', 'S3', Transfer('invoke', 'both')) for i in range(100)]\n"
        "sandbox.provision(flows); print(sandbox.route('source.example.com', 22))"
    )
    with Sandbox.start() as sandbox:
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        heard = [process.communicate(f"{sandbox.address}\n", timeout=60)[0] for process in both]
        assert heard[0] == heard[1] == f"{sandbox.route('source.example.com', 22)}\n"
        source = make_flow("f7", "SFTP", "S3", Transfer("invoke", "both")).source
        Store(sandbox, source).seed("f7", "a.csv", b"a")
        answer = client(sandbox, "lambda").invoke(FunctionName="both", Payload=b"{}")
        assert [part["flow_id"] for part in json.loads(answer["Payload"].read())["transferred"]] == ["f7"]


def test_two_thousand_flows_on_two_hundred_hosts_take_seconds() -> None:
    flows = []
    for index in range(2000):
        flow = make_flow(f"f{index}", "SFTP", "S3", Transfer("invoke", f"function{index % 50}"))
        source = type(flow.source)(f"h{index % 200}.example.com", f"u{index}", "/in", f"<S{index}>")  # type: ignore[call-arg,arg-type]
        flows.append(Flow(flow.flow_id, source, flow.target, flow.transfer))
    with Sandbox.start() as sandbox:
        began = time.monotonic()
        sandbox.provision(flows)
        assert time.monotonic() - began < 10
        assert len({sandbox.route(f"h{index}.example.com", 22) for index in range(200)}) == 200


def test_environment_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.us-east-1.amazonaws.com")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "intranet")
    with Sandbox.start() as sandbox:
        for process in processes(directory_of(sandbox)):
            inherited = Path(f"/proc/{process}/environ").read_text()
            for secret in ("production", "real", "amazonaws.com", "proxy.example.com"):
                assert secret not in inherited
        variables = sandbox.environment()
        assert variables["NO_PROXY"] == "intranet,127.0.0.1,localhost"
        kept = {name: text for name, text in os.environ.items() if not name.startswith(Sandbox.unset)}
        code = (
            "import boto3; session = boto3.Session(); sts = session.client('sts'); "
            "print(sts.meta.endpoint_url, sts.get_caller_identity()['Account'], "
            "session.available_profiles, session.get_credentials().access_key)"
        )
        heard = subprocess.run(
            [sys.executable, "-c", code],
            env={**kept, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        assert heard.stdout.strip() == f"{sandbox.endpoint_url} 123456789012 [] FILEFLOWSANDBOX"


def test_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEEDED", ("json", "no_such_module_here"))
    with pytest.raises(SandboxFailed) as caught:
        Sandbox.start()
    assert caught.value.reason == (
        'The sandbox needs no_such_module_here, not installed here: run pip install "pytest-fileflow[sandbox]".'
    )


def test_a_rehearsal_names_a_missing_extra_once(monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "_NEEDED", ("no_such_module_here",))
    assert main(["rehearse"]) == 2
    assert capsys.readouterr().err == (
        "fileflow rehearse: The sandbox needs no_such_module_here, not installed here: "
        'run pip install "pytest-fileflow[sandbox]".\n'
    )


def test_start_up_error_speaks_with_the_sandboxs_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "moto"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('moto is broken here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own = tmp_path / "own"  # others start sandboxes in the common one meanwhile
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    with pytest.raises(SandboxFailed, match="did not start: ImportError: moto is broken here"):
        Sandbox.start()
    assert list(own.iterdir()) == []


def test_start_gives_up_after_its_timeout() -> None:
    with pytest.raises(SandboxFailed, match=r"nothing was heard of it within 0\.01 s"):
        Sandbox.start(timeout=0.01)
