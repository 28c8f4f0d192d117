"""``fileflow sandbox``, by hand: OpenSSH's ``sftp`` and boto3 put files, and see them moved."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.cli import main
from pytest_fileflow.commands.by_hand import ByHand
from pytest_fileflow.commands.sandbox import FORMATS, _serve
from pytest_fileflow.model import Flow, S3Location
from tests.support.sandbox_tools import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "arn:aws:secretsmanager:us-west-2:<ACCOUNT_ID>:secret:sftp/acme"
SFTP = {"type": "SFTP", "host": "<HOST>", "username": "<ACME_USER>", "secret_arn": SECRET}
FUNCTION = "arn:aws:lambda:us-west-2:123456789012:function:file-transfer"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "flows").mkdir()
    return tmp_path


@contextlib.contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
    """Run the command, whose output goes to the file ``out``; it ends with the block."""
    program = [sys.executable, "-m", "pytest_fileflow.cli", "sandbox", "--format=json"]
    with Path("out").open("w") as out, Path("err").open("w") as err:
        process = subprocess.Popen(program, stdout=out, stderr=err, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def write(flow_id: str, source: dict[str, object], target: dict[str, object], **more: object) -> None:
    flow = {"flow_id": flow_id, "source": source, "target": target, **more}
    Path(f"flows/{flow_id}.json").write_text(json.dumps(flow))


def sftp(command: str, batch: str) -> str:
    name, *more = shlex.split(command)
    program = [name, "-b", "-", *more]
    done = subprocess.run(program, input=batch, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def client(told: dict[str, Any], service: str) -> Any:
    own = told["environment"]
    session = boto3.Session(own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"], region_name=own["AWS_REGION"])
    return session.client(service, endpoint_url=own["AWS_ENDPOINT_URL"])


def out_of(process: subprocess.Popen[str], ending: str) -> str:
    def whole() -> str:
        assert process.poll() is None, Path("err").read_text()
        text = Path("out").read_text()
        return text if text.endswith(ending) else ""

    return eventually(whole, 60)


def test_files_that_are_put_by_hand_are_moved_and_nothing_is_left(here):
    write("in", {**SFTP, "dir": "/outbox"}, {"type": "S3", "bucket": "example-landing", "prefix": "in/"})
    transfer = {"lambda_arn": FUNCTION, "payload": {"file": "${file.name}"}}
    write("out", {"type": "S3", "bucket": "example-out"}, {**SFTP, "dir": "/inbox"}, transfer=transfer)
    Path("flows/broken.yaml").write_text("flow_id: broken")
    Path("hello.txt").write_bytes(b"hello\n")
    with running() as process:
        told = json.loads(out_of(process, "\n}\n"))
        flow_in, flow_out = told["flows"]
        assert flow_in["start"] is None
        sftp(flow_in["source"]["command"], "put hello.txt\n")
        s3 = client(told, "s3")
        eventually(lambda: s3.list_objects_v2(Bucket="example-landing", Prefix="in/hello.txt").get("Contents"), 60)
        assert s3.get_object(Bucket="example-landing", Key="in/hello.txt")["Body"].read() == b"hello\n"

        s3.put_object(Bucket="example-out", Key="hello.txt", Body=b"hello\n")
        words = shlex.split(flow_out["start"])
        given = {name: words[words.index(name) + 1] for name in ("--function-name", "--payload")}
        client(told, "lambda").invoke(FunctionName=given["--function-name"], Payload=given["--payload"])
        eventually(lambda: "hello.txt" in sftp(flow_out["target"]["command"], "ls\n"), 60)

        keys = [path for path in (here / "tmp").rglob("key.*") if "by-hand" in path.parts]
        assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert Path("err").read_text().startswith("left out: broken is wrong: flows/broken.yaml:1:1  $")
    assert list((here / "tmp").iterdir()) == []


def test_flows_that_are_added_or_changed_meanwhile_are_taken_in(here):
    write("in", {**SFTP, "dir": "/outbox"}, {"type": "S3", "bucket": "example-landing", "prefix": "in/"})
    with running() as process:
        told = json.loads(out_of(process, "\n}\n"))
        s3 = client(told, "s3")
        source = {"type": "S3", "bucket": "example-out", "prefix": "new/"}
        write("new", source, {"type": "S3", "bucket": "example-landing", "prefix": "new/"})
        eventually(lambda: "taken in: in, new\n" in Path("err").read_text(), 60)
        s3.put_object(Bucket="example-out", Key="new/hello.txt", Body=b"hello\n")
        eventually(lambda: s3.list_objects_v2(Bucket="example-landing", Prefix="new/hello.txt").get("Contents"), 60)

        write("new", source, {"type": "S3", "bucket": "example-landing", "prefix": "elsewhere/"})
        eventually(lambda: Path("err").read_text().count("taken in: in, new\n") == 2, 60)
        s3.put_object(Bucket="example-out", Key="new/again.txt", Body=b"hello\n")
        eventually(lambda: s3.list_objects_v2(Bucket="example-landing", Prefix="elsewhere/").get("Contents"), 60)

        Path("flows/broken.yaml").write_text("flow_id: broken")
        eventually(lambda: "left out: broken is wrong" in Path("err").read_text(), 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


class Elsewhere:
    """As a sandbox that another process runs, as far as variables go."""

    unset = ("AWS_",)

    def environment(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_CONFIG_FILE": "/a place/config"}


def test_what_it_prints_for_a_shell_can_be_sourced(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_CA_BUNDLE", "own.pem")
    flow = Flow("acme", S3Location("one"), S3Location("two"))
    lines = [*FORMATS["sh"](Elsewhere(), [ByHand(flow, "aws s3 ls s3://one/", None, "aws s3 ls s3://two/")])]
    assert lines[-2:] == ["# acme: aws s3 ls s3://one/", "# acme: aws s3 ls s3://two/"]
    script = "\n".join([*lines, 'echo "$AWS_PROFILE$AWS_CA_BUNDLE $AWS_ENDPOINT_URL $AWS_CONFIG_FILE"'])
    shown = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert shown == " http://127.0.0.1:1 /a place/config\n"


def test_without_a_flow_there_is_nothing_to_run(capsys):
    assert main(["sandbox"]) == 2
    assert capsys.readouterr().err == "fileflow sandbox: there are no flows in flows that can be used\n"


def test_what_is_written_to_a_file_is_whole_and_gone_in_the_end(tmp_path):
    ended, seen = threading.Event(), []
    file = tmp_path / "sandbox.sh"

    class Running(Elsewhere):
        @property
        def is_running(self) -> bool:
            seen.append((file.read_text(), file.stat().st_mode & 0o777))
            ended.set()
            return True

        def file(self, name: str) -> Path:
            return Path(tempfile.mkdtemp(dir=tmp_path)) / name

    assert _serve(Running(), [], "sh", file, ended) == 0
    ((text, mode),) = seen
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:1\n" in text
    assert mode == 0o600
    assert not file.exists()
    assert _serve(Running(), [], "sh", tmp_path / "no" / "folder", ended) == 2
