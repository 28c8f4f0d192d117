"""Writes a run's file at its source."""

from __future__ import annotations

from pytest_fileflow.aws import life
from pytest_fileflow.aws.host import as_handler

handler = as_handler("seed", life.seed)
