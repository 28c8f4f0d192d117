"""A real OpenSSH server on a free port of the loopback, with a directory and a user of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from pytest_fileflow.model import SftpLocation

HOST = "127.0.0.1"
START_SECONDS = 10
SECRET_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:partner"
_PASSWORD_USER = "partner"


@dataclass(frozen=True)
class KeyPair:
    """A key made by ssh-keygen: private PEM text, public line, fingerprint."""

    private: str
    public: str
    fingerprint: str


def generate_key(kind: str = "ed25519", *, passphrase: str = "", form: str = "OPENSSH", bits: int = 0) -> KeyPair:
    """Return a new key; ``form`` is OPENSSH, PEM (PKCS#1 or SEC1) or PKCS8."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        length = bits or (2048 if kind == "rsa" else 0)
        sized = ["-b", str(length)] if length else []
        _run("ssh-keygen", "-q", "-t", kind, *sized, "-N", passphrase, "-C", "", "-f", path)
        if form != "OPENSSH":
            _run("ssh-keygen", "-q", "-p", "-m", form, "-P", passphrase, "-N", passphrase, "-f", path)
        public = path.with_suffix(".pub")
        fingerprint = _run("ssh-keygen", "-l", "-f", public).split()[1]
        return KeyPair(path.read_text(), " ".join(public.read_text().split()[:2]), fingerprint)


def sshd_path() -> str:
    """Return the server's program; a machine without it cannot run these tests."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("these tests need OpenSSH's server: install openssh-server")
    return found


class OpenSsh:
    """``with OpenSsh() as server:`` gives a server that takes ``server.key`` for ``server.user``.

    Without ``password`` it runs as an ordinary user, so that file modes count. With one, it needs
    root: it runs in a mount namespace with an account file of its own, and the machine's stays as it is.

    ``options`` are lines of sshd_config. ``limits`` are those of prlimit: ``fsize`` in bytes stands in
    for a full disk, ``nofile`` bounds the open files of a session.
    """

    host = HOST

    def __init__(
        self,
        *,
        host_key_types: Sequence[str] = ("ed25519",),
        options: Mapping[str, str] | None = None,
        password: str | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self._program = sshd_path()
        self._options = dict(options or {})
        self._password = password
        self._limits = dict(limits or {})
        self._process: subprocess.Popen[bytes] | None = None
        # Not "nobody": systemd calls that account locked, and sshd believes it.
        account = pwd.getpwnam("daemon") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._uid, self._gid = account.pw_uid, account.pw_gid
        self.user = _PASSWORD_USER if password else account.pw_name
        self.port = 0
        self.key = generate_key()
        self.host_keys = {kind: generate_key(kind) for kind in host_key_types}

    @property
    def private_key(self) -> str:
        return self.key.private

    @property
    def host_key(self) -> str:
        """The fingerprint of the first host key: a pin."""
        return next(iter(self.host_keys.values())).fingerprint

    def __enter__(self) -> OpenSsh:
        self._folder = Path(tempfile.mkdtemp(prefix="fileflow-sshd-"))
        self.root = self._folder / "data"  # the login directory
        self.root.mkdir()
        self._folder.chmod(0o755)
        self.own(self.root)
        self._write("authorized_keys", f"{self.key.public}\n")
        for kind, pair in self.host_keys.items():
            self._write(f"host_{kind}", pair.private)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def authorize(self, public: str) -> None:
        """Let a further key in."""
        with (self._folder / "authorized_keys").open("a") as file:
            file.write(f"{public}\n")

    def rotate(self) -> KeyPair:
        """Let in a new key, and no other any more; sessions that are open go on."""
        pair = generate_key()
        self._write("authorized_keys", f"{pair.public}\n")
        return pair

    def own(self, path: Path) -> None:
        """Give a file to the user who logs in."""
        if os.geteuid() == 0:
            os.chown(path, self._uid, self._gid)

    def directory(self, name: str) -> Path:
        """Make a directory of the user's below the login directory."""
        made = self.root / name
        made.mkdir(parents=True)
        self.own(made)
        return made

    def location(self, folder: Path | str | None = None, **changes: object) -> SftpLocation:
        """Return the server's login directory, or a directory on it, as a pinned location."""
        from pytest_fileflow.model import SftpLocation

        fields: dict[str, object] = {
            "host": self.host,
            "port": self.port,
            "username": self.user,
            "dir": str(self.root if folder is None else folder),
            "secret_arn": SECRET_ARN,
            "host_key": self.host_key,
        }
        return SftpLocation(**{**fields, **changes})  # type: ignore[arg-type]

    def log(self) -> str:
        """Return what the server has written to its log so far."""
        return (self._folder / "log").read_text()

    def stop(self) -> None:
        """End the server; sessions end with their clients."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        for _ in range(5):  # another process may take the free port before sshd does
            with socket.create_server((HOST, 0)) as probe:
                self.port = probe.getsockname()[1]
            self._write("config", self._config())
            with (self._folder / "log").open("wb") as log:
                self._process = self._popen(log)
            if self._is_up():
                return
        raise RuntimeError(f"sshd did not start: {self.log()}")

    def _popen(self, log: object) -> subprocess.Popen[bytes]:
        command = [self._program, "-D", "-e", "-f", str(self._folder / "config")]
        if self._limits:
            command = ["prlimit", *(f"--{name}={value}" for name, value in self._limits.items()), *command]
        unprivileged: dict[str, object] = {}
        if self._password is not None:
            command = ["unshare", "--mount", "sh", "-ec", self._namespace_script(), "sh", *command]
        elif os.geteuid() == 0:
            unprivileged = {"user": self._uid, "group": self._gid, "extra_groups": []}
        # Python ignores SIGXFSZ; left ignored, a write beyond the limit fails as it does on a full disk.
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, restore_signals=False, **unprivileged
        )

    def _namespace_script(self) -> str:
        """Return what makes the account known to this sshd alone."""
        if os.geteuid() != 0:
            raise PermissionError("a login by password needs an account, and making one needs root")
        hashed = _run("openssl", "passwd", "-6", self._password or "").strip()
        account = f"{_PASSWORD_USER}:x:{self._uid}:{self._gid}::/:/bin/sh\n"
        self._write("passwd", account + Path("/etc/passwd").read_text())
        self._write("shadow", f"{_PASSWORD_USER}:{hashed}:19000:0:99999:7:::\n" + Path("/etc/shadow").read_text())
        binds = "\n".join(f"mount --bind {self._folder / name} /etc/{name}" for name in ("passwd", "shadow"))
        return f'{binds}\nmount -t tmpfs tmpfs /run\nmkdir -p /run/sshd\nexec "$@"'

    def _is_up(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as line:
                if line.recv(4) == b"SSH-":
                    return True
            time.sleep(0.02)  # between two looks, not instead of one
        return False

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        if self._password is None:
            self.own(path)
        elif name in {"passwd", "authorized_keys"}:
            path.chmod(0o644)

    def _config(self) -> str:
        settings = {
            "Port": str(self.port),
            "ListenAddress": HOST,
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "UseDNS": "no",
            "LogLevel": "VERBOSE",
            "PasswordAuthentication": "yes" if self._password else "no",
            "KbdInteractiveAuthentication": "no",
            "AuthorizedKeysFile": str(self._folder / "authorized_keys"),
            "MaxStartups": "100:30:200",
            "Subsystem": "sftp internal-sftp",
            "ForceCommand": f"internal-sftp -d {self.root}",
            **self._options,
        }
        host_keys = [f"HostKey {self._folder / f'host_{kind}'}" for kind in self.host_keys]
        return "\n".join([*host_keys, *(f"{name} {value}" for name, value in settings.items() if value)]) + "\n"


def _run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr}")
    return done.stdout
