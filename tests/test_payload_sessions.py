"""Wrapped files, seeds and awkward names from config to verdict, through the sandbox's S3, SFTP and functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.test_wraps import Gpg

if TYPE_CHECKING:
    from pathlib import Path

ALL = ("spaces", "unicode", "decomposed", "quotes", "percent", "plus", "hash", "dots", "leading_dash")
S3 = {"type": "S3", "bucket": "there-and-back"}
SFTP = {"type": "SFTP", "host": "sftp.acme.example", "username": "acme", "secret_arn": "<ACME>"}
INVOKED = {"lambda_arn": "<MOVER>", "payload": {"key": "${source.key}"}}


def flow(flow_id: str, testdata: dict, *, over_sftp: bool, **more: object) -> dict[str, object]:
    inbox, landing = {**SFTP, "dir": f"/{flow_id}"}, {**S3, "prefix": f"{flow_id}/"}
    source, target = (landing, inbox) if over_sftp else (inbox, landing)
    times = {"expect_within_seconds": 120, "post_arrival_wait_seconds": 0}
    return {"flow_id": flow_id, "source": source, "target": target, "validation": times, "testdata": testdata, **more}


def test_what_is_sent_arrives_whatever_it_is_called_and_lies_in(suite, tmp_path_factory) -> None:
    suite.pytester.makeconftest("")  # real servers, not those in memory
    gpg = Gpg(tmp_path_factory.mktemp("g") / "h")
    (suite.path / "seeds").mkdir()
    (suite.path / "seeds" / "sample.csv").write_text("a,b\n1,2\n")
    (suite.path / "seeds" / "key.asc").write_text(gpg.key("curve25519"))
    pgp = {"name": "pgp", "public_key_file": "seeds/key.asc"}
    flows = [
        flow("awkward_in", {"size_bytes": 300, "awkward": [*ALL]}, over_sftp=False, transfer=INVOKED),
        flow("awkward_out", {"size_bytes": 300, "awkward": [*ALL]}, over_sftp=True),
        flow("long_in", {"size_bytes": 300, "awkward": [*ALL, "long"]}, over_sftp=False),
        flow("long_out", {"size_bytes": 300, "awkward": ["unicode", "long"]}, over_sftp=True, transfer=INVOKED),
        flow(
            "packed",
            {"pattern": "csv", "size_bytes": "40KiB", "locale": "de_DE", "wrap": [pgp, "gzip"]},
            over_sftp=True,
        ),
        flow("stale", {"pattern": "jsonl", "size_bytes": "40KiB", "wrap": ["zip"]}, over_sftp=False),
        flow("seeded", {"seed": "seeds/sample.csv"}, over_sftp=True),
        flow("far", {"seed": "s3://seeds-of-ours/a b/sample.csv"}, over_sftp=False),
        flow("nothing", {"pattern": "empty"}, over_sftp=True),
    ]
    # What another run's archive lacks to this one's size is waited for to the end.
    flows[5]["validation"] = {"expect_within_seconds": 15, "grace_seconds": 1}
    suite.add("flows/all.json", *flows)
    result = suite.run_apart("flows", "--fileflow-sandbox", "--fileflow-fault", "stale=stale", "-m", "not contract")
    gpg.stop()
    records = {record["flow_id"]: record for record in suite.records()}
    ended = {flow_id: record["cause"] for flow_id, record in records.items()}
    assert ended == {each["flow_id"]: "content.stale" if each["flow_id"] == "stale" else None for each in flows}
    result.assert_outcomes(passed=8, failed=1, deselected=9)
    assert not any(record["residue"] for record in records.values())
    assert len(records["long_in"]["file"]["name"].encode()) == 255
    told = manifest(suite.path, "packed")
    assert [layer["wrapping"] for layer in told["inside"]] == ["pgp", "gzip"]
    assert told["inside"][1]["size_bytes"] == 40 * 1024
    assert manifest(suite.path, "seeded")["seed"] == "seeds/sample.csv"


def manifest(folder: Path, flow_id: str) -> dict:
    (path,) = folder.glob(f"fileflow-results/manifests/dt=*/flow_id={flow_id}/*.manifest.json")
    return json.loads(path.read_text())
