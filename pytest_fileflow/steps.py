"""The life of a run: prepare, seed, trigger, (await arrival), verify, clean up. Each step is (flow, run) -> run.

Nothing here knows pytest, threads or the schedule, so the same steps serve any host that can call
them one after the other.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow import checks, diagnosis, payload, seeds, template
from pytest_fileflow.clock import Clock, format_stamp
from pytest_fileflow.diagnosis import copies
from pytest_fileflow.endpoints import Upload, delete_all, put_all
from pytest_fileflow.errors import CleanupResidue, ConfigInvalid, FileflowError, FlowError, StorageFailed
from pytest_fileflow.model import PASSED, CheckResult, Observed, PayloadFile, Recipe, Run, S3Location, Verdict
from pytest_fileflow.streams import Changed, open_payload, pattern_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.arrival import Arrived
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Case, Flow, Location, Side, Stat
    from pytest_fileflow.streams import Tools

SECOND_LOOK_SECONDS = 2.0  # SFTP's modification time has a resolution of one second


NO_DIGEST = "0" * 64
"""What stands for the SHA-256 of a file that is only planned: making that of a large one takes long."""


def prepare(case: Case, tools: Tools, attempt: int = 1, run_id: str | None = None, *, is_planned: bool = False) -> Run:
    """Name the run and its file, and make its SHA-256, unless it is only planned. Nothing is sent.

    Raises ConfigInvalid where the file name or size cannot be made.
    """
    flow, now = case.flow, tools.clock.utc()
    run_id = run_id or payload.new_run_id()
    recipe = _recipe(case, tools, is_planned=is_planned)
    pattern = pattern_of(recipe, tools)
    name = payload.file_name(flow.testdata, pattern, flow_id=flow.flow_id, run_id=run_id, size=recipe.size, now=now)
    made = payload.Measured(recipe.size, NO_DIGEST) if is_planned else payload.measure(recipe, pattern, run_id)
    plain = not recipe.options and not recipe.wraps
    file = PayloadFile(
        name, made.size, made.sha256, recipe.pattern, made.inside, made.rows, made.header, None if plain else recipe
    )
    run = Run(run_id, flow.flow_id, case.label, flow.direction, attempt, file)
    return run.with_stamp("begun", format_stamp(now)).with_stamp("prepared", tools.clock.stamp())


def _recipe(case: Case, tools: Tools, *, is_planned: bool) -> Recipe:
    data, size = case.flow.testdata, case.variant.size
    options = data.options
    if data.pattern == payload.SEED:
        options, size = (seeds.foreseen if is_planned else seeds.pinned)(options, tools.endpoint)
    return Recipe(data.pattern, size, options, data.wrap)


def prepare_errand(case: Case, tools: Tools, attempt: int = 1, run_id: str | None = None) -> Run:
    """Name the run of a case that sends no file."""
    file = PayloadFile("", 0, "", case.flow.testdata.pattern)
    run = Run(run_id or payload.new_run_id(), case.flow.flow_id, case.label, case.flow.direction, attempt, file)
    return run.with_stamp("prepared", tools.clock.stamp())


def unprepared(case: Case, attempt: int) -> Run:
    """Return the run of a case whose file could not even be named, for its record."""
    file = PayloadFile("", case.variant.size, "", case.flow.testdata.pattern)
    run = Run(payload.new_run_id(), case.flow.flow_id, case.label, case.flow.direction, attempt, file)
    return run.with_stamp("failed", Clock().stamp())


def manifest(run: Run) -> bytes:
    """Return the manifest that is written beside the file, and kept with the results."""
    return payload.manifest(
        flow_id=run.flow_id,
        run_id=run.run_id,
        case=run.case,
        file=run.file,
        created_utc=run.timeline["prepared"],
    )


def check_target(flow: Flow, run: Run, tools: Tools) -> None:
    """Look at the target before anything is sent: a login or permission that fails there is known at once."""
    if tools.endpoint(flow.target).stat(run.file.name) is not None:
        raise StorageFailed(f"{flow.target.uri(run.file.name)} was there before it was sent")


def check_means(flow: Flow, run: Run, tools: Tools) -> None:
    """Look, before anything is sent, at what further checks cannot do without: a secret, a program, rows to count."""
    _further_checks(flow, _expected(flow, run, tools), tools).close()


def enter_ledger(flow: Flow, run: Run) -> Run:
    """Note every name that seeding and transfer may write, before the first byte is sent.

    So an interrupted step is cleaned up too.
    """
    names = (run.file.name, *run.file.sidecars)
    trigger: tuple[tuple[Side, str], ...] = ()
    if flow.transfer.mode == "trigger_file":
        # A transfer that sweeps its source delivers the trigger file as well.
        trigger = (("source", trigger_name(flow, run)), ("target", trigger_name(flow, run)))
    sides: tuple[Side, ...] = ("source", "target")
    return dataclasses.replace(run, written=(*((side, name) for side in sides for name in names), *trigger))


def seed(flow: Flow, run: Run, tools: Tools) -> Run:
    """Write the sidecars, then the data file, whole, since its appearance may start the transfer."""
    tags = {"flow_id": run.flow_id, "test_run_id": run.run_id, "synthetic": "true"}
    contents = (payload.sha256_sidecar(run.file.sha256), manifest(run))
    sidecars = (
        Upload(name, io.BytesIO(content), len(content))
        for name, content in zip(run.file.sidecars, contents, strict=True)
    )
    with open_payload(run, tools) as body:
        put_all(tools.endpoint(flow.source), [*sidecars, Upload(run.file.name, body, run.file.size)], tags)
    return run.with_stamp("seeded", tools.clock.stamp())


def trigger(flow: Flow, run: Run, tools: Tools) -> Run:
    """Start the transfer and return its request id and log tail as evidence.

    A synchronous invocation returns when the function does. Raises a TriggerError where the
    function is absent, denied, throttled, or failed.
    """
    if flow.transfer.mode == "event":
        return run
    if flow.transfer.mode == "trigger_file":
        content = str(_fill(flow.transfer.trigger_content, flow, run)).encode()
        tools.endpoint(flow.source).put(trigger_name(flow, run), io.BytesIO(content), len(content), {})
        return run
    transfer = dataclasses.replace(flow.transfer, timeout_seconds=flow.give_up_seconds)
    started = tools.invoke(transfer, _fill(flow.transfer.payload, flow, run))
    evidence = {"lambda_request_id": started.request_id, "log_tail": started.log_tail}
    return run.with_evidence(**{name: value for name, value in evidence.items() if value})


def trigger_name(flow: Flow, run: Run) -> str:
    """Return the name of the trigger file; raises ConfigInvalid where it is no plain file name."""
    name = str(_fill(flow.transfer.trigger_name, flow, run))
    payload.check_name(name)
    return name


def _fill(value: object, flow: Flow, run: Run) -> object:
    try:
        return template.substitute(value, template_variables(flow, run))
    except template.UnknownVariable as error:
        raise ConfigInvalid(f"transfer of {flow.flow_id}: {error}") from error


def template_variables(flow: Flow, run: Run) -> dict[str, str]:
    """Return what ``${…}`` may stand for in a payload or a trigger file."""
    file = run.file
    variables = {
        "run_id": run.run_id,
        "flow_id": run.flow_id,
        "file.name": file.name,
        "file.size": str(file.size),
        "file.sha256": file.sha256,
    }
    return {
        **variables,
        **_place("source", flow.source, file.name),
        **_place("target", flow.target, file.name),
    }


def _place(side: str, location: Location, name: str) -> dict[str, str]:
    if isinstance(location, S3Location):
        key = location.key(name)
        known = {"bucket": location.bucket, "key": key, "path": key}
    else:
        path = location.path(name)
        known = {
            "host": location.host,
            "port": str(location.port),
            "username": location.username,
            "dir": location.dir,
            "path": path,
            "key": path.lstrip("/"),
        }
    return {f"{side}.{field}": value for field, value in {**known, "uri": location.uri(name)}.items()}


def verify(flow: Flow, run: Run, arrived: Arrived, tools: Tools) -> Run:
    """Judge what arrived: size, SHA-256, latency, encryption key, further checks; sets the verdict.

    Raises Changed where the file is no longer the one that was seen to arrive.
    """
    target = tools.endpoint(flow.target)
    expected = _expected(flow, run, tools)
    sha256 = checks.Sha256Check(expected)
    is_read = flow.validation.checksum == "SHA256" or bool(flow.validation.checks)
    # Reading holds the file to what was seen; a listing does not tell how an object is encrypted.
    stat = arrived.stat if is_read and not _asks_for_key(flow) else _still_there(target, arrived.stat)
    with _further_checks(flow, expected, tools) as further:
        if is_read:
            _feed(target, stat, (sha256, further), tools)
        further_results = further.results()
    results = [checks.size_check(expected, stat.size)]
    if flow.validation.checksum == "SHA256":
        results.append(sha256.result())
        if not results[-1].passed:
            _confirm(target, stat, sha256.hexdigest, tools)
    results.append(checks.latency_check(flow.validation.expect_within_seconds, arrived.latency))
    results += further_results
    if isinstance(flow.target, S3Location) and flow.target.kms_key_arn:
        kms = checks.kms_check(flow.target.kms_key_arn, stat)
        results += [kms] if kms else []
    observed = Observed(
        flow.target.uri(stat.name),
        stat.size,
        sha256.hexdigest if flow.validation.checksum == "SHA256" else None,
    )
    run = dataclasses.replace(run, observed=observed, latency=arrived.latency, checks=tuple(results))
    run = run.with_stamp("verified", tools.clock.stamp())
    intact = all(check.passed or check.name == "latency" for check in results)
    return judge(flow, _with_copies(flow, run, stat, tools) if intact else run, tools)


def _expected(flow: Flow, run: Run, tools: Tools) -> checks.Expected:
    file = run.file
    return checks.Expected(
        file.size,
        file.sha256,
        flow.validation.size_tolerance_bytes,
        file.inside,
        file.rows,
        file.header,
        tools.credentials,
    )


def _further_checks(flow: Flow, expected: checks.Expected, tools: Tools) -> checks.Chain:
    return checks.Chain(tools.registry.make_checks(flow.validation.checks, expected), expected.inside)


def _with_copies(flow: Flow, run: Run, stat: Stat, tools: Tools) -> Run:
    """Add the check for a second delivery; a folder that cannot be listed gives none."""
    found = copies.look(flow, run, stat, run.observed.sha256 if run.observed else None, tools)
    if found is None:
        return run
    run = dataclasses.replace(run, checks=(*run.checks, found.check))
    strays = found.strays(flow.target, run.run_id)
    return dataclasses.replace(run, strays=strays)


def _asks_for_key(flow: Flow) -> bool:
    return isinstance(flow.target, S3Location) and flow.target.kms_key_arn is not None


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
    tools.clock.sleep(SECOND_LOOK_SECONDS)
    again = checks.Sha256Check(checks.Expected(stat.size, digest, 0))
    _feed(target, _still_there(target, stat), (again,), tools)
    if again.hexdigest != digest:
        raise Changed
    _still_there(target, stat)


def clean_up(flow: Flow, run: Run, tools: Tools) -> Run:
    """Remove what the ledger names, at both ends; what could not be removed becomes the run's residue."""
    residue: dict[str, str] = {}
    for location, names in _to_remove(flow, run).items():
        residue |= _remove(location, names, tools)
    run = dataclasses.replace(run, residue=tuple(residue)).with_stamp("cleaned", tools.clock.stamp())
    if residue and run.verdict == PASSED:
        return dataclasses.replace(run, verdict=_residue_verdict(run, residue))
    return run.with_evidence(cleanup=sorted(set(residue.values()))) if residue else run


def _to_remove(flow: Flow, run: Run) -> dict[Location, list[str]]:
    """Return the names at each location: those of the ledger, and those of copies that turned up elsewhere."""
    places: dict[Location, list[str]] = {}
    ends: dict[Side, Location] = {"source": flow.source, "target": flow.target}
    found = (*run.strays, *(run.verdict.strays if run.verdict else ()))
    for location, name in (*((ends[side], name) for side, name in run.written), *found):
        names = places.setdefault(location, [])
        if name not in names:
            names.append(name)
    return places


def _remove(location: Location, names: list[str], tools: Tools) -> dict[str, str]:
    """Remove files; return those that stay, by URI, each with the reason."""
    try:
        errors = delete_all(tools.endpoint(location), names)
    except FileflowError as error:  # a foreign fixture may make no endpoint
        errors = dict.fromkeys(names, error)
    return {location.uri(name): errors[name].reason for name in names if name in errors}


def _residue_verdict(run: Run, residue: Mapping[str, str]) -> Verdict:
    number = f"{len(residue)} file{'s' if len(residue) > 1 else ''}"
    first, why = next(iter(residue.items()))
    well = "arrived intact" if run.observed else "all went well"
    return verdict_of(CleanupResidue(f"{well}, but {number} could not be removed, first {first}: {why}"))


def verdict_of(error: FileflowError) -> Verdict:
    """Return the verdict of a run that an error ended."""
    outcome = "failed" if isinstance(error, FlowError) else "error"
    return Verdict(outcome, error.cause, error.reason, error.hint, error.evidence)  # type: ignore[arg-type]
