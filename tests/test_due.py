from __future__ import annotations

import dataclasses

import pytest

from pytest_fileflow.due import Due, DueName, name_due
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import CheckSpec, Flow, Inside, PayloadFile, Recipe, Run, S3Location, Validation
from pytest_fileflow.transforms import added_layers

PLAIN = PayloadFile("acme_00ff.csv", 100, "aa", rows=3, header="a,b")
PACKED = PayloadFile("acme_00ff.csv.gz", 40, "gg", inside=(Inside("gzip", 100, "aa"),), rows=3, header="a,b")
SEALED = PayloadFile("acme_00ff.pgp", 60, "pp", inside=(Inside("pgp", 40, "gg"), Inside("gzip", 100, "aa")))


def flow(*checks: str | CheckSpec, unwraps: tuple[str, ...] = ()) -> Flow:
    specs = tuple(check if isinstance(check, CheckSpec) else CheckSpec(check) for check in checks)
    return Flow("acme", S3Location("in"), S3Location("out"), validation=Validation(checks=specs, unwraps=unwraps))


def renamed(to: str) -> CheckSpec:
    return CheckSpec("renamed", {"to": to})


def run(file: PayloadFile = PLAIN) -> Run:
    stamps = {"begun": "2026-11-24T23:59:59.000Z", "prepared": "2026-11-25T00:00:01.000Z"}
    return Run("00ff", "acme", "1B", "S3->S3", 1, file, timeline=stamps)


@pytest.mark.parametrize(
    ("checked", "has", "added"),
    [
        ([], [], ()),
        (["gzip"], [], ("gzip",)),
        (["gzip"], ["gzip"], ()),
        (["pgp"], ["pgp", "gzip"], ()),
        (["pgp", "gzip"], ["gzip"], ("pgp",)),
        (["pgp"], ["gzip"], ("pgp",)),
        (["gzip", "gzip"], ["gzip"], ("gzip",)),
        (["pgp", "zip", "gzip"], ["gzip"], ("pgp", "zip")),
    ],
)
def test_layers_that_the_checks_take_off_and_the_payload_has_not_are_the_flows(checked, has, added):
    assert added_layers(checked, has) == added


@pytest.mark.parametrize(
    ("made", "file", "size", "sha256", "inside"),
    [
        (flow("rows"), PLAIN, 100, "aa", ()),
        (flow("gzip", "rows"), PACKED, 40, "gg", PACKED.inside),
        (flow("gzip", "rows"), PLAIN, None, None, (Inside("gzip", 100, "aa"),)),
        (flow("pgp", "gzip"), PLAIN, None, None, (None, Inside("gzip", 100, "aa"))),
        (flow("pgp"), PACKED, None, None, (Inside("pgp", 40, "gg"), *PACKED.inside)),
        (flow(unwraps=("gzip",)), PACKED, 100, "aa", ()),
        (flow("gzip", unwraps=("pgp",)), SEALED, 40, "gg", (Inside("gzip", 100, "aa"),)),
        (flow("zip", unwraps=("pgp", "gzip")), SEALED, None, None, (Inside("zip", 100, "aa"),)),
    ],
)
def test_what_is_due_of_what_was_sent(made, file, size, sha256, inside):
    due = Due.of(made, run(file))
    assert (due.size, due.sha256, due.inside) == (size, sha256, inside)
    assert (due.rows, due.header) == (file.rows, file.header)
    assert due.depth == len(made.validation.unwraps)


@pytest.mark.parametrize(
    ("pattern", "options", "written"),
    [
        ("csv", {"header": False}, (True, False, None)),
        ("csv", {"delimiter": ":"}, (True, False, ":")),
        ("fixedwidth", {"header": True, "encoding": "utf-16"}, (False, True, None)),
        ("seed", {"seed": "s3://seeds/A.CSV"}, (True, False, None)),
        ("seed", {"seed": "seeds/a.jsonl"}, (False, False, None)),
        ("random", {}, (None, False, None)),
    ],
)
def test_how_a_payload_is_written_goes_along(pattern, options, written):
    file = dataclasses.replace(PLAIN, made_by=Recipe(pattern, 100, options))
    due = Due.of(flow("rows"), run(file))
    assert (due.is_csv, due.is_utf16, due.delimiter) == written


@pytest.mark.parametrize(
    ("file", "layers"), [(PLAIN, "has no layers"), (SEALED, "has the layers pgp, gzip")], ids=["none", "others"]
)
def test_what_the_payload_has_not_cannot_be_taken_off(file, layers):
    with pytest.raises(ConfigInvalid, match=f"takes off gzip, but the payload {file.name} {layers}"):
        Due.of(flow(unwraps=("gzip",)), run(file))


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("${file.name}.gz", "acme_00ff.csv.gz"),
        ("${file.stem}.CSV", "acme_00ff.CSV"),
        ("${file.stem}_out${file.suffix}", "acme_00ff_out.csv"),
        ("OUT.${run_id}.${date}.${flow_id}", "OUT.00ff.20261124.acme"),
        ("${run_id}_*_*.csv", "00ff_*_*.csv"),
    ],
)
def test_the_name_that_is_due(to, text):
    assert name_due(flow(renamed(to)), run()).text == text


def test_a_file_that_was_sent_to_its_target_is_not_what_the_flow_makes_of_it():
    there = flow(renamed("${file.stem}*"))
    in_place = dataclasses.replace(there, target=there.source)
    fitting = [
        [name for name in ("acme_00ff.csv", "acme_00ff.csv.gz") if name_due(made, run()).fits(name)]
        for made in (there, in_place)
    ]
    assert fitting == [["acme_00ff.csv", "acme_00ff.csv.gz"], ["acme_00ff.csv.gz"]]


@pytest.mark.parametrize(
    ("to", "file", "words"),
    [
        ("${file.stem}.csv", dataclasses.replace(PLAIN, name="acme.00ff"), "does not hold the run id"),
        ("${file.name}/x", PLAIN, "holds '/'"),
        ("${file.nam}", PLAIN, 'did you mean "..file.name'),
        (f"${{run_id}}{'x' * 255}", PLAIN, "at most 25. are possible"),
    ],
)
def test_a_name_that_can_be_none_is_the_configs_fault(to, file, words):
    with pytest.raises(ConfigInvalid, match=words):
        name_due(flow(renamed(to)), run(file))


@pytest.mark.parametrize(
    ("parts", "fits", "fits_not"),
    [
        (("a_00ff.csv",), ["a_00ff.csv"], ["a_00ff.csv.gz", "A_00ff.csv"]),
        (("a_00ff_", ".csv"), ["a_00ff_.csv", "a_00ff_1\n.csv"], ["a_00ff.csv", "xa_00ff_1.csv", "a_00ff_1.csv2"]),
        (("", "00ff", ".gz"), ["00ff.gz", "x00ffy.gz"], ["00fe.gz", ".x00ff.gz"]),
        (
            ("a_00ff", ""),
            ["a_00ff", "a_00ff.csv"],
            ["a_00ff.csv.sha256", "a_00ff.csv.manifest.json", "a_00ff.part", "a_00ff.csv.filepart", "a_00ff~"],
        ),
        (("a_00ff", ".tmp"), ["a_00ff1.tmp"], ["a_00ff1"]),
    ],
)
def test_which_names_fit(parts, fits, fits_not):
    due = DueName(parts)
    assert [name for name in (*fits, *fits_not) if due.fits(name)] == fits
    assert due.beginning == parts[0]
    assert due.exact == (parts[0] if len(parts) == 1 else None)


def test_a_run_without_a_file_has_no_name_at_the_target():
    assert name_due(flow(renamed("${run_id}*")), run(PayloadFile("", 0, ""))) == DueName(("",))


def test_what_may_be_whole():
    known, unknown = Due.of(flow(), run()), Due.of(flow("gzip"), run())
    assert [known.is_whole(size, 5) for size in (94, 95, 105, 106)] == [False, True, True, False]
    assert [unknown.is_whole(size, 0) for size in (0, 1)] == [False, True]
