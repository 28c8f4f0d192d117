"""Makes a flow of what the schema and the rules accepted, with the contract's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.rules import PLACEHOLDER
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.model import (
    CheckSpec,
    Flow,
    S3Location,
    SftpLocation,
    TestData,
    Transfer,
    Validation,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_fileflow.model import Location

Config = dict[str, Any]

_MAX_GRACE_SECONDS = 60.0
_SFTP_STABLE_SECONDS = 2.0  # an SFTP server shows a file while it is still being written


def build(config: Config, origin: str) -> Flow:
    """Return the flow of a config that the schema and the rules accepted."""
    testdata = config.get("testdata", {})
    target = _location(config["target"])
    return Flow(
        flow_id=config["flow_id"],
        source=_location(config["source"]),
        target=target,
        transfer=_transfer(config.get("transfer", {})),
        validation=_validation(config.get("validation", {}), target),
        testdata=_testdata(testdata),
        version=_whole(config.get("version")),
        tags=tuple(dict.fromkeys([*config.get("tags", ()), *testdata.get("tags", ())])),
        alerts=_without_notes(config.get("alerts", {})),
        origin=origin,
        **_given(config, ("enabled", "description", "owner")),
    )


def _given(config: Mapping[str, Any], names: Iterable[str]) -> Config:
    """Return what is given of some keys, so that the model's defaults stand for the others."""
    return {name: config[name] for name in names if name in config}


def _without_notes(config: Mapping[str, Any]) -> Config:
    return {name: value for name, value in config.items() if not name.startswith("x-")}


def _whole(value: float | None) -> int | None:
    """Return a whole number as an int; to JSON Schema 22.0 is an integer too."""
    return None if value is None else int(value)


def _location(config: Config) -> Location:
    if config["type"] == "S3":
        # a placeholder is only accepted in the sandbox, where S3 still wants a name that may be one
        bucket = PLACEHOLDER.sub(lambda match: match[1].lower().replace("_", "-"), config["bucket"])
        return S3Location(bucket=bucket, **_given(config, ("prefix", "kms_key_arn")))
    numbers = {name: int(config[name]) for name in ("port", "max_sessions") if name in config}
    host_key = config.get("host_key")
    return SftpLocation(
        host=config["host"],
        username=config["username"],
        dir=config["dir"],
        secret_arn=config["secret_arn"],
        host_key=None if host_key is not None and PLACEHOLDER.fullmatch(host_key) else host_key,
        **numbers,
    )


def _transfer(config: Config) -> Transfer:
    trigger = config.get("trigger_file", {})
    return Transfer(
        mode=config.get("mode", "invoke" if "lambda_arn" in config else "event"),
        trigger_name=trigger.get("name", Transfer.trigger_name),
        trigger_content=trigger.get("content", Transfer.trigger_content),
        **_given(config, ("lambda_arn", "invocation", "payload", "timeout_seconds")),
    )


def _validation(config: Config, target: Location) -> Validation:
    expected = config.get("expect_within_seconds", Validation.expect_within_seconds)
    stable = _SFTP_STABLE_SECONDS if isinstance(target, SftpLocation) else 0.0
    return Validation(
        expect_within_seconds=expected,
        grace_seconds=config.get("grace_seconds", min(expected / 10, _MAX_GRACE_SECONDS)),
        post_arrival_wait_seconds=config.get("post_arrival_wait_seconds", stable),
        size_tolerance_bytes=int(config.get("size_tolerance_bytes", Validation.size_tolerance_bytes)),
        checks=tuple(_check(each) for each in config.get("checks", ())),
        **_given(config, ("checksum",)),
    )


def _check(config: str | Config) -> CheckSpec:
    if isinstance(config, str):
        return CheckSpec(config)
    options = _without_notes(config)
    return CheckSpec(options.pop("name"), options)


def _testdata(config: Config) -> TestData:
    return TestData(
        variants=_variants(config),
        **_given(config, ("pattern", "filename_prefix", "filename", "delete_after")),
    )


def _variants(config: Config) -> tuple[Variant, ...]:
    if "sizes" in config:
        return tuple(Variant(name, parse_size(size)) for name, size in config["sizes"].items())
    if "size_bytes" in config:
        return (Variant("", parse_size(config["size_bytes"])),)
    return TestData.variants
