"""Knocks where nobody must be let in: logins of strangers, and writes where nothing may be written."""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pytest_fileflow.endpoints import Guarded, OpenToNobody, WritesInPlace, delete_all
from pytest_fileflow.errors import (
    AccessDenied,
    AuthRejected,
    CredentialsUnusable,
    LetIn,
    NetworkError,
    NotTried,
    StorageFailed,
)
from pytest_fileflow.model import S3Location
from pytest_fileflow.negative.trial import Attempt, ends_of, probe_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pytest_fileflow.endpoints import Endpoint, Stranger
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.model import Flow, Location, Refusal, Run, Side
    from pytest_fileflow.negative.trial import Trial

logger = logging.getLogger(__name__)

# AWS's words for "this clock is wrong" and "this account is not signed up": the key was not what was refused.
_OTHER_REASONS = frozenset(("RequestTimeTooSkewed", "RequestExpired", "OptInRequired"))
_DENIED = (401, 403)


def strangers(trial: Trial) -> Iterator[Attempt]:
    """Yield a login that must be refused, for every end."""
    stranger: Stranger = "wrong_key" if trial.refusal.name == "wrong_key" else "unknown_user"
    for side, end in trial.ends():
        is_s3 = isinstance(end, S3Location)
        yield Attempt(
            side,
            f"{_who(end, stranger, trial.nobody)} at {_door(end)}",
            "the request denied" if is_s3 else "the login refused",
            functools.partial(_knock, trial, end, stranger),
            _is_refused_stranger if is_s3 else _is_refused_login,
            _is_other_answer if is_s3 else _is_other_login,
            functools.partial(_turn, trial, end),
        )


def _who(end: Location, stranger: Stranger, nobody: str) -> str:
    if isinstance(end, S3Location):
        return "a request with a made-up access key" if stranger == "wrong_key" else "an unsigned request"
    if stranger == "wrong_key":
        return f"a login as {end.username} with made-up credentials"
    return f"a login as {nobody}, whom nobody knows, with the credentials of {end.username}"


def _door(end: Location) -> str:
    return end.uri() if isinstance(end, S3Location) else f"{end.host}:{end.port}"


def _turn(trial: Trial, end: Location) -> AbstractContextManager[object]:
    endpoint = trial.tools.endpoint(end)
    return endpoint.turn() if isinstance(endpoint, Guarded) else nullcontext()


def _knock(trial: Trial, end: Location, stranger: Stranger) -> None:
    endpoint = trial.tools.endpoint(end)
    if not isinstance(endpoint, Guarded):
        raise _no_stranger(end)
    endpoint.knock(stranger, trial.nobody)
    raise LetIn(f"{_door(end)} let in {_who(end, stranger, trial.nobody)}")


def _no_stranger(end: Location) -> NotTried:
    return NotTried(f"nobody can be a stranger at {end.uri()}: its endpoint comes from a fixture that makes none")


def _is_refused_login(error: FileflowError) -> bool:
    # A server that takes no keys at all has not even looked at this one.
    return isinstance(error, AuthRejected) and error.evidence.get("tried") != []


def _is_other_login(error: FileflowError) -> bool:
    return isinstance(error, (AuthRejected, StorageFailed))


def _is_refused_stranger(error: FileflowError) -> bool:
    if isinstance(error, AccessDenied):
        return True
    status, code = error.evidence.get("http_status"), error.evidence.get("aws_code")
    return isinstance(error, CredentialsUnusable) and status in _DENIED and code not in _OTHER_REASONS


def _is_other_answer(error: FileflowError) -> bool:
    return "aws_code" in error.evidence or isinstance(error, StorageFailed)


def forbidden_writes(trial: Trial) -> Iterator[Attempt]:
    """Yield a write that must be refused, for every end."""
    for side, end in trial.ends():
        yield _anonymous_write(trial, side, end) if _is_anonymous(trial.refusal, end) else _own_write(trial, side, end)


def may_write(flow: Flow, refusal: Refusal, run: Run) -> tuple[tuple[Side, str], ...]:
    """Return what may be written where the flow's own files lie: by nobody, and then moved by the transfer."""
    ends = ends_of(flow, refusal)
    written: list[tuple[Side, str]] = [(side, probe_name(run)) for side, end in ends if _is_anonymous(refusal, end)]
    return tuple(dict.fromkeys([*written, ("target", probe_name(run))])) if written else ()


def forbidden_places(flow: Flow, refusal: Refusal) -> list[Location]:
    """Return where a forbidden write is tried, at every end."""
    ends = [end for _, end in ends_of(flow, refusal)]
    return [end if _is_anonymous(refusal, end) else _forbidden(refusal, end) for end in ends]


def _forbidden(refusal: Refusal, end: Location) -> Location:
    """Return the place at an end where whoever is let in may not write."""
    if isinstance(end, S3Location):
        return dataclasses.replace(end, prefix=str(refusal.options["prefix"]))
    return dataclasses.replace(end, dir=str(refusal.options.get("dir", "/")))


def _is_anonymous(refusal: Refusal, end: Location) -> bool:
    return isinstance(end, S3Location) and "prefix" not in refusal.options


def _own_write(trial: Trial, side: Side, end: Location) -> Attempt:
    """Return a write by who is let in, in a place where they may not write."""
    place = _forbidden(trial.refusal, end)
    who = "the tester's own identity" if isinstance(place, S3Location) else place.username
    uri = place.uri(trial.probe)

    def write() -> None:
        own = trial.tools.endpoint(place)
        _write_probe(trial, own, own, f"{who} could write {uri}")

    return Attempt(
        side,
        f"writing {uri} as {who}",
        "permission denied",
        write,
        _is_denied if isinstance(place, S3Location) else _is_denied_by_server,
    )


def _is_denied(error: FileflowError) -> bool:
    return isinstance(error, AccessDenied)


def _is_denied_by_server(error: FileflowError) -> bool:
    # The secret of the login may be denied too, by AWS or as a file, and then nothing was tried.
    return isinstance(error, AccessDenied) and not {"aws_code", "secret_arn"} & set(error.evidence)


def _anonymous_write(trial: Trial, side: Side, end: Location) -> Attempt:
    uri = end.uri(trial.probe)

    def write() -> None:
        own = trial.tools.endpoint(end)
        if not isinstance(own, OpenToNobody):
            raise _no_stranger(end)
        _write_probe(trial, own.nobody(), own, f"anybody could write {uri}, unsigned")

    return Attempt(side, f"writing {uri} unsigned", "permission denied", write, _is_refused_stranger, _is_other_answer)


def _write_probe(trial: Trial, writer: Endpoint, own: Endpoint, let_in: str) -> None:
    """Write the probe; where that works, or may have worked, remove it. Raises LetIn where it worked."""
    name, content = trial.probe, f"fileflow probe {trial.run.run_id}\n".encode()
    try:
        if isinstance(writer, WritesInPlace):
            writer.write_in_place(name, content)
        else:
            writer.put(name, io.BytesIO(content), len(content), {})
    except NetworkError:
        for error in delete_all(own, [name]).values():
            logger.warning("the probe %s may be left behind: %s", writer.location.uri(name), error.reason)
        raise
    left = delete_all(own, [name])
    if left and own is not writer:
        left = delete_all(writer, [name])
    if left:
        reason = f"{let_in}, and the probe could not be removed: {left[name].reason}"
        raise LetIn(reason, evidence={"left_behind": [writer.location.uri(name)]})
    raise LetIn(f"{let_in}; the probe was removed")
