"""Cases and runs as plain JSON and back, for hosts that carry a run from one process to the next.

What has its default is left out, so that a run takes little room where that is bounded. ``load_case``
and ``load_run`` read what ``dump`` made of a case and a run; they trust it, as one part of the product
trusts another, and raise KeyError, TypeError, ValueError or AttributeError for anything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pytest_fileflow.model import (
    Case,
    CheckResult,
    CheckSpec,
    Contract,
    Flow,
    Latency,
    Location,
    Observed,
    PayloadFile,
    Refusal,
    Rehearsal,
    Run,
    S3Location,
    SftpLocation,
    Side,
    Stat,
    TestData,
    Transfer,
    Validation,
    Variant,
    Verdict,
    Wrap,
)

Plain = dict[str, Any]
Makers = Mapping[str, Callable[[Any], Any]]

_LOCATIONS: Mapping[str, type[S3Location] | type[SftpLocation]] = {
    S3Location.type: S3Location,
    SftpLocation.type: SftpLocation,
}


def dump(value: object) -> Any:
    """Return a value of the model as plain JSON: dataclasses become objects, tuples become arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = {} if not isinstance(value, (S3Location, SftpLocation)) else {"type": value.type}
        return {**told, **{field.name: dump(getattr(value, field.name)) for field in _told(value)}}
    if isinstance(value, Mapping):
        return {str(name): dump(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    return value


def _told(value: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass that have another value than their default."""
    return [field for field in dataclasses.fields(value) if getattr(value, field.name) != _default(field)]


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def load_case(told: Plain) -> Case:
    """Return a case."""
    parts: Plain = {"flow": load_flow(told["flow"]), "variant": _variant(told["variant"])}
    if told.get("refusal"):
        parts["refusal"] = Refusal(**told["refusal"])
    if told.get("rehearsal"):
        parts["rehearsal"] = Rehearsal(**told["rehearsal"])
    return Case(**{**told, **parts})


def load_flow(told: Plain) -> Flow:
    """Return a flow."""
    makers: Makers = {
        "source": _location,
        "target": _location,
        "transfer": lambda part: Transfer(**part),
        "validation": _validation,
        "testdata": _testdata,
        "contract": lambda part: Contract(**part),
        "negative": lambda parts: tuple(Refusal(**part) for part in parts),
        "tags": tuple,
        "faults": tuple,
    }
    return Flow(**{name: makers[name](part) if name in makers else part for name, part in told.items()})


def load_run(told: Plain) -> Run:
    """Return a run, as far as it had come."""
    makers: Makers = {
        "file": PayloadFile.from_dict,
        "written": lambda names: tuple(_named(side, name) for side, name in names),
        "observed": lambda part: Observed(**part),
        "latency": lambda part: Latency(**part),
        "checks": lambda parts: tuple(CheckResult(**part) for part in parts),
        "residue": tuple,
        "strays": _strays,
        "verdict": _verdict,
    }
    return Run(**{name: makers[name](part) if name in makers else part for name, part in told.items()})


def load_verdict(told: Plain) -> Verdict:
    """Return a verdict."""
    return _verdict(told)


def load_stat(told: Plain | None) -> Stat | None:
    """Return what an endpoint showed of a file, or None."""
    return None if told is None else Stat(**told)


def _location(told: Plain) -> Location:
    fields = {name: value for name, value in told.items() if name != "type"}
    return _LOCATIONS[told["type"]](**fields)


def _validation(told: Plain) -> Validation:
    checks = tuple(CheckSpec(**part) for part in told.get("checks", ()))
    return Validation(**{**told, "checks": checks, "unwraps": tuple(told.get("unwraps", ()))})


def _variant(told: Plain) -> Variant:
    return Variant(**told)


def _testdata(told: Plain) -> TestData:
    parts: Plain = {
        "awkward": tuple(told.get("awkward", ())),
        "wrap": tuple(Wrap(**part) for part in told.get("wrap", ())),
    }
    if "variants" in told:
        parts["variants"] = tuple(map(_variant, told["variants"]))
    return TestData(**{**told, **parts})


def _verdict(told: Plain) -> Verdict:
    return Verdict(**{**told, "strays": _strays(told.get("strays", ()))})


def _strays(told: Any) -> tuple[tuple[Location, str], ...]:
    return tuple((_location(place), name) for place, name in told)


def _named(side: Side, name: str) -> tuple[Side, str]:
    return side, name
