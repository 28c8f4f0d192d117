"""The zip of the Lambda functions, built for real: it needs the package index."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import lambda_package
from tests.test_layers import imported

package = lambda_package.script()

MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ELF_MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine of an ELF header
# In a process where nothing else can be imported but what the interpreter itself brings.
ALONE = """
import importlib, json, sys
from pathlib import Path
place, names, services = json.loads(sys.argv[1])
sys.path.insert(0, place)
for name in names:
    importlib.import_module(name)
import boto3
session = boto3.Session(region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
for service in services:
    session.client(service)
files = {name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)}
print(json.dumps({name: file for name, file in files.items() if not file.startswith(sys.base_prefix)}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lambda_package.wheel(tmp_path_factory.mktemp("wheel"))


def build(wheel: Path, output: Path, *options: str) -> Path:
    assert package.main(["--wheel", str(wheel), "--output", str(output), *options]) == 0
    return output


@pytest.fixture(scope="module")
def arm(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(wheel, tmp_path_factory.mktemp("arm") / "functions.zip", "--arch", "arm64")


def names_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_input_makes_the_same_bytes(wheel, arm, tmp_path, monkeypatch):
    again = tmp_path / wheel.name
    again.write_bytes(wheel.read_bytes())
    elsewhere = tmp_path / "somewhere" / "else"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    assert sha256(build(again, Path("other.zip"), "--arch", "arm64")) == sha256(arm)


def test_a_zip_holds_what_is_needed_and_nothing_of_the_machine_that_built_it(arm):
    names = names_in(arm)
    assert names == sorted(names)
    assert "pytest_fileflow/steps.py" in names
    assert "pytest_fileflow/config/flow.schema.json" in names
    tops = {name.split("/")[0] for name in names}
    assert tops & {"bin", "pytest", "_pytest", "duckdb", "click", "jinja2", "xdist", "__pycache__", ".lock"} == set()
    left = {name.rpartition("/")[2] for name in names}
    assert left & {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"} == set()
    assert [name for name in names if name.endswith(".pyc")] == []
    with zipfile.ZipFile(arm) as opened:
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in opened.infolist()} == {0o100644}


def test_every_distribution_brings_its_license(arm):
    names = names_in(arm)
    inside = [name.split("/") for name in names if ".dist-info/" in name]
    licensed = {parts[0] for parts in inside if parts[-1].startswith(("LICEN", "COPYING"))}
    # What its wheel does not bring along cannot stay; its metadata names the license.
    assert {parts[0].split("-")[0] for parts in inside} - {name.split("-")[0] for name in licensed} == {"jsonschema_rs"}


@pytest.mark.skipif(HERE not in package.PYTHONS, reason=f"Lambda has no runtime of Python {HERE} that fits")
def test_bytecode_is_the_same_each_time_and_is_what_runs(wheel, tmp_path, monkeypatch):
    wanted = ("--arch", MACHINE, "--python", HERE, "--compile")
    first = build(wheel, tmp_path / "first.zip", *wanted)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert sha256(build(wheel, tmp_path / "second.zip", *wanted)) == sha256(first)
    with zipfile.ZipFile(first) as opened:
        opened.extractall(tmp_path / "task")
    (tmp_path / "task" / "pytest_fileflow" / "steps.py").write_text("raise SystemExit('from the source')")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'task')!r}); from pytest_fileflow import steps; print(steps)"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    assert str(tmp_path / "task") in told.stdout


def test_bytecode_of_another_python_is_refused(wheel, tmp_path, capsys):
    other = next(python for python in package.PYTHONS if python != HERE)
    with pytest.raises(package.PackageError, match=f"cannot compile for Python {other}: run this by python{other}"):
        package.compile_all(tmp_path, other)


def test_what_is_compiled_is_for_the_functions_machine(arm):
    with zipfile.ZipFile(arm) as opened:
        compiled = [name for name in opened.namelist() if name.endswith(".so")]
        machines = {int.from_bytes(opened.read(name)[18:20], "little") for name in compiled}
    assert len(compiled) > 5
    assert machines == {ELF_MACHINES["arm64"]}


def test_the_services_kept_are_those_that_the_code_makes_clients_for(arm):
    assert lambda_package.services(list(lambda_package.reached().values())) == package.SERVICES - {"sts"}
    data = {name.split("/")[2] for name in names_in(arm) if name.startswith("botocore/data/") and name.count("/") > 2}
    assert data == package.SERVICES


@pytest.mark.skipif(HERE not in package.PYTHONS, reason=f"Lambda has no runtime of Python {HERE} that fits")
@pytest.mark.skipif(sys.platform != "linux", reason="what is compiled in a zip for Lambda runs on Linux only")
def test_all_that_a_function_can_reach_imports_from_the_zip_alone(wheel, tmp_path):
    archive = build(wheel, tmp_path / "here.zip", "--arch", MACHINE, "--python", HERE)
    content = tmp_path / "task"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(content)
    wanted = json.dumps([str(content), sorted(lambda_package.reached()), sorted(package.SERVICES)])
    command = [sys.executable, "-I", "-S", "-B", "-c", ALONE, wanted]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    files = json.loads(told.stdout)
    assert {name for name, file in files.items() if not file.startswith(str(content))} == set()
    assert "paramiko" in files
    assert "pytest_fileflow.results.keeper" in files


def test_no_handler_reaches_what_is_left_out():
    roots = {
        name.split(".")[0].lower().replace("_", "-")
        for path in lambda_package.reached().values()
        for name in imported(path, for_types=False)
    }
    assert roots & package.LEFT_OUT == set()
    assert {"boto3", "paramiko", "yaml"} <= roots  # it does see what is imported late


def test_one_more_service_is_kept_for_a_plugin_and_an_unknown_one_refused(wheel, tmp_path, capsys):
    content = tmp_path / "content"
    for name in ("s3", "sqs", "ec2"):
        (content / "botocore" / "data" / name).mkdir(parents=True)
    (content / "bin").mkdir()
    package.prune(content, ["s3", "sqs"])
    assert sorted(path.name for path in (content / "botocore" / "data").iterdir()) == ["s3", "sqs"]
    with pytest.raises(package.PackageError, match="botocore has no service sqsx"):
        package.prune(content, ["s3", "sqsx"])


def test_a_plugin_is_laid_beside_the_project(tmp_path):
    content = tmp_path / "content"
    (content / "botocore").mkdir(parents=True)
    (tmp_path / "ours.py").write_text("def pytest_fileflow_register(registry): ...")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").touch()
    (tmp_path / "botocore.py").touch()
    package.add(tmp_path / "ours.py", content)
    package.add(tmp_path / "theirs", content)
    assert (content / "ours.py").is_file()
    assert (content / "theirs" / "__init__.py").is_file()
    with pytest.raises(package.PackageError, match=r"the zip holds a botocore\.py already"):
        package.add(tmp_path / "botocore.py", content)
    with pytest.raises(package.PackageError, match=r"none\.py is neither a module nor a package"):
        package.add(tmp_path / "none.py", content)


def test_a_lock_made_for_other_requirements_is_refused(wheel, tmp_path, capsys):
    text = package.LOCK.read_text(encoding="utf-8")
    old = tmp_path / "requirements.lock"
    old.write_text(text.replace("paramiko>=", "paramiko>=2."), encoding="utf-8")
    arguments = ["--wheel", str(wheel), "--requirements", str(old), "--output", str(tmp_path / "x.zip")]
    assert package.main(arguments) == 1
    assert "was made for other requirements than the wheel has: --lock makes it anew" in capsys.readouterr().err
    assert package.main([*arguments[:3], str(tmp_path / "none.lock")]) == 1
    assert "none.lock cannot be read: No such file or directory; --lock makes it" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()


def test_a_package_whose_hash_is_another_is_refused(wheel, tmp_path, capsys):
    before, six, after = package.LOCK.read_text(encoding="utf-8").partition("six==")
    lock = tmp_path / "requirements.lock"
    lock.write_text(before + six + re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", after), encoding="utf-8")
    arguments = ["--wheel", str(wheel), "--requirements", str(lock), "--output", str(tmp_path / "x.zip")]
    assert package.main(arguments) == 1
    assert "ash mismatch" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()


def test_a_lock_is_made_with_the_hashes_of_all_platforms(tmp_path):
    made = tmp_path / "requirements.lock"
    package.lock(["cffi>=1.17"], made)
    lines = made.read_text(encoding="utf-8").splitlines()
    assert lines[1] == "# for: cffi>=1.17"
    assert {line.split("==")[0] for line in lines if "==" in line} == {"cffi", "pycparser"}
    assert len([line for line in lines if "--hash=sha256:" in line]) > 20  # a wheel for each Python and machine
    with pytest.raises(package.PackageError, match=r"pip compile .* failed:\nerror: Distribution not found"):
        package.lock(["no-such-requirement @ file:///nowhere"], made)
    assert made.read_text(encoding="utf-8").splitlines() == lines


def test_the_lock_pins_every_requirement_by_hash():
    text = package.LOCK.read_text(encoding="utf-8")
    pinned = [line for line in text.splitlines() if line and line[0] not in "# "]
    assert all("==" in line for line in pinned)
    assert all(line.endswith("\\") for line in pinned), "each has a hash"
    assert {line.split("==")[0] for line in pinned} & package.LEFT_OUT == set()


def test_what_is_no_wheel_is_refused(tmp_path, capsys):
    nothing = tmp_path / "nothing.whl"
    nothing.write_bytes(b"no zip")
    assert package.main(["--wheel", str(nothing), "--output", str(tmp_path / "x.zip")]) == 1
    assert f"{nothing} is no wheel" in capsys.readouterr().err


def test_what_lambda_would_refuse_is_said_before_it_does(tmp_path, monkeypatch, capsys):
    content = tmp_path / "content"
    content.mkdir()
    (content / "large.py").write_bytes(b"\0" * 3000)
    archive = tmp_path / "large.zip"
    package.pack(content, archive)
    package.check_sizes(archive)
    monkeypatch.setattr(package, "MOST_ZIPPED", 100)
    with pytest.raises(package.PackageError, match=r"have the functions take it from there \(s3_bucket, s3_key\)"):
        package.check_sizes(archive)
    package.check_sizes(archive, to_bucket=True)
    monkeypatch.setattr(package, "MOST_UNZIPPED", 2999)
    with pytest.raises(package.PackageError, match="layers included"):
        package.check_sizes(archive, to_bucket=True)
