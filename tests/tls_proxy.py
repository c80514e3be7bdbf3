"""TLS in front of a server that has none: the embedded PostgreSQL and Valkey are built without it.

It speaks the real protocol to real clients: TLS from the first byte, or PostgreSQL's SSLRequest before it. Nothing is
let through in plain, as with `hostssl` only or Valkey's `port 0`; who tries is counted.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.certificates import Files

_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""https://www.postgresql.org/docs/current/protocol-message-formats.html"""
_HANDSHAKE = b"\x16"
"""The first byte of TLS (RFC 8446 §5.1)."""
_HANDSHAKE_S = 10.0


@dataclass
class Proxy:
    """What happened at one."""

    port: int = 0
    encrypted: int = 0
    """Connections that completed a handshake."""
    plain: int = 0
    """Connections that said something in plain."""
    threads: list[threading.Thread] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)


@contextmanager
def tls_in_front_of(port: int, files: Files, *, postgres: bool = False, strips: bool = False) -> Iterator[Proxy]:
    """A proxy on 127.0.0.1 with that certificate; one that `strips` says it has no TLS, as an attacker would."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    proxy = Proxy()

    def serve(accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted:
            accepted.settimeout(_HANDSHAKE_S)
            if strips and not postgres:  # a server without TLS makes nothing of a handshake
                proxy.plain += accepted.recv(1) not in {_HANDSHAKE, b""}
                return
            if postgres:
                if accepted.recv(len(_SSL_REQUEST)) != _SSL_REQUEST:
                    proxy.plain += 1
                    return
                accepted.sendall(b"N" if strips else b"S")
                if strips:
                    proxy.plain += bool(accepted.recv(1))
                    return
            with context.wrap_socket(accepted, server_side=True) as client:
                proxy.encrypted += 1
                client.settimeout(None)
                with socket.create_connection(("127.0.0.1", port)) as server:
                    proxy.sockets += [client, server]
                    back = threading.Thread(target=_copy, args=(server, client))
                    back.start()
                    _copy(client, server)
                    back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                thread = threading.Thread(target=serve, args=(accepted,))
                proxy.threads.append(thread)
                thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.port = listener.getsockname()[1]
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield proxy
        finally:
            for each in (listener, *proxy.sockets):
                _shut(each)
            for thread in (accepting, *proxy.threads):
                thread.join(_HANDSHAKE_S)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        _shut(each)


def _shut(each: socket.socket) -> None:
    """Wake whoever reads it."""
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
