"""Says what the sandbox needs to know of a flow, as JSON-safe values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.faults import Fault
from pytest_fileflow.model import BAD_PAYLOAD
from pytest_fileflow.template import names_in
from pytest_fileflow.transforms import adds, checks_named, renaming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_fileflow.model import CheckSpec, Flow, Location

MOST_SECONDS = 900.0  # AWS: the longest time limit that a function can have


@dataclass(frozen=True)
class EarlierFile:
    """A file of an earlier run: where its bytes lie on this machine, its size, its sidecars' text by suffix."""

    path: str
    size: int
    sidecars: Mapping[str, str]


def plain_flow(flow: Flow, earlier: Iterable[EarlierFile] = ()) -> dict[str, object]:
    """Return what the sandbox needs of a flow; a fault that cannot be had there is a problem, by its text."""
    transfer = flow.transfer
    faults = [Fault.parse(text) for text in flow.faults]
    problems: Sequence[str] = [problem for fault in faults if (problem := fault.problem_in(flow)) is not None]
    return {
        "flow_id": flow.flow_id,
        "source": _plain_location(flow.source),
        "target": _plain_location(flow.target),
        "mode": transfer.mode,
        "lambda_arn": transfer.lambda_arn,
        "payload": transfer.payload,
        "timeout_seconds": transfer.timeout_seconds,
        "trigger_name": transfer.trigger_name,
        "probe": _payload(flow, "missing_source"),
        "refuses": _payload(flow, "bad_payload", BAD_PAYLOAD),
        "seed": flow.testdata.options.get("seed"),
        "topics": list(_values(flow.alerts, "topic_arn")),
        "webhook_secrets": list(_values(flow.alerts, "webhook_secret_arn", "url_secret_arn")),
        "logins": _logins(flow.alerts),
        "faults": [_plain_fault(fault, flow) for fault in faults],
        "problems": problems,
        "earlier": [asdict(file) for file in earlier],
        "work": _work(flow),
        "pgp_secrets": [str(check.options.get("secret_arn")) for check in checks_named(flow, "pgp")],
    }


def _work(flow: Flow) -> dict[str, object]:
    """Return what a flow's transfer does to a file, as its checks say that it must arrive."""
    labels: dict[str, object] = {}
    for check in checks_named(flow, "tags", "metadata"):
        labels[check.name] = _labels(check)
    for check in checks_named(flow, "kms"):
        labels |= {"kms_key_arn": check.options["key_arn"]} if "key_arn" in check.options else {}
    return {
        "unwraps": list(flow.validation.unwraps),
        "adds": list(adds(flow)),
        "name": renaming(flow),
        "labels": labels,
    }


def _labels(check: CheckSpec) -> dict[str, str]:
    """Return the names that a check asks for with their values; what may have any gets one."""
    options: Mapping[str, Any] = check.options
    named = {**dict.fromkeys(options.get("present", ()), "sandbox"), **options.get("equals", {})}
    fold = str.lower if check.name == "metadata" else str
    return {fold(name): str(value) for name, value in named.items()}


def _plain_fault(fault: Fault, flow: Flow) -> dict[str, object]:
    return {"name": fault.name, "side": fault.side_in(flow), "amount": _amount(fault, flow)}


def _amount(fault: Fault, flow: Flow) -> float | None:
    """Return how much of a fault a flow has, where the flow's own times decide too."""
    slo = flow.validation.expect_within_seconds
    if fault.name == "timeout":  # or a rehearsal would take as long as production allows
        return min(flow.transfer.timeout_seconds or MOST_SECONDS, slo / 2)
    if fault.name == "delay" and fault.amount is None:
        return slo + flow.validation.grace_seconds / 2
    return fault.quantity


def _payload(flow: Flow, name: str, default: object = None) -> object:
    """Return what a negative case of a flow invokes the function with; None where there is no such case."""
    refusal = next((refusal for refusal in flow.negative if refusal.name == name), None)
    return None if refusal is None else refusal.options.get("payload", default)


def _plain_location(location: Location) -> dict[str, object]:
    return {"type": location.type, **asdict(location)}


def _values(block: Mapping[str, object], *endings: str) -> Iterator[str]:
    """Return the texts whose keys end in one of these words, at any depth."""
    for key, value in block.items():
        if isinstance(value, str) and key.endswith(endings):
            yield value
        for block_within in _blocks(value):
            yield from _values(block_within, *endings)


def _blocks(value: object) -> list[Mapping[str, object]]:
    """Return an object, or those of a list."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Mapping)]


def _logins(alerts: Mapping[str, object]) -> dict[str, list[str]]:
    """Return what each secret that alerts log in with must hold: ``{secret: names}``."""
    blocks = [block for value in alerts.values() for block in _blocks(value)]
    used = {str(block["secret_arn"]): names_in(block) for block in blocks if "secret_arn" in block}
    return {
        secret: ["user", "token", *(name.removeprefix("secret.") for name in names if name.startswith("secret."))]
        for secret, names in used.items()
    }
