"""Where a file is that did not arrive, or a second copy of one that did: over storage in memory."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from pytest_fileflow import diagnosis, steps
from pytest_fileflow.arrival import Arrived, GaveUp
from pytest_fileflow.clock import Clock
from pytest_fileflow.diagnosis import budget, copies
from pytest_fileflow.errors import AccessDenied, ConnectionLost, LocationMissing
from pytest_fileflow.logs import FunctionLog
from pytest_fileflow.model import Case, Flow, Latency, S3Location, SftpLocation, TestData, Transfer, Validation, Variant
from pytest_fileflow.payload import Pattern
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.streams import Tools
from tests.support.memory import World

SOURCE = S3Location("source", "data/out/")
TARGET = S3Location("target", "data/in/")
SFTP_SOURCE = SftpLocation("there", "user", "/data/out", "arn")
SFTP_TARGET = SftpLocation("here", "user", "/data/in", "arn")
SIZE = 10_000
ENDS = [(SOURCE, TARGET), (SFTP_SOURCE, SFTP_TARGET)]


class Scene:
    """A run whose file was seeded, and what its transfer then did is up to the test."""

    def __init__(self, source=SOURCE, target=TARGET, size=SIZE, pattern="random", **transfer: object) -> None:
        registry = Registry()
        register_builtin_patterns(registry)
        registry.payload(Pattern("same", "txt", lambda run_id, size: iter([b"x" * size]), lambda size: None))
        self.world = World()
        self.storage = self.world.storage
        self.tools = Tools(self.world.endpoint, self.world.invoke, registry, Clock())
        variant = Variant("", size)
        rules = Validation(expect_within_seconds=5, grace_seconds=1, post_arrival_wait_seconds=1)
        data = TestData((variant,), pattern)
        self.flow = Flow("flow", source, target, Transfer(**transfer), rules, data, origin="flow.yaml:1")
        run = steps.enter_ledger(self.flow, steps.prepare(Case(self.flow, variant), self.tools))
        self.run = steps.seed(self.flow, run, self.tools).with_stamp("triggered", Clock().stamp())
        self.name = self.run.file.name
        self.content = self.storage.get(source.uri(), self.name)

    def put(self, location, name=None, content=None) -> str:
        self.storage.put(location.uri(), name or self.name, self.content if content is None else content)
        return location.uri(name or self.name)

    def take(self) -> None:
        for name in (self.name, *self.run.file.sidecars):
            self.storage.remove(self.flow.source.uri(), name)

    def verdict(self, stat=None, *, seen_full=False):
        end = GaveUp(stat, 0.0, growing=False, seen_full=seen_full)
        verdict = diagnosis.of_gave_up(self.flow, self.run, end, self.tools)
        self.run = dataclasses.replace(self.run, verdict=verdict)
        return verdict

    def verify(self):
        stat = self.world.endpoint(self.flow.target).stat(self.name)
        self.run = steps.verify(self.flow, self.run, Arrived(stat, Latency(1.0, 0.1), 0.0), self.tools)
        return self.run.verdict

    def clean_up(self):
        self.run = steps.clean_up(self.flow, self.run, self.tools)
        return self.storage.everything()


def near(location, *parts):
    folder = "/".join(parts)
    if isinstance(location, S3Location):
        return dataclasses.replace(location, prefix=f"{folder}/" if folder else "")
    return dataclasses.replace(location, dir=f"/{folder}")


@pytest.fixture(params=ENDS, ids=["s3", "sftp"])
def scene(request) -> Scene:
    return Scene(*request.param)


# --- still at the source, or gone ---------------------------------------------------------------


def test_a_file_that_was_left_at_the_source(scene):
    verdict = scene.verdict()
    assert verdict.cause == "missing.not_picked_up"
    assert f"still lies at {scene.flow.source.uri()}" in verdict.reason
    assert scene.clean_up() == []


def test_a_file_that_was_taken_and_is_nowhere(scene):
    scene.take()
    verdict = scene.verdict()
    assert verdict.cause == "missing.lost"
    assert verdict.reason.endswith(f"and is gone from {scene.flow.source.uri()}")
    assert verdict.strays == ()


@pytest.mark.parametrize("folder", [("data", "out", "archive"), ("data", "error"), ("data", "out", "Failed")])
def test_a_file_that_was_set_aside_at_the_source_is_lost_and_the_sentence_says_where_it_went(scene, folder):
    scene.take()
    uri = scene.put(near(scene.flow.source, *folder))
    verdict = scene.verdict()
    assert verdict.cause == "missing.lost"
    assert verdict.reason.endswith(f"is gone from {scene.flow.source.uri()}: it now lies at {uri}")


def test_a_file_that_was_renamed_at_the_source_is_lost(scene):
    scene.take()
    scene.put(scene.flow.source, f"{scene.name}.processed")
    verdict = scene.verdict()
    assert verdict.cause == "missing.lost"
    assert verdict.reason.endswith(f": it now lies there as {scene.name}.processed")


def test_a_source_that_cannot_be_asked_gives_its_own_cause():
    scene = Scene()
    scene.storage.errors["stat", SOURCE.uri()] = ConnectionLost("reset by peer")
    verdict = scene.verdict()
    assert (verdict.outcome, verdict.cause) == ("failed", "net.reset")
    assert "did not arrive" in verdict.reason
    scene.storage.errors["stat", SOURCE.uri()] = ValueError("password=hunter2")
    verdict = scene.verdict()
    assert (verdict.outcome, verdict.cause) == ("failed", "storage.failed")
    assert "hunter2" not in str(verdict)


# --- under another name -------------------------------------------------------------------------


@pytest.mark.parametrize("made", ["{}.1", "new_{}", "{}.processed", "UPPER", "{}.error", "copy of {}"])
def test_a_file_under_another_name(scene, made):
    name = scene.name.upper() if made == "UPPER" else made.format(scene.name)
    uri = scene.put(scene.flow.target, name)
    scene.put(scene.flow.target, f"{name}.sha256", b"a digest")
    verdict = scene.verdict()
    assert verdict.cause == "missing.renamed"
    assert f"lies there under another name: {uri} ({SIZE} bytes)" in verdict.reason
    assert verdict.evidence["found"] == uri
    assert uri in verdict.evidence["strays"]
    assert scene.clean_up() == []


def test_a_name_without_the_run_id_is_known_by_its_content_and_never_removed(scene):
    scene.put(scene.flow.target, "other.bin", bytes(SIZE))
    uri = scene.put(scene.flow.target, "latest.bin")
    verdict = scene.verdict()
    assert verdict.cause == "missing.renamed"
    assert f"under a name without its run id: {uri} has its size and SHA-256" in verdict.reason
    assert verdict.strays == ()
    assert {name for _, name in scene.clean_up()} == {"latest.bin", "other.bin"}


def test_content_that_every_run_has_tells_nothing():
    scene = Scene(pattern="same")
    scene.put(TARGET, "latest.txt")
    assert scene.verdict().cause == "missing.not_picked_up"


def test_at_most_three_files_are_read_for_their_content(scene):
    for number in range(10):
        scene.put(scene.flow.target, f"other{number}.bin", bytes([number]) * SIZE)
    assert scene.verdict().cause == "missing.not_picked_up"
    assert scene.storage.calls.count(("open", scene.flow.target.uri())) == 3


@pytest.mark.parametrize("made", [".{}.part", "{}.filepart", "{}.tmp", ".{}.swp"])
def test_a_temporary_name_is_a_writer_that_never_finished(scene, made):
    uri = scene.put(scene.flow.target, made.format(scene.name), scene.content[:4000])
    verdict = scene.verdict()
    assert verdict.cause == "partial.truncated"
    assert f"{uri} with 4000 of {SIZE} bytes: the writer never finished" in verdict.reason
    assert scene.clean_up() == []


def test_a_temporary_name_without_the_run_id_is_known_by_how_it_begins(scene):
    scene.put(scene.flow.target, ".1b2c3d.part", bytes(4000))
    scene.put(scene.flow.target, "tmp_short", scene.content[:20])
    uri = scene.put(scene.flow.target, ".4e5f60.part", scene.content[:4000])
    verdict = scene.verdict()
    assert verdict.cause == "partial.truncated"
    assert f"{uri} with 4000 of {SIZE} bytes" in verdict.reason
    assert verdict.strays == ()


def test_a_whole_file_under_a_temporary_name_was_never_renamed(scene):
    uri = scene.put(scene.flow.target, f".{scene.name}.part")
    verdict = scene.verdict()
    assert verdict.cause == "missing.renamed"
    assert f"the temporary name {uri} ({SIZE} bytes): it was never renamed" in verdict.reason


def test_sidecars_and_companions_alone_are_not_the_file(scene):
    for name in (*scene.run.file.sidecars, f"{scene.name}.done", f"{scene.name}.md5"):
        scene.put(scene.flow.target, name, b"x")
    assert scene.verdict().cause == "missing.not_picked_up"


def test_a_file_that_lies_there_by_now_came_too_late(scene):
    scene.put(scene.flow.target)
    verdict = scene.verdict()
    assert verdict.cause == "late"
    assert verdict.reason.endswith("it lies there by now, intact")
    scene.put(scene.flow.target, content=bytes(SIZE))
    assert scene.verdict().cause == "content.corrupt"
    scene.put(scene.flow.target, content=bytes(SIZE + 1))
    assert scene.verdict().cause == "partial.oversize"
    scene.put(scene.flow.target, content=b"half")
    verdict = scene.verdict()
    assert verdict.cause == "partial.truncated"
    assert f"has 4 of {SIZE} bytes" in verdict.reason


# --- in another folder --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder",
    [("data", "in", "acme"), ("data",), ("data", "in2"), ("data", "in", "in"), ("data", "somewhere")],
    ids="/".join,
)
def test_a_file_in_another_folder(scene, folder):
    place = near(scene.flow.target, *folder)
    uri = scene.put(place)
    scene.put(place, scene.run.file.sidecars[0], b"digest")
    scene.put(place, "theirs.csv", b"not ours")
    verdict = scene.verdict()
    assert verdict.cause == "missing.misplaced", verdict
    assert f"but lies at {uri} ({SIZE} bytes)" in verdict.reason
    assert scene.clean_up() == [(place.uri(), "theirs.csv")]


@pytest.mark.parametrize("prefix", ["", "wrong/"])
def test_a_file_at_the_root_of_the_bucket_or_in_a_folder_there(prefix):
    scene = Scene()
    uri = scene.put(S3Location("target", prefix))
    verdict = scene.verdict()
    assert verdict.cause == "missing.misplaced"
    assert uri in verdict.reason


def test_a_prefix_that_was_put_before_the_name_without_a_slash():
    scene = Scene()
    uri = scene.put(S3Location("target", "data/"), f"in{scene.name}")
    verdict = scene.verdict()
    assert verdict.cause == "missing.misplaced"
    assert f"but lies at {uri} and under another name" in verdict.reason
    assert scene.clean_up() == []


def test_a_file_that_was_taken_on_after_it_arrived_is_found(scene):
    uri = scene.put(near(scene.flow.target, "data", "in", "processed"))
    verdict = scene.verdict(seen_full=True)
    assert verdict.cause == "missing.misplaced"
    assert "was gone again before it could be verified" in verdict.reason
    assert uri in verdict.reason


def test_what_lies_at_the_source_is_not_misplaced():
    source, target = S3Location("one", "data/out/"), S3Location("one", "data/in/")
    scene = Scene(source, target)
    assert scene.verdict().cause == "missing.not_picked_up"
    scene.take()
    scene.put(S3Location("one", "data/archive/"))
    assert scene.verdict().cause == "missing.lost"
    inner = Scene(S3Location("one", "data/"), target)
    assert inner.verdict().cause == "missing.not_picked_up"
    inner.put(S3Location("one", "data/in2/"))
    assert inner.verdict().cause == "missing.misplaced"


def test_copies_that_cannot_be_removed_are_residue(scene):
    place = near(scene.flow.target, "data", "in2")
    uri = scene.put(place)
    scene.storage.errors["delete", place.uri()] = AccessDenied("delete was denied")
    scene.verdict()
    scene.clean_up()
    assert scene.run.residue == (uri,)
    assert scene.run.verdict.cause == "missing.misplaced"


def test_the_look_around_is_bounded(scene):
    for number in range(200):
        scene.put(near(scene.flow.target, "data", f"folder{number}"), "theirs.csv", b"x")
        scene.put(near(scene.flow.target, "data", "in", f"folder{number}"), "theirs.csv", b"x")
    scene.take()
    scene.storage.calls.clear()
    scene.verdict()
    looks = [call for call in scene.storage.calls if call[0] in ("list", "folders")]
    assert len(looks) <= 12 + 4 + 4, looks
    assert len(scene.storage.calls) <= 24


def test_an_endpoint_that_lists_no_folders_is_not_looked_around(scene):
    class Plain:
        def __init__(self, inner):
            self.location, self._inner = inner.location, inner
            self.stat, self.list, self.open = inner.stat, inner.list, inner.open

    tools = scene.tools
    scene.tools = dataclasses.replace(tools, endpoint=lambda location: Plain(tools.endpoint(location)))
    scene.put(near(scene.flow.target, "data", "in2"))
    assert scene.verdict().cause == "missing.not_picked_up"


def test_many_folders_of_one_kind_leave_room_for_the_others(scene):
    for number in range(30):
        scene.put(near(scene.flow.target, "data", "in", f"part{number}"), "theirs.csv", b"x")
        scene.put(near(scene.flow.target, "data", f"beside{number}"), "theirs.csv", b"x")
    today = scene.run.timeline["prepared"][:10]
    for folder in (("data",), ("data", "in3"), ("data", "in", f"dt={today}")):
        place = near(scene.flow.target, *folder)
        uri = scene.put(place)
        assert uri in scene.verdict().reason
        scene.storage.remove(place.uri(), scene.name)


def test_a_fixture_that_makes_no_endpoint_for_other_folders_hides_no_verdict(scene):
    ends, tools = (scene.flow.source, scene.flow.target), scene.tools

    def only_ends(location):
        return tools.endpoint(location) if location in ends else pytest.skip("not here")

    scene.tools = dataclasses.replace(tools, endpoint=only_ends)
    assert scene.verdict().cause == "missing.not_picked_up"
    one = tools.endpoint(scene.flow.target)
    scene.tools = dataclasses.replace(tools, endpoint=lambda at: one if at != scene.flow.source else tools.endpoint(at))
    assert scene.verdict().cause == "missing.not_picked_up"


@pytest.mark.parametrize("error", [AccessDenied("denied"), LocationMissing("gone"), RuntimeError("a bug")])
def test_a_look_that_fails_hides_no_verdict(scene, error):
    for operation in ("list", "folders"):
        for place in (scene.flow.target, near(scene.flow.target, "data"), scene.flow.source):
            scene.storage.errors[operation, place.uri()] = error
    verdict = scene.verdict()
    assert verdict.cause == "missing.not_picked_up"
    assert "could not be listed" in verdict.evidence["listing"][0]
    assert "a bug" not in str(verdict)


# --- time ---------------------------------------------------------------------------------------


@pytest.fixture
def hanging():
    released = threading.Event()
    yield released
    released.set()


@pytest.mark.parametrize("operation", ["stat", "list", "folders"])
def test_an_endpoint_that_hangs_costs_no_more_than_the_budget(scene, hanging, monkeypatch, operation):
    monkeypatch.setattr(budget, "DIAGNOSIS_SECONDS", 0.5)
    enter = scene.storage.enter
    scene.storage.enter = lambda asked, place: hanging.wait(60) if asked == operation else enter(asked, place)
    began = time.monotonic()
    verdict = scene.verdict()
    assert time.monotonic() - began < 3
    assert verdict.outcome == "failed"
    assert verdict.cause == ("net.timeout" if operation == "stat" else "missing.not_picked_up")
    assert "could not be told within 0.5 s" in f"{verdict.reason} {verdict.evidence}"


def test_a_session_that_ends_waits_for_no_answer(scene, hanging):
    scene.storage.enter = lambda asked, place: hanging.wait(60)
    scene.tools = dataclasses.replace(scene.tools, cancelled=lambda: True)
    began = time.monotonic()
    assert scene.verdict().outcome == "failed"
    assert time.monotonic() - began < 2


def test_threads_that_hang_are_bounded(scene, hanging):
    room = threading.BoundedSemaphore(3)
    before = threading.active_count()
    questions = budget.Budget(scene.tools, seconds=0.3, room=room)
    for number in range(20):
        questions.begin(f"question {number}", lambda: hanging.wait(60)).answer_or(None)
    assert threading.active_count() - before <= 3
    assert len(questions.notes) == 20
    hanging.set()
    assert budget.Budget(scene.tools, seconds=20, room=room).ask("one more", lambda: 7) == 7


def test_no_more_questions_are_asked_than_allowed(scene):
    asked = []
    questions = budget.Budget(scene.tools, questions=2)
    for number in range(5):
        questions.begin("a question", lambda number=number: asked.append(number)).answer_or(None)
    assert asked == [0, 1]
    assert "was not asked" in questions.notes[0]


# --- the function's words -----------------------------------------------------------------------

FAILED = FunctionLog(("START RequestId: id-1 Version: 1", "[ERROR] ValueError: no partner", "END RequestId: id-1"))
TIMED_OUT = FunctionLog(("START RequestId: id-1 Version: 1", "id-1 Task timed out after 3.00 seconds"))
WELL = FunctionLog(("START RequestId: id-1 Version: 1", "moved it", "END RequestId: id-1"))


@pytest.fixture
def invoked():
    scene = Scene(mode="invoke", lambda_arn="function")
    scene.run = scene.run.with_evidence(lambda_request_id="id-1")
    scene.asked = []

    def logs(log) -> None:
        def find(transfer, request_id, run_id, since):
            scene.asked.append((transfer.lambda_arn, request_id, run_id, since))
            if isinstance(log, Exception):
                raise log
            return log

        scene.tools = dataclasses.replace(scene.tools, function_log=find)

    scene.logs = logs
    return scene


@pytest.mark.parametrize(
    ("log", "cause", "sentence"),
    [
        (FAILED, "trigger.function_error", "function failed with ValueError: no partner: "),
        (TIMED_OUT, "trigger.timeout", "function ran into its own time limit after 3 s: "),
        (WELL, "missing.not_picked_up", "still lies at"),
    ],
)
def test_a_function_that_failed_is_the_cause_of_a_missing_file(invoked, log, cause, sentence):
    invoked.logs(log)
    verdict = invoked.verdict()
    assert verdict.cause == cause
    assert sentence in verdict.reason
    assert "still lies at s3://source/data/out/" in verdict.reason
    assert verdict.evidence["log_tail"] == "\n".join(log.lines)
    assert verdict.evidence["lambda_request_id"] == "id-1"
    (asked,) = invoked.asked
    assert asked[:3] == ("function", "id-1", invoked.run.run_id)
    assert abs(asked[3] - time.time()) < 60


def test_what_was_found_outranks_what_was_said(invoked):
    invoked.logs(FAILED)
    invoked.put(S3Location("target", "data/in2/"))
    verdict = invoked.verdict()
    assert verdict.cause == "missing.misplaced"
    assert "ValueError" in verdict.evidence["log_tail"]


def test_a_truncated_file_stays_so_and_its_function_explains_it(invoked):
    invoked.logs(TIMED_OUT)
    invoked.put(TARGET, content=invoked.content[:100])
    verdict = invoked.verdict(invoked.world.endpoint(TARGET).stat(invoked.name))
    assert verdict.cause == "partial.truncated"
    assert verdict.reason.endswith("its function ran into its own time limit after 3 s")


def test_a_late_file_is_late_whatever_its_function_said(invoked):
    invoked.logs(FAILED)
    invoked.put(TARGET)
    stat = invoked.world.endpoint(TARGET).stat(invoked.name)
    arrived = Arrived(stat, Latency(5.5, 0.1), 0.0)
    verdict = steps.verify(invoked.flow, invoked.run, arrived, invoked.tools).verdict
    assert verdict.cause == "late"
    assert "function" not in verdict.reason
    assert "ValueError" in verdict.evidence["log_tail"]


def test_a_log_that_cannot_be_read_is_said_and_changes_nothing(invoked):
    invoked.logs(AccessDenied("logs:FilterLogEvents on /aws/lambda/function was denied"))
    verdict = invoked.verdict()
    assert verdict.cause == "missing.not_picked_up"
    assert verdict.evidence["log"] == "could not be read: logs:FilterLogEvents on /aws/lambda/function was denied"


def test_a_synchronous_function_and_one_of_no_name_have_no_log_to_look_for(invoked):
    invoked.logs(FAILED)
    for transfer in (Transfer("invoke", "function", "RequestResponse"), Transfer("event")):
        invoked.flow = dataclasses.replace(invoked.flow, transfer=transfer)
        assert invoked.verdict().cause == "missing.not_picked_up"
    assert invoked.asked == []


# --- delivered twice ----------------------------------------------------------------------------


def row(scene):
    return next((check.observed for check in scene.run.checks if check.name == "copies"), None)


def test_one_copy_is_a_row_of_the_checks(scene):
    scene.put(scene.flow.target)
    assert scene.verify().outcome == "passed"
    assert row(scene) == "1 copy"


@pytest.mark.parametrize("made", ["{}.1", "{}_2", "{} (1)", "{}.processed", "{}.csv"])
def test_a_second_copy_fails_and_is_removed_with_the_first(scene, made):
    scene.put(scene.flow.target)
    name = made.format(scene.name)
    scene.put(scene.flow.target, name)
    verdict = scene.verify()
    assert (verdict.outcome, verdict.cause) == ("failed", "duplicate")
    assert f"2 copies: {scene.name}, {name}" in verdict.reason
    assert scene.clean_up() == []


@pytest.mark.parametrize("size", [0, 1, 32, SIZE])
def test_what_transfers_write_beside_a_file_is_no_second_copy(scene, size):
    source, target = scene.flow.source, scene.flow.target
    scene = Scene(source, target, size=size)
    scene.put(target)
    for ending in ("done", "ok", "ctl", "md5", "asc", "sha256", "manifest.json", "part", "log"):
        scene.put(target, f"{scene.name}.{ending}", b"x" * size)
        scene.put(target, f".{scene.name}.{ending}", b"y" * size)
    scene.put(target, f"report_{scene.name}", b"z" * (size + 1))
    scene.put(target, "another-run.bin", scene.content)
    assert scene.verify().outcome == "passed", scene.run.verdict
    assert row(scene) == "1 copy"


def test_an_empty_file_has_copies_only_by_name():
    scene = Scene(size=0)
    scene.put(TARGET)
    scene.put(TARGET, f"{scene.name}.done")
    assert scene.verify().outcome == "passed"
    scene.put(TARGET, f"{scene.name}.1")
    assert scene.verify().cause == "duplicate"


@pytest.mark.parametrize("error", [AccessDenied("denied"), ConnectionLost("reset"), RuntimeError("a bug")])
def test_a_folder_that_cannot_be_listed_fails_no_good_transfer(scene, error):
    scene.put(scene.flow.target)
    scene.storage.errors["list", scene.flow.target.uri()] = error
    assert scene.verify().outcome == "passed"
    assert row(scene) is None


def test_a_listing_that_hangs_fails_no_good_transfer(scene, hanging, monkeypatch):
    monkeypatch.setattr(copies, "LOOK_SECONDS", 0.3)
    scene.put(scene.flow.target)
    enter = scene.storage.enter
    scene.storage.enter = lambda asked, place: hanging.wait(60) if asked == "list" else enter(asked, place)
    began = time.monotonic()
    assert scene.verify().outcome == "passed"
    assert time.monotonic() - began < 3


def test_a_passing_run_costs_one_request_more(scene):
    scene.put(scene.flow.target)
    scene.storage.calls.clear()
    scene.verify()
    seen_to_arrive = ["stat"]
    assert [operation for operation, _ in scene.storage.calls] == [*seen_to_arrive, "open", "stat", "list"]


def test_a_damaged_file_is_not_looked_at_for_copies(scene):
    scene.put(scene.flow.target, content=bytes(SIZE))
    scene.put(scene.flow.target, f"{scene.name}.1")
    scene.tools = dataclasses.replace(scene.tools, clock=dataclasses.replace(Clock(), sleep=lambda seconds: None))
    assert scene.verify().cause.startswith("content.")
    assert row(scene) is None


def test_a_file_that_is_late_and_doubled_is_a_duplicate(scene):
    scene.put(scene.flow.target)
    scene.put(scene.flow.target, f"{scene.name}.1")
    stat = scene.world.endpoint(scene.flow.target).stat(scene.name)
    run = steps.verify(scene.flow, scene.run, Arrived(stat, Latency(5.5, 0.1), 0.0), scene.tools)
    assert run.verdict.cause == "duplicate"


def test_runs_that_look_at_one_time_share_the_listing_of_a_server():
    scene = Scene(SFTP_SOURCE, SFTP_TARGET)
    scene.put(SFTP_TARGET)
    scene.storage.calls.clear()
    for _ in range(3):
        scene.verify()
    assert scene.storage.calls.count(("list", SFTP_TARGET.uri())) < 3


# --- sentences ----------------------------------------------------------------------------------


def test_no_two_situations_share_a_sentence():
    def sentence(arrange, **how) -> str:
        scene = Scene()
        arrange(scene)
        return scene.verdict(**how).reason.replace(scene.run.run_id, "ID").replace(scene.name, "NAME")

    told = [
        sentence(lambda scene: None),
        sentence(lambda scene: scene.take()),
        sentence(lambda scene: (scene.take(), scene.put(S3Location("source", "data/archive/")))),
        sentence(lambda scene: (scene.take(), scene.put(SOURCE, f"{scene.name}.bad"))),
        sentence(lambda scene: scene.put(TARGET, f"{scene.name}.1")),
        sentence(lambda scene: scene.put(TARGET, "latest")),
        sentence(lambda scene: scene.put(TARGET, f"{scene.name}.part")),
        sentence(lambda scene: scene.put(TARGET, f"{scene.name}.part", b"x")),
        sentence(lambda scene: scene.put(TARGET)),
        sentence(lambda scene: scene.put(TARGET, content=b"x")),
        sentence(lambda scene: scene.put(S3Location("target", "data/"))),
        sentence(lambda scene: None, seen_full=True),
        sentence(lambda scene: scene.put(S3Location("target", "data/")), seen_full=True),
    ]
    assert len(set(told)) == len(told)
