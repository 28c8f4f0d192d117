"""What is said of test data whose config is wrong, where, and what becomes of one that is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_fileflow import payload, steps
from pytest_fileflow.clock import Clock
from pytest_fileflow.config import BrokenFlow, load_file
from pytest_fileflow.errors import ConfigInvalid, LocationMissing, TesterBug
from pytest_fileflow.model import Case, Flow, S3Location, Stat, TestData, Variant, Wrap
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.seeds import MAX_BYTES
from pytest_fileflow.streams import Tools, open_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

RUN = "0123456789abcdef"
END = {"type": "S3", "bucket": "some-bucket"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = Registry()
    register_builtin_patterns(registry)
    return registry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "flows" / "deep").mkdir(parents=True)
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "sample.csv").write_bytes(b'a,b\r\n1,"x\ny"\r\n2,z\r\n')
    return tmp_path


def load(root: Path, registry: Registry, testdata: Any) -> Flow | BrokenFlow:
    path = root / "flows" / "deep" / "a.yaml"
    path.write_text(
        yaml.safe_dump({"flow_id": "acme", "source": END, "target": {**END, "prefix": "there/"}, "testdata": testdata})
    )
    (flow,) = load_file(path, display="a", sandbox=True, patterns=registry.size_problems(), checks=())
    return flow


def said(root: Path, registry: Registry, testdata: Any) -> list[str]:
    flow = load(root, registry, testdata)
    assert isinstance(flow, BrokenFlow), flow.testdata
    return [f"{problem.path.removeprefix('$.testdata')}  {problem.message}" for problem in flow.problems]


TEXT = {"name": "t", "type": "text"}
RUN_ID = {"name": "r", "type": "run_id", "width": 16}


def one(field: dict, **testdata: object) -> dict:
    return {"pattern": "csv", "fields": [{"name": "a", **field}, TEXT], **testdata}


def fixed(*fields: dict, **testdata: object) -> dict:
    return {"pattern": "fixedwidth", "size_bytes": 0, "fields": [*fields, RUN_ID], **testdata}


WRONG = [
    # options and patterns
    ({"pattern": "gzip"}, '.pattern  unknown pattern "gzip": it lies around a pattern, as in wrap: [gzip]'),
    ({"fields": [TEXT]}, '.fields  fields is for the patterns csv, jsonl and fixedwidth, not for pattern "random"'),
    ({"pattern": "jsonl", "delimiter": ";"}, ".delimiter  delimiter is for the pattern csv, not for jsonl"),
    ({"pattern": "jsonl", "header": True}, ".header  header is for the patterns csv and fixedwidth: jsonl has none"),
    (
        {"pattern": "csv", "encoding": "latin-1", "bom": True},
        ".bom  latin-1 has no byte order mark: only utf-8 and utf-16 do",
    ),
    (
        {"pattern": "csv", "encoding": "utf8"},
        '.encoding  must be utf-8, utf-16, latin-1 or cp1252, not "utf8"; did you mean "utf-8"?',
    ),
    ({"pattern": "csv", "delimiter": "a"}, '.delimiter  must be one of , ; | : ~ ^ ! # and the tab, not "a"'),
    ({"pattern": "csv", "delimter": ";"}, '.delimter  unknown key "delimter"; did you mean "delimiter"?'),
    (
        {"pattern": "csv", "locale": "de_AT"},
        '.locale  must be da_DK, de_CH, … not "de_AT"; did you mean "de_DE"?',
    ),
    # fields
    (
        one({"type": "decimals"}),
        '.fields[0].type  must be id, integer, … not "decimals"; did you mean "decimal"?',
    ),
    (
        one({"type": "date", "scale": 2}),
        ".fields[0].scale  scale is not for a field of type date, which has format, locale, max, min",
    ),
    (one({"type": "text", "nuls": 1}), '.fields[0].nuls  unknown key "nuls"; did you mean "nulls"?'),
    (one({"type": "id", "nulls": 0.1}), ".fields[0].nulls  a field of type id always has a value"),
    (one({"type": "enum"}), ".fields[0]  a field of type enum needs values"),
    (one({"type": "constant"}), ".fields[0]  a field of type constant needs value"),
    (one({"type": "boolean", "values": [1]}), ".fields[0].values  a boolean has two values: for true and for false"),
    (one({"type": "integer", "min": 5, "max": 4}), ".fields[0].max  the lowest value is above the highest"),
    (one({"type": "integer", "min": 0.5}), ".fields[0].min  must be a whole number"),
    (one({"type": "decimal", "max": 1.234}), ".fields[0].max  has more than 2 decimals"),
    (
        one({"type": "decimal", "max": "1e99"}),
        ".fields[0].max  must be a number between -1000000000000000 and 1000000000000000",
    ),
    (one({"type": "decimal", "max": "one"}), ".fields[0].max  must be a number"),
    (
        one({"type": "date", "min": "2026-02-30"}),
        ".fields[0].min  must be a day or moment like 2026-01-31 or 2026-01-31T06:30:00",
    ),
    (
        one({"type": "date", "max": 2026}),
        ".fields[0].max  must be a day or moment like 2026-01-31 or 2026-01-31T06:30:00",
    ),
    (
        one({"type": "date", "format": "%d.%b"}),
        '.fields[0].format  unknown directive "%b"; known: %Y, %y, %m, %d, %H, %M, %S, %%',
    ),
    (
        one({"type": "date", "format": "%d%"}),
        '.fields[0].format  unknown directive "%"; known: %Y, %y, %m, %d, %H, %M, %S, %%',
    ),
    (
        one({"type": "name", "charset": "cjk"}, encoding="cp1252"),
        ".fields[0].charset  cp1252 cannot write cjk: only utf-8 and utf-16 can",
    ),
    (one({"type": "enum", "values": ["é", "日"]}, encoding="latin-1"), '.fields[0].values  latin-1 cannot write "日"'),
    (one({"name": "t", "type": "id"}), '.fields[1].name  "t" is the name of a field before this one'),
    (
        {"pattern": "csv", "fields": [RUN_ID]},
        ".fields  needs a field of type text: the last row's holds the run id, and what is missing of the size",
    ),
    ({"pattern": "csv", "fields": []}, ".fields  must not be empty"),
    (fixed({"name": "a", "type": "name"}), ".fields[0]  a field of pattern fixedwidth needs width: its bytes"),
    (
        fixed({"name": "a", "type": "integer", "max": 100, "width": 2}),
        ".fields[0].width  2 bytes have no room for a value of 3 bytes",
    ),
    (
        fixed({"name": "a", "type": "id", "prefix": "AC", "width": 2}),
        ".fields[0].width  2 bytes have no room for a value of 3 bytes",
    ),
    (
        fixed({"name": "a", "type": "text", "newlines": True, "width": 9}),
        ".fields[0].newlines  a record of pattern fixedwidth is one line",
    ),
    (
        {
            **fixed(encoding="utf-16"),
            "fields": [{"name": "a", "type": "name", "width": 9}, {**RUN_ID, "width": 32}],
        },
        ".fields[0].width  must be even: in utf-16 a character is two bytes",
    ),
    (
        {"pattern": "fixedwidth", "size_bytes": 0, "fields": [{**TEXT, "width": 9}]},
        ".fields  needs a field of type run_id, at least 16 characters wide: whose file it is",
    ),
    (
        one({"type": "id"}, size_bytes=10),
        ".size_bytes  a size of 10 cannot hold one row of these fields; the smallest that can be made is 38 bytes",
    ),
    (
        fixed(size_bytes=100),
        ".size_bytes  a size of 100 is no whole number of records of 17 bytes; … are 85 and 102 bytes",
    ),
    # empty and seed
    (
        {"pattern": "empty", "size_bytes": 5},
        ".size_bytes  a size of 5 is not empty; the only one that can be made is 0 bytes",
    ),
    ({"pattern": "seed"}, ".pattern  a seed is no pattern: name the file, as in seed: seeds/sample.csv"),
    ({"seed": "seeds/sample.csv", "size_bytes": 5}, ".size_bytes  a seed is sent as it is: leave size_bytes out"),
    (
        {"seed": "seeds/sample.csv", "header": True},
        ".header  header is for the patterns csv, jsonl and fixedwidth, not for a seed",
    ),
    (
        {"seed": "seeds/smaple.csv"},
        '.seed  there is no file "seeds/smaple.csv" beside … above it up to {root}/; did you mean "seeds/sample.csv"?',
    ),
    ({"seed": "/etc/passwd"}, '.seed  must be a relative path, or s3://bucket/key, not "/etc/passwd"'),
    ({"seed": "../seeds/sample.csv"}, '.seed  "../seeds/sample.csv" holds a ".." segment: name the folder itself'),
    # wrappings
    ({"wrap": ["gzp"]}, '.wrap[0]  must be gzip, zip or pgp, not "gzp"; did you mean "gzip"?'),
    ({"wrap": ["pgp"]}, ".wrap[0]  pgp needs public_key_file or public_key: the key to encrypt to"),
    (
        {"wrap": [{"name": "pgp", "public_key": "x"}]},
        ".wrap[0].public_key  is not an armored OpenPGP public key (gpg --armor --export)",
    ),
    (
        {"wrap": [{"name": "pgp", "public_key_file": "seeds/sample.csv"}]},
        '.wrap[0].public_key_file  "seeds/sample.csv" is not an armored OpenPGP public key (gpg --armor --export)',
    ),
    (
        {"wrap": [{"name": "pgp", "public_key_file": "no.asc"}]},
        '.wrap[0].public_key_file  there is no file "no.asc" beside this config, nor above it up to {root}/',
    ),
    (
        {"wrap": [{"name": "gzip", "public_key_file": "a"}]},
        ".wrap[0].public_key_file  public_key_file is for pgp, not for gzip",
    ),
    (
        {"awkward": ["space"]},
        '.awkward[0]  must be spaces, … not "space"; did you mean "spaces"?',
    ),
]


@pytest.mark.parametrize(("testdata", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_said_of_test_data(root, registry, testdata, message):
    (line,) = said(root, registry, testdata)
    begin, _, end = message.replace("{root}", root.name).partition(" … ")
    assert line.startswith(begin)
    assert line.endswith(end)
    assert end or line == begin


def test_a_trigger_file_cannot_be_named_after_the_longest_name(root, registry):
    path = root / "flows" / "a.json"
    config = {
        "flow_id": "acme",
        "source": END,
        "target": {**END, "prefix": "there/"},
        "testdata": {"awkward": ["long"]},
    }
    for trigger, is_wrong in (({}, True), ({"name": "${run_id}.done"}, False)):
        transfer = {"mode": "trigger_file", "trigger_file": trigger}
        path.write_text(json.dumps({**config, "transfer": transfer}))
        (flow,) = load_file(path, display="a", sandbox=True, patterns=registry.size_problems(), checks=())
        assert isinstance(flow, BrokenFlow) is is_wrong


def test_nothing_that_the_schema_refuses_ends_in_a_traceback(root, registry):
    for value in (
        None,
        7,
        "x",
        [],
        [None],
        [{"name": 3, "type": []}],
        [{"name": "a", "type": "id", "width": "9"}, TEXT],
    ):
        for key in ("fields", "encoding", "wrap", "seed", "locale", "bom", "awkward", "delimiter"):
            load(root, registry, {"pattern": "csv", key: value})


def test_options_become_plain_values_that_hold_all_there_is_to_know(root, registry):
    (root / "keys").mkdir()
    fields = [{"name": "a", "type": "id", "width": 5.0, "x-note": 1}, TEXT]
    flow = load(
        root, registry, {"pattern": "csv", "fields": fields, "locale": "de_DE", "wrap": ["gzip"], "sizes": {"s": 400}}
    )
    assert isinstance(flow, Flow), flow
    assert flow.testdata == TestData(
        (Variant("s", 400),), "csv", options={"fields": fields, "locale": "de_DE"}, wrap=(Wrap("gzip"),)
    )
    run = steps.prepare(Case(flow, flow.testdata.variants[0]), tools(registry))
    assert run.file.header == "a,t"
    json.dumps(run.file.recipe.options)


def test_an_empty_file_needs_no_size(root, registry):
    flow = load(root, registry, {"pattern": "empty"})
    assert isinstance(flow, Flow)
    assert flow.testdata.variants == (Variant("", 0),)
    run = steps.prepare(Case(flow, flow.testdata.variants[0]), tools(registry))
    assert (run.file.size, open_payload(run, tools(registry)).read()) == (0, b"")


# --- Seeds


def tools(registry: Registry, endpoint: Any = None) -> Tools:
    return Tools(endpoint or _nowhere, _nowhere, registry, Clock())


def _nowhere(*_: object):
    raise AssertionError("nobody is to be asked")


def test_a_seed_is_sent_as_it_is_with_its_records_counted(root, registry):
    flow = load(root, registry, {"seed": "seeds/sample.csv", "wrap": ["gzip"]})
    assert isinstance(flow, Flow)
    case = Case(flow, flow.testdata.variants[0])
    assert case.label == "seed"
    run = steps.prepare(case, tools(registry), run_id=RUN)
    right = (root / "seeds" / "sample.csv").read_bytes()
    assert open_payload(run, tools(registry), depth=1).read() == right
    assert (run.file.rows, run.file.header, run.file.inside[0].size) == (2, "a,b", len(right))
    assert run.file.name.endswith(f"{RUN}.csv.gz")
    assert json.loads(steps.manifest(run))["seed"] == "seeds/sample.csv"


@pytest.mark.parametrize("changed", [b"other bytes", b"", None])
def test_a_seed_that_changes_while_its_run_goes_on_is_the_testers_fault(root, registry, changed):
    flow = load(root, registry, {"seed": "seeds/sample.csv"})
    assert isinstance(flow, Flow)
    run = steps.prepare(Case(flow, flow.testdata.variants[0]), tools(registry))
    path = root / "seeds" / "sample.csv"
    path.unlink() if changed is None else path.write_bytes(changed)
    with pytest.raises(TesterBug), open_payload(run, tools(registry)) as stream:
        stream.read()
    if changed is None:
        with pytest.raises(ConfigInvalid, match="there is no seed file"):
            steps.prepare(Case(flow, flow.testdata.variants[0]), tools(registry))


class Bucket:
    """A bucket of one object, that counts how often it is read."""

    def __init__(self, content: bytes | None, version: str = "1", size: int | None = None) -> None:
        self.content, self.version, self.size, self.opened = content, version, size, 0

    def __call__(self, location: S3Location) -> Bucket:
        assert location == S3Location("seeds-of-ours", "a b")
        return self

    def stat(self, name: str) -> Stat | None:
        assert name == "x.csv"
        size = len(self.content or b"") if self.size is None else self.size
        return None if self.content is None else Stat(name, size, self.version)

    def open(self, name: str, offset: int = 0, version: str | None = None) -> AbstractContextManager[Any]:
        import contextlib

        self.opened += 1
        return contextlib.nullcontext(iter([self.content]) if version == self.version else None)


@pytest.fixture
def s3_case(root, registry, monkeypatch) -> Iterator[Case]:
    monkeypatch.setattr("tempfile.tempdir", str(root))
    flow = load(root, registry, {"seed": "s3://seeds-of-ours/a b/x.csv"})
    assert isinstance(flow, Flow)
    return Case(flow, flow.testdata.variants[0])


def test_a_seed_in_s3_is_fetched_once_and_again_when_it_changes(s3_case, registry):
    bucket = Bucket(b"a\n1\n")
    for content, version, times in ((b"a\n1\n", "1", 1), (b"a\n1\n2\n", "2", 2)):
        bucket.content, bucket.version = content, version
        for _ in range(3):
            run = steps.prepare(s3_case, tools(registry, bucket))
            assert open_payload(run, tools(registry, bucket)).read() == content
        assert (bucket.opened, run.file.rows) == (times, content.count(b"\n") - 1)


@pytest.mark.parametrize(
    ("bucket", "error", "message"),
    [
        (Bucket(None), LocationMissing, "there is no seed file s3://seeds-of-ours/a b/x.csv"),
        (Bucket(b"", size=MAX_BYTES + 1), ConfigInvalid, "at most 5368709120 are fetched"),
    ],
)
def test_a_seed_that_cannot_be_had_says_why(s3_case, registry, bucket, error, message):
    with pytest.raises(error, match=message):
        steps.prepare(s3_case, tools(registry, bucket))


def test_what_is_fetched_lies_where_nobody_else_can_write(s3_case, registry, root):
    steps.prepare(s3_case, tools(registry, Bucket(b"a\n")))
    (folder,) = root.glob("fileflow-seeds-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(TesterBug, match="is not this user's alone"):
        steps.prepare(s3_case, tools(registry, Bucket(b"a\n")))


def test_every_built_in_pattern_of_whole_files_is_registered(registry):
    assert {pattern.name for pattern in payload.WHOLE} <= set(registry.pattern_names())
