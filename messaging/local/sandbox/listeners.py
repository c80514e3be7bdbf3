"""The sockets of the sandbox: who listens where, and how all of it is closed again."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import uvicorn

from messaging.local.sandbox.apns import Apns
from messaging.local.sandbox.certificates import CertificateFiles
from messaging.local.sandbox.exchange import Handler, Reply, Request
from messaging.local.sandbox.faults import Dice, FaultPlan, Faults
from messaging.local.sandbox.fcm import Fcm
from messaging.local.sandbox.http1 import Http1Protocol
from messaging.local.sandbox.http2 import AlpnSwitch, Connections, Http2Protocol
from messaging.local.sandbox.oauth import TokenEndpoint
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.sendgrid import SendGrid
from messaging.local.sandbox.smtp import SmtpConnection, SmtpHandler
from messaging.local.sandbox.twilio import Twilio

_BACKLOG = 1024
HOST = "127.0.0.1"


class ControlServer(uvicorn.Server):
    """uvicorn without its signal handlers: the sandbox decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class Listeners:
    """Starts the protocols' servers on given sockets."""

    def __init__(self, *, record: Record, plan: FaultPlan, certificates: CertificateFiles) -> None:
        self._record = record
        self._plan = plan
        self._certificates = certificates
        self._servers: list[asyncio.Server] = []
        self._http1: set[Http1Protocol] = set()
        self._smtp: set[SmtpConnection] = set()
        self._http2 = {"apns": Connections(), "fcm": Connections()}

    async def start_push(self, sockets: Mapping[str, socket.socket], apns: Apns, fcm: Fcm) -> None:
        """APNs on HTTP/2 alone, FCM on HTTP/2 or HTTP/1.1, both over TLS."""
        await self._listen(lambda: AlpnSwitch(self._http2_factory("apns", apns)), sockets["apns"], alpn=("h2",))
        await self._listen(
            lambda: AlpnSwitch(
                self._http2_factory("fcm", fcm),
                lambda: self._http1_connection(fcm, lambda _: "fcm"),
            ),
            sockets["fcm"],
            alpn=("h2", "http/1.1"),
        )

    async def start_web(
        self,
        listening: socket.socket,
        *,
        token: TokenEndpoint,
        sendgrid: SendGrid,
        twilio: Twilio,
        others: Mapping[str, Handler],
    ) -> None:
        """SendGrid, Twilio, Google's token endpoint and the `others`, told apart by path, on plain HTTP/1.1."""

        def protocol(request: Request) -> str:
            first = request.path[1:].partition("/")[0]
            if first in others:
                return first
            return "twilio" if request.path.startswith("/2010-04-01/") else "sendgrid"

        def handler(request: Request) -> Reply:
            first, _, rest = request.path[1:].partition("/")
            if first in others:
                return others[first](replace(request, path=f"/{rest}"))
            if request.path == "/token":
                return token(request)
            return twilio(request) if protocol(request) == "twilio" else sendgrid(request)

        await self._listen(lambda: self._http1_connection(handler, protocol), listening)

    async def start_smtp(self, plain: socket.socket, tls: socket.socket, handler: SmtpHandler) -> None:
        """SMTP with STARTTLS on one socket, and with TLS from the first byte on the other."""
        starttls = self._certificates.server_context()
        await self._listen(lambda: SmtpConnection(handler, self._smtp, starttls=starttls), plain)
        await self._listen(lambda: SmtpConnection(handler, self._smtp, starttls=None), tls, alpn=())

    def faults_changed(self, protocol: str) -> None:
        """Tell open HTTP/2 connections of the streams they may now open."""
        if protocol in self._http2:
            limit = self._plan.dice(protocol).faults.max_concurrent_streams
            self._http2[protocol].limit_streams(limit)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self._servers:
            server.close()
        for connections in self._http2.values():
            connections.abort()
        for mail_connection in list(self._smtp):
            mail_connection.abort()
        for connection in list(self._http1):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()

    def _http2_factory(self, protocol: str, handler: Handler) -> Callable[[], asyncio.Protocol]:
        def dice() -> Dice:
            return self._plan.dice(protocol)

        return lambda: Http2Protocol(handler, self._record, dice, self._http2[protocol])

    def _http1_connection(self, handler: Handler, protocol: Callable[[Request], str]) -> Http1Protocol:
        def faults(request: Request) -> Faults:
            return self._plan.dice(protocol(request)).faults

        return Http1Protocol(handler, self._record, faults, self._http1)

    async def _listen(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        listening: socket.socket,
        *,
        alpn: tuple[str, ...] | None = None,
    ) -> None:
        context = None if alpn is None else self._certificates.server_context(*alpn)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, sock=listening, ssl=context, backlog=_BACKLOG)
        self._servers.append(server)
