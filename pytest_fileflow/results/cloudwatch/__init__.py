"""What CloudWatch is told of runs: the names that metrics, dashboard and alarms share."""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "FileFlowTests"

# With the dimension FlowId.
RUN_SUCCESS: Final = "RunSuccess"
CANARY_SUCCESS: Final = "CanarySuccess"
LATENCY: Final = "TransferLatencySeconds"
SLO: Final = "SloSeconds"
SLO_USED: Final = "SloUsedPercent"
PHASE: Final = "PhaseSeconds"  # with the dimension Phase as well

# Without a dimension: counts of a session.
SUITE_RUNS: Final = "SuiteRuns"
SUITE_FAILURES: Final = "SuiteFailures"
SUITE_ERRORS: Final = "SuiteErrors"
CANARY_FAILURES: Final = "CanaryFailures"
