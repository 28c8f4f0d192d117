"""A TCP proxy on the loopback that breaks connections in the ways real networks do."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 65536


class TcpProxy:
    """Passes bytes on to a server until told to stall, to reset, to dawdle or to cut.

    ``reset_after`` and ``stall_after`` count the bytes of one connection, both directions together;
    ``delay_seconds`` is how late each piece is passed on.
    """

    def __init__(self, host: str, port: int) -> None:
        self.reset_after: int | None = None
        self.stall_after: int | None = None
        self.delay_seconds = 0.0
        self.connections = 0
        self.host = "127.0.0.1"
        self._target = host, port
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> TcpProxy:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        self._flowing.set()
        self.cut()

    def stall(self) -> None:
        """Hold everything back from now on, on old and new connections."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let everything flow again."""
        self.stall_after = None
        self._flowing.set()

    def cut(self) -> None:
        """Reset every open connection."""
        with self._lock:
            sockets = list(self._open)
        for one in sockets:
            _reset(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            _Pair(self, client, server).start()


class _Pair:
    """One connection through the proxy."""

    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._ends = client, server
        self._passed = 0
        self._pumping = 2
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._proxy._lock:
            self._proxy._open.update(self._ends)
        client, server = self._ends
        for source, sink in ((client, server), (server, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK):
                self._count(len(data))
                self._proxy._flowing.wait()
                time.sleep(self._proxy.delay_seconds)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in self._ends:
                _reset(end)
        finally:
            self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._pumping -= 1
        if not self._pumping:
            with self._proxy._lock:
                self._proxy._open.difference_update(self._ends)
            for end in self._ends:
                end.close()

    def _count(self, length: int) -> None:
        proxy = self._proxy
        with self._lock:
            self._passed += length
        if proxy.reset_after is not None and self._passed > proxy.reset_after:
            raise ConnectionResetError
        if proxy.stall_after is not None and self._passed > proxy.stall_after:
            proxy.stall()


def _reset(one: socket.socket) -> None:
    """Close with RST instead of FIN, also under a thread that waits in recv."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # it is closed, or never was connected: both are what is wanted
    one.close()
