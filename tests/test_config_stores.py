"""Config stores: what a local copy holds, what reading one costs, and what is said where that cannot be."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import boto3
import pytest

from pytest_fileflow import cli, clients
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.collection import CASE
from pytest_fileflow.errors import AccessDenied, ConfigInvalid, ConnectionRefused, LocationMissing
from pytest_fileflow.results.places import PlaceError, config_store
from pytest_fileflow.stored import ConfigStores, Copy, wanted
from pytest_fileflow.stores import bucket
from pytest_fileflow.stores.bucket import PAGE_KEYS, ranges
from pytest_fileflow.stores.naming import Paths, is_plain, readable
from pytest_fileflow.stores.shelf import KEPT_SECONDS, Entry, Making, Shelf, Snapshot
from tests.support import config_stores
from tests.support.config_stores import STORE, TABLE, TABLE_STORE, delete, files, put, put_item, read
from tests.support.inner import flow
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def server(moto, monkeypatch, tmp_path) -> MotoServer:
    """A machine that is busy must not look like a store that is down."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    moto.fresh(monkeypatch)
    config_stores.make_bucket()
    return moto


def test_a_copy_has_the_store_s_layout_and_nothing_else(server, tmp_path):
    kept = {
        "flows/acme.json": "1",
        "flows/sub/globex.yaml": "2",
        "flows/endpoints.yaml": "3",
        "groups/nightly.json": "4",
        "groups/weekly.yaml": "4",
        "environments/prod.yaml": "5",
        "environments/test.json": "5",
    }
    for path, text in {**kept, "flows/notes.md": "6", "groups/deep/er.json": "7", "results/x.json": "8"}.items():
        put(path, text)
    reading = read(STORE, tmp_path)
    assert files(reading) == kept
    assert reading.fetched == len(kept)
    assert {entry.uri for entry in reading.snapshot.entries} == {f"{STORE}/{path}" for path in kept}


def test_the_next_session_reads_only_what_changed_and_the_copy_of_the_last_stays(server, tmp_path):
    for name in ("same", "changed", "removed"):
        put(f"flows/{name}.json", name)
    first = read(STORE, tmp_path)
    again = read(STORE, tmp_path)
    assert again.snapshot == first.snapshot
    assert (again.fetched, again.requests) == (0, 3)  # a listing each of flows, groups and environments
    put("flows/changed.json", "other")
    delete("flows/removed.json")
    put("flows/added.json", "added")
    second = read(STORE, tmp_path)
    assert (second.fetched, second.requests) == (2, 5)
    assert files(second) == {"flows/same.json": "same", "flows/changed.json": "other", "flows/added.json": "added"}
    assert files(first) == {f"flows/{name}.json": name for name in ("same", "changed", "removed")}


def test_a_copy_that_is_damaged_is_made_again(server, tmp_path):
    put("flows/acme.json", "whole")
    first = read(STORE, tmp_path)
    path = first.snapshot.folder / "flows/acme.json"
    path.chmod(0o600)
    path.write_text("")
    second = read(STORE, tmp_path)
    assert files(second) == {"flows/acme.json": "whole"}
    assert second.snapshot == first.snapshot


def test_two_sessions_may_make_the_same_copy_at_once(tmp_path):
    own = Shelf.of(tmp_path, "store")
    first, second = Making(own, None), Making(own, None)
    entry = Entry("flows/a.json", "s3://b/flows/a.json", "s3://b/flows/a.json", "1", 1)
    for making in (first, second):
        making.write(entry.path, b"1")
    assert first.finish([entry]) == second.finish([entry]) == own.latest()
    assert sorted(path.name for path in own.folder.iterdir()) == sorted(["latest", own.latest().folder.name])


def test_copies_are_removed_a_week_after_their_last_session_began(server, tmp_path):
    copies = []
    for text in ("one", "two", "three"):
        put("flows/acme.json", text)
        copies.append(read(STORE, tmp_path).snapshot.folder)
    old = copies[2].stat().st_mtime - KEPT_SECONDS - 60
    os.utime(copies[0], (old, old))
    put("flows/acme.json", "four")
    read(STORE, tmp_path)
    assert [copy.exists() for copy in copies] == [False, True, True]


@pytest.mark.parametrize("number", [0, 1, PAGE_KEYS, PAGE_KEYS + 1, 3 * PAGE_KEYS + 5])
def test_pages_together_are_the_whole_however_keys_have_changed(number):
    known = [f"flows/{place:05d}.json" for place in range(number)]
    parts = [part for part in ranges(known) if part.kind == "flows"]
    assert len(parts) == max(1, -(-number // PAGE_KEYS))
    for path in [*known, "flows/!first.json", "flows/00007-new.json", "flows/zz.json"]:
        assert sum(part.after < path and (path <= part.until or not part.until) for part in parts) == 1


def test_a_listing_of_several_pages_is_whole(server, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "PAGE_KEYS", 3)
    for number in range(10):
        put(f"flows/{number}.json", str(number))
    assert read(STORE, tmp_path).requests == 3 + 10
    put("flows/35.json", "35")
    assert len(files(read(STORE, tmp_path))) == 11
    assert read(STORE, tmp_path).requests == 2 + 4


def test_every_key_has_a_path_of_its_own_below_the_copy(server, tmp_path):
    odd = ["flows/../up.json", "flows//two.json", "flows/a\nb.json", "flows/a.json/b.json", "flows/A.JSON/B.json"]
    odd += ["flows/a.json", "flows/A.json", f"flows/{'long' * 80}.json", "flows/a::b.json"]
    paths = Paths()
    made = [paths.path_of(key, ".json") for key in odd]
    assert len({path.casefold() for path in made}) == len(odd)
    assert all(is_plain(path) and path.startswith("flows/") and path.endswith(".json") for path in made)
    taken = [key for key in odd if key.endswith(".json") and "\n" not in key]  # moto takes no such key
    for key in taken:
        put(key, key)
    reading = read(STORE, tmp_path)
    assert sorted(files(reading).values()) == sorted(taken)
    assert f"{STORE}/flows/a%3A%3Ab.json" in {entry.uri for entry in reading.snapshot.entries}
    assert readable("flows/a\nb.json") == "flows/a%0Ab.json"


def test_what_is_too_large_is_not_fetched_and_is_wrong_by_itself(server, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "MAX_BYTES", 100)
    put("flows/large.json", "x" * 101)
    put("flows/small.json", "x")
    entries = {entry.path: entry.problem for entry in read(STORE, tmp_path).snapshot.entries}
    assert entries["flows/small.json"] == ""
    assert entries["flows/large.json"] == "config.invalid: the object has 101 bytes: a config has at most 5 MiB"


def test_a_store_that_may_be_listed_and_not_read_cannot_be_used(server, tmp_path):
    put("flows/acme.json", "1")
    weak = AwsClients(server.weak_session("s3:ListBucket"))
    try:
        with pytest.raises(AccessDenied, match=r"s3:GetObject on s3://example-configs/team/config/flows/acme.json"):
            read(STORE, tmp_path, weak)
    finally:
        server.enforce_permissions(after_calls=None)


@pytest.mark.parametrize("index", [None, "ALL", "KEYS_ONLY"])
def test_of_each_flow_a_table_gives_the_highest_version_that_is_enabled(server, tmp_path, index):
    config_stores.make_table(index)
    put_item(flow("acme", owner="first"), 1)
    put_item(flow("acme", owner="second"), 2)
    put_item(flow("acme", owner="third"), 10, "false")
    put_item(flow("gone"), 1, "false")
    put_item(flow("inside"), 7, in_config=True)
    reading = read(TABLE_STORE, tmp_path)
    found = {path: json.loads(text) for path, text in files(reading).items()}
    assert found == {
        "flows/acme.json": {**flow("acme", owner="second"), "version": 2, "enabled": True},
        "flows/inside.json": {**flow("inside"), "version": 7, "enabled": True},
    }
    assert [entry.display for entry in reading.snapshot.entries] == [f"{TABLE_STORE}/acme@2", f"{TABLE_STORE}/inside@7"]
    assert reading.requests == (3 if index == "KEYS_ONLY" else 2)
    again = read(TABLE_STORE, tmp_path)
    assert (again.snapshot, again.fetched) == (reading.snapshot, 0)


@pytest.mark.parametrize(
    ("enabled", "is_read"),
    [(True, True), ("true", True), (1, True), (None, False), (False, False), ("false", False), (0, False)],
)
def test_enabled_may_be_said_in_several_ways(server, tmp_path, enabled, is_read):
    config_stores.make_table()
    put_item(flow("acme"), 1, enabled)
    put_item(flow("other"), 1)
    assert ("flows/acme.json" in files(read(TABLE_STORE, tmp_path))) == is_read


def test_an_index_on_numbers_is_used_too(server, tmp_path):
    config_stores.make_table("ALL", enabled="N")
    put_item(flow("acme"), 1, 1)
    put_item(flow("other"), 1, 0)
    assert set(files(read(TABLE_STORE, tmp_path))) == {"flows/acme.json"}


def test_json_text_in_a_table_keeps_its_lines(server, tmp_path):
    config_stores.make_table()
    text = '{\n\n"flow_id": "acme"}'
    for flow_id, config in {"acme": text, "broken": "{", "other": '{"owner": "x"}'}.items():
        told = {"flow_id": {"S": flow_id}, "version": {"N": "1"}, "config": {"S": config}}
        boto3.client("dynamodb").put_item(TableName=TABLE, Item=told)
    found = files(read(TABLE_STORE, tmp_path))
    assert found["flows/acme.json"] == text
    assert found["flows/broken.json"] == "{"
    assert json.loads(found["flows/other.json"])["flow_id"] == "other"


def test_a_flow_may_be_called_as_the_files_that_flows_share(server, tmp_path):
    config_stores.make_table()
    put_item(flow("endpoints"), 1)
    assert list(files(read(TABLE_STORE, tmp_path))) == ["flows/endpoints.flow.json"]


def test_a_table_with_other_keys_is_no_config_store(server, tmp_path):
    boto3.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "run", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "run", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(ConfigInvalid, match=r"has the key run \(S\): a config store has flow_id \(S\), version \(N\)"):
        read(TABLE_STORE, tmp_path)


@pytest.mark.parametrize("store", ["s3://no-such-bucket/config", "dynamodb://no-such-table"])
def test_a_store_that_is_not_there_is_missing(server, tmp_path, store):
    with pytest.raises(LocationMissing, match=store):
        read(store, tmp_path)


def test_a_store_that_is_slow_to_answer_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "BRISK_READ_SECONDS", 0.001)  # as those wait who must not hold up runs
    put("flows/acme.json", "1")
    config_stores.make_table()
    assert [len(files(read(store, tmp_path))) for store in (STORE, TABLE_STORE)] == [1, 0]


@pytest.mark.parametrize("store", [STORE, TABLE_STORE])
def test_a_store_that_cannot_be_reached_is_said_at_once(server, tmp_path, store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionRefused, match=store):
        read(store, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty; give s3://bucket/prefix or dynamodb://table"),
        ("flows", "a config store is s3://bucket/prefix or dynamodb://table; a folder is named as an argument"),
        ("dynamo://table", "dynamo:// is no place for configs; did you mean dynamodb://?"),
        ("s3://B/x", "'B' is not the name of a bucket"),
    ],
)
def test_what_is_no_config_store_is_said(text, message):
    with pytest.raises(PlaceError) as told:
        config_store(text)
    assert str(told.value).startswith(message)


def test_a_copy_that_cannot_be_kept_lasts_for_the_session(server, tmp_path):
    put("flows/acme.json", flow("acme"))
    caches = tmp_path / "no-folder"
    caches.write_text("a file")
    stores = ConfigStores.read([config_store(STORE)], lambda: AwsClients(boto3.Session()), caches)
    assert (stores.roots[0] / "flows/acme.json").is_file()
    stores.close()
    assert not stores.roots[0].exists()


def ids(result) -> list[str]:
    return [line for line in result.outlines if "::" in line and " " not in line]


@pytest.fixture
def stored(suite, server):
    put("flows/acme.json", flow("acme", tags=["nightly"]))
    put("flows/sub/late.json", flow("late", "truncate"))
    put("flows/typo.yaml", "flow_id: typo\nsuorce: 3\n")
    put("groups/nightly.json", ["acme"])
    suite.add("flows/local.json", flow("local"))
    suite.pytester.makeini("[pytest]\n")
    return suite


ACME, LATE, TYPO = f"{STORE}/flows/acme.json::acme[4KiB]", f"{STORE}/flows/sub/late.json::late[4KiB]", f"{STORE}/flows"
LOCAL = "flows/local.json::local[4KiB]"


def copy_of(tmp_path, *paths: str, store: str = STORE) -> Copy:
    """Return a copy of a store with these files, which nobody has read."""
    uris = [f"{store}/{path}" for path in paths]
    return Copy(config_store(store), Snapshot(tmp_path, tuple(map(Entry, paths, uris, uris, uris, [1] * len(uris)))))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["."], [".", "{copy}/flows"]),
        ([STORE, "tests"], ["{copy}/flows", "tests"]),
        ([f"{STORE}/flows/"], ["{copy}/flows"]),
        ([f"{STORE}/flows/sub"], ["{copy}/flows/sub"]),
        ([f"{STORE}/flows/acme.json::acme[a::b]"], ["{copy}/flows/acme.json::acme[a::b]"]),
        ([f"../{STORE.replace('://', ':/')}/flows/sub/late.json::late"], ["{copy}/flows/sub/late.json::late"]),
    ],
)
def test_a_copy_stands_in_for_the_addresses_of_its_store(tmp_path, given, expected):
    stores = ConfigStores([copy_of(tmp_path, "flows/acme.json", "flows/sub/late.json", "groups/all.json")])
    assert stores.arguments(given) == [each.format(copy=tmp_path) for each in expected]


@pytest.mark.parametrize(
    ("arguments", "is_added", "expected"),
    [
        (["."], True, [STORE]),
        (["flows"], False, []),
        ([f"{STORE}/flows/acme.json::acme"], False, [STORE]),
        (["s3://another/flows/acme.json", "."], False, ["s3://another"]),
        (["s3://another/a/b/flows/x/acme.json"], True, ["s3://another/a/b", STORE]),
        (["dynamodb://some-table/acme::acme[4KiB]"], False, ["dynamodb://some-table"]),
        (["s3://another/flows", "s3://another"], False, ["s3://another"]),
    ],
)
def test_stores_are_read_where_flows_of_them_are_wanted(arguments, is_added, expected):
    places = wanted(arguments, [config_store(STORE)], is_added=is_added)
    assert [str(place) for place in places] == expected


def test_the_flows_of_a_store_are_selected_as_local_ones_are(stored):
    options = ["--collect-only", "-q", f"--fileflow-config={STORE}"]
    assert set(ids(stored.run(*options))) == {ACME, LATE, f"{TYPO}/typo.yaml::typo[config]", LOCAL}
    assert set(ids(stored.run(*options, "-k", "acme or local", "--deselect", LOCAL))) == {ACME}
    assert set(ids(stored.run(*options, "flows", "-m", "nightly"))) == {ACME, f"{TYPO}/typo.yaml::typo[config]"}
    assert set(ids(stored.run("--collect-only", "-q", ACME))) == {ACME}


def test_a_group_may_lie_in_the_store(stored):
    options = ["--collect-only", "-q", f"--fileflow-config={STORE}", "--fileflow-group=nightly"]
    assert set(ids(stored.run(*options))) == {ACME}


def test_a_store_of_the_ini_file_counts_where_nothing_is_named(stored):
    options = ["--collect-only", "-q", "-o", f"fileflow_config={STORE}"]
    assert ids(stored.run(*options, "flows")) == [LOCAL]
    assert {ACME, LOCAL} < set(ids(stored.run(*options)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fileflow-config=gs://x"], "*--fileflow-config: gs:// is no place for configs*"),
        (["--fileflow-config=s3://no-such-bucket"], "*config store s3://no-such-bucket: location.missing: *"),
        ([f"--fileflow-config={STORE}/flows/"], f"*{STORE}/flows is empty: name the prefix above flows/"),
        ([f"{TYPO}/acne.json::acme"], f"*is not in the config store {STORE}; did you mean {TYPO}/acme.json?"),
    ],
)
def test_a_store_that_cannot_be_used_ends_the_session_with_one_line(stored, arguments, message):
    result = stored.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in (*result.errlines, *result.outlines) if line.strip()]
    result.stderr.fnmatch_lines([message])
    assert "\n" not in line


def test_what_failed_in_a_store_runs_again_beside_what_failed_here(stored):
    delete("flows/typo.yaml")
    stored.add("flows/local.json", flow("local", "truncate"), flow("fine"))
    arguments = (f"--fileflow-config={STORE}", "-p", "cacheprovider")
    stored.pytester.runpytest_inprocess(*arguments[:1]).assert_outcomes(passed=2, failed=2)
    again = stored.pytester.runpytest_inprocess("--lf", "--collect-only", "-q", *arguments[:1])
    assert set(ids(again)) == {LATE, LOCAL}


def test_a_flow_in_two_places_is_named_in_both(stored):
    stored.add("flows/local.json", flow("acme"))
    result = stored.run(f"--fileflow-config={STORE}", "-k", "acme")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        [f"{TYPO}/acme.json:2:1  $.flow_id  duplicate flow_id 'acme': it is defined at flows/local.json:2 too*"]
    )


def test_a_store_holds_what_its_flows_share_its_groups_and_its_environments(stored):
    put("environments/prod.yaml", "variables: {team: people}\n")
    put("flows/endpoints.yaml", "endpoints:\n  in: {type: S3, bucket: source-bucket, prefix: acme/}\n")
    put("flows/sub/acme.json", {**flow("shared"), "source": {"use": "in"}, "owner": "${team}"})
    put("flows/sub/broken.json", {**flow("broken"), "source": {"use": "inn"}})
    put("groups/shared.json", ["shared", "broken"])
    options = [f"--fileflow-config={STORE}", "--fileflow-env=prod", "--fileflow-group=shared"]
    result = stored.run(*options, "-n", "2")  # workers find them, too
    result.assert_outcomes(passed=1, failed=1)
    (record,) = stored.records()
    assert (record["flow_id"], record["owner"]) == ("shared", "people")
    result.stdout.fnmatch_lines([f"{STORE}/flows/sub/broken.json:*did you mean*in*"])


def test_without_a_store_nothing_of_it_is_imported(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add(
        "conftest.py",
        text="import sys\ndef pytest_collection_finish():\n"
        "    assert not {'pytest_fileflow.stored', 'boto3'} & set(sys.modules)\n",
    )
    assert suite.run_apart("flows", "--collect-only", "-q").ret == 0


def test_workers_share_the_copy_that_the_controller_has_read(stored):
    config_stores.make_table()
    put_item(flow("globex"), 3)
    put_item({"flow_id": "initech", "source": 3}, 1)
    result = stored.run(f"--fileflow-config={STORE}", f"--fileflow-config={TABLE_STORE}", "-n", "2", "-v")
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            f"fileflow: {STORE}: 3 flow files, 4 read anew, 7 requests",
            f"fileflow: {TABLE_STORE}: 2 flow files, 2 read anew, 2 requests",
            f"*PASSED {TABLE_STORE}/globex::globex[[]4KiB[]]*",
            f"*FAILED {LATE.replace('[', '[[]').replace('KiB]', 'KiB[]]')}*",
            f"{TABLE_STORE}/initech@1:*:*  $.source  must be an object, not 3",
            f'{TYPO}/typo.yaml:2:1  $.suorce  unknown key "suorce"; did you mean "source"?',
        ]
    )
    assert {record["flow_id"] for record in stored.records()} == {"acme", "late", "local", "globex"}


def test_in_the_sandbox_the_store_is_the_real_one(stored, monkeypatch):
    shutil.rmtree(stored.path / "flows")
    for path in ("flows/sub/late.json", "flows/typo.yaml"):
        delete(path)
    stored.pytester.makeconftest("")
    result = stored.run_apart(f"--fileflow-config={STORE}", "--fileflow-sandbox", "-m", "contract")
    result.assert_outcomes(passed=1, deselected=1)


def test_groups_environments_and_endpoints_of_a_store_hold_for_its_flows(stored, workers):
    used = {**flow("used"), "source": {"use": "inbox"}, "owner": "${team}"}
    put("flows/endpoints.yaml", "endpoints: {inbox: {type: S3, bucket: '${team}-inbox'}}\n")
    put("flows/used.json", used)
    put("environments/prod.yaml", "variables: {team: payments}\nresults: records\n")
    put("groups/small.json", ["used"])
    options = (f"--fileflow-config={STORE}", "--fileflow-env=prod", "--fileflow-group=small", *workers)
    result = stored.run(*options)
    assert result.ret == 0
    (record,) = stored.records("records")
    assert record["owner"] == "payments"
    assert record["source"]["location"].startswith("s3://payments-inbox/")


def test_an_address_alone_finds_the_environment_of_its_store(stored):
    put("flows/used.json", {**flow("used"), "owner": "${team}"})
    put("environments/prod.json", {"variables": {"team": "payments"}})
    assert stored.run(f"{STORE}/flows/used.json", "--fileflow-env=prod", "--collect-only").ret == 0


def test_files_that_a_stored_flow_names_lie_in_the_project(stored):
    sftp = {"type": "SFTP", "host": "sftp.acme.example", "username": "acme", "dir": "/in"}
    put("flows/endpoints.yaml", json.dumps({"partner": {**sftp, "secret_arn": "file:keys/acme.pem"}}))
    target = {**sftp, "secret_arn": "file:../acme.json"}
    used = {**flow("used"), "source": {"use": "partner"}, "target": target, "testdata": {"seed": "seeds/x.csv"}}
    put("flows/sub/used.json", used)
    stored.add("seeds/x.csv", text="a,b\n")
    items, _ = stored.pytester.inline_genitems(f"{STORE}/flows/sub/used.json")
    found = items[-1].stash[CASE].flow
    assert found.source.secret_arn == f"file:{stored.path}/flows/keys/acme.pem"
    assert found.target.secret_arn == f"file:{stored.path}/flows/acme.json"
    assert found.testdata.options["path"] == str(stored.path / "seeds/x.csv")


@pytest.mark.parametrize(
    ("option", "where"),
    [("--fileflow-env=nigthly", STORE), ("--fileflow-group=nigthly", f"{STORE}/groups")],
)
def test_what_is_not_there_was_looked_for_at_the_address_of_the_store(stored, option, where):
    put("environments/nightly.yaml", "slo_factor: 2\n")
    result = stored.run(f"--fileflow-config={STORE}", option, "--collect-only", "-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *nigthly*{stored.path}* or {where}*did you mean 'nightly'?*"])
    assert "caches" not in str(result.stderr)


def test_commands_look_at_the_store_of_the_ini_file_where_no_flows_lie(stored, capsys, monkeypatch):
    shutil.rmtree(stored.path / "flows")
    stored.pytester.makeini(f"[pytest]\nfileflow_config = {STORE}\n")
    monkeypatch.chdir(stored.path)
    assert cli.main(["validate"]) == 1
    assert f"{TYPO}/typo.yaml:2:1  $.suorce" in capsys.readouterr().out


def test_groups_may_lie_among_the_flows_of_a_store(stored):
    put("flows/groups/small.yaml", "flows: [acme]\n")
    result = stored.run(f"--fileflow-config={STORE}", "--fileflow-group=small", "--collect-only", "-q")
    assert ids(result) == [ACME]


def test_a_mistake_in_what_flows_of_a_store_share_is_named_by_its_address(stored):
    put("flows/endpoints.yaml", "endpoints: {inbox: {type: S3, buckt: inbox}}\n")
    result = stored.run(f"--fileflow-config={STORE}", "-k", "endpoints")
    result.stdout.fnmatch_lines([f"{TYPO}/endpoints.yaml:1:31  $.endpoints.inbox.buckt  unknown key*"])
