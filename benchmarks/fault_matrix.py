"""Which fault is caught by which cause, in every direction, each run for real: prints the table.

    python benchmarks/fault_matrix.py

Real servers: OpenSSH's sshd, an S3 API over HTTP, a Lambda API, proxies that reset, stall and dawdle. What the S3
stand-in would accept and AWS refuses (a KMS key, a policy, a store without room) a small server in front of it
answers in AWS's words; these rows end in "stand-in".
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.support

from tests.support.matrix import PAIRS, name_of, run_all

ANSWERED = ("denied_prefix", "denied_kms_key", "disk_full")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="fileflow-benchmark-") as name:
        Path(name).chmod(0o755)  # sshd runs as another user
        outcomes = run_all(Path(name))
    wrong = 0
    for direction, fault, way in PAIRS:
        expected, record = outcomes[name_of(direction, fault, way)]
        is_right = record["cause"] == expected
        wrong += not is_right
        text = f"{fault.text if fault else 'nothing'}{' (sync)' if way != 'Event' else ''}"
        ends = dict(zip(("source", "target"), direction.split("->"), strict=True))
        by_stand_in = fault is not None and fault.name in ANSWERED and fault.side and ends[fault.side] == "S3"
        mark = "right" if is_right else "WRONG"
        cells = f"{mark:<6} {direction:<10}  {text:<28} {expected or 'passes':<24} {record['cause'] or 'passed':<24}"
        print(f"{cells}{'stand-in' if by_stand_in else ''}".rstrip())
        if not is_right:
            print(f"       {record['reason']}")
    print(f"{len(outcomes) - wrong} of {len(outcomes)} as expected")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
