"""`GET /metrics` of a worker: served by a thread of its main process, for all processes of its pool."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from messaging.metrics_access import may_read

_log = structlog.get_logger(__name__)

_LONGEST_S = 10
"""A client that takes longer is left."""
_AGAIN_S = 5.0
"""Between attempts to get the port, which a worker that is just ending may hold."""


class MetricsServer:
    """Serves what `registry` has whenever somebody asks who may."""

    def __init__(self, port: int, registry: Callable[[], CollectorRegistry], *, token: str | None) -> None:
        self._port = port
        self._server: _Server | None = None
        self._handler = _handler(registry, token)
        self._host = "127.0.0.1" if token is None else ""
        """Without a token nobody from elsewhere may read, so nobody from elsewhere may connect."""
        self._ended = threading.Event()

    @property
    def port(self) -> int | None:
        """The port it listens on, once it does."""
        return None if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve. Where the port is taken, say so and try again: a worker without metrics still works."""
        threading.Thread(target=self._serve, name="metrics", daemon=True).start()

    def close_inherited(self) -> None:
        """Let go of the socket, in a process that was forked from the one that serves."""
        if self._server is not None:
            self._server.socket.close()

    def stop(self) -> None:
        """End serving."""
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _serve(self) -> None:
        told = False
        while not self._ended.is_set():
            try:
                self._server = _Server((self._host, self._port), self._handler)
            except OSError as error:
                if not told:
                    _log.warning("Metrics are not served: the port can't be had.", port=self._port, errno=error.errno)
                    told = True
                self._ended.wait(_AGAIN_S)
            else:
                self._server.serve_forever()
                return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if not address[0] and socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Listen to both kinds of addresses where there are both."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # the parent class would ask DNS for the name of this host
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who went away in the middle is no news, and the answer says what else went wrong."""


def _handler(registry: Callable[[], CollectorRegistry], token: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _LONGEST_S
        server_version, sys_version = "heliograph", ""

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            if self.path.partition("?")[0] != "/metrics":
                self._answer(HTTPStatus.NOT_FOUND, "Metrics are at /metrics.\n")
            elif may_read(str(self.client_address[0]), headers, token):
                self._answer(HTTPStatus.OK, generate_latest(registry()), CONTENT_TYPE_LATEST)
            elif token is not None:
                self._answer(HTTPStatus.UNAUTHORIZED, "Send MESSAGING_METRICS_TOKEN as a bearer token.\n")
            else:
                self._answer(HTTPStatus.FORBIDDEN, "Set MESSAGING_METRICS_TOKEN to read metrics from elsewhere.\n")

        def _answer(self, status: HTTPStatus, body: str | bytes, content_type: str = "text/plain") -> None:
            content = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            if status is HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", "Bearer")
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's signature
            """Nothing: it is asked every few seconds."""

    return Handler
