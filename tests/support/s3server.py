"""moto's stand-in for AWS as a process of its own, over HTTP on a free port of the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    import boto3
    import pytest

HOST = "127.0.0.1"


class MotoServer:
    """A running server; it ends with this process, however that ends.

    ``environment`` points every client made from then on at the server.
    """

    def __enter__(self) -> MotoServer:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if not first:
            self.__exit__(None, None, None)
            raise RuntimeError("moto's server did not start")
        self.port = int(first)
        self.url = f"http://{HOST}:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIAFILEFLOWTESTS000",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def session(self) -> boto3.Session:
        """Return a session with the server's keys; its clients still need ``environment``."""
        import boto3

        return boto3.Session("AKIAFILEFLOWTESTS000", "not-a-secret", region_name="us-east-1")

    def weak_session(self, *actions: str) -> boto3.Session:
        """Return a session of a user who may do these actions only, and judge by that from now on."""
        import boto3

        iam = self.session().client("iam")
        iam.create_user(UserName="weak")
        statement = {"Effect": "Allow", "Action": list(actions) or ["sts:GetCallerIdentity"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="weak", PolicyName="some", PolicyDocument=policy)
        key = iam.create_access_key(UserName="weak")["AccessKey"]
        self.enforce_permissions()
        return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")

    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> MotoServer:
        """Forget everything, and let every client that a test makes reach this server."""
        self.reset()
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        return self

    def reset(self) -> None:
        """Forget everything, and allow everything."""
        self.enforce_permissions(after_calls=None)
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST"), timeout=60)

    def enforce_permissions(self, *, after_calls: int | None = 0) -> None:
        """Judge calls by IAM policies from the n-th call on; None switches that off."""
        calls = "inf" if after_calls is None else str(after_calls)
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", calls.encode(), {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=60)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _serve() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            return

    server = make_server(HOST, 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=Quiet)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
