"""Keeps signals from breaking what must be done whole: their handlers run in the main thread, between any two steps."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AWAKE_SECONDS = 0.25

Value = TypeVar("Value")


def awaited(future: Future[Value]) -> Value:
    """Wait for a future, in the main thread, and return its result; raises CancelledError where it was cancelled.

    A signal that comes just before Python blocks on a lock is seen only once it is awake again: without
    a look now and then, Ctrl-C would be lost for as long as the future takes.
    """
    while not wait([future], AWAKE_SECONDS).done:
        pass
    return future.result()


def carry_out(steps: Iterable[Callable[[], None]]) -> None:
    """Take quick steps, each of them whole, even if a signal's handler raises meanwhile: then no further one begins."""
    if threading.current_thread() is not threading.main_thread():
        for step in steps:
            step()
        return
    done: Future[None] = Future()
    is_broken_off = threading.Event()

    def take() -> None:
        try:
            for step in steps:
                if is_broken_off.is_set():
                    break
                step()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            done.set_exception(error)
        else:
            done.set_result(None)

    try:
        threading.Thread(target=take, name="fileflow-steps", daemon=True).start()
        awaited(done)
    except BaseException:  # a signal's handler may raise anything; it is raised on
        is_broken_off.set()
        wait([done], AWAKE_SECONDS)  # the step under way; it need not have begun
        raise
