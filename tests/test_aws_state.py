from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow.arrival import Arrived, GaveUp, Oversize
from pytest_fileflow.aws.state import MOST_BYTES, Execution, State, size_of
from pytest_fileflow.model import (
    NO_FILE,
    PASSED,
    Case,
    CheckResult,
    Flow,
    Latency,
    PayloadFile,
    Run,
    S3Location,
    Stat,
    Variant,
    Verdict,
)
from tests.support import made_up

TARGET = S3Location("out")
FLOW = Flow("acme", S3Location("in"), TARGET)
CASE = Case(FLOW, FLOW.testdata.variants[0])
EXECUTION = Execution("arn:aws:states:eu-west-1:111111111111:execution:m:one", "one", "2026-11-27T06:00:00Z")
RUN = Run("00ff", "acme", "1MiB", "S3->S3", 1, PayloadFile("a_00ff.bin", 3, "00"), {"prepared": "…"})


def handed_on(state: State) -> State:
    """Return a state as the next step gets it: in UTF-8."""
    return State.load(json.loads(json.dumps(state.dump(), ensure_ascii=False, allow_nan=False).encode()))


decisions = (
    st.builds(Arrived, made_up.stats, st.builds(Latency, made_up.seconds, made_up.seconds), made_up.seconds)
    | st.builds(Oversize, made_up.stats, made_up.seconds)
    | st.builds(GaveUp, st.none() | made_up.stats, made_up.seconds, st.booleans(), st.booleans())
)
states = st.builds(
    State,
    made_up.cases,
    st.builds(
        Execution, made_up.texts, made_up.texts, made_up.texts, st.lists(made_up.few_texts, max_size=2).map(tuple)
    ),
    st.sampled_from(["seed", "trigger", "wait", "verify", "ask", "diagnose", "clean_up", "record"]),
    st.none() | made_up.runs,
    attempt=st.integers(1, 3),
    decision=st.none() | decisions,
    network_errors=st.integers(0, 2),
    wait_seconds=st.integers(0, 300),
    error=st.none() | st.just({"Error": "E", "Cause": "C"}),
)


@settings(max_examples=60, deadline=None)
@given(states)
def test_a_state_comes_back_as_it_was(state):
    assert handed_on(state) == state


@settings(max_examples=40, deadline=None)
@given(made_up.options, st.lists(made_up.texts, min_size=1, max_size=3), st.integers(1, 3000), st.booleans())
def test_whatever_the_evidence_a_state_stays_small_and_nothing_else_is_lost(evidence, texts, times, has_verdict):
    large = {**evidence, "log_tail": texts[0] * times, "listing": [text * 20 for text in texts] * times}
    large |= {f"more {number}": "x" * times for number in range(40)}
    verdict = Verdict("failed", "missing.lost", "ü" * 10 * times, "hint", large, ((TARGET, "copy_00ff"),))
    run = dataclasses.replace(
        RUN,
        evidence=large,
        written=(("source", "a_00ff.bin"), ("target", "a_00ff.bin")),
        checks=(CheckResult("size", False, "3", "4"),),
        latency=Latency(1.5, 0.25),
        verdict=verdict if has_verdict else None,
    )
    state = State(CASE, EXECUTION, "clean_up", run, looks={"triggered": 1.0})
    assert size_of(state.dump()) <= MOST_BYTES
    back = handed_on(state)
    assert back.run is not None
    as_it_was = dataclasses.replace(back.run, evidence=run.evidence, verdict=run.verdict)
    assert dataclasses.replace(back, run=as_it_was) == state
    if has_verdict:
        assert back.run.verdict is not None
        assert back.run.verdict.reason is not None
        assert dataclasses.replace(back.run.verdict, evidence=large, reason=verdict.reason) == verdict
    else:
        assert back.run.verdict is None


def test_what_is_small_is_handed_on_whole():
    run = dataclasses.replace(RUN, evidence={"log_tail": "x" * 8000}, verdict=Verdict("failed", "late", "y" * 2000))
    assert handed_on(State(CASE, EXECUTION, run=run)).run == run


def test_evidence_gives_way_by_the_middle_of_its_texts_before_it_is_left_out():
    run = dataclasses.replace(RUN, evidence={"log_tail": f"begin{'x' * 40_000}end", "short": "stays"})
    back = handed_on(State(CASE, EXECUTION, run=run)).run
    assert back is not None
    assert back.evidence["short"] == "stays"
    assert str(back.evidence["log_tail"]).startswith("begin")
    assert "characters left out" in str(back.evidence["log_tail"])
    many = dataclasses.replace(RUN, evidence={f"{number:0100}": "" for number in range(1000)})
    left = handed_on(State(CASE, EXECUTION, run=many)).run
    assert left is not None
    assert left.evidence == {"evidence": "left out: it is too large to be handed from step to step"}


@pytest.mark.parametrize("verdict", [PASSED, Verdict("failed", "duplicate", "came twice")])
def test_thousands_of_copies_what_checks_say_of_them_and_what_stays_are_bounded_too(verdict):
    names = tuple(f"a_00ff_copy_{number}.bin" for number in range(5000))
    run = dataclasses.replace(
        RUN,
        checks=(CheckResult("copies", False, "1 copy", ", ".join(names)),),
        residue=tuple(TARGET.uri(name) for name in names),
        strays=tuple((TARGET, name) for name in names),
        verdict=verdict,
    )
    told = State(CASE, EXECUTION, "clean_up", run).dump()
    assert size_of(told) <= MOST_BYTES
    back = State.load(told).run
    assert back is not None
    assert back.verdict == verdict
    assert 0 < len(back.strays) < 5000
    number = 5000 - len(back.strays)
    assert back.evidence["copies"] == f"{number} more than can be handed from step to step: these may stay"
    assert back.checks[0].observed.startswith("a_00ff_copy_0.bin, ")
    assert back.residue[-1].startswith("… and ")


def test_what_json_or_utf_8_cannot_hold_is_handed_on_all_the_same():
    named = "caf\udce9_00ff.bin"  # Latin-1, as a server of old shows it
    run = dataclasses.replace(
        RUN,
        strays=((TARGET, named),),
        evidence={"listing": [named, "utf-8+surrogates:00"], named: float("nan"), "bytes": b"x", 3: {1}},
    )
    back = handed_on(
        State(CASE, EXECUTION, run=run, decision=GaveUp(Stat(named, 3), 1.0, growing=False, seen_full=True))
    )
    assert back.run is not None
    assert back.run.strays == ((TARGET, named),)
    assert back.run.evidence == {
        "listing": [named, "utf-8+surrogates:00"],
        named: "nan",
        "bytes": "b'x'",
        "3": "{1}",
    }
    assert isinstance(back.decision, GaveUp)
    assert back.decision.stat == Stat(named, 3)


def test_a_run_id_is_the_same_for_a_step_that_is_tried_again_and_for_no_other_run():
    first = State(CASE, EXECUTION)
    assert first.run_id == handed_on(first).run_id == dataclasses.replace(first, next="trigger", error={}).run_id
    others = [
        dataclasses.replace(first, attempt=2),
        dataclasses.replace(first, execution=dataclasses.replace(EXECUTION, id="arn:other")),
        dataclasses.replace(first, execution=dataclasses.replace(EXECUTION, started="2027-03-01T06:00:00Z")),
        dataclasses.replace(first, case=Case(FLOW, Variant("small", 10))),
        dataclasses.replace(first, case=Case(FLOW, NO_FILE, "contract")),
        dataclasses.replace(first, case=Case(dataclasses.replace(FLOW, flow_id="globex"), CASE.variant)),
    ]
    ids = [state.run_id for state in (first, *others)]
    assert len(set(ids)) == len(ids)
    assert all(len(run_id) == 16 and int(run_id, 16) >= 0 for run_id in ids)


def test_a_run_that_was_begun_elsewhere_keeps_its_id():
    assert State(CASE, EXECUTION, run=RUN).run_id == "00ff"


def test_what_the_state_machine_adds_is_ignored_and_what_choices_need_is_always_there():
    told = State(CASE, EXECUTION).dump()
    assert (told["next"], told["wait_seconds"]) == ("prepare", 0)
    assert State.load({**told, "Payload": {}, "$$": 1}) == State(CASE, EXECUTION)
    least = {"case": told["case"], "execution": told["execution"]}
    assert State.load(least) == State(CASE, EXECUTION)


@pytest.mark.parametrize("told", [{}, {"case": {}}, {"case": None, "execution": None}, {"case": 3}])
def test_what_is_no_state_is_refused(told):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        State.load(told)
