"""The life of a run: prepare, seed, trigger, (await arrival), verify, clean up. Each step is (flow, run) -> run.

Nothing here knows pytest, threads or the schedule, so the same steps serve any host that can call
them one after the other.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

from pytest_fileflow import payload, seeds, template
from pytest_fileflow.clock import Clock, format_stamp
from pytest_fileflow.due import Due, name_due
from pytest_fileflow.endpoints import Upload, delete_all, put_all
from pytest_fileflow.errors import CleanupResidue, ConfigInvalid, FileflowError, FlowError, StorageFailed
from pytest_fileflow.model import (
    PASSED,
    Inside,
    PayloadFile,
    Recipe,
    Run,
    S3Location,
    Verdict,
    data_file_of,
    sidecar_names,
)
from pytest_fileflow.streams import LISTING_LIMIT, delivered, manifest, open_payload, pattern_of, sidecar_contents
from pytest_fileflow.verifying import require_checks, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.model import Case, Flow, Location, Side
    from pytest_fileflow.streams import Tools

__all__ = [
    "check_target",
    "clean_up",
    "enter_ledger",
    "manifest",
    "prepare",
    "prepare_errand",
    "require_checks",
    "seed",
    "template_variables",
    "trigger",
    "trigger_name",
    "unprepared",
    "verdict_of",
    "verify",
]


NO_DIGEST = "0" * 64
"""What stands for the SHA-256 of a file that is only planned: making that of a large one takes long."""


def prepare(case: Case, tools: Tools, attempt: int = 1, run_id: str | None = None, *, is_planned: bool = False) -> Run:
    """Name the run and its file, and make its SHA-256, unless it is only planned. Nothing is sent.

    Raises ConfigInvalid where the file name or size cannot be made, or what is due of it cannot be told.
    """
    flow, now = case.flow, tools.clock.utc()
    run_id = run_id or payload.new_run_id()
    recipe = _recipe(case, tools, is_planned=is_planned)
    pattern = pattern_of(recipe, tools)
    name = payload.file_name(flow.testdata, pattern, flow_id=flow.flow_id, run_id=run_id, size=recipe.size, now=now)
    made = _foreseen(recipe) if is_planned else payload.measure(recipe, pattern, run_id)
    plain = not recipe.options and not recipe.wraps
    file = PayloadFile(
        name, made.size, made.sha256, recipe.pattern, made.inside, made.rows, made.header, None if plain else recipe
    )
    run = Run(run_id, flow.flow_id, case.label, flow.direction, attempt, file)
    run = run.with_stamp("begun", format_stamp(now)).with_stamp("prepared", tools.clock.stamp())
    name_at_target = Due.of(flow, run).name  # what cannot be told is known before anything is sent
    if name_at_target.exact in name_at_target.others:
        raise ConfigInvalid(
            f"source and target of {flow.flow_id} are both {flow.target.uri()}, where what was sent would be taken "
            "for what arrived: name another place, or the new name by the check renamed"
        )
    return run


def _foreseen(recipe: Recipe) -> payload.Measured:
    """Return, for a plan, what a recipe would make: no bytes are, so sizes are those of what is wrapped."""
    inside = tuple([Inside(wrap.name, recipe.size, NO_DIGEST) for wrap in recipe.wraps])
    return payload.Measured(recipe.size, NO_DIGEST, inside)


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


def check_target(flow: Flow, run: Run, tools: Tools) -> None:
    """Look at the target before anything is sent: a login or permission that fails there is known at once."""
    found = delivered(flow, run, tools)
    if found is not None:
        raise StorageFailed(f"{flow.target.uri(found.name)} was there before it was sent")


def enter_ledger(flow: Flow, run: Run) -> Run:
    """Note every name that seeding and transfer may write, before the first byte is sent.

    So an interrupted step is cleaned up too.
    """
    names = (run.file.name, *run.file.sidecars)
    due = name_due(flow, run).exact
    renamed = () if due in (None, run.file.name) else (due, *sidecar_names(due))
    trigger: tuple[tuple[Side, str], ...] = ()
    if flow.transfer.mode == "trigger_file":
        # A transfer that sweeps its source delivers the trigger file as well.
        trigger = (("source", trigger_name(flow, run)), ("target", trigger_name(flow, run)))
    # A flow that renames may fail to, or rename the data file alone.
    at_target = (*names, *renamed)
    written: tuple[tuple[Side, str], ...] = (
        *(("source", name) for name in names),
        *(("target", name) for name in at_target),
        *trigger,
    )
    return dataclasses.replace(run, written=written)


def seed(flow: Flow, run: Run, tools: Tools) -> Run:
    """Write the sidecars, then the data file, whole, since its appearance may start the transfer."""
    tags = {"flow_id": run.flow_id, "test_run_id": run.run_id, "synthetic": "true"}
    sidecars = (
        Upload(name, io.BytesIO(content), len(content))
        for name, content in zip(run.file.sidecars, sidecar_contents(run).values(), strict=True)
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
        **_place("target", flow.target, name_due(flow, run).exact or file.name),
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


def clean_up(flow: Flow, run: Run, tools: Tools) -> Run:
    """Remove what the ledger names, at both ends; what could not be removed becomes the run's residue."""
    run, residue = _with_made_up_names(flow, run, tools)
    for location, names in _to_remove(flow, run).items():
        residue |= _remove(location, names, tools)
    run = dataclasses.replace(run, residue=tuple(residue)).with_stamp("cleaned", tools.clock.stamp())
    if residue and run.verdict == PASSED:
        return dataclasses.replace(run, verdict=_residue_verdict(run, residue))
    return run.with_evidence(cleanup=sorted(set(residue.values()))) if residue else run


def _with_made_up_names(flow: Flow, run: Run, tools: Tools) -> tuple[Run, dict[str, str]]:
    """Add what lies at the target under names that the flow makes up, told by the run id in what is known of them.

    The ledger could not name these. Where they cannot be listed, or not all of them, they may stay: that is said.
    """
    due = name_due(flow, run)
    if due.exact is not None:
        return run, {}
    try:
        listed = tools.endpoint(flow.target).list(due.beginning, LISTING_LIMIT)
    except FileflowError as error:
        return run, {flow.target.uri(due.text): error.reason}
    made = [(flow.target, stat.name) for stat in listed if due.fits(data_file_of(stat.name)) or due.fits(stat.name)]
    may_stay = len(listed) >= LISTING_LIMIT and not made
    why = {flow.target.uri(due.text): f"not found among the first {LISTING_LIMIT} names"} if may_stay else {}
    return dataclasses.replace(run, strays=(*run.strays, *made)), why


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
