"""Which file is moved by whom: payload matching, notifications, claims; no process, no socket."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.sandbox.places import named_files, s3_place, sftp_place
from pytest_fileflow.sandbox.routes import (
    IMPLIED_FUNCTION,
    Claim,
    Route,
    Routes,
    function_name,
    is_data,
    matches,
)
from pytest_fileflow.sandbox.switches import Switch, Switches

if TYPE_CHECKING:
    from collections.abc import Iterable

BOX = ("S3", "box", "in/")


def route(flow_id: str, mode: str = "invoke", payload: object = None, **more: object) -> Route:
    spec = {
        "flow_id": flow_id,
        "source": {"type": "S3", "bucket": "box", "prefix": "in"},
        "target": {"type": "SFTP", "host": "h", "username": "u", "dir": "in", "secret_arn": "<S>"},
        "mode": mode,
        "lambda_arn": "arn:aws:lambda:...:function:mover:live" if mode == "invoke" else None,
        "payload": {} if payload is None else payload,
        "timeout_seconds": None,
        "trigger_name": "${file.name}.done",
    }
    return Route.parse({**spec, **more})


def test_a_payload_that_names_a_file_is_about_that_file_alone() -> None:
    routes = Routes()
    add(routes, route("acme", payload={"id": "acme", "key": "${source.key}"}), present=["a.csv", "b.csv"])
    event = {"id": "acme", "key": "in/b.csv"}
    assert routes.asked_for("mover", event) == [(claim(routes, event).route, "b.csv")]
    assert routes.claim("mover", event, "r2") == (None, True)
    assert routes.claim("mover", {"id": "acme", "key": "in/c.csv"}, "r3") == (None, True)


def test_a_probe_is_about_its_file_and_a_bad_payload_about_nothing() -> None:
    routes = Routes()
    bad = {"fileflow": "bad payload"}
    more = {"probe": {"file": "${file.name}"}, "refuses": bad}
    add(routes, route("acme", **more), route("other"), present=["a.csv"])
    assert [name for _, name in routes.asked_for("mover", {"file": "x.csv"})] == ["x.csv"]
    assert routes.claim("mover", {"file": "x.csv"}, "r1") == (None, True)
    assert routes.claim("mover", bad, "r2") == (None, False)
    assert claim(routes, {"more": 1}).name == "a.csv"


def add(routes: Routes, *given: Route, present: Iterable[str] = ()) -> None:
    routes.add(given, lambda place: present if place == BOX else ())


def claim(routes: Routes, event: object, function: str = "mover", request: str = "r1") -> Claim:
    claimed, known = routes.claim(function, event, request)
    assert known
    assert claimed is not None
    return claimed


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:lambda:...:function:file-transfer", "file-transfer"),
        ("arn:aws:lambda:us-west-2:<ACCOUNT_ID>:function:x", "x"),
        ("arn:aws:lambda:us-west-2:123456789012:function:x:live", "x"),
        ("123456789012:function:x", "x"),
        ("x:$LATEST", "x"),
        ("x", "x"),
    ],
)
def test_function_name(arn: str, name: str) -> None:
    assert function_name(arn) == name


@pytest.mark.parametrize(
    ("template", "value", "same", "within"),
    [
        ({}, {}, True, True),
        ({}, {"a": 1}, False, True),
        ({"a": 1}, {"a": 1, "b": 2}, False, True),
        ({"a": 1}, {"a": 2}, False, False),
        ({"a": 1}, {"a": True}, False, False),
        ({"a": "x-${file.name}"}, {"a": "x-data.bin"}, True, True),
        ({"a": "x-${file.name}"}, {"a": "y-data.bin"}, False, False),
        ({"a": "${file.size}"}, {"a": 5}, True, True),
        ({"a": ["${run_id}", "b"]}, {"a": ["1", "b"]}, True, True),
        ({"a": ["${run_id}", "b"]}, {"a": ["1"]}, False, False),
        ("text", "text", True, True),
        ([], {}, False, False),
    ],
)
def test_payload_matching(template: object, value: object, same: bool, within: bool) -> None:
    assert (matches(template, value), matches(template, value, more=True)) == (same, within)


@pytest.mark.parametrize("name", ["", ".hidden", "a.part", "a.csv.sha256", "a.csv.manifest.json"])
def test_what_is_no_data(name: str) -> None:
    assert not is_data(name)


@pytest.mark.parametrize("directory", ["in/x", "/in/x", "//in//x/", "/in/./x"])
def test_one_folder_has_one_name(directory: str) -> None:
    assert sftp_place("h", 22, "u", directory) == ("SFTP", "h", "22", "u", "/in/x")


def test_notification_names_its_file() -> None:
    s3 = {"Records": [{"s3": {"bucket": {"name": "box"}, "object": {"key": "in/a+b%C3%A9%2B.csv"}}}]}
    assert named_files(s3) == [(("S3", "box", "in/"), "a bé+.csv")]
    sftp = {"source": "sftp", "host": "h", "port": 2222, "username": "u", "path": "/in/a.csv"}
    assert named_files(sftp) == [(("SFTP", "h", "2222", "u", "/in"), "a.csv")]


@pytest.mark.parametrize("event", [None, [], {"Records": 1}, {"Records": [{"s3": 1}]}, {"source": "sftp"}])
def test_event_that_only_looks_like_a_notification_names_nothing(event: object) -> None:
    assert named_files(event) == []


def test_a_file_is_handed_out_once() -> None:
    routes = Routes()
    add(routes, route("f"))
    assert routes.appeared(BOX, "a.csv") == [], "an invoked flow is not started by its file"
    claim(routes, {})
    assert routes.claim("mover", {}, "r2") == (None, True)
    routes.appeared(BOX, "a.csv")
    assert claim(routes, {}).name == "a.csv", "uploaded again, it is a new file"


def test_many_callers_share_the_files_without_overlap() -> None:
    routes, taken, lock = Routes(), [], threading.Lock()
    add(routes, route("f"), present=[f"{index}.csv" for index in range(500)])

    def work(request: str) -> None:
        while (claimed := routes.claim("mover", {}, request)[0]) is not None:
            with lock:
                taken.append(claimed.name)

    workers = [threading.Thread(target=work, args=(str(index),)) for index in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(taken) == sorted(f"{index}.csv" for index in range(500))


def test_a_failed_or_dead_callers_file_waits_again() -> None:
    routes = Routes()
    add(routes, route("f"))
    routes.appeared(BOX, "a.csv")
    routes.settle(claim(routes, {}).claim_id, "failed")
    claim(routes, {}, request="dies")
    routes.release("dies")
    done = claim(routes, {}, request="works")
    routes.settle(done.claim_id, "moved")
    routes.release("works")
    assert routes.claim("mover", {}, "r9") == (None, True)


def test_a_caller_may_skip_what_it_failed_at() -> None:
    routes = Routes()
    add(routes, route("f"), present=["a.csv", "b.csv"])
    routes.settle(claim(routes, {}).claim_id, "failed")
    again, _ = routes.claim("mover", {}, "r1", ["f/a.csv"])
    assert again is not None
    assert again.name == "b.csv"


def test_a_file_that_belongs_to_one_flow_leaves_all_others() -> None:
    routes = Routes()
    add(routes, *(route(f"f{index}", payload={"flow": index}) for index in range(3)))
    routes.appeared(BOX, "a.csv")
    looked = claim(routes, {"flow": 0})
    routes.settle(looked.claim_id, "foreign", "f2")
    assert routes.claim("mover", {"flow": 0}, "r1") == (None, True)
    assert routes.claim("mover", {"flow": 1}, "r1") == (None, True)
    assert claim(routes, {"flow": 2}).route.flow_id == "f2"


def test_an_exact_payload_wins_over_one_that_is_only_contained() -> None:
    routes = Routes()
    add(routes, route("any"), route("exact", payload={"a": 1}), present=["a.csv"])
    assert claim(routes, {"a": 1}).route.flow_id == "exact"
    assert routes.claim("mover", {"a": 1}, "r1") == (None, True)
    assert claim(routes, {"a": 3}).route.flow_id == "any"
    assert routes.claim("mover", "text", "r1") == (None, False)
    assert routes.claim("nobody", {}, "r1") == (None, False)


def test_seeding_starts_event_flows_and_hands_out_that_file_only() -> None:
    routes = Routes()
    add(routes, route("f", "event"), present=["old.csv"])
    assert routes.appeared(BOX, "new.csv.sha256") == []
    assert routes.appeared(BOX, "new.csv") == [IMPLIED_FUNCTION]
    event = {"Records": [{"s3": {"bucket": {"name": "box"}, "object": {"key": "in/new.csv"}}}]}
    assert claim(routes, event, IMPLIED_FUNCTION).name == "new.csv"
    assert routes.claim(IMPLIED_FUNCTION, event, "r1") == (None, True)


def test_trigger_file_is_no_data_for_anyone_in_its_folder() -> None:
    routes = Routes()
    add(routes, route("t", "trigger_file"), route("e", "event"))
    assert routes.appeared(BOX, "a.csv") == [IMPLIED_FUNCTION]
    assert routes.appeared(BOX, "a.csv.done") == [IMPLIED_FUNCTION]
    event = {"Records": [{"s3": {"bucket": {"name": "box"}, "object": {"key": "in/a.csv.done"}}}]}
    claimed = claim(routes, event, IMPLIED_FUNCTION)
    assert (claimed.route.flow_id, claimed.name) == ("t", "a.csv")
    assert routes.claim(IMPLIED_FUNCTION, event, "r1") == (None, True)


def test_a_changed_flow_replaces_the_old_one_everywhere() -> None:
    routes = Routes()
    add(routes, route("f", payload={"old": 1}))
    add(routes, route("f", payload={"new": 1}, timeout_seconds=30), present=["a.csv"])
    assert routes.claim("mover", {"old": 1}, "r1") == (None, False)
    assert claim(routes, {"new": 1}).name == "a.csv"
    assert routes.timeouts() == {"mover": 30.0}


def test_timeout_is_the_longest_that_is_asked_for_up_to_lambdas_own_limit() -> None:
    routes = Routes()
    add(routes, route("a", timeout_seconds=60), route("b", timeout_seconds=20))
    assert routes.timeouts() == {"mover": 60.0}
    add(routes, route("c", timeout_seconds=1200))
    assert routes.timeouts() == {"mover": 900.0}


def test_objects_at_the_top_of_a_bucket_have_a_folder_too() -> None:
    assert s3_place("box", "a.csv") == (("S3", "box", ""), "a.csv")
    assert s3_place("box", "x/y/a.csv") == (("S3", "box", "x/y/"), "a.csv")


def test_an_event_that_names_another_flows_file_does_not_start_a_faulty_flow():
    """Templated payloads of two flows look alike: {"file": "${file.name}"}."""
    switches = Switches()
    routes, ends = Routes(switches), {}
    for flow_id in ("bad", "good"):
        source = {"type": "S3", "bucket": "box", "prefix": flow_id}
        ends[flow_id] = route(flow_id, payload={"file": "${file.name}"}, source=source)
        add(routes, ends[flow_id])
        routes.appeared(ends[flow_id].place, f"file_of_{flow_id}.csv")
    switches.set(ends["bad"], [Switch("crash", None, None)])

    assert routes.flows_meant("mover", {"file": "file_of_good.csv"}) == ["good"]
    first = claim(routes, {"file": "file_of_good.csv"})
    assert first.name == "file_of_good.csv"
    routes.settle(first.claim_id, "moved")
    assert routes.claim("mover", {"file": "unheard of"}, "r2") == (None, True)
    assert claim(routes, {"file": "file_of_bad.csv"}).route == ends["bad"]


def test_flows_without_faults_go_first():
    switches = Switches()
    routes = Routes(switches)
    for flow_id in ("bad", "good"):
        add(routes, route(flow_id), present=["a.csv"])
    switches.set(route("bad"), [Switch("crash", None, None)])
    assert [claim(routes, {}).route.flow_id for _ in range(2)] == ["good", "bad"]
