"""The transfer system of the suite benchmark: a Lambda and a Secrets Manager API, and deliveries at a set time.

    python benchmarks/mover.py S3_PORT SECRET_FILE LOG_FILE

An invocation names source, target and delay. The file is fetched shortly before and delivered ``delay`` seconds after
the invocation, whole: one PutObject, or a rename in the server's folder. LOG_FILE gets a line a delivery: run id, and
the UTC seconds between which the file appeared.
"""

import asyncio
import contextlib
import http.client
import json
import os
import queue
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

THREADS = 16
PREFETCH_SECONDS = 0.5


class Bucket:
    """Plain HTTP to an S3 server that takes unsigned requests, over connections that stay open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the body of a good answer."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request(method, path, body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
        self._idle.put(connection)
        return content


class Mover:
    """Fetches shortly before, delivers at the time."""

    def __init__(self, bucket: Bucket, log: TextIO) -> None:
        self._bucket = bucket
        self._log = log
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS)

    def accept(self, loop: asyncio.AbstractEventLoop, event: dict[str, str]) -> None:
        """Deliver what an event names when its time has come."""
        due = loop.time() + float(event["delay"])
        loop.call_at(due - PREFETCH_SECONDS, self._prepare, loop, due, event)

    def _prepare(self, loop: asyncio.AbstractEventLoop, due: float, event: dict[str, str]) -> None:
        fetched = self._pool.submit(self._fetch, event["source"])
        loop.call_at(due, self._pool.submit, self._deliver, event, fetched)

    def _fetch(self, uri: str) -> bytes:
        parts = urlsplit(uri)
        if parts.scheme == "s3":
            return self._bucket.request("GET", f"/{parts.netloc}{parts.path}")
        return Path(parts.path).read_bytes()

    def _deliver(self, event: dict[str, str], fetched: object) -> None:
        content = fetched.result()  # type: ignore[attr-defined]
        parts = urlsplit(event["target"])
        if parts.scheme == "s3":
            began = time.time()
            self._bucket.request("PUT", f"/{parts.netloc}{parts.path}", content)
        else:
            path = Path(parts.path)
            fresh = path.with_name(f".{path.name}.moving")
            fresh.write_bytes(content)
            shutil.chown(fresh, path.parent.stat().st_uid)
            began = time.time()
            fresh.replace(path)
        ended = time.time()
        with self._lock:
            self._log.write(f"{event['run_id']} {began:.6f} {ended:.6f}\n")
            self._log.flush()


async def serve(mover: Mover, secret: str) -> None:
    loop = asyncio.get_running_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next((line[15:] for line in head.split("\r\n") if line[:15].lower() == "content-length:"), "0")
                body = await reader.readexactly(int(length))
                if "x-amz-invocation-type: dryrun" in head.lower():
                    writer.write(b"HTTP/1.1 204 No Content\r\nx-amzn-RequestId: benchmark\r\n\r\n")
                elif "/functions/" in head.split("\r\n", 1)[0]:
                    mover.accept(loop, json.loads(body))
                    writer.write(b"HTTP/1.1 202 Accepted\r\nx-amzn-RequestId: benchmark\r\nContent-Length: 0\r\n\r\n")
                else:
                    content = json.dumps({"SecretString": secret}).encode()
                    form = b"application/x-amz-json-1.1"
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % form)
                    writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    port, secret, log = sys.argv[1:]
    sys.setswitchinterval(0.0005)  # what is asked for is answered, whatever else is under way
    threading.Thread(target=end_with_parent, daemon=True).start()
    with Path(log).open("a") as file:
        asyncio.run(serve(Mover(Bucket(int(port)), file), Path(secret).read_text()))


if __name__ == "__main__":
    main()
