"""Names a run and its file, looks at its target, and notes what it may write."""

from __future__ import annotations

from pytest_fileflow.aws import life
from pytest_fileflow.aws.host import as_handler

handler = as_handler("prepare", life.prepare)
