"""moto's EventBridge rules with the targets it does not know: functions and state machines."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Start = Callable[[str, str, object], None]
    """Starts a target, given its region, its ARN and the event."""


def prepare(starters: Mapping[str, Start]) -> None:
    """Have rules start such targets from now on, by the service that stands in their ARN."""
    from moto.events import models

    rule: Any = models.Rule
    send = rule.send_to_targets

    def send_to_targets(self: Any, original_event: dict[str, Any], transform_input: bool = True) -> None:
        ours = [target for target in self.targets if target["Arn"].split(":")[2] in starters]
        if ours and self.event_pattern.matches_event(original_event):
            for target in ours:
                _, _, service, region, *_ = target["Arn"].split(":")
                starters[service](region, target["Arn"], _input(target, original_event))
        rest = copy.copy(self)  # moto refuses the whole event for the sake of a target that it does not know
        rest.targets = [target for target in self.targets if target not in ours]
        send(rest, original_event, transform_input)

    rule.send_to_targets = send_to_targets


def _input(target: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    """Return what a target is given: a text of its own, a rewriting or a part of the event, or the event."""
    from jsonpath_ng.parser import parse
    from moto.events import utils

    if "Input" in target:
        return json.loads(target["Input"])
    when = event["time"]  # moto holds seconds there, where AWS has a text
    at = when if isinstance(when, str) else datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {**event, "time": at, "ingestion-time": at}
    if template := target.get("InputTransformer"):
        parser: Any = utils.EventTemplateParser
        return parser.parse(template["InputTemplate"], template.get("InputPathsMap"), told)
    del told["ingestion-time"]
    found = parse(target.get("InputPath", "$")).find(told)
    return found[0].value if found else None
