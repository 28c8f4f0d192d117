"""``fileflow push`` and ``pull``: what differs is shown, and made the same without losing anybody's change."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import boto3
import pytest
import yaml

from pytest_fileflow import cli
from pytest_fileflow.commands import push
from pytest_fileflow.stores.folder import Folder, FolderOfFlows
from pytest_fileflow.stores.moving import CannotMove, Change, Conflict, changes, shown
from tests.support import config_stores
from tests.support.config_stores import BUCKET, STORE, TABLE, TABLE_STORE, items, make_table, objects, put, put_item
from tests.support.inner import flow
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def folder(moto, monkeypatch, tmp_path) -> Path:
    """A folder with two flows, a group and what belongs to no store; beside it a bucket and a table, both empty."""
    monkeypatch.setattr(push, "_is_right", lambda folder, env: True)  # it takes a session of pytest to find out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    moto.fresh(monkeypatch)
    config_stores.make_bucket()
    make_table()
    root = tmp_path / "configs"
    write(root, "flows/acme.json", {"$schema": "https://example.invalid/flow.schema.json", **flow("acme")})
    write(root, "flows/sub/globex.yaml", yaml.safe_dump(flow("globex", owner="us")))
    write(root, "groups/nightly.json", ["acme"])
    write(root, "flows/README.md", "notes")
    return root


def write(root: Path, name: str, content: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def fileflow(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_folder_goes_to_a_bucket_and_comes_back(folder, tmp_path, capsys):
    assert fileflow("push", folder, STORE, "--dry-run") == 1
    assert objects() == {}
    assert fileflow("push", folder, STORE, "--yes") == 0
    mine = {name: content for name, content in contents(folder).items() if name != "flows/README.md"}
    assert objects() == mine
    said = capsys.readouterr().out
    assert "added    flows/sub/globex.yaml\n" in said
    assert "3 added, 0 changed, 0 removed" in said
    assert "the bucket keeps no versions" in said
    assert fileflow("pull", STORE, tmp_path / "other", "--yes") == 0
    assert contents(tmp_path / "other") == mine
    assert fileflow("pull", STORE, folder) == 0
    assert capsys.readouterr().out.endswith("nothing to do\n")


def test_what_is_only_there_stays_unless_it_is_to_be_removed(folder, capsys):
    put("flows/old.json", "{}")
    assert fileflow("push", folder, STORE, "--yes") == 0
    assert "1 is only at the destination: kept (--delete removes)" in capsys.readouterr().out
    assert "flows/old.json" in objects()
    assert fileflow("push", folder, STORE, "--yes", "--delete") == 0
    assert "flows/old.json" not in objects()


def test_nothing_is_done_where_nobody_can_be_asked(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert fileflow("push", folder, STORE) == 1
    assert objects() == {}
    assert "give --yes where nobody can be asked" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "status", "number"), [("n\n", 1, 0), ("\n", 1, 0), ("y\n", 0, 3)])
def test_on_a_terminal_the_user_is_asked(folder, monkeypatch, answer, status, number):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert fileflow("push", folder, STORE) == status
    assert len(objects()) == number


def test_a_bucket_that_keeps_versions_is_not_warned_of(folder, capsys):
    told = {"Status": "Enabled"}
    boto3.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=told)
    assert fileflow("push", folder, STORE, "--yes") == 0
    assert "keeps no versions" not in capsys.readouterr().out


@pytest.mark.parametrize("meanwhile", ["changed", "added", "removed"])
@pytest.mark.parametrize("store", [STORE, TABLE_STORE])
def test_what_somebody_else_changed_meanwhile_is_a_conflict(folder, capsys, monkeypatch, store, meanwhile):
    from pytest_fileflow.commands import moving

    if meanwhile != "added":
        assert fileflow("push", folder, store, "--yes") == 0
    write(folder, "flows/acme.json", flow("acme", owner="me"))
    see = moving.sides

    def seen_too_early(*arguments):
        sides = see(*arguments)
        if store == TABLE_STORE:
            put_item(flow("acme", owner="them"), 1 if meanwhile == "added" else 2, False)
        elif meanwhile == "removed":
            config_stores.delete("flows/acme.json")
        else:
            put("flows/acme.json", flow("acme", owner="them"))
        return sides

    monkeypatch.setattr(moving, "sides", seen_too_early)
    capsys.readouterr()
    assert fileflow("push", folder, store, "--yes") == 1
    assert "conflict: " in capsys.readouterr().err
    assert "'me'" not in str(items())
    assert b'"me"' not in objects().get("flows/acme.json", b"")


def owners() -> dict[tuple[str, int], tuple[str, bool]]:
    """Return the owner of each version in the table, and whether it is enabled."""
    return {key: (item.get("owner", {}).get("S", ""), item["enabled"]["BOOL"]) for key, item in items().items()}


def test_a_table_keeps_all_versions(folder, tmp_path, capsys):
    assert fileflow("push", folder, TABLE_STORE, "--yes") == 0
    assert "a table holds flows only: groups/nightly.json stay here" in capsys.readouterr().out
    assert owners() == {("acme", 1): ("", True), ("globex", 1): ("us", True)}
    write(folder, "flows/acme.json", flow("acme", owner="me", version=7, enabled=True))
    assert fileflow("push", folder, TABLE_STORE, "--yes") == 0
    assert '+  "owner": "me"' in capsys.readouterr().out
    assert owners() == {("acme", 1): ("", True), ("acme", 2): ("me", True), ("globex", 1): ("us", True)}
    assert fileflow("push", folder, TABLE_STORE) == 0
    assert fileflow("pull", TABLE_STORE, tmp_path / "other", "--yes") == 0
    assert set(contents(tmp_path / "other")) == {"flows/acme.json", "flows/globex.json"}
    assert fileflow("pull", TABLE_STORE, tmp_path / "other") == 0


def test_what_is_removed_or_disabled_in_a_table_does_not_come_back_as_an_older_version(folder, tmp_path):
    put_item(flow("old"), 1, True)
    put_item(flow("old"), 2, True)
    put_item(flow("acme", owner="before"), 3, True)
    write(folder, "flows/acme.json", flow("acme", enabled=False))
    assert fileflow("push", folder, TABLE_STORE, "--yes", "--delete") == 0
    assert owners() == {
        ("old", 1): ("", False),
        ("old", 2): ("", False),
        ("acme", 3): ("before", False),
        ("acme", 4): ("", False),
        ("globex", 1): ("us", True),
    }
    assert set(config_stores.files(config_stores.read(TABLE_STORE, tmp_path))) == {"flows/globex.json"}
    assert fileflow("push", folder, TABLE_STORE, "--delete") == 0  # nothing to do


def test_a_table_is_written_as_its_index_and_its_items_are(folder):
    boto3.client("dynamodb").delete_table(TableName=TABLE)
    make_table("ALL")
    put_item(flow("acme", owner="before"), 1, in_config=True)
    assert fileflow("push", folder, TABLE_STORE, "--yes") == 0
    assert items()["acme", 2]["config"]["M"]["flow_id"] == {"S": "acme"}
    assert {item["enabled"]["S"] for item in items().values()} == {"true"}


def test_a_flow_that_comes_back_keeps_the_form_of_its_file(folder):
    put_item(flow("acme", owner="them"), 1, True)
    put_item(flow("globex", owner="them"), 1, True)
    assert fileflow("pull", TABLE_STORE, folder, "--yes") == 0
    told = json.loads((folder / "flows/acme.json").read_text())
    assert told == {"$schema": "https://example.invalid/flow.schema.json", **flow("acme", owner="them")}
    assert yaml.safe_load((folder / "flows/sub/globex.yaml").read_text()) == flow("globex", owner="them")


def test_a_file_with_several_flows_is_left_to_its_owner(folder, capsys):
    write(folder, "flows/many.json", {"flows": [flow("one"), flow("two")]})
    put_item(flow("one", owner="them"), 1, True)
    assert fileflow("pull", TABLE_STORE, folder, "--yes") == 1
    assert "many.json holds several flows: change one there by hand" in capsys.readouterr().err
    assert json.loads((folder / "flows/many.json").read_text())["flows"][0] == flow("one")


def test_a_key_that_leaves_the_folder_is_refused(folder, capsys):
    put("flows/../../evil.json", "{}")
    assert fileflow("pull", STORE, folder, "--yes") == 2
    assert "flows/../../evil.json does not stay below a folder: refused" in capsys.readouterr().err


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/flows").symlink_to(tmp_path / "outside")
    for name in ("flows/a.json", "../a.json"):
        with pytest.raises(CannotMove, match="refused"):
            Folder(tmp_path / "inside", {}).apply(Change(name, None, b"{}"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_that_changed_since_it_was_shown_stays(folder):
    seen = Folder.seen(folder)
    write(folder, "flows/acme.json", "mine")
    with pytest.raises(Conflict, match=r"acme\.json has changed meanwhile"):
        seen.apply(Change("flows/acme.json", seen.contents["flows/acme.json"], b"theirs"))
    assert (folder / "flows/acme.json").read_text() == "mine"


def test_flows_are_the_same_whatever_form_they_have(tmp_path):
    write(tmp_path, "flows/a.json", {"flow_id": "a", "version": 3, "enabled": True, "source": {"b": 1, "type": "S3"}})
    write(tmp_path, "flows/b.yaml", "flow_id: a\nsource: {type: S3, b: 1}\n")
    one, other = (FolderOfFlows.seen(tmp_path).contents["a"] for _ in range(2))
    (tmp_path / "flows/a.json").unlink()
    assert one == other == FolderOfFlows.seen(tmp_path).contents["a"]


def test_a_change_is_shown_as_a_diff_without_what_steers_a_terminal():
    (change,) = changes({"a": b"one\nt\x1bwo\n"}, {"a": b"one\n2\n"})
    assert list(shown(change)) == [
        *("changed  a", "  --- before", "  +++ after", "  @@ -1,2 +1,2 @@", "   one", "  -2", "  +t\\x1bwo")
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["push", "{folder}", "folder"], 2, "a config store is s3://bucket/prefix or dynamodb://table"),
        (["push", "{folder}/flows", STORE], 2, "flows has no folder flows; did you mean `fileflow push "),
        (["push", "{folder}", "s3://no-such-bucket"], 2, "no-such-bucket"),
        (["pull", "dynamodb://no-such-table", "{folder}"], 2, "dynamodb://no-such-table does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(folder, capsys, arguments, status, message):
    assert fileflow(*(argument.format(folder=folder) for argument in arguments)) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "store", "message"),
    [
        ("flows/sub/endpoints.yaml", TABLE_STORE, "a table has no place for what flows take from it"),
        ("endpoints.yaml", TABLE_STORE, "a table has no place for what flows take from it"),
        ("endpoints.yaml", STORE, "a bucket has no place for it there: move it into flows/"),
        ("flows/sub/endpoints.yaml", STORE, None),
    ],
)
def test_flows_do_not_go_where_what_they_share_cannot(folder, capsys, name, store, message):
    write(folder, name, "defaults: {owner: us}\n")
    assert fileflow("push", folder, store, "--yes") == (1 if message else 0)
    assert message is None or f"configs/{name}: {message}" in capsys.readouterr().err
    assert bool(objects() or items()) == (message is None)


def test_flows_with_variables_are_pushed_as_they_are_written(folder, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    write(folder, "flows/acme.json", flow("acme", owner="${team}"))
    write(folder, "environments/prod.yaml", "variables: {team: us}\n")
    assert not push._is_right(folder, None)
    assert push._is_right(folder, "prod")


def test_a_broken_config_is_not_pushed(folder, capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    write(folder, "flows/acme.json", flow("acme", onwer="me"))
    assert fileflow("push", ".", STORE, "--yes") == 1
    assert "flows/acme.json:1:" in (said := capsys.readouterr().err)
    assert '$.onwer  unknown key "onwer"; did you mean "owner"?' in said
