"""Finds the cause of what did not arrive."""

from __future__ import annotations

from pytest_fileflow.aws import life
from pytest_fileflow.aws.host import as_handler

handler = as_handler("diagnose", life.diagnose)
