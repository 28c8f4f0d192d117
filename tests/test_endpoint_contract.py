"""One contract, held by every endpoint: here over real OpenSSH and over S3 by HTTP."""

from __future__ import annotations

import copy
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.config import schema
from pytest_fileflow.endpoints import ProvesWriting, Upload, delete_all, put_all
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.ssh import SshSessions, Timeouts
from pytest_fileflow.errors import AccessDenied, ConfigInvalid, ConnectionLost, LocationMissing, TesterBug
from pytest_fileflow.model import S3Location, TestData, sidecar_names
from pytest_fileflow.payload import PATTERNS, file_name
from pytest_fileflow.secret import Credentials
from tests.support.memory import MemoryEndpoint, Storage
from tests.support.openssh import OpenSsh
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.endpoints import Endpoint


@dataclass(frozen=True)
class Place:
    """An endpoint, another one whose location does not exist, and a look at the storage behind its back."""

    endpoint: Endpoint
    nowhere: Endpoint
    write: Callable[[str, bytes], None]
    names: Callable[[], set[str]]


@pytest.fixture(scope="module")
def s3_place() -> Iterator[Place]:
    with MotoServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        client = AwsClients(server.session()).client("s3")
        client.create_bucket(Bucket="there")
        location = S3Location("there", "partners/acme")

        def write(name: str, content: bytes) -> None:
            client.put_object(Bucket="there", Key=f"partners/acme/{name}", Body=content)

        def names() -> set[str]:
            listed = client.list_objects_v2(Bucket="there", Prefix="partners/acme/").get("Contents", ())
            return {entry["Key"].removeprefix("partners/acme/") for entry in listed}

        missing = S3Endpoint(S3Location("not-there", "partners/acme"), client)
        yield Place(S3Endpoint(location, client), missing, write, names)


@pytest.fixture(scope="module")
def sftp_place() -> Iterator[Place]:
    with OpenSsh() as server:
        credentials = Credentials(private_key=server.private_key)
        sessions = SshSessions(lambda _: credentials, timeouts=Timeouts(operation=10))
        folder = server.directory("partners/acme")

        def write(name: str, content: bytes) -> None:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            server.own(path)

        def names() -> set[str]:
            return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

        missing = SftpEndpoint(server.location(folder / "nowhere"), sessions)
        yield Place(SftpEndpoint(server.location(folder), sessions), missing, write, names)
        sessions.close()


@pytest.fixture(params=["s3", "sftp"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    yield found
    for name in found.names():
        if "/" not in name:
            found.endpoint.delete(name)


@pytest.fixture
def endpoint(place: Place) -> Endpoint:
    return place.endpoint


def put(endpoint: Endpoint, name: str, content: bytes) -> None:
    endpoint.put(name, io.BytesIO(content), len(content), {"flow_id": "acme", "synthetic": "true"})


def read(endpoint: Endpoint, name: str, offset: int = 0, version: str | None = None) -> bytes | None:
    with endpoint.open(name, offset, version) as chunks:
        return None if chunks is None else b"".join(chunks)


KIB = 1024


@pytest.mark.parametrize("size", [0, 1, 32 * KIB - 1, 255 * KIB, 255 * KIB + 1, 1024 * KIB, 5 * 1024 * KIB + 17])
def test_a_file_comes_back_as_it_was_put(endpoint, size):
    content = os.urandom(size)
    put(endpoint, "a.bin", content)
    assert read(endpoint, "a.bin") == content
    stat = endpoint.stat("a.bin")
    assert stat is not None
    assert (stat.name, stat.size) == ("a.bin", size)


def test_stat_and_list_tell_the_same(endpoint):
    put(endpoint, "a.bin", b"abc")
    (listed,) = endpoint.list()
    stat = endpoint.stat("a.bin")
    assert (listed.name, listed.size, listed.version) == ("a.bin", 3, stat.version)
    assert listed.modified == pytest.approx(stat.modified, abs=1)


def test_only_the_file_itself_is_left_by_a_put(place):
    put(place.endpoint, "a.bin", b"abc")
    assert place.names() == {"a.bin"}


def test_a_put_replaces_what_was_there(endpoint):
    put(endpoint, "a.bin", b"a longer first version")
    put(endpoint, "a.bin", b"second")
    assert read(endpoint, "a.bin") == b"second"
    assert [stat.name for stat in endpoint.list()] == ["a.bin"]


def test_a_put_reads_from_where_the_stream_stands(endpoint):
    body = io.BytesIO(b"skip-keep")
    body.seek(5)
    endpoint.put("a.bin", body, 4, {})
    assert read(endpoint, "a.bin") == b"keep"
    assert not body.closed


@pytest.mark.parametrize("claimed", [2, 4])
def test_a_stream_of_another_length_is_not_put(place, claimed):
    with pytest.raises(TesterBug, match=f"{claimed} bytes|not {claimed}"):
        place.endpoint.put("a.bin", io.BytesIO(b"abc"), claimed, {})
    assert place.names() == set()


class Bursting(io.BytesIO):
    """A stream that fails in the middle, as a bug in a payload generator would."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1_000_000:
            raise ZeroDivisionError("the generator failed")
        return super().read(min(size, 262_144) if size and size > 0 else 262_144)


def test_a_put_that_fails_leaves_nothing(place):
    body = Bursting(bytes(3_000_000))
    with pytest.raises(ZeroDivisionError):
        place.endpoint.put("a.bin", body, 3_000_000, {})
    assert place.names() == set()


def test_what_is_not_there_is_an_answer(endpoint):
    assert endpoint.stat("absent") is None
    assert endpoint.list() == []
    assert read(endpoint, "absent") is None
    endpoint.delete("absent")


def test_delete_removes(place):
    put(place.endpoint, "a.bin", b"abc")
    place.endpoint.delete("a.bin")
    assert place.names() == set()
    assert place.endpoint.stat("a.bin") is None


def test_list_filters_by_prefix_and_leaves_folders_out(place):
    for name in ("run1.csv", "run1.csv.sha256", "run2.csv"):
        put(place.endpoint, name, b"x")
    place.write("sub/run1.csv", b"in a folder")
    assert {stat.name for stat in place.endpoint.list()} == {"run1.csv", "run1.csv.sha256", "run2.csv"}
    assert {stat.name for stat in place.endpoint.list("run1")} == {"run1.csv", "run1.csv.sha256"}
    assert place.endpoint.list("sub") == []


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_list_keeps_to_its_limit(endpoint, limit):
    for number in range(5):
        put(endpoint, f"{number}.csv", b"")
    assert len(endpoint.list(limit=limit)) == min(limit, 5)


@pytest.mark.parametrize(
    "ask",
    [
        lambda endpoint: endpoint.stat("a"),
        lambda endpoint: endpoint.list(),
        lambda endpoint: endpoint.delete("a"),
        lambda endpoint: read(endpoint, "a"),
        lambda endpoint: put(endpoint, "a", b"abc"),
    ],
    ids=["stat", "list", "delete", "open", "put"],
)
def test_a_location_that_is_not_there_is_an_error(place, ask):
    with pytest.raises(LocationMissing) as caught:
        ask(place.nowhere)
    assert "not-there" in caught.value.reason or "nowhere" in caught.value.reason


@pytest.mark.parametrize("offset", [0, 1, 299_999, 300_000, 300_001])
def test_open_starts_at_an_offset(endpoint, offset):
    content = os.urandom(300_000)
    put(endpoint, "a.bin", content)
    assert read(endpoint, "a.bin", offset) == content[offset:]


def test_open_knows_the_version(endpoint):
    put(endpoint, "a.bin", b"first")
    version = endpoint.stat("a.bin").version
    assert read(endpoint, "a.bin", version=version) == b"first"
    put(endpoint, "a.bin", b"another")
    assert endpoint.stat("a.bin").version != version
    assert read(endpoint, "a.bin", version=version) is None


def test_a_reader_may_stop_early_any_number_of_times(endpoint):
    content = os.urandom(3_000_000)
    put(endpoint, "a.bin", content)
    for _ in range(20):
        with endpoint.open("a.bin") as chunks:
            assert content.startswith(next(chunks))
        with endpoint.open("a.bin"):
            pass
    assert read(endpoint, "a.bin") == content


def test_nothing_is_read_after_the_end(endpoint):
    put(endpoint, "a.bin", bytes(3_000_000))
    with endpoint.open("a.bin") as started, endpoint.open("a.bin") as untouched:
        next(started)
    assert list(started) == list(untouched) == []


def test_what_the_reader_raises_passes_through(endpoint):
    put(endpoint, "a.bin", b"abc")
    for error in (KeyError("mine"), TimeoutError("mine"), OSError("mine")):
        with pytest.raises(type(error), match="mine"), endpoint.open("a.bin"):
            raise error
    assert read(endpoint, "a.bin") == b"abc"


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/etc/passwd", "a\\b", "a\nb", "a\0b", "a\x1bb"])
def test_a_name_stays_in_its_folder(endpoint, name):
    asked: list[Callable[[], Any]] = [
        lambda: endpoint.stat(name),
        lambda: endpoint.delete(name),
        lambda: put(endpoint, name, b""),
        lambda: read(endpoint, name),
    ]
    for ask in asked:
        with pytest.raises(ConfigInvalid, match="not a plain file name"):
            ask()


@pytest.mark.parametrize("name", ["with space.csv", "ümläut-文件.csv", "a+b&c=d%20.csv", "x" * 255, "é" * 127])
def test_names_of_all_kinds_survive(endpoint, name):
    put(endpoint, name, b"abc")
    assert [stat.name for stat in endpoint.list()] == [name]
    assert read(endpoint, name) == b"abc"
    endpoint.delete(name)
    assert endpoint.stat(name) is None


def test_every_awkward_name_and_its_sidecars_survive(place):
    run, now = "0123456789abcdef", datetime(2026, 11, 24, tzinfo=timezone.utc)
    pattern, kinds = PATTERNS[0], schema()["$defs"]["testdata"]["properties"]["awkward"]["items"]["enum"]
    for how in (*((kind,) for kind in kinds), tuple(kinds)):
        name = file_name(TestData(awkward=how), pattern, flow_id="acme", run_id=run, size=1, now=now)
        names = (name, *sidecar_names(name))
        put_all(place.endpoint, [Upload(each, io.BytesIO(each.encode()), len(each.encode())) for each in names], {})
        assert place.names() >= set(names)
        for each in names:
            assert place.endpoint.stat(each).size == len(each.encode())
            with place.endpoint.open(each) as chunks:
                assert b"".join(chunks) == each.encode()
        assert {stat.name for stat in place.endpoint.list(name)} >= {name}
        assert delete_all(place.endpoint, names) == {}
        assert place.names().isdisjoint(names)


def test_many_threads_share_an_endpoint(endpoint):
    start = threading.Barrier(16)

    def one(number: int) -> bool:
        content = os.urandom(200_000 + number)
        start.wait(10)
        for _ in range(3):
            put(endpoint, f"{number}.bin", content)
            stat = endpoint.stat(f"{number}.bin")
            same = stat is not None and stat.size == len(content) and read(endpoint, f"{number}.bin") == content
            endpoint.delete(f"{number}.bin")
            if not same:
                return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(16)))
    assert endpoint.list() == []


def uploads(**contents: bytes) -> list[Upload]:
    return [Upload(name, io.BytesIO(content), len(content)) for name, content in contents.items()]


def test_several_files_are_put_and_removed_in_one_go(place):
    put_all(place.endpoint, uploads(several_a=b"1", several_b=b"", several_c=b"33"), {"test": "1"})
    shown = {stat.name: stat.size for stat in place.endpoint.list("several_")}
    assert shown == {"several_a": 1, "several_b": 0, "several_c": 2}
    assert delete_all(place.endpoint, [*shown, "several_absent"]) == {}
    assert place.endpoint.list("several_") == []


def test_of_several_files_the_last_does_not_appear_where_one_before_it_fails(place):
    broken = [*uploads(half_a=b"1"), Upload("half_b", io.BytesIO(b"short"), 10), *uploads(half_c=b"3")]
    with pytest.raises(TesterBug):
        put_all(place.endpoint, broken, {})
    assert "half_c" not in place.names()
    assert not [name for name in place.names() if ".part" in name]
    delete_all(place.endpoint, ["half_a"])


def test_what_cannot_be_removed_is_told_by_name(place):
    errors = delete_all(place.nowhere, ["a", "b"])
    assert {name: type(error) for name, error in errors.items()} == {"a": LocationMissing, "b": LocationMissing}


def test_where_there_is_nothing_to_remove_nothing_is_asked(place):
    assert delete_all(place.nowhere, []) == {}


def test_an_endpoint_that_takes_one_file_at_a_time_serves_as_well():
    storage = Storage()
    endpoint = MemoryEndpoint(S3Location("bucket", "in/"), storage)
    put_all(endpoint, uploads(a=b"1", b=b"22"), {})
    assert storage.names(endpoint.place) == ["a", "b"]
    storage.errors["delete", endpoint.place] = AccessDenied("no")
    assert set(delete_all(endpoint, ["a", "b"])) == {"a", "b"}
    storage.errors["delete", endpoint.place] = ConnectionLost("gone")
    storage.calls.clear()
    assert set(delete_all(endpoint, ["a", "b"])) == {"a", "b"}
    assert len(storage.calls) == 1  # the second try would take as long, for the same answer


@pytest.mark.parametrize("way", ["subclass", "instance"])
def test_a_method_that_somebody_replaced_is_the_one_that_counts(place, way):
    """A guard against deleting, as a conftest.py may put before an endpoint, is not bypassed."""
    kept: list[str] = []

    class Guarded(type(place.endpoint)):  # type: ignore[misc]
        def delete(self, name: str) -> None:
            kept.append(name)

    endpoint = copy.copy(place.endpoint)
    if way == "subclass":
        endpoint.__class__ = Guarded
    else:
        endpoint.delete = kept.append  # type: ignore[method-assign]
    place.write("guarded", b"1")
    assert delete_all(endpoint, ["guarded"]) == {}
    assert kept == ["guarded"]
    assert "guarded" in place.names()


def test_writing_is_proven_without_a_file_that_appears(place):
    assert isinstance(place.endpoint, ProvesWriting)
    before = place.names()
    place.endpoint.prove_writing("probe", {"flow_id": "acme", "synthetic": "true"})
    assert place.names() == before
    assert not isinstance(MemoryEndpoint(S3Location("bucket"), Storage()), ProvesWriting)


def test_where_nothing_is_nothing_can_be_proven(place):
    with pytest.raises(LocationMissing):
        place.nowhere.prove_writing("probe", {})


def test_a_proof_keeps_to_its_folder(place):
    with pytest.raises(ConfigInvalid):
        place.endpoint.prove_writing("../probe", {})
