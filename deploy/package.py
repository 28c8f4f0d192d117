"""Builds the one zip that all Lambda functions share: the project's wheel and what it needs there, for their platform.

    python deploy/package.py --arch arm64 --python 3.13 --output build/fileflow-lambda-arm64.zip
    python3.13 deploy/package.py --compile   # with bytecode: functions start in half the time
    python deploy/package.py --lock          # pin anew what the zip holds, after the project's requirements changed

The same wheel, lock and Python make the same bytes, so that Terraform replaces functions only for a reason.
It needs uv (``pip install uv``): pip asks the machine that builds, not the one that runs, which requirements apply.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = Path(__file__).with_name("requirements.lock")
CONTAINER_LOCK: Final = Path(__file__).parent / "container" / "requirements.lock"

# The project's requirements that no handler reaches; a test imports every module that one does reach without them.
LEFT_OUT: Final = frozenset(
    ("click", "duckdb", "jinja2", "markupsafe", "pytest", "pytest-html", "pytest-timeout", "pytest-xdist")
)
# The services that the code makes clients for, which a test compares, and STS, by which a plugin takes on a role. Of
# the others botocore's descriptions are left out: half of the zip.
SERVICES: Final = frozenset(
    ("cloudwatch", "dynamodb", "lambda", "logs", "s3", "secretsmanager", "sns", "ssm", "stepfunctions", "sts")
)
PYTHONS: Final = ("3.12", "3.13", "3.14")  # the runtimes on Amazon Linux 2023; on the one before glibc is too old
ARCHITECTURES: Final = {"arm64": "aarch64-manylinux_2_34", "x86_64": "x86_64-manylinux_2_34"}

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_ZIPPED: Final = 50 * 1024**2
MOST_UNZIPPED: Final = 250 * 1024**2
MIB: Final = 1024**2

_TASK_ROOT: Final = "/var/task"  # where Lambda unpacks; bytecode would name the folder that it was made in
_FIRST_STAMP: Final = 315532800  # 1980-01-01, before which a zip knows no time
# Written by whoever installs, not by whoever made the package; RECORD lists them, and what was left out.
_INSTALLERS_OWN: Final = frozenset(("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"))
_LOCKED_FOR: Final = "# for: "


class PackageError(Exception):
    """There is no zip, or none that Lambda would take."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the zip, or make the lock, and say what became of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--arch", choices=sorted(ARCHITECTURES), default="arm64", help="of the functions (arm64)")
    parser.add_argument("--python", choices=PYTHONS, default="3.13", help="the functions' runtime (3.13)")
    parser.add_argument("--wheel", type=Path, help="the project's wheel; without it, one is built from the checkout")
    parser.add_argument("--output", type=Path, help="the zip (build/fileflow-lambda-ARCH.zip)")
    more = "keep botocore's description of one more service, for a plugin"
    own = "a module (NAME.py) or package (folder) of your own, for FILEFLOW_PLUGINS"
    parser.add_argument("--plugin", action="append", default=[], type=Path, metavar="PATH", help=own)
    parser.add_argument("--service", action="append", default=[], metavar="NAME", help=more)
    faster = (
        "compile as well: a cold start takes half the time, the zip a third more (run it by the Python of --python)"
    )
    parser.add_argument("--compile", action="store_true", dest="compiled", help=faster)
    parser.add_argument("--s3", action="store_true", help="the zip goes into a bucket: it may have more than 50 MB")
    parser.add_argument("--requirements", type=Path, default=LOCK, help="the lock (beside this script)")
    parser.add_argument("--container-requirements", type=Path, default=CONTAINER_LOCK, help="the container's lock")
    parser.add_argument("--lock", action="store_true", help="make both locks, and no zip")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheel = options.wheel or build_wheel(Path(folder))
            if options.lock:
                lock(needed(wheel), options.requirements)
                lock(needed(wheel, frozenset()), options.container_requirements)
                print(f"{options.requirements}, {options.container_requirements}: pinned for {', '.join(PYTHONS)}")
                return 0
            output = options.output or Path("build", f"fileflow-lambda-{options.arch}.zip")
            content = Path(folder, "content")
            install(wheel, options.requirements, content, options.arch, options.python)
            for plugin in options.plugin:
                add(plugin, content)
            prune(content, SERVICES.union(options.service))
            if options.compiled:
                compile_all(content, options.python)
            pack(content, output)
        print(f"{output}: {sizes(output)}, {options.arch}, Python {options.python}")
        check_sizes(output, to_bucket=options.s3)
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build_wheel(folder: Path) -> Path:
    """Return the wheel of this checkout, built into a folder."""
    _run(*_uv(), "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def needed(wheel: Path, left_out: frozenset[str] = LEFT_OUT) -> list[str]:
    """Return the requirements of a wheel but for those left out, sorted.

    Raises:
        PackageError: this is no wheel, or it no longer requires what is left out here.

    """
    try:
        with zipfile.ZipFile(wheel) as opened:
            (name,) = (name for name in opened.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            metadata = HeaderParser().parsestr(opened.read(name).decode())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise PackageError(f"{wheel} is no wheel: {error}") from error
    own = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    unknown = left_out - {_name(line) for line in own}
    if unknown:
        raise PackageError(f"LEFT_OUT names what the project does not require: {', '.join(sorted(unknown))}")
    return sorted((_normal(line) for line in own if _name(line) not in left_out), key=_name)


def lock(wanted: Sequence[str], path: Path) -> None:
    """Write the versions and hashes of requirements and all that they need, for each runtime and architecture."""
    told = _run(
        *(*_uv(), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version", PYTHONS[0]),
        *("--no-header", "--only-binary", ":all:", "--upgrade", "-"),
        given="\n".join(wanted),
    )
    first = "# What is installed besides the project: made by python deploy/package.py --lock"
    path.write_text(f"{first}\n{_LOCKED_FOR}{', '.join(wanted)}\n{told}", encoding="utf-8")


def install(wheel: Path, requirements: Path, content: Path, arch: str, python: str) -> None:
    """Lay the wheel and what it needs into a folder, as they are on the functions' platform.

    Raises:
        PackageError: the lock was made for other requirements, or there is no wheel of this version for this platform.

    """
    try:
        text = requirements.read_text(encoding="utf-8")
    except OSError as error:
        raise PackageError(f"{requirements} cannot be read: {error.strerror}; --lock makes it") from error
    locked_for = [line.removeprefix(_LOCKED_FOR) for line in text.splitlines() if line.startswith(_LOCKED_FOR)]
    if locked_for != [", ".join(needed(wheel))]:
        raise PackageError(f"{requirements} was made for other requirements than the wheel has: --lock makes it anew")
    into = (
        *(*_uv(), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(content)),
        *("--python-platform", ARCHITECTURES[arch], "--python-version", python, "--only-binary", ":all:"),
    )
    _run(*into, "--require-hashes", "--requirements", str(requirements))
    _run(*into, "--no-deps", "--reinstall", str(wheel))


def add(plugin: Path, content: Path) -> None:
    """Lay a module or a package of somebody else's beside the project's.

    Raises:
        PackageError: there is none, or the zip holds something of that name.

    """
    place = content / plugin.resolve().name
    if place.exists() or place.with_suffix("").exists():
        raise PackageError(f"the zip holds a {place.name} already: give {plugin} another name")
    if plugin.is_dir():
        shutil.copytree(plugin, place)
    elif plugin.suffix == ".py" and plugin.is_file():
        shutil.copyfile(plugin, place)
    else:
        raise PackageError(f"{plugin} is neither a module nor a package")


def prune(content: Path, services: Iterable[str]) -> None:
    """Remove what the functions never use, and what differs from one building machine to another; licenses stay.

    Raises:
        PackageError: botocore knows no such service.

    """
    data = content / "botocore" / "data"
    kept = set(services)
    known = {place.name for place in data.iterdir() if place.is_dir()}
    if not kept <= known:
        raise PackageError(f"botocore has no service {', '.join(sorted(kept - known))}")
    for name in known - kept:
        shutil.rmtree(data / name)
    shutil.rmtree(content / "bin", ignore_errors=True)  # programs, with the path of the building machine's Python
    for place in sorted(content.rglob("*")):
        if place.name == "__pycache__":
            shutil.rmtree(place)
        elif place.name in _INSTALLERS_OWN and place.parent.suffix == ".dist-info":
            place.unlink()
    (content / ".lock").unlink(missing_ok=True)


def compile_all(content: Path, python: str) -> None:
    """Lay bytecode beside every module: a function may not write its own, and would compile at every cold start.

    It is never compared with its source, whose time in the zip is none. What it is made from decides its bytes.

    Raises:
        PackageError: this is another Python than the functions', which would not read it.

    """
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    if mine != python:
        raise PackageError(f"Python {mine} cannot compile for Python {python}: run this by python{python}")
    _run(
        *(sys.executable, "-I", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"),
        *("-s", str(content), "-p", _TASK_ROOT, str(content)),
    )


def pack(content: Path, output: Path) -> None:
    """Write a folder as a zip whose bytes follow from the files' names and contents alone."""
    output.parent.mkdir(parents=True, exist_ok=True)
    stamp = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), _FIRST_STAMP))[:6]
    unfinished = output.with_name(f"{output.name}.part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        places = {path.relative_to(content).as_posix(): path for path in content.rglob("*") if path.is_file()}
        for name, place in sorted(places.items()):
            entry = zipfile.ZipInfo(name, stamp)
            entry.external_attr = 0o100644 << 16  # a file that all may read: Lambda's user is not the one who built
            entry.create_system = 3  # Unix, wherever it is built
            opened.writestr(entry, place.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    unfinished.replace(output)


def sizes(archive: Path) -> str:
    """Return in words how large a zip is."""
    zipped, unzipped = _sizes(archive)
    return f"{zipped / MIB:.1f} MB zipped, {unzipped / MIB:.1f} MB unzipped"


def check_sizes(archive: Path, *, to_bucket: bool = False) -> None:
    """Refuse what Lambda would refuse.

    Raises:
        PackageError: it is too large, for a direct upload or at all.

    """
    zipped, unzipped = _sizes(archive)
    if unzipped > MOST_UNZIPPED:
        raise PackageError(
            f"{archive} has {unzipped / MIB:.1f} MB unzipped, and Lambda takes {MOST_UNZIPPED // MIB} MB at most,"
            " layers included: leave out a requirement, or a --service"
        )
    if zipped > MOST_ZIPPED and not to_bucket:
        raise PackageError(
            f"{archive} has {zipped / MIB:.1f} MB zipped, and a direct upload takes {MOST_ZIPPED // MIB} MB at most:"
            " put it into a bucket, have the functions take it from there (s3_bucket, s3_key), and build it with --s3"
        )


def _sizes(archive: Path) -> tuple[int, int]:
    with zipfile.ZipFile(archive) as opened:
        return archive.stat().st_size, sum(entry.file_size for entry in opened.infolist())


def _name(requirement: str) -> str:
    """Return the normalized name of a requirement.

    >>> _name("Jinja2>=3.1"), _name("typing_extensions (>=4) ; python_version < '3.13'")
    ('jinja2', 'typing-extensions')
    """
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found.group() if found else "").lower()


def _normal(requirement: str) -> str:
    """Return a requirement in the form that does not depend on what built the wheel."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return f"{_name(requirement)}{requirement[found.end() if found else 0 :].replace(' ', '')}"


def _uv() -> tuple[str, ...]:
    if importlib.util.find_spec("uv"):
        return sys.executable, "-m", "uv"
    program = shutil.which("uv")
    if program is None:
        raise PackageError("this needs uv: pip install uv")
    return (program,)


def _run(*command: str, given: str | None = None) -> str:
    ended = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise PackageError(f"{' '.join(command)} failed:\n{ended.stderr.strip()}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
