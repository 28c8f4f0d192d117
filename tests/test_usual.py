from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.usual import REMEMBERED, learned, usual_seconds

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def record(flow_id: str, latency: float | None, case: str = "5MiB") -> dict[str, object]:
    return {"flow_id": flow_id, "case": case, "latency_seconds": latency}


def test_the_usual_latency_is_the_median_of_the_last():
    kept = None
    for latency in (500.0, *(4.0, 5.0) * (REMEMBERED // 2)):
        kept = learned(kept, [record("acme", latency)])
    assert usual_seconds(kept) == {"acme[5MiB]": 4.5}


def test_what_did_not_arrive_teaches_nothing():
    assert learned(None, [record("acme", None)]) == {}
    assert learned({"acme[5MiB]": [3.0]}, [record("acme", None)]) == {"acme[5MiB]": [3.0]}


def test_numbers_that_are_no_latencies_are_left_out():
    kept = {"acme[5MiB]": [10**400, float("nan"), float("inf"), -1, "3", 4]}
    assert usual_seconds(kept) == {"acme[5MiB]": 4.0}


@given(ANYTHING)
def test_whatever_a_cache_holds_is_survived(kept):
    assert all(seconds >= 0 for seconds in usual_seconds(kept).values())
    assert learned(kept, [record("acme", 1.5)])["acme[5MiB]"][-1] == 1.5
