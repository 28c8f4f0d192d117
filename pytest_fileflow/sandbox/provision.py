"""Makes in the sandbox whatever flows name: buckets, servers, users, folders, keys, secrets, functions."""

from __future__ import annotations

import json
import posixpath
import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_fileflow.model import S3Location, SftpLocation
from pytest_fileflow.sandbox.aws import PARAMETER
from pytest_fileflow.sandbox.backends import backend
from pytest_fileflow.sandbox.places import Place, place_of
from pytest_fileflow.sandbox.routes import Route, is_data
from pytest_fileflow.sandbox.sealing import key_pair
from pytest_fileflow.sandbox.sftp import Account
from pytest_fileflow.sandbox.switches import Switch
from pytest_fileflow.sandbox.web import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_fileflow.sandbox.aws import Tables
    from pytest_fileflow.sandbox.routes import Routes
    from pytest_fileflow.sandbox.sftp import SftpServers
    from pytest_fileflow.sandbox.switches import Switches

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Provisioner:
    """Adds flows to the running sandbox; the same flow twice changes nothing.

    ``servers`` returns the SFTP side, once somebody needs it.
    """

    def __init__(
        self,
        tables: Tables,
        routes: Routes,
        switches: Switches,
        servers: Callable[[], SftpServers],
        webhook_url: str,
    ) -> None:
        self._tables = tables
        self._routes = routes
        self._switches = switches
        self._servers = servers
        self._webhook_url = webhook_url
        self._lock = threading.Lock()
        self._public_keys: dict[str, bytes] = {}

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
        route = Route.parse(self._with_pgp_key(flow))
        for location in (route.source, route.target):
            if isinstance(location, S3Location):
                self._bucket(location.bucket)
            else:
                self._account(location)
        self._seed(flow.get("seed"))
        for secret in _texts(flow.get("webhook_secrets")):
            self._secret(secret, self._webhook_url)
        logins = flow.get("logins")
        for secret, names in logins.items() if isinstance(logins, dict) else ():
            self._secret(secret, json.dumps(dict.fromkeys(["routing_key", *names], "sandbox")))
        for topic in _texts(flow.get("topics")):
            self._topic(topic)
        self._switch(route, flow)
        return route

    def _with_pgp_key(self, flow: Mapping[str, object]) -> Mapping[str, object]:
        """Put a private key into the secrets of a flow's checks, and give its transfer the public one."""
        secrets, work = _texts(flow.get("pgp_secrets")), flow.get("work")
        if not secrets:
            return flow
        pair = key_pair()
        for secret in secrets:
            self._tables.secrets.setdefault(secret, json.dumps({"privateKey": pair.private}))
        return {**flow, "work": {**(work if isinstance(work, dict) else {}), "public_key": pair.public}}

    def _switch(self, route: Route, flow: Mapping[str, Any]) -> None:
        """Switch a flow's faults on, and those off that it no longer has."""
        if flow.get("problems"):
            raise ValueError("; ".join(flow["problems"]))
        self._switches.set(route, map(Switch.parse, flow.get("faults", ())), flow.get("earlier", ()))
        for place in (route.place, route.target_place):
            if place[0] == "SFTP" and self._switches.at(place):
                self._servers().ensure_faulty(place, partial(self._switches.at, place))

    def _bucket(self, name: str) -> None:
        stored = backend("s3")
        if name in stored.buckets:
            return
        from moto.s3.exceptions import S3ClientError

        try:
            stored.create_bucket(name, REGION)
        except S3ClientError as error:
            raise ValueError(f"the bucket {name!r} cannot be made: {error}") from None
        self._tables.buckets.add(name)

    def _seed(self, uri: object) -> None:
        """Put a file where a flow finds its seed in S3: the real one cannot be had from here."""
        if not isinstance(uri, str) or not uri.startswith("s3://"):
            return
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self._bucket(bucket)
        if key not in backend("s3").get_bucket(bucket).keys:
            backend("s3").put_object(bucket, key, f"number,text\n1,stands in for {uri}\n".encode())

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
        self._secret(secret_arn, text)
        public: bytes = pair.public_data
        self._public_keys[secret_arn] = public
        return public

    def _secret(self, named: str, text: str) -> None:
        """Keep a secret under the text that names it; the first of a name wins.

        A person may ask by the bare name too, as with AWS, where a parameter's ARN does not tell
        whether its name begins with a slash.
        """
        names = [named, named.rpartition(":secret:")[2]]
        if named.startswith("arn:") and ":parameter/" in named:
            parameter = named.partition(":parameter/")[2]
            names += [f"{PARAMETER}/{parameter}", f"{PARAMETER}{parameter}"]
        for name in names:
            self._tables.secrets.setdefault(name, text)

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
            folders = self._folders.setdefault(name, {})
            for key in list(backend("s3").get_bucket(name).keys):
                folder, slash, plain = key.rpartition("/")
                if is_data(plain):
                    folders.setdefault(folder + slash, []).append(plain)
        return self._folders[name]


def describe(
    location: S3Location | SftpLocation, servers: Callable[[], SftpServers], *, faulty: bool
) -> dict[str, object]:
    """Return one end of a transfer as the reference transfer is told of it; ``faulty`` where its faults are met."""
    if isinstance(location, S3Location):
        return {
            "type": "S3",
            "bucket": location.bucket,
            "folder": location.key(""),
            "kms_key_arn": location.kms_key_arn,
        }
    place = place_of(location)
    server = servers().faulty_address(place) if faulty else servers().address(location.host, location.port)
    port, fingerprint = server
    return {
        "type": "SFTP",
        "host": location.host,
        "port": location.port,
        "username": location.username,
        "dir": place[-1],
        "secret_arn": location.secret_arn,
        "address": ["127.0.0.1", port],
        "fingerprint": fingerprint,
    }


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []
