"""Makes the synthetic files: any process can, since their bytes follow from pattern, run id and size alone.

Every built-in pattern is cut from a stream that is made block by block, and most blocks can be made
without those before them. No byte depends on the clock, the machine, the Python version or a
random source. The bytes of a released pattern never change: runs and their verification may be
done by different versions.
"""

from pytest_fileflow.payload.even import FIXED, FIXEDWIDTH, RANDOM, SENTENCE
from pytest_fileflow.payload.made import Measured, configured, measure, open_like, open_made
from pytest_fileflow.payload.names import (
    check_name,
    file_name,
    manifest,
    new_run_id,
    sha256_sidecar,
)
from pytest_fileflow.payload.pattern import BLOCK_BYTES, Pattern
from pytest_fileflow.payload.rows import CSV, JSONL, ROWS
from pytest_fileflow.payload.stream import BUFFER_BYTES, digest, open_payload
from pytest_fileflow.payload.whole import EMPTY, SEED, SEED_FILE

__all__ = [
    "BLOCK_BYTES",
    "BUFFER_BYTES",
    "PATTERNS",
    "ROWS",
    "SEED",
    "SENTENCE",
    "WHOLE",
    "Measured",
    "Pattern",
    "check_name",
    "configured",
    "digest",
    "file_name",
    "manifest",
    "measure",
    "new_run_id",
    "open_like",
    "open_made",
    "open_payload",
    "sha256_sidecar",
]

PATTERNS = (RANDOM, FIXED, CSV, JSONL, FIXEDWIDTH)
WHOLE = (EMPTY, SEED_FILE)
