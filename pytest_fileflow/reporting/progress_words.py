"""How far a session is, in words: as much as fits in a line of the terminal, and a sentence for a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from pytest_fileflow.progress import Progress, Wait

PHASES = (
    ("queued", "queued"),
    ("checking", "being checked"),
    ("sending", "being sent"),
    ("waiting", "waiting"),
    ("verifying", "being verified"),
)
NAME_LETTERS = 10  # of the slowest case, at least


def sentence(progress: Progress) -> str:
    """Return all there is to say, as a line of a log.

    >>> from pytest_fileflow.progress import Progress, Wait
    >>> sentence(Progress(waiting=3, done=2, failed=1, slowest=Wait("acme[5MiB]", 312.2, 420)))
    '5 runs: 3 waiting, 2 done (1 failed); slowest acme[5MiB] 312 s of its SLO of 420 s'
    """
    slowest = progress.slowest
    if slowest is None or progress.ending:
        return _counts(progress)
    waited = f"{slowest.seconds:.0f} s of its SLO of {slowest.slo_seconds:g} s"
    return f"{_counts(progress)}; slowest {plain(slowest.case)} {waited}"


def line(progress: Progress, width: int) -> str:
    """Return what fits in ``width`` columns: at first names are shortened, then counts left out.

    >>> from pytest_fileflow.progress import Progress, Wait
    >>> far = Progress(waiting=3, done=2, slowest=Wait("acme[5MiB]", 312.2, 420))
    >>> line(far, 79)
    '5 runs: 3 waiting, 2 done; slowest: acme[5MiB] 312 s of 420 s (74 %)'
    >>> line(far, 54)
    '2/5 done; slowest: acme[5MiB] 312 s of 420 s (74 %)'
    """
    every = (_counts(progress), _fewer_counts(progress), f"{progress.done}/{_all(progress)} done")
    texts = list(every)
    if progress.slowest is not None and not progress.ending:
        texts[:0] = [f"{counts}; {_slowest(progress.slowest, width - len(counts) - 2)}" for counts in every]
    return next((text for text in texts if len(text) <= width), texts[-1][:width])


def _all(progress: Progress) -> int:
    return progress.under_way + progress.done


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"


def _counts(progress: Progress) -> str:
    done = f"{progress.done} done" + (f" ({progress.failed} failed)" if progress.failed else "")
    if progress.ending:
        return f"cleaning up {_runs(progress.ending)}; {done}"
    counts = [f"{number} {word}" for phase, word in PHASES if (number := getattr(progress, phase))]
    return f"{_runs(_all(progress))}: {', '.join([*counts, done])}"


def _fewer_counts(progress: Progress) -> str:
    failed = f", {progress.failed} failed" if progress.failed else ""
    waiting = f", {progress.waiting} waiting" if progress.waiting else ""
    return f"{progress.done}/{_all(progress)} done{failed}{waiting}"


def _slowest(slowest: Wait, width: int) -> str:
    waited = f"{slowest.seconds:.0f} s of {slowest.slo_seconds:g} s ({slowest.of_slo:.0%})".replace("%", " %")
    room = max(NAME_LETTERS, width - len(f"slowest:  {waited}"))
    return f"slowest: {_shortened(plain(slowest.case), room)} {waited}"


def _shortened(name: str, letters: int) -> str:
    if len(name) <= letters:
        return name
    tail = (letters - 1) // 2
    return f"{name[: letters - 1 - tail]}…{name[-tail:]}"
