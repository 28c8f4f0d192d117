from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow.arrival import Arrival, Arrived, Expectation, GaveUp, Oversize
from pytest_fileflow.aws.waiting import BY_STEPS
from pytest_fileflow.model import Flow, S3Location, SftpLocation, Stat, Validation

WHOLE = 100


def arrival(settle: float = 0.0, slo: float = 10.0, give_up: float = 11.0, tolerance: int = 0) -> Arrival:
    return Arrival(Expectation(WHOLE, tolerance, settle, slo, give_up), triggered=1000.0)


def stat(size: int, version: str = "v1") -> Stat:
    return Stat("f", size, version)


def test_arrival_is_stamped_when_first_seen_whole_and_its_resolution_is_the_time_since_the_look_before():
    watch = arrival()
    assert watch.look(1001.0, 1001.1, None) is None
    decision = watch.look(1003.0, 1003.1, stat(WHOLE))
    assert isinstance(decision, Arrived)
    assert decision.latency.seconds == pytest.approx(3.1)
    assert decision.latency.resolution == pytest.approx(2.1)  # asked at 1001.0, it was not there


def test_the_wait_for_stability_does_not_count_into_the_latency():
    watch = arrival(settle=5)
    assert watch.look(1002.0, 1002.0, stat(WHOLE)) is None
    assert watch.look(1004.0, 1004.0, stat(WHOLE)) is None
    decision = watch.look(1007.0, 1007.0, stat(WHOLE))
    assert isinstance(decision, Arrived)
    assert decision.latency.seconds == pytest.approx(2.0)


def test_a_growing_file_is_not_judged():
    watch = arrival()
    for second in range(1, 10):
        assert watch.look(1000.0 + second, 1000.0 + second, stat(second * 10, f"v{second}")) is None
    assert isinstance(watch.look(1010.0, 1010.0, stat(WHOLE, "v10")), Arrived)


def test_a_touched_file_of_full_size_must_be_stable_again_but_keeps_its_arrival():
    watch = arrival(settle=2)
    assert watch.look(1001.0, 1001.0, stat(WHOLE, "a")) is None
    assert watch.look(1002.5, 1002.5, stat(WHOLE, "b")) is None
    assert watch.look(1003.5, 1003.5, stat(WHOLE, "b")) is None
    decision = watch.look(1004.6, 1004.6, stat(WHOLE, "b"))
    assert isinstance(decision, Arrived)
    assert decision.latency.seconds == pytest.approx(1.0)


def test_a_file_that_is_whole_at_the_deadline_is_watched_until_it_is_stable():
    watch = arrival(settle=5)
    assert watch.look(1010.5, 1010.5, stat(WHOLE)) is None
    assert watch.look(1012.0, 1012.0, stat(WHOLE)) is None
    assert isinstance(watch.look(1015.6, 1015.6, stat(WHOLE)), Arrived)


def test_a_file_that_a_late_look_finds_whole_has_time_to_be_stable():
    watch = arrival(settle=2)
    assert watch.look(1009.0, 1009.0, None) is None
    assert watch.look(1040.0, 1040.0, stat(WHOLE)) is None
    decision = watch.look(1050.0, 1050.0, stat(WHOLE))
    assert isinstance(decision, Arrived)
    assert (decision.latency.seconds, decision.latency.resolution) == (40.0, 31.0)  # so it may have come in time


def test_a_file_that_a_late_look_finds_whole_and_that_changes_is_given_up():
    watch = arrival(settle=2)
    assert watch.look(1009.0, 1009.0, None) is None
    assert watch.look(1040.0, 1040.0, stat(WHOLE)) is None
    assert isinstance(watch.look(1041.0, 1041.0, stat(WHOLE, "v2")), GaveUp)


def test_a_whole_file_that_never_comes_to_rest_is_given_up():
    watch = arrival(settle=2)
    decisions = [watch.look(1000.0 + s, 1000.0 + s, stat(WHOLE, f"v{s}")) for s in range(1, 20)]
    decision = next(decision for decision in decisions if decision)
    assert isinstance(decision, GaveUp)
    assert decision.growing
    assert decision.stat.version == "v15"  # SLO, grace, and the time it would have had to be at rest


def test_a_file_that_vanishes_before_it_was_stable_has_been_seen():
    watch = arrival(settle=5)
    assert watch.look(1002.0, 1002.0, stat(WHOLE)) is None
    assert watch.look(1003.0, 1003.0, None) is None
    decision = watch.look(1011.0, 1011.0, None)
    assert decision == GaveUp(None, 1011.0, growing=False, seen_full=True)


def test_nothing_at_the_end_is_given_up_and_not_before():
    watch = arrival()
    assert watch.look(1010.99, 1010.99, None) is None
    assert watch.look(1011.0, 1011.0, None) == GaveUp(None, 1011.0, growing=False, seen_full=False)


def test_a_short_file_is_judged_at_the_end_only_and_says_whether_it_still_grew():
    watch = arrival()
    assert watch.look(1002.0, 1002.0, stat(60)) is None
    decision = watch.look(1011.0, 1011.0, stat(60))
    assert isinstance(decision, GaveUp)
    assert not decision.growing
    watch = arrival()
    assert watch.look(1010.0, 1010.0, stat(60)) is None
    decision = watch.look(1011.0, 1011.0, stat(70, "v2"))
    assert isinstance(decision, GaveUp)
    assert decision.growing


def test_a_file_that_is_too_long_is_judged_once_it_stopped_growing():
    watch = arrival()
    assert watch.look(1001.0, 1001.0, stat(WHOLE + 1)) is None
    assert watch.look(1002.0, 1002.0, stat(WHOLE + 2, "v2")) is None
    assert watch.look(1003.0, 1003.0, stat(WHOLE + 2, "v2")) is None
    assert watch.look(1004.1, 1004.1, stat(WHOLE + 2, "v2")) == Oversize(stat(WHOLE + 2, "v2"), 1004.1)


def test_a_size_within_the_tolerance_is_whole():
    watch = arrival(tolerance=5)
    assert isinstance(watch.look(1001.0, 1001.0, stat(WHOLE - 5)), Arrived)


def test_looks_start_fast_back_off_and_meet_the_deadlines_exactly():
    watch = arrival(slo=300, give_up=330)
    assert watch.next_look(1000.0) == pytest.approx(1000.05)
    assert watch.next_look(1010.0) == pytest.approx(1010.4)
    assert watch.next_look(1100.0) == pytest.approx(1104.0)
    assert watch.next_look(1200.0) == pytest.approx(1205.0)
    assert watch.next_look(1298.0, jitter=1.1) == 1300.0
    assert watch.next_look(1300.0) == pytest.approx(1305.0)
    assert watch.next_look(1327.0) == 1330.0


def test_a_flow_whose_usual_latency_is_known_is_looked_at_seldom_at_first_and_closely_around_it():
    watch = Arrival(Expectation(WHOLE, 0, 0.0, 300.0, 330.0), 1000.0, usual=100.0)
    first = watch.next_look(1000.0) - 1000.0
    around = watch.next_look(1100.0) - 1100.0
    late = watch.next_look(1200.0) - 1200.0
    assert (first, around, late) == pytest.approx((1.0, 2.0, 5.0))
    quick = Arrival(Expectation(WHOLE, 0, 0.0, 300.0, 330.0), 1000.0, usual=4.0)
    assert quick.next_look(1000.0) - 1000.0 == pytest.approx(0.4)
    assert quick.next_look(1004.0) - 1004.0 == pytest.approx(0.08)


def test_a_stable_wait_ends_as_soon_as_it_may():
    watch = arrival(settle=2, slo=300, give_up=330)
    watch.look(1100.0, 1100.0, stat(WHOLE))
    assert watch.next_look(1100.0) == pytest.approx(1102.0)


def test_after_starting_over_the_file_must_be_seen_and_be_stable_again():
    watch = arrival(settle=1)
    watch.look(1001.0, 1001.0, stat(WHOLE))
    assert isinstance(watch.look(1002.1, 1002.1, stat(WHOLE)), Arrived)
    watch.start_over()
    assert watch.look(1003.0, 1003.0, stat(WHOLE, "v2")) is None
    decision = watch.look(1004.1, 1004.1, stat(WHOLE, "v2"))
    assert isinstance(decision, Arrived)
    assert decision.latency.seconds == pytest.approx(3.0)


def unknown(settle: float = 2.0) -> Arrival:
    return Arrival(Expectation(None, 0, settle, 10.0, 11.0), triggered=1000.0)


def test_a_file_of_unknown_size_arrives_when_it_first_had_the_size_that_it_kept():
    watch = unknown()
    for second, size in ((1, 0), (2, 10), (3, 20), (4, 20)):
        assert watch.look(1000.0 + second, 1000.1 + second, stat(size, f"v{size}")) is None
    decision = watch.look(1005.2, 1005.2, stat(20, "v20"))
    assert isinstance(decision, Arrived)
    assert decision.latency.seconds == pytest.approx(3.1)
    assert decision.latency.resolution == pytest.approx(1.1)  # asked at 1002.0, it was shorter


def test_an_empty_file_of_unknown_size_has_not_arrived():
    watch = unknown()
    for second in range(1, 11):
        assert watch.look(1000.0 + second, 1000.0 + second, stat(0)) is None
    assert watch.look(1011.0, 1011.0, stat(0)) == GaveUp(stat(0), 1011.0, growing=False, seen_full=False)


def test_a_file_of_unknown_size_is_never_too_long_and_given_up_while_it_grows():
    watch = unknown()
    decisions = [watch.look(1000.0 + s, 1000.0 + s, stat(s * 1000, f"v{s}")) for s in range(1, 20)]
    decision = next(decision for decision in decisions if decision)
    assert isinstance(decision, GaveUp)
    assert decision.growing


def test_a_file_of_unknown_size_that_is_touched_keeps_its_arrival():
    watch = unknown()
    assert watch.look(1001.0, 1001.0, stat(10, "a")) is None
    assert watch.look(1002.0, 1002.0, stat(10, "b")) is None
    decision = watch.look(1004.1, 1004.1, stat(10, "b"))
    assert isinstance(decision, Arrived)
    assert decision.latency.seconds == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("target", "asked", "size", "settle"),
    [
        (S3Location("b"), 0.0, 10, 0.0),
        (S3Location("b"), 0.0, None, 0.05),
        (SftpLocation("h", "u", "/", "s"), 0.0, None, 2.0),
        (SftpLocation("h", "u", "/", "s"), 15.0, None, 15.0),
        (SftpLocation("h", "u", "/", "s"), 0.0, 10, 0.0),
    ],
)
def test_a_file_of_unknown_size_must_be_at_rest_for_a_while(target, asked, size, settle):
    flow = Flow("f", S3Location("a"), target, validation=Validation(post_arrival_wait_seconds=asked))
    assert Expectation.of(flow, size).settle == settle
    watch = Arrival(Expectation.of(flow, size), 1000.0)
    first = watch.look(1001.0, 1001.0, stat(10))
    assert isinstance(first, Arrived) == (settle == 0)
    if settle:
        assert isinstance(watch.look(1001.01 + settle, 1001.01 + settle, stat(10)), Arrived)


gaps = st.floats(0, 4, allow_nan=False)
seen = st.none() | st.builds(Stat, st.just("f"), st.sampled_from([0, 60, WHOLE, WHOLE + 1]), st.sampled_from("ab"))
asks = st.tuples(gaps, gaps, seen, st.integers(0, 9).map(lambda number: number == 0))


@settings(deadline=None)
@given(
    st.sampled_from([WHOLE, None]),
    st.sampled_from([0.0, 1.5]),
    st.sampled_from([5.0, 60.0]),
    st.lists(asks, max_size=20),
)
def test_looks_that_are_handed_on_as_json_decide_as_those_that_are_not(size, settle, slo, looks):
    def fresh() -> Arrival:
        return Arrival(Expectation(size, 0, settle, slo, slo + 1), 1000.0, pace=BY_STEPS)

    whole, now = fresh(), 1000.0
    told = json.loads(json.dumps(whole.to_dict()))
    for before, during, stat, starts_over in looks:
        now += before
        handed = Arrival(Expectation(size, 0, settle, slo, slo + 1), 0.0, pace=BY_STEPS)  # the dump knows the trigger
        handed.load(told)
        assert handed.look(now, now + during, stat) == whole.look(now, now + during, stat)
        now += during
        if starts_over:
            whole.start_over()
            handed.start_over()
        assert handed.next_look(now) == whole.next_look(now)
        told = json.loads(json.dumps(handed.to_dict()))
        assert told == json.loads(json.dumps(whole.to_dict()))


def looked_at(watch: Arrival, until: float, shows) -> list[float]:
    """Return when a state machine looks, in seconds after the trigger; it waits whole seconds."""
    now, moments = 1000.0, []
    while now < 1000.0 + until:
        now += max(1, math.ceil(watch.next_look(now) - now))
        moments.append(now - 1000.0)
        if watch.look(now, now, shows(now - 1000.0)) is not None:
            break
    return moments


@pytest.mark.parametrize(("hours", "most"), [(1, 45), (8, 130), (24, 320)])
def test_by_steps_a_file_is_looked_at_seldom_and_at_the_slo_and_the_end_exactly(hours, most):
    slo = hours * 3600.0
    watch = Arrival(Expectation(WHOLE, 0, 2.0, slo, slo + 60), 1000.0, pace=BY_STEPS)
    moments = looked_at(watch, slo + 60, lambda age: None)
    assert moments[:6] == [1, 2, 3, 4, 5, 6]
    assert {slo, slo + 60} <= set(moments)
    assert moments[-1] == slo + 60
    assert len(moments) <= most
    assert max(after - before for before, after in itertools.pairwise(moments)) <= 300


def test_by_steps_a_file_that_grows_for_hours_is_not_followed_closely_all_the_time():
    """An execution has room for 25,000 events, and each look takes ten."""
    slo = 8 * 3600.0
    for size in (10**9, None):
        watch = Arrival(Expectation(size, 0, 2.0, slo, slo + 60), 1000.0, pace=BY_STEPS)
        assert len(looked_at(watch, slo + 70, lambda age: stat(int(age), f"v{age}"))) <= 180
    closely = Arrival(Expectation(10**9, 0, 2.0, slo, slo + 60), 1000.0)
    for second in range(1, 100):
        closely.look(1000.0 + 10 * second, 1000.0 + 10 * second, stat(second, f"v{second}"))
        assert closely.next_look(1000.0 + 10 * second) <= 1002.0 + 10 * second


def test_by_steps_a_file_that_stands_is_confirmed_as_soon_as_it_may():
    watch = Arrival(Expectation(WHOLE, 0, 2.0, 3600.0, 3660.0), 1000.0, pace=BY_STEPS)
    moments = looked_at(watch, 3660.0, lambda age: stat(WHOLE) if age >= 1500 else None)
    assert moments[-1] - moments[-2] == 2
