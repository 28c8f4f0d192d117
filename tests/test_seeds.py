from __future__ import annotations

import pytest

from pytest_fileflow import seeds
from pytest_fileflow.errors import ConfigInvalid


def pinned(path: object) -> tuple[dict[str, object], int]:
    return seeds.pinned({"seed": "sample.csv", "path": str(path)}, lambda location: pytest.fail(str(location)))


def test_a_local_seed_has_the_size_that_it_has_now(tmp_path):
    (tmp_path / "sample.csv").write_bytes(b"a,b\n")
    assert pinned(tmp_path / "sample.csv")[1] == 4


def test_a_local_seed_that_is_gone_is_a_mistake_of_the_config(tmp_path):
    with pytest.raises(ConfigInvalid, match=r"there is no seed file sample\.csv any more"):
        pinned(tmp_path / "sample.csv")


def test_a_folder_is_no_seed(tmp_path):
    with pytest.raises(ConfigInvalid, match=r"the seed file sample\.csv cannot be read: Is a directory"):
        pinned(tmp_path)
