"""Runs Terraform for tests: with a copy of the AWS provider that lies on this machine, and asks no registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
MODULE: Final = DEPLOY / "terraform"
EXAMPLE: Final = MODULE / "examples" / "complete"

REQUIRED: Final = "FILEFLOW_REQUIRE_TERRAFORM"
"""With 1 here, what cannot run fails instead of being skipped."""

MIRROR: Final = "FILEFLOW_TERRAFORM_MIRROR"
"""A folder with a copy of the provider, as ``terraform providers mirror`` writes it; it is searched for otherwise."""

_NAME: Final = "registry.terraform.io/hashicorp/aws"
_LIKELY: Final = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
_SECONDS: Final = 600
_CHANGES: Final = 2  # what plan -detailed-exitcode ends with where it is not empty


class TerraformFailed(AssertionError):
    """Terraform ended with an error; the message is its own."""


def required_program() -> str:
    """Return the path of ``terraform``; skips, or fails, the test where there is none."""
    return shutil.which("terraform") or _give_up("there is no terraform on PATH")


def required_mirror() -> Path:
    """Return the folder of a copy of the provider; skips, or fails, the test where there is none."""
    return _mirror() or _give_up(f"no copy of the AWS provider lies on this machine; {MIRROR} can name its folder")


def _give_up(reason: str) -> NoReturn:
    text = f"TERRAFORM WAS NOT RUN: {reason}"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(text)
    pytest.skip(text)


@lru_cache(maxsize=1)
def _mirror() -> Path | None:
    named = [os.environ[name] for name in (MIRROR, "TF_PLUGIN_CACHE_DIR") if os.environ.get(name)]
    for folder in (*named, *_LIKELY):
        place = Path(folder).expanduser()
        if any((place / _NAME).glob("*")):
            return place
    return _anywhere()


def _anywhere() -> Path | None:
    """Find the provider by its name, in the file system of the root folder."""
    words = ["find", "/", "-xdev", "-type", "f", "-path", f"*/{_NAME}/*", "-name", "terraform-provider-aws*", "-print"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(found[0].partition(f"/{_NAME}/")[0]) if found else None


def copied(folder: Path) -> Path:
    """Return a copy of the module with its examples below a folder, so that runs leave nothing beside the sources."""
    target = folder / "deploy" / "terraform"
    shutil.copytree(MODULE, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return target


def tiny_package(folder: Path) -> Path:
    """Return a zip that stands for the package, where no function is run."""
    path = folder / "fileflow.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("pytest_fileflow/aws/__init__.py"), "")
    return path


@dataclass
class Terraform:
    """A root module in a folder of its own.

    ``environment`` says where AWS is, as :meth:`pytest_fileflow.sandbox.Sandbox.environment` does; nothing of the
    process's own AWS configuration is handed on.
    """

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = _SECONDS
    _given: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._program = required_program()
        self._configuration = self.root / "tests.tfrc"
        source = f'filesystem_mirror {{\n    path = "{required_mirror()}"\n  }}'
        self._configuration.write_text(f"disable_checkpoint = true\n\nprovider_installation {{\n  {source}\n}}\n")
        self._run("init", "-input=false")

    def validate(self) -> None:
        """Raise TerraformFailed where the module is not valid."""
        self._run("validate")

    def plan(self, variables: Mapping[str, object], *files: str) -> dict[str, Any]:
        """Return a plan as ``terraform show -json`` prints it."""
        self._run("plan", "-input=false", "-lock=false", "-out=tests.tfplan", *self._words(variables, files))
        plan: dict[str, Any] = json.loads(self._run("show", "-json", "tests.tfplan"))
        return plan

    def apply(self, variables: Mapping[str, object], *files: str) -> None:
        """Make everything; later calls use the same variables."""
        self._given = self._words(variables, files)
        self._run("apply", "-input=false", "-auto-approve", *self._given)

    def plan_is_empty(self) -> bool:
        """Return whether nothing is left to change."""
        return not self.changes()

    def changes(self) -> str:
        """Return what a further plan would change, in Terraform's words; an empty text where that is nothing."""
        words = ("plan", "-input=false", "-detailed-exitcode", *self._given)
        ended = self._ended(*words)
        if ended.returncode not in (0, _CHANGES):
            raise TerraformFailed(f"terraform plan: {ended.stderr.strip() or ended.stdout.strip()}")
        return ended.stdout if ended.returncode == _CHANGES else ""

    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name."""
        told = json.loads(self._run("output", "-json"))
        return {name: each["value"] for name, each in told.items()}

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return what the state holds, the values by address."""
        state = json.loads(self._run("show", "-json"))
        return resources(state.get("values", {}))

    def destroy(self) -> None:
        """Remove everything."""
        self._run("destroy", "-input=false", "-auto-approve", *self._given)

    def _words(self, variables: Mapping[str, object], files: Sequence[str]) -> list[str]:
        path = self.root / "tests.tfvars.json"
        path.write_text(json.dumps(variables))
        return [*(f"-var-file={name}" for name in files), f"-var-file={path.name}"]

    def _run(self, *words: str) -> str:
        ended = self._ended(*words)
        if ended.returncode:
            raise TerraformFailed(f"terraform {words[0]}: {ended.stderr.strip() or ended.stdout.strip()}")
        return ended.stdout

    def _ended(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        own = {
            "TF_CLI_CONFIG_FILE": str(self._configuration),
            "TF_IN_AUTOMATION": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        colour = [] if command in ("show", "output") else ["-no-color"]
        return subprocess.run(
            [self._program, command, *colour, *words],
            cwd=self.root,
            env={**kept, **own, **self.environment},
            capture_output=True,
            text=True,
            timeout=self.seconds,
            check=False,
        )


def resources(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the resources of planned values, or of a state, the values by address without the module's own."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [values.get("root_module", {})]
    while waiting:
        module = waiting.pop()
        waiting += module.get("child_modules", [])
        for each in module.get("resources", []):
            if each["mode"] == "managed":
                found[each["address"].removeprefix("module.fileflow.")] = each.get("values", {})
    return found
