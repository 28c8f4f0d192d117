"""Runs GnuPG over a stream, with a keyring of its own that nobody else sees and that does not outlive its use.

python-gnupg was left out: it hands over what it decrypted only as a whole, or through threads of its
own. Keys and passphrases go through pipes, and never onto a command line, into a log or a message.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow.errors import ToolMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT = "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own in it
_MOST_CHARACTERS = 60  # of the folder that the keyring lies in: a socket's path has at most 104 to 108 bytes
_PIPE_BYTES = 64 * 1024
_SILENT_SECONDS = 300
_STATUS_BYTES = 64 * 1024  # of what GnuPG tells: of a right file it tells a dozen lines
# The agent protects a key once more with its passphrase, and by default makes that take long: seconds, on a busy
# machine, for a key that goes with its folder, and whose passphrase came with it from the same secret.
_AGENT_OPTIONS = "s2k-count 65536\n"
_PREFIX = "[GNUPG:] "


@dataclass(frozen=True)
class Event:
    """A line of GnuPG's status output (its doc/DETAILS): a keyword and its arguments."""

    name: str
    arguments: tuple[str, ...] = ()


def events_in(output: str) -> list[Event]:
    """Return the events of a status output."""
    lines = (line.removeprefix(_PREFIX).split() for line in output.splitlines() if line.startswith(_PREFIX))
    return [Event(words[0], tuple(words[1:])) for words in lines if words]


def _hangs() -> ToolMissing:
    return ToolMissing(
        "gpg hangs: it has neither taken nor given a byte for minutes",
        hint="See whether gpg works on the machine that runs the tests.",
    )


class Keyring:
    """A folder with keys, readable by its owner alone; close() ends its agent and removes it.

    Raises ToolMissing where there is no GnuPG.
    """

    def __init__(self) -> None:
        program = shutil.which("gpg")
        if program is None:
            raise ToolMissing(
                "the check pgp needs the program gpg, which is not on PATH",
                hint="Install GnuPG: apt-get install gnupg, dnf install gnupg2, apk add gnupg, or brew install gnupg.",
            )
        usual = tempfile.gettempdir()
        place = usual if len(usual) <= _MOST_CHARACTERS else _SHORT
        self.home = tempfile.mkdtemp(prefix="ff-", dir=place)  # mode 0700
        self._program = program
        Path(self.home, "gpg-agent.conf").write_text(_AGENT_OPTIONS, encoding="ascii")

    def command(self, *arguments: str) -> list[str]:
        """Return a command line that never asks anybody, and looks nothing up."""
        return [
            *(self._program, "--homedir", self.home, "--no-options", "--batch", "--no-tty"),
            *("--pinentry-mode", "loopback", "--trust-model", "always", "--disable-dirmngr", "--lock-never"),
            *arguments,
        ]

    @property
    def environment(self) -> dict[str, str]:
        """Return what GnuPG gets to know of the environment."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": self.home}

    def add(self, keys: str) -> list[Event]:
        """Import keys from armored text; return what GnuPG tells of them."""
        try:
            done = subprocess.run(  # noqa: S603 - what which() found
                self.command("--status-fd", "1", "--import"),
                input=keys.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self.environment,
                timeout=_SILENT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _hangs() from None
        return events_in(done.stdout.decode(errors="replace"))

    def close(self) -> None:
        """End the agent, and remove the folder, and that of its sockets, which may lie elsewhere (``/run/user``)."""
        if not Path(self.home).is_dir():
            return
        for action in (("--kill", "gpg-agent"), ("--remove-socketdir",)):
            with contextlib.suppress(
                OSError, subprocess.TimeoutExpired
            ):  # the agent ends, too, once its folder is gone
                subprocess.run(  # noqa: S603 - what which() found
                    [shutil.which("gpgconf") or "gpgconf", "--homedir", self.home, *action],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=self.environment,
                    timeout=30,
                    check=False,
                )
        shutil.rmtree(self.home, ignore_errors=True)


class Decryption:
    """GnuPG at work on one stream. What it has decrypted is no proof yet: only the events at the end are.

    All methods raise ToolMissing once GnuPG has neither taken nor given a byte for minutes.
    """

    def __init__(self, keyring: Keyring, passphrase: str):
        read, write = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - what which() found
                keyring.command(
                    "--status-fd", "2", "--logger-file", os.devnull, "--passphrase-fd", str(read), "--decrypt"
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(read,),
                env=keyring.environment,
            )
        finally:
            os.close(read)
            with contextlib.suppress(BrokenPipeError), os.fdopen(write, "wb", buffering=0) as pipe:
                pipe.write(passphrase.encode() + b"\n")
        self._status = bytearray()
        self._input, self._output, self._events = (
            stream.fileno()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
            if stream is not None
        )
        os.set_blocking(self._input, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._input, selectors.EVENT_WRITE)
        self._selector.register(self._output, selectors.EVENT_READ)
        self._selector.register(self._events, selectors.EVENT_READ)

    def pump(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what is decrypted while the next bytes go in. Once GnuPG takes no more, they are dropped."""
        view = memoryview(chunk)
        while view and self._is_open(self._input):
            for descriptor in self._ready():
                if descriptor == self._input:
                    view = view[self._write(view) :]
                elif piece := self._read(descriptor):
                    yield piece

    def finish(self) -> Iterator[bytes]:
        """Yield what is left, now that all bytes went in."""
        self._drop(self._input)
        while self._is_open(self._output) or self._is_open(self._events):
            for descriptor in self._ready():
                if piece := self._read(descriptor):
                    yield piece

    @property
    def events(self) -> list[Event]:
        """Return what GnuPG told, once it is at its end."""
        return events_in(self._status.decode(errors="replace"))

    def _ready(self) -> list[int]:
        ready = [key.fd for key, _ in self._selector.select(_SILENT_SECONDS)]
        if not ready:
            raise _hangs()
        return ready

    def _is_open(self, descriptor: int) -> bool:
        return descriptor in self._selector.get_map()

    def _drop(self, descriptor: int) -> None:
        if self._is_open(descriptor):
            self._selector.unregister(descriptor)
            if descriptor == self._input and self._process.stdin is not None:
                self._process.stdin.close()

    def _write(self, view: memoryview) -> int:
        try:
            return os.write(self._input, view[:_PIPE_BYTES])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self._drop(self._input)
            return 0

    def _read(self, descriptor: int) -> bytes:
        data = os.read(descriptor, _PIPE_BYTES)
        if not data:
            self._drop(descriptor)
        elif descriptor == self._events:
            self._status += data[: _STATUS_BYTES - len(self._status)]
            return b""
        return data

    def close(self) -> None:
        """End GnuPG wherever it is."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.__exit__(None, None, None)
        self._selector.close()
