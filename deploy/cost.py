"""What a suite on Step Functions costs a month, by list prices; ``docs/cost.md`` shows the tables and their sources.

Prices are those of us-west-2 in US dollars, without the free tier, and a month has 30 days. With numbers of your own:
``python deploy/cost.py --flows 200 --wait 420 --canaries 24``.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

DAYS = 30
HOURS = 24
MILLION = 1_000_000
GIB = 1024**3
SIZES = (4, 200, 5000)  # flows of a suite
WAITS = (60.0, 420.0, 900.0, 3600.0)  # seconds
LONGEST = 900.0  # seconds that a Lambda function may run


@dataclass(frozen=True)
class Prices:
    """List prices in US dollars."""

    transition: float = 0.025 / 1000  # Step Functions, standard workflows
    gb_second: float = 0.0000133334  # Lambda on arm64, first tier
    request: float = 0.20 / MILLION  # Lambda
    put: float = 0.005 / 1000  # S3 Standard: PUT, COPY, POST, LIST
    get: float = 0.0004 / 1000  # S3 Standard: GET, HEAD
    gb_month: float = 0.023  # S3 Standard, first tier
    metrics: tuple[tuple[float, float], ...] = ((10_000, 0.30), (240_000, 0.10), (750_000, 0.05), (math.inf, 0.02))
    metric_call: float = 0.01 / 1000  # PutMetricData
    alarm: float = 0.10  # a metric, standard resolution
    queried: float = 0.10  # a metric that an alarm's query analyses
    dashboard: float = 3.00
    log_gb: float = 0.50
    secret_read: float = 0.05 / 10_000
    kms_request: float = 0.03 / 10_000
    schedule: float = 1.00 / MILLION
    mail: float = 2.00 / 100_000

    def metric_months(self, number: float) -> float:
        """Return what so many custom metrics cost, each for a whole month."""
        cost = 0.0
        for width, price in self.metrics:
            part = min(number, width)
            cost += part * price
            number -= part
        return cost


@dataclass(frozen=True)
class Waiting:
    """When a wait looks at the target: the first look, then after a share of the age, at most so many seconds apart."""

    first: float = 1.0
    share: float = 0.2
    most: float = 300.0

    def looks(self, seconds: float) -> int:
        """Return how many looks a wait of so many seconds takes."""
        age, number = 0.0, 0
        while age < seconds:
            age += math.ceil(min(self.most, max(self.first, self.share * age)))  # AWS waits whole seconds
            number += 1
        return number


@dataclass(frozen=True)
class Suite:
    """What runs in a day, and what each of it takes; seconds are those that a function is billed for."""

    flows: int = 4
    wait: float = 420.0  # from the trigger to the arrival
    looks: int | None = None  # otherwise those of the waiting
    size: int = 5 * 1024**2
    contracts: int = 1  # a flow and day
    canaries: int = 0  # a flow and day
    concurrency: int = 4  # cases at a time
    memory_mb: int = 512
    memory_moving_mb: int = 1024  # of the functions that seed and verify
    waiting: Waiting = Waiting()
    transitions: int = 10  # of a transfer, without its looks
    transitions_a_look: int = 3
    transitions_asked: int = 6  # of a contract or canary
    transitions_once: int = 6  # of an execution
    step_seconds: float = 0.3
    look_seconds: float = 0.2
    ask_seconds: float = 1.5
    init_seconds: float = 1.0  # of a new environment
    bytes_a_second: float = 50 * 1024**2  # seeding and verifying
    steps: int = 6  # functions of a transfer, without its looks
    steps_asked: int = 4
    functions: int = 11
    puts: int = 10  # of a transfer: 4 of its record, 3 of the payload and its sidecars, 3 of the execution
    puts_asked: int = 6
    gets: int = 8
    record_bytes: int = 20_000
    record_days: int = 30
    log_bytes: int = 2_000  # an invocation
    metrics: int = 10  # a flow: success, latency, SLO, share of it, and six phases
    metric_hours: int = 1  # of a day, in which a flow's metrics are sent
    canary_metrics: int = 1  # a flow, sent with each canary
    suite_metrics: int = 4
    alarms: int = 9
    alarmed: int | None = None  # flows that the alarm by flow analyses; otherwise all
    mails: int = 2  # a day

    @property
    def looks_a_run(self) -> int:
        """Return how often a transfer's target is looked at."""
        return self.waiting.looks(self.wait) if self.looks is None else self.looks

    @property
    def runs(self) -> int:
        """Return the transfers of a month."""
        return self.flows * DAYS

    @property
    def asked(self) -> int:
        """Return the contracts and canaries of a month."""
        return self.flows * (self.contracts + self.canaries) * DAYS

    @property
    def executions(self) -> int:
        """Return the executions of a month."""
        return (1 + self.canaries) * DAYS

    @property
    def invocations(self) -> int:
        """Return the Lambda invocations of a month."""
        a_run = self.steps + self.looks_a_run
        return self.runs * a_run + self.asked * self.steps_asked + self.executions * 2

    @property
    def gb_seconds(self) -> float:
        """Return the GB-seconds of a month for which functions are billed."""
        run = (self.steps - 2) * self.step_seconds + self.looks_a_run * self.look_seconds
        moving = 2 * (self.step_seconds + self.size / self.bytes_a_second)
        ask = self.ask_seconds + (self.steps_asked - 1) * self.step_seconds
        fresh = self.executions * self.functions * min(self.concurrency, self.flows)
        light = self.runs * run + self.asked * ask + fresh * self.init_seconds
        return (light * self.memory_mb + self.runs * moving * self.memory_moving_mb) / 1024

    @property
    def suite_seconds(self) -> float:
        """Return how long the daily execution takes at the most, where every transfer takes the whole wait."""
        return math.ceil(self.flows / self.concurrency) * (self.wait + self.steps * self.step_seconds + 5.0)


Part = tuple[str, "Callable[[Suite, Prices], float]"]


def _steps(suite: Suite, prices: Prices) -> float:
    a_run = suite.transitions + suite.transitions_a_look * suite.looks_a_run
    number = suite.runs * a_run + suite.asked * suite.transitions_asked + suite.executions * suite.transitions_once
    return number * prices.transition


def _functions(suite: Suite, prices: Prices) -> float:
    return suite.gb_seconds * prices.gb_second + suite.invocations * prices.request


def _storage(suite: Suite, prices: Prices) -> float:
    puts = suite.runs * suite.puts + suite.asked * suite.puts_asked
    gets = suite.runs * (suite.gets + suite.looks_a_run) + suite.asked * suite.gets
    kept = (suite.runs + suite.asked) / DAYS * suite.record_days * suite.record_bytes / GIB
    return puts * prices.put + gets * prices.get + kept * prices.gb_month


def _metrics(suite: Suite, prices: Prices) -> float:
    canaries = suite.flows * suite.canary_metrics * min(HOURS, suite.canaries)
    daily = (suite.flows * suite.metrics + suite.suite_metrics) * suite.metric_hours
    return prices.metric_months((daily + canaries) / HOURS)


def _metric_calls(suite: Suite, prices: Prices) -> float:
    return (suite.runs + suite.asked + suite.executions) * prices.metric_call


def _flow_alarm(suite: Suite, prices: Prices) -> float:
    return (suite.flows if suite.alarmed is None else suite.alarmed) * prices.queried


def _alarms(suite: Suite, prices: Prices) -> float:
    return suite.alarms * prices.alarm + prices.dashboard


def _logs(suite: Suite, prices: Prices) -> float:
    return suite.invocations * suite.log_bytes / GIB * prices.log_gb


def _secrets(suite: Suite, prices: Prices) -> float:
    return suite.invocations * (prices.secret_read + prices.kms_request)


def _messages(suite: Suite, prices: Prices) -> float:
    return suite.executions * prices.schedule + suite.mails * DAYS * prices.mail


PARTS: tuple[Part, ...] = (
    ("Step Functions: transitions", _steps),
    ("Lambda: seconds and requests", _functions),
    ("S3: requests, records", _storage),
    ("CloudWatch: metrics of flows, by the hour", _metrics),
    ("CloudWatch: PutMetricData", _metric_calls),
    ("CloudWatch: alarm by flow, at most", _flow_alarm),
    ("CloudWatch: other alarms, dashboard", _alarms),
    ("CloudWatch: logs", _logs),
    ("Secrets Manager and KMS: reads", _secrets),
    ("Scheduler and SNS", _messages),
)


def total(suite: Suite, prices: Prices) -> float:
    """Return what a suite costs a month."""
    return sum(part(suite, prices) for _, part in PARTS)


def month(suites: Sequence[Suite], prices: Prices) -> Iterator[Sequence[str]]:
    """Return the rows of what suites cost a month."""
    yield ["USD a month", *(f"{suite.flows:,} flows" for suite in suites)]
    for name, part in PARTS:
        yield [name, *(_usd(part(suite, prices)) for suite in suites)]
    yield ["**together**", *(f"**{_usd(total(suite, prices))}**" for suite in suites)]
    whole = (replace(suite, metric_hours=HOURS) for suite in suites)
    yield ["if metrics were charged for whole months", *(_usd(total(suite, prices)) for suite in whole)]
    hourly = (replace(suite, canaries=HOURS) for suite in suites)
    yield ["with an hourly canary of every flow", *(_usd(total(suite, prices)) for suite in hourly)]


def waiting(suites: Sequence[Suite], prices: Prices) -> Iterator[Sequence[str]]:
    """Return the rows of what waiting alone costs a month: looks of a state machine / one function that waits."""
    yield ["wait", "looks", *(f"{suite.flows:,} flows" for suite in suites)]
    for seconds in WAITS:
        cells = []
        for suite in (replace(suite, wait=seconds, looks=None) for suite in suites):
            gb = suite.memory_mb / 1024
            look = suite.transitions_a_look * prices.transition + suite.look_seconds * gb * prices.gb_second
            looks = suite.runs * suite.looks_a_run * (look + prices.request)
            polling = suite.runs * (seconds * gb * prices.gb_second + prices.request)
            cells.append(f"{_usd(looks)} / {_usd(polling) if seconds <= LONGEST else 'not possible'}")
        number = suites[0].waiting.looks(seconds)
        yield [f"{seconds / 60:g} min", str(number), *cells]


def times(suites: Sequence[Suite], _: Prices) -> Iterator[Sequence[str]]:
    """Return the rows of how long a daily execution takes."""
    yield ["cases at a time", *(f"{suite.flows:,} flows" for suite in suites)]
    for concurrency in (4, 40, 200, 1000):
        seconds = (replace(suite, concurrency=concurrency).suite_seconds for suite in suites)
        yield [f"{concurrency:,}", *(_span(each) for each in seconds)]


TABLES = {"month": month, "waiting": waiting, "times": times}


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; its first row is the head, numbers stand at the right."""
    head, *rest = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.005 or amount == 0 else "< 0.01"  # noqa: PLR2004 - half a cent


def _span(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes <= 2 * 60 else f"{minutes / 60:,.0f} h"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for the numbers on the command line."""
    usual = Suite()
    parser = argparse.ArgumentParser(description="What a suite on Step Functions costs a month, by list prices.")
    parser.add_argument("--table", choices=TABLES, default="month", help="which table (default month)")
    parser.add_argument("--flows", type=int, nargs="+", default=SIZES, metavar="N", help="flows of a suite")
    parser.add_argument("--wait", type=float, default=usual.wait, metavar="S", help="seconds to the arrival (420)")
    parser.add_argument("--looks", type=int, metavar="N", help="looks of a wait (otherwise by the back-off)")
    parser.add_argument("--size", type=int, default=usual.size, metavar="BYTES", help="of a file (5 MiB)")
    parser.add_argument("--contracts", type=int, default=usual.contracts, metavar="N", help="a flow and day (1)")
    parser.add_argument("--canaries", type=int, default=usual.canaries, metavar="N", help="a flow and day (0)")
    parser.add_argument("--concurrency", type=int, default=usual.concurrency, metavar="N", help="cases at a time (4)")
    parser.add_argument("--memory", type=int, default=usual.memory_mb, metavar="MB", help="of a function (512)")
    parser.add_argument("--metrics", type=int, default=usual.metrics, metavar="N", help="a flow (10)")
    parser.add_argument("--alarmed", type=int, metavar="N", help="flows that the alarm by flow analyses (all)")
    given = parser.parse_args(arguments)
    suite = Suite(
        wait=given.wait,
        looks=given.looks,
        size=given.size,
        contracts=given.contracts,
        canaries=given.canaries,
        concurrency=given.concurrency,
        memory_mb=given.memory,
        metrics=given.metrics,
        alarmed=given.alarmed,
    )
    suites = [replace(suite, flows=flows) for flows in given.flows]
    sys.stdout.write(markdown(TABLES[given.table](suites, Prices())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
