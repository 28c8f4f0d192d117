"""One session's faults: whether they are possible, which flows feel them, and what the sandbox is told of them."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pytest_fileflow.model import Case, Flow, S3Location
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.sandbox import EarlierFile, Sandbox
    from pytest_fileflow.settings import Settings

_BUCKET = "missing_bucket"


class SwitchedFaults:
    """Imports nothing before there is a fault."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._earlier: dict[tuple[str, int], EarlierFile] = {}
        self._without_bucket: set[tuple[str, ...]] = set()
        self._clients: dict[tuple[str, ...], Any] = {}

    def of(self, flow: Flow) -> tuple[str, ...]:
        """Return the texts of a flow's faults; outside the sandbox there are none."""
        rules = self._settings.fault_rules
        if not self._settings.sandbox or not (rules or flow.faults):
            return ()
        from pytest_fileflow.switching import faults_of

        return faults_of(rules, flow)

    def looked_at(
        self, flows: Mapping[str, Flow], broken: Collection[str], *, is_all: bool
    ) -> tuple[str | None, list[str]]:
        """Return what is wrong with the faults given, or None, and a line for each that others feel too.

        Without ``is_all``, there may be flows that nobody has read.
        """
        faults = {flow_id: texts for flow_id, flow in flows.items() if (texts := self.of(flow))}
        if not faults and not self._settings.fault_rules:
            return None, []
        from pytest_fileflow.switching import problem_of, shared

        known = [rule for rule in self._settings.fault_rules if is_all or rule.flow_id in flows]
        return problem_of(known, flows, broken), shared(faults, flows)

    def provision(self, sandbox: Sandbox, cases: Collection[Case], registry: Registry) -> None:
        """Make in the sandbox what flows name, and switch their faults on."""
        flows = {case.flow.flow_id: dataclasses.replace(case.flow, faults=self.of(case.flow)) for case in cases}
        for case in cases:
            if "stale" in flows[case.flow.flow_id].faults:
                self._make_earlier(sandbox, case, registry)
        for flow in flows.values():
            if any(_BUCKET in text for text in flow.faults):
                self._note_missing_bucket(flow)
        earlier: dict[str, list[EarlierFile]] = {}
        for (flow_id, _), file in self._earlier.items():
            earlier.setdefault(flow_id, []).append(file)
        sandbox.provision(flows.values(), earlier)

    def s3_client(self, location: S3Location) -> Any:
        """Return a client whose key id says which prefix it asks about: that of a bucket that only some miss."""
        if not self._without_bucket:
            return None
        from pytest_fileflow.sandbox.places import place_key_id, place_of

        place = place_of(location)
        if place not in self._without_bucket:
            return None
        if place not in self._clients:
            import boto3

            from pytest_fileflow.clients import AwsClients

            own = boto3.Session(aws_access_key_id=place_key_id(place), aws_secret_access_key="sandbox")  # noqa: S106
            self._clients[place] = AwsClients(own).client("s3")
        return self._clients[place]

    def _make_earlier(self, sandbox: Sandbox, case: Case, registry: Registry) -> None:
        key = case.flow.flow_id, case.variant.size
        if key in self._earlier:
            return
        from pytest_fileflow.errors import ConfigInvalid
        from pytest_fileflow.stale import earlier_file

        with contextlib.suppress(ConfigInvalid):  # the run itself cannot be named either, and says so
            self._earlier[key] = earlier_file(case, registry, sandbox.file)

    def _note_missing_bucket(self, flow: Flow) -> None:
        from pytest_fileflow.faults import Fault
        from pytest_fileflow.sandbox.places import place_of

        for fault in map(Fault.parse, flow.faults):
            side = fault.side_in(flow)
            if fault.name == _BUCKET and side is not None:
                self._without_bucket.add(place_of(flow.source if side == "source" else flow.target))
