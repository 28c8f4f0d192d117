"""Runtime processes: one that is idle serves its program again, and makes room for others when there are too many."""

from __future__ import annotations

import os
import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.sandbox.environment import Answer, Invocation
from pytest_fileflow.sandbox.lambda_runtime import Pool
from pytest_fileflow.sandbox.programs import Program
from tests.support.sandbox_tools import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The smallest runtime there is: answers each invocation with its process id, after what the event asks for.
RUNTIME = """
import http.client, json, os
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    door = http.client.HTTPConnection(api)
    door.request("GET", "/2018-06-01/runtime/invocation/next")
    asked = door.getresponse()
    event = json.loads(asked.read())
    if event == "die":
        os._exit(3)
    if isinstance(event, dict):
        open(event["began"], "w").close()
        while not os.path.exists(event["until"]):
            pass
    answer = http.client.HTTPConnection(api)
    path = f"/2018-06-01/runtime/invocation/{asked.headers['Lambda-Runtime-Aws-Request-Id']}/response"
    answer.request("POST", path, str(os.getpid()))
    answer.getresponse().read()
"""


def program(name: str, revision: str = "1") -> Program:
    return Program(name, revision, ("-I", "-S", "-c", RUNTIME), environment={"PATH": os.environ["PATH"]}, memory_mb=256)


def invocation(of: Program, body: bytes = b"null", retries: int = 2) -> Invocation:
    return Invocation(str(uuid.uuid4()), of.name, body, 20, "us-east-1", of, f"/aws/lambda/{of.name}", retries)


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(size: int, kept: int, ended: Callable[[Invocation, Answer], None] = lambda *_: None) -> Pool:
        pools.append(Pool(tmp_path, ended, size, kept))
        return pools[-1]

    yield make
    for pool in pools:
        pool.stop()


def is_gone(process: bytes) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    return False


def test_the_process_idle_for_longest_makes_room(make_pool):
    pool = make_pool(size=1, kept=2)
    one, two, three = program("one"), program("two"), program("three")
    first, second = pool.invoke(invocation(one)).body, pool.invoke(invocation(two)).body
    assert pool.invoke(invocation(one)).body == first
    third = pool.invoke(invocation(three)).body
    eventually(lambda: is_gone(second))
    assert [pool.invoke(invocation(one)).body, pool.invoke(invocation(three)).body] == [first, third]
    assert pool.invoke(invocation(two)).body not in (first, second, third)
    eventually(lambda: is_gone(first))


def test_a_new_revision_of_a_program_ends_the_processes_of_the_old(make_pool):
    pool = make_pool(size=1, kept=8)
    old, other = pool.invoke(invocation(program("one"))).body, pool.invoke(invocation(program("two"))).body
    assert pool.invoke(invocation(program("one", "2"))).body != old
    eventually(lambda: is_gone(old))
    assert pool.invoke(invocation(program("two"))).body == other


def test_a_program_waits_for_its_own_process_before_it_ends_another_s(make_pool, tmp_path):
    pool, ends = make_pool(size=2, kept=2), []
    other = pool.invoke(invocation(program("other"))).body
    held = f'{{"began": "{tmp_path / "began"}", "until": "{tmp_path / "until"}"}}'.encode()
    both = [
        threading.Thread(target=lambda body=body: ends.append(pool.invoke(invocation(program("one"), body)).body))
        for body in (held, b"null")
    ]
    both[0].start()
    eventually((tmp_path / "began").exists)
    both[1].start()
    assert [pool.invoke(invocation(program("other"))).body for _ in range(10)] == [other] * 10
    assert ends == []
    (tmp_path / "until").touch()
    for thread in both:
        thread.join(20)
    assert len(ends) == 2
    assert len(set(ends)) == 1
    assert pool.invoke(invocation(program("other"))).body == other


def test_what_waits_in_line_ends_with_the_pool(make_pool, tmp_path):
    pool, told = make_pool(size=1, kept=1), []
    held = f'{{"began": "{tmp_path / "began"}", "until": "{tmp_path / "until"}"}}'.encode()

    def second() -> None:
        with pytest.raises(RuntimeError, match="the sandbox is stopping"):
            pool.invoke(invocation(program("one")))
        told.append("stopped")

    threads = [
        threading.Thread(target=pool.invoke, args=(invocation(program("one"), held),)),
        threading.Thread(target=second),
    ]
    threads[0].start()
    eventually((tmp_path / "began").exists)
    threads[1].start()
    pool.stop()
    for thread in threads:
        thread.join(20)
    assert told == ["stopped"]


def test_a_report_names_the_memory_of_the_program(make_pool):
    assert "Memory Size: 256 MB" in make_pool(size=1, kept=1).invoke(invocation(program("one"))).log


def test_a_function_that_waits_for_another_lends_it_its_place(make_pool, tmp_path):
    pool, ends = make_pool(size=1, kept=8), []
    held = f'{{"began": "{tmp_path / "began"}", "until": "{tmp_path / "until"}"}}'.encode()
    outer = threading.Thread(target=lambda: ends.append(pool.invoke(invocation(program("outer"), held))))
    outer.start()
    eventually((tmp_path / "began").exists)
    inner = pool.invoke(invocation(program("inner")), is_nested=True)
    assert (inner.failed, ends) == (False, [])
    (tmp_path / "until").touch()
    outer.join(20)
    assert [end.failed for end in ends] == [False]


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (1, 2), (2, 3)])
def test_an_asynchronous_invocation_is_retried_as_often_as_it_says(make_pool, monkeypatch, retries, tries):
    monkeypatch.setattr("pytest_fileflow.sandbox.lambda_runtime.RETRY_AFTER_SECONDS", (0.01, 0.01))
    told: list[str] = []
    pool = make_pool(1, 1, lambda invocation, answer: told.append(f"{invocation.arn} {answer.failed}"))
    pool.enqueue(invocation(program("dying"), b'"die"', retries))
    eventually(lambda: len(told) == tries)
    pool.enqueue(invocation(program("next"), b'"die"', 2))  # its three tries take longer than another of the first
    eventually(lambda: told.count("next True") == 3)
    assert told.count("dying True") == tries
