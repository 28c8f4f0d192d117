"""Starts the transfer of a run's file."""

from __future__ import annotations

from pytest_fileflow.aws import life
from pytest_fileflow.aws.host import as_handler

handler = as_handler("trigger", life.trigger)
