"""A TCP proxy on loopback whose connections can all be cut at once, as a network or a load balancer does it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: what is under way is thrown away, the other end gets a RST
_PIECE = 65536


class Cuttable:
    """Passes bytes between whoever connects to `port` and a server on `target`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, name="cuttable", daemon=True).start()

    def cut(self) -> int:
        """Reset every connection, in both directions; how many there were. New ones are taken at once."""
        with self._lock:
            victims, self._open = self._open, set()
        for each in victims:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.shutdown(socket.SHUT_RDWR)
        return len(victims) // 2

    def close(self) -> None:
        """Take no more connections, and cut what there is."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                theirs, _ = self._listener.accept()
            except OSError:
                return
            try:
                ours = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                theirs.close()
                continue
            ours.settimeout(None)
            with self._lock:
                self._open |= {theirs, ours}
            left = threading.Semaphore(1)
            for source, sink in ((theirs, ours), (ours, theirs)):
                threading.Thread(target=self._pass, args=(source, sink, left), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, first: threading.Semaphore) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                sink.sendall(piece)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if not first.acquire(blocking=False):  # the second to end closes both
            with self._lock:
                self._open -= {source, sink}
            source.close()
            sink.close()


@contextmanager
def cuttable(target: int) -> Iterator[Cuttable]:
    """A proxy in front of the server on port `target`."""
    proxy = Cuttable(target)
    try:
        yield proxy
    finally:
        proxy.close()
