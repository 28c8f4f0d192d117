"""The variables that the template of an alert's webhook may use."""

from __future__ import annotations

MESSAGE_VARIABLES = frozenset({"title", "text", "markdown", "change", "report_url", "flows"})
"""Of the whole message; ``${flows}``, alone in a text, becomes a list of objects."""

FLOW_VARIABLES = frozenset(
    f"flow.{name}"
    for name in (
        *("id", "change", "owner", "description", "cause", "reason", "hint", "cases", "run_ids", "since"),
        *("summary", "action", "severity"),
    )
)
"""Of one flow: a template that uses any is posted once a flow."""

VARIABLES = MESSAGE_VARIABLES | FLOW_VARIABLES
SECRET = "secret."  # noqa: S105 - how the names of a secret's own texts begin
