"""Looks once whether a run's file has arrived."""

from __future__ import annotations

from pytest_fileflow.aws import life
from pytest_fileflow.aws.host import as_handler

handler = as_handler("check_arrival", life.check_arrival)
