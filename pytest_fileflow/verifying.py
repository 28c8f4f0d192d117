"""Judges a file that arrived: its bytes in one pass, then what lies around them, then whether it came twice."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow import checks, diagnosis
from pytest_fileflow.checks import PlaceCheck
from pytest_fileflow.checks.kms import Kms
from pytest_fileflow.diagnosis import copies
from pytest_fileflow.due import Due
from pytest_fileflow.model import PASSED, CheckResult, Observed, S3Location
from pytest_fileflow.streams import Changed, read, sidecar_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.arrival import Arrived
    from pytest_fileflow.checks import Layer, StreamCheck
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Flow, Run, Stat
    from pytest_fileflow.streams import Tools

    Made = Sequence[tuple[str, StreamCheck | Layer | PlaceCheck]]

SECOND_LOOK_SECONDS = 2.0  # SFTP's modification time has a resolution of one second


def verify(flow: Flow, run: Run, arrived: Arrived, tools: Tools) -> Run:
    """Judge what arrived: size and SHA-256 as far as they are known, latency, further checks; sets the verdict.

    Raises Changed where the file is no longer the one that was seen to arrive.
    """
    target, due, rules = tools.endpoint(flow.target), Due.of(flow, run), flow.validation
    expected = _expected(flow, due, tools)
    made, sha256 = _made(flow, expected, tools), checks.Sha256Check(expected)
    streaming = _streaming(made)
    is_read = rules.checksum == "SHA256" or bool(streaming)
    # Reading holds the file to what was seen; a listing does not tell how an object is encrypted.
    is_told_all = is_read and len(streaming) == len(made)
    stat = arrived.stat if is_told_all else _still_there(target, arrived.stat)
    with checks.Chain(streaming, expected.inside) as chain:
        if is_read:
            _feed(target, stat, (sha256, chain), tools)
        of_bytes = chain.results()
    results = [] if due.size is None else [checks.size_check(expected, stat.size)]
    if rules.checksum == "SHA256" and due.sha256 is not None:
        results.append(sha256.result())
        if not results[-1].passed:
            _confirm(target, stat, sha256.hexdigest, tools)
    elif due.size is None and not all(result.passed for result in of_bytes):
        _look_again(target, stat, tools)
    results.append(checks.latency_check(rules.expect_within_seconds, arrived.latency))
    delivery = checks.Delivery(target, stat, due, run, sidecar_contents(run), tools.clock, tools.cancelled)
    results += _in_order(made, iter(of_bytes), delivery)
    digest = sha256.hexdigest if rules.checksum == "SHA256" else None
    run = dataclasses.replace(
        run,
        observed=Observed(flow.target.uri(stat.name), stat.size, digest),
        latency=arrived.latency,
        checks=tuple(results),
    )
    run = run.with_stamp("verified", tools.clock.stamp())
    intact = all(check.passed or check.name == "latency" for check in results)
    return judge(flow, _with_copies(flow, run, stat, tools) if intact else run, tools)


def _expected(flow: Flow, due: Due, tools: Tools) -> checks.Expected:
    rules = flow.validation
    # Where the bytes are not compared, those of the files inside are not either.
    inside = due.inside if rules.checksum == "SHA256" else ()
    return checks.Expected(
        *(due.size, due.sha256, rules.size_tolerance_bytes, inside, due.rows, due.header),
        is_csv=due.is_csv,
        is_utf16=due.is_utf16,
        delimiter=due.delimiter,
        credentials=tools.credentials,
    )


def _made(flow: Flow, expected: checks.Expected, tools: Tools) -> Made:
    specs, target = flow.validation.checks, flow.target
    made: list[tuple[str, StreamCheck | Layer | PlaceCheck]] = []
    try:
        for spec in specs:
            made.append((spec.name, tools.registry.check_for(spec.name)(spec.options, expected)))  # noqa: PERF401
    except BaseException:
        checks.Chain(_streaming(made)).close()
        raise
    has_key = isinstance(target, S3Location) and target.kms_key_arn is not None
    if has_key and all(spec.name != "kms" for spec in specs):
        return [*made, ("kms", Kms())]
    return made


def _streaming(made: Made) -> list[tuple[str, StreamCheck | Layer]]:
    return [(name, check) for name, check in made if not isinstance(check, PlaceCheck)]


def require_checks(flow: Flow, run: Run, tools: Tools) -> None:
    """Raise what keeps a further check from being made: its secret, its program, something to compare with."""
    made = _made(flow, _expected(flow, Due.of(flow, run), tools), tools)
    checks.Chain(_streaming(made)).close()


def _in_order(made: Made, of_bytes: Iterator[CheckResult], delivery: checks.Delivery) -> Iterator[CheckResult]:
    """Yield the results in the order of the checks; those of the place are asked for now."""
    for _, check in made:
        yield check.look(delivery) if isinstance(check, PlaceCheck) else next(of_bytes)


def _with_copies(flow: Flow, run: Run, stat: Stat, tools: Tools) -> Run:
    """Add the check for a second delivery; a folder that cannot be listed gives none."""
    found = copies.look(flow, run, stat, run.observed.sha256 if run.observed else None, tools)
    if found is None:
        return run
    run = dataclasses.replace(run, checks=(*run.checks, found.check))
    strays = found.strays(flow.target, run.run_id)
    return dataclasses.replace(run, strays=strays)


def judge(flow: Flow, run: Run, tools: Tools) -> Run:
    """Set the verdict that follows from a run's checks."""
    failed = next((check for check in _by_weight(run.checks) if not check.passed), None)
    if failed is None:
        return dataclasses.replace(run, verdict=PASSED)
    return dataclasses.replace(run, verdict=diagnosis.of_check(flow, run, failed, tools))


def _by_weight(results: tuple[CheckResult, ...]) -> list[CheckResult]:
    # A wrong file is the graver fault: "late" is said only of a file that arrived intact.
    return sorted(results, key=lambda check: check.name == "latency")


def _still_there(target: Endpoint, seen: Stat) -> Stat:
    stat = target.stat(seen.name)
    if stat is None or (stat.size, stat.version) != (seen.size, seen.version):
        raise Changed
    return stat


class _Reader(Protocol):
    def feed(self, chunk: bytes) -> None: ...


def _feed(target: Endpoint, stat: Stat, readers: tuple[_Reader, ...], tools: Tools) -> None:
    for chunk in read(target, stat, tools):
        for reader in readers:
            reader.feed(chunk)


def _confirm(target: Endpoint, stat: Stat, digest: str, tools: Tools) -> None:
    """Read again what does not match: a file that some writer still works on is not corrupt but not whole."""
    again = checks.Sha256Check(checks.Expected(stat.size, digest, 0))
    _feed(target, _look_again(target, stat, tools), (again,), tools)
    if again.hexdigest != digest:
        raise Changed
    _still_there(target, stat)


def _look_again(target: Endpoint, stat: Stat, tools: Tools) -> Stat:
    """Wait a moment, and return the file if it is still the same one."""
    tools.clock.sleep(SECOND_LOOK_SECONDS)
    return _still_there(target, stat)
