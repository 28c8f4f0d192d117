from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.distribution import is_flow, share

IDS = st.lists(st.sampled_from(["flows/a.json::a[1KiB]", "flows/b.yaml::b[x]", "tests/test_c.py::test_d[x.json]"]))


@given(IDS, st.integers(1, 8))
def test_every_flow_falls_to_exactly_one_worker_and_nothing_else_to_any(ids, workers):
    shares = [share(ids, workers, worker) for worker in range(workers)]
    given_out = sorted(position for own in shares for position in own)
    assert given_out == [position for position, node_id in enumerate(ids) if is_flow(node_id)]
    sizes = [len(own) for own in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_flow_is_told_by_its_file():
    assert is_flow("flows/acme.yml::acme[5MiB]")
    assert not is_flow("tests/test_x.py::test_reads[acme.json]")
