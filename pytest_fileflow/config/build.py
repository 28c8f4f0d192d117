"""Makes a flow of what the schema and the rules accepted, with the contract's defaults."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.arns import PLACEHOLDER
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.model import (
    CheckSpec,
    Contract,
    Flow,
    Refusal,
    S3Location,
    SftpLocation,
    TestData,
    Transfer,
    Validation,
    Variant,
)
from pytest_fileflow.payload.fields import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_fileflow.model import Location

Config = dict[str, Any]

EMPTY, SEED = "empty", "seed"
_OF_MADE_DATA = frozenset({*OPTIONS, "seed", "wrap", "awkward"})

_MAX_GRACE_SECONDS = 60.0
_SFTP_STABLE_SECONDS = 2.0  # an SFTP server shows a file while it is still being written


def build(config: Config, origin: str, folder: Path | None = None) -> Flow:
    """Return the flow of a config that the schema and the rules accepted; ``folder`` is where its file lies."""
    testdata = config.get("testdata", {})
    target = _location(config["target"])
    return Flow(
        flow_id=config["flow_id"],
        source=_location(config["source"]),
        target=target,
        transfer=_transfer(config.get("transfer", {})),
        validation=_validation(config.get("validation", {}), target),
        testdata=_testdata(testdata, folder),
        version=_whole(config.get("version")),
        enabled=config.get("enabled", Flow.enabled),
        description=config.get("description", Flow.description),
        owner=config.get("owner", Flow.owner),
        tags=tuple(dict.fromkeys([*config.get("tags", ()), *testdata.get("tags", ())])),
        alerts=_without_notes(config.get("alerts", {})),
        origin=origin,
        contract=_contract(config),
        negative=tuple(map(_refusal, config.get("negative", ()))),
        faults=tuple(config.get("sandbox", {}).get("faults", ())),
    )


def _without_notes(config: Mapping[str, Any]) -> Config:
    return {name: value for name, value in config.items() if not name.startswith("x-")}


def _whole(value: float | None) -> int | None:
    """Return a whole number as an int; to JSON Schema 22.0 is an integer too."""
    return None if value is None else int(value)


def _location(config: Config) -> Location:
    if config["type"] == "S3":
        return S3Location(
            bucket=_bucket(config["bucket"]),
            prefix=config.get("prefix", S3Location.prefix),
            kms_key_arn=config.get("kms_key_arn"),
        )
    host_key = config.get("host_key")
    return SftpLocation(
        host=config["host"],
        username=config["username"],
        dir=config["dir"],
        secret_arn=config["secret_arn"],
        port=int(config.get("port", SftpLocation.port)),
        host_key=None if host_key is not None and PLACEHOLDER.fullmatch(host_key) else host_key,
        max_sessions=int(config.get("max_sessions", SftpLocation.max_sessions)),
        max_runs=_whole(config.get("max_runs")),
    )


def _bucket(name: str) -> str:
    """Return a bucket's name; a placeholder is only accepted in the sandbox, where S3 still wants a name."""
    if "<" not in name:
        return name
    return PLACEHOLDER.sub(lambda match: match[1].lower().replace("_", "-"), name)


def _transfer(config: Config) -> Transfer:
    trigger = config.get("trigger_file", {})
    return Transfer(
        mode=config.get("mode", "invoke" if "lambda_arn" in config else "event"),
        lambda_arn=config.get("lambda_arn"),
        invocation=config.get("invocation", Transfer.invocation),
        payload=config.get("payload", {}),
        timeout_seconds=config.get("timeout_seconds"),
        trigger_name=trigger.get("name", Transfer.trigger_name),
        trigger_content=trigger.get("content", Transfer.trigger_content),
    )


def _validation(config: Config, target: Location) -> Validation:
    expected = config.get("expect_within_seconds", Validation.expect_within_seconds)
    stable = _SFTP_STABLE_SECONDS if isinstance(target, SftpLocation) else 0.0
    validation = _plain_validation(
        expected,
        config.get("grace_seconds", min(expected / 10, _MAX_GRACE_SECONDS)),
        config.get("checksum", Validation.checksum),
        int(config.get("size_tolerance_bytes", Validation.size_tolerance_bytes)),
        config.get("post_arrival_wait_seconds", stable),
    )
    checks, unwraps = config.get("checks"), config.get("unwraps")
    if not checks and not unwraps:
        return validation
    return dataclasses.replace(validation, checks=tuple(map(_check, checks or ())), unwraps=tuple(unwraps or ()))


# Flows have much in common. What is equal is made once, so that thousands of them take less time and memory.
@functools.lru_cache(typed=True)
def _plain_validation(*values: Any) -> Validation:
    return Validation(*values)


def _contract(config: Config) -> Contract:
    return Contract(config.get("contract", {}).get("probe_target", Contract.probe_target))


def _refusal(config: str | Config) -> Refusal:
    if isinstance(config, str):
        return Refusal(config)
    options = _without_notes(config)
    return Refusal(options.pop("name"), options)


def _check(config: str | Config) -> CheckSpec:
    if isinstance(config, str):
        return CheckSpec(config)
    options = _without_notes(config)
    return CheckSpec(options.pop("name"), options)


def _testdata(config: Config, folder: Path | None) -> TestData:
    testdata = _shared_testdata(
        _variants(config),
        config.get("pattern", TestData.pattern),
        config.get("filename_prefix", TestData.filename_prefix),
        config.get("filename", TestData.filename),
        config.get("delete_after", TestData.delete_after),
    )
    if _OF_MADE_DATA.isdisjoint(config):
        return testdata
    from pytest_fileflow.config import made_data

    return made_data.with_options(testdata, config, folder)


@functools.lru_cache
def _shared_testdata(*values: Any) -> TestData:
    return TestData(*values)


def _variants(config: Config) -> tuple[Variant, ...]:
    if "sizes" in config:
        return tuple(Variant(name, parse_size(size)) for name, size in config["sizes"].items())
    if "size_bytes" in config:
        return _only(config["size_bytes"])
    if config.get("pattern") == EMPTY:
        return _only(0)
    return TestData.variants


@functools.lru_cache(typed=True)
def _only(size: str | float) -> tuple[Variant, ...]:
    return (Variant("", parse_size(size)),)
