"""What a run's stamps say about its phases."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.clock import format_stamp
from pytest_fileflow.results.phases import duration, phases, phases_seconds, total_seconds

START = datetime(2026, 11, 24, 6, tzinfo=timezone.utc)
NAMES = ("begun", "prepared", "seeded", "triggered", "started", "arrived", "verified", "failed", "judged", "cleaned")


def timeline(**seconds: float) -> dict[str, str]:
    return {name: format_stamp(START + timedelta(seconds=after)) for name, after in seconds.items()}


@pytest.mark.parametrize(
    ("stamps", "took"),
    [
        (
            timeline(begun=0, prepared=1, seeded=3, triggered=3.2, started=3.5, arrived=10, verified=12, cleaned=13),
            {"prepare": 1, "seed": 2, "trigger": 0.5, "wait": 6.5, "verify": 2, "clean_up": 1},
        ),
        (
            timeline(begun=0, prepared=0, seeded=1, triggered=1, started=1, failed=9, judged=11, cleaned=12),
            {"prepare": 0, "seed": 1, "trigger": 0, "wait": 8, "diagnose": 2, "clean_up": 1},
        ),
        (
            timeline(begun=0, prepared=0, seeded=1, triggered=1, started=1, arrived=4, verified=5, judged=6),
            {"prepare": 0, "seed": 1, "trigger": 0, "wait": 3, "verify": 1, "diagnose": 1},
        ),
        (
            timeline(begun=0, prepared=0, seeded=1, triggered=1, failed=3, judged=3),
            {"prepare": 0, "seed": 1, "trigger": 2, "diagnose": 0},
        ),
        (timeline(begun=0, prepared=1, failed=3, judged=3), {"prepare": 1, "seed": 2, "diagnose": 0}),
        (timeline(prepared=0, cleaned=3600), {}),  # its process was lost: nobody knows what it did between
        (timeline(prepared=0, seeded=1, triggered=2, arrived=5), {"seed": 1, "trigger": 1, "wait": 3}),
        (timeline(failed=0), {}),
        ({}, {}),
        ({"a stamp of another": "any text"}, {}),
    ],
    ids=[
        "passed",
        "missing",
        "late",
        "not triggered",
        "seeding failed",
        "lost",
        "contract",
        "unprepared",
        "none",
        "unknown",
    ],
)
def test_a_timeline_tells_what_took_how_long(stamps, took):
    assert phases_seconds(stamps) == took


def test_the_phase_that_failed_did_not_come_to_its_end():
    told = phases(timeline(begun=0, prepared=1, seeded=2, started=2, failed=5, judged=6))
    assert [phase.name for phase in told if not phase.is_complete] == ["wait"]


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 10**6)))
def test_phases_lie_within_the_run_and_one_after_the_other(seconds):
    stamps = timeline(**dict(zip(seconds, sorted(seconds.values()), strict=True)))
    ordered = dict(zip([n for n in NAMES if n in stamps], sorted(stamps.values()), strict=True))
    told = phases(ordered)
    for before, after in itertools.pairwise(told):
        assert before.start + before.seconds <= after.start + 0.001
    assert all(phase.start + phase.seconds <= total_seconds(ordered) + 0.001 for phase in told)
    assert all(phase.seconds >= 0 for phase in phases(stamps))


def test_durations_are_said_shortly():
    said = [duration(seconds) for seconds in (0, 0.0004, 0.9994, 0.9996, 1, 99.99, 421.4)]
    assert said == ["0 ms", "0 ms", "999 ms", "1.00 s", "1.00 s", "99.99 s", "421 s"]
