"""Makes in the sandbox whatever flows name: buckets, servers, users, folders, keys, secrets, functions."""

from __future__ import annotations

import json
import posixpath
import re
import threading
import time
from typing import TYPE_CHECKING

from pytest_fileflow.model import S3Location, SftpLocation
from pytest_fileflow.sandbox.aws import ACCOUNT, REGION
from pytest_fileflow.sandbox.routes import Place, Route, is_data, sftp_place
from pytest_fileflow.sandbox.sftp import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_fileflow.sandbox.aws import Tables
    from pytest_fileflow.sandbox.routes import Routes
    from pytest_fileflow.sandbox.sftp import SftpServers

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Provisioner:
    """Adds flows to the running sandbox; the same flow twice changes nothing.

    ``servers`` returns the SFTP side, once somebody needs it.
    """

    def __init__(self, tables: Tables, routes: Routes, servers: Callable[[], SftpServers], webhook_url: str) -> None:
        self._tables = tables
        self._routes = routes
        self._servers = servers
        self._webhook_url = webhook_url
        self._lock = threading.Lock()
        self._public_keys: dict[str, bytes] = {}
        self._buckets: set[str] = set()

    def add(self, flows: Sequence[Mapping[str, object]]) -> dict[str, object]:
        """Make what plain flows name; return how long it took and, by flow, why one could not be made."""
        began, problems, routes = time.monotonic(), {}, []
        with self._lock:
            for flow in flows:
                try:
                    routes.append(self._make(flow))
                except (ValueError, TypeError, KeyError) as error:  # noqa: PERF203 - one must not stop the others
                    problems[str(flow.get("flow_id"))] = str(error)
            self._routes.add(routes, _Present(self._servers))
            self._tables.functions.update(self._routes.timeouts())
        return {"problems": problems, "seconds": round(time.monotonic() - began, 3)}

    def _make(self, flow: Mapping[str, object]) -> Route:
        route = Route.parse(flow)
        for location in (route.source, route.target):
            if isinstance(location, S3Location):
                self._bucket(location.bucket)
            else:
                self._account(location)
        for secret in _texts(flow.get("webhook_secrets")):
            self._tables.secrets.setdefault(secret, self._webhook_url)
        for topic in _texts(flow.get("topics")):
            self._topic(topic)
        return route

    def _bucket(self, name: str) -> None:
        if name in self._buckets:
            return
        from moto.s3.exceptions import S3ClientError
        from moto.s3.models import s3_backends

        backend = s3_backends[ACCOUNT]["aws"]
        if name not in backend.buckets:
            try:
                backend.create_bucket(name, REGION)
            except S3ClientError as error:
                raise ValueError(f"the bucket {name!r} cannot be made: {error}") from None
        self._buckets.add(name)

    def _account(self, location: SftpLocation) -> None:
        if ".." in location.dir.split("/") or _CONTROL.search(location.dir + location.username):
            raise ValueError(f"the folder {location.dir!r} of {location.username!r} is no plain path")
        account = Account(
            host=location.host,
            port=location.port,
            username=location.username,
            directory=posixpath.normpath(posixpath.join("/", location.dir)),
            key=self._key(location.secret_arn),
        )
        self._servers().ensure([account])

    def _key(self, secret_arn: str) -> bytes:
        """Return the public key that belongs to a secret; the pair is made with the secret."""
        known = self._public_keys.get(secret_arn)
        if known is not None:
            return known
        import asyncssh

        pair = asyncssh.generate_private_key("ssh-ed25519")
        text = json.dumps({"privateKey": pair.export_private_key("openssh").decode()})
        self._tables.secrets[secret_arn] = text
        # A person may ask by the bare name too, as with AWS; the first of a name wins.
        self._tables.secrets.setdefault(secret_arn.rpartition(":secret:")[2], text)
        public: bytes = pair.public_data
        self._public_keys[secret_arn] = public
        return public

    def _topic(self, arn: str) -> None:
        # AWS: letters, digits, "_" and "-", at most 256; what a placeholder holds beyond that is replaced
        self._tables.topics[arn] = re.sub(r"[^A-Za-z0-9_-]", "-", arn.rpartition(":")[2])[:256] or "topic"


class _Present:
    """Lists the files that lie in a folder already; looks through each bucket once."""

    def __init__(self, servers: Callable[[], SftpServers]) -> None:
        self._servers = servers
        self._folders: dict[str, dict[str, list[str]]] = {}

    def __call__(self, place: Place) -> Iterable[str]:
        if place[0] == "S3":
            return self._bucket(place[1]).get(place[2], [])
        _, host, port, username, directory = place
        return [name for name in self._servers().names(host, int(port), username, directory) if is_data(name)]

    def _bucket(self, name: str) -> dict[str, list[str]]:
        if name not in self._folders:
            from moto.s3.models import s3_backends

            folders = self._folders.setdefault(name, {})
            for key in list(s3_backends[ACCOUNT]["aws"].get_bucket(name).keys):
                folder, slash, plain = key.rpartition("/")
                if is_data(plain):
                    folders.setdefault(folder + slash, []).append(plain)
        return self._folders[name]


def describe(location: S3Location | SftpLocation, servers: Callable[[], SftpServers]) -> dict[str, object]:
    """Return one end of a transfer as the reference transfer is told of it."""
    if isinstance(location, S3Location):
        return {
            "type": "S3",
            "bucket": location.bucket,
            "folder": location.key(""),
            "kms_key_arn": location.kms_key_arn,
        }
    port, fingerprint = servers().address(location.host, location.port)
    return {
        "type": "SFTP",
        "host": location.host,
        "port": location.port,
        "username": location.username,
        "dir": sftp_place(location.host, location.port, location.username, location.dir)[-1],
        "secret_arn": location.secret_arn,
        "address": ["127.0.0.1", port],
        "fingerprint": fingerprint,
    }


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []
