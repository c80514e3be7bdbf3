"""An HTTP/1.1 server front end on `h11`, able to do what an ASGI server can't: reset, drop, or never answer."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import h11

from messaging.local.sandbox.exchange import Behaviour, ConnectionState, Flushes, Handler, Reply, Request
from messaging.local.sandbox.faults import Faults

MAX_BODY_BYTES = 48 << 20
"""SendGrid takes 30 MB, base64 included; what is longer is cut off, and answered by the provider's own limit."""


class Http1Protocol(asyncio.Protocol):
    """Serves one HTTP/1.1 connection with a handler, one request after the other."""

    def __init__(
        self,
        handler: Handler,
        record: Flushes,
        faults: Callable[[Request], Faults],
        open_connections: "set[Http1Protocol]",
    ) -> None:
        self._handler = handler
        self._record = record
        self._faults = faults
        self._open_connections = open_connections
        self._state = ConnectionState()
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._requests = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        """Forget the connection."""
        self._transport = None
        self._open_connections.discard(self)

    def abort(self) -> None:
        """Drop the connection: HTTP/1.1 knows no other reset."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._h11.receive_data(data)
        self._read_events()

    def _read_events(self) -> None:
        while self._transport is not None:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error)
                return
            match event:
                case h11.Request():
                    self._request = event
                    self._body.clear()
                    if self._h11.they_are_waiting_for_100_continue:
                        self._write(h11.InformationalResponse(status_code=100, headers=[]))
                case h11.Data():
                    if len(self._body) < MAX_BODY_BYTES:
                        self._body += event.data
                case h11.EndOfMessage():
                    self._serve()
                    return  # the next request is read once this one is answered
                case h11.ConnectionClosed():
                    self._transport.close()
                    return
                case _:  # NEED_DATA, PAUSED
                    return

    def _serve(self) -> None:
        received = self._request
        if received is None:
            return
        self._requests += 1
        headers = dict(received.headers)
        request = Request(
            method=received.method.decode("latin-1"),
            path=received.target.decode("latin-1"),
            headers=headers,
            body=bytes(self._body),
            connection=self._state,
            repeated_header=len(headers) != len(received.headers),
        )
        limit = self._faults(request).goaway_after
        is_last = limit is not None and self._requests >= limit
        reply = self._handler(request)
        if reply.delay_s > 0:
            self._loop.call_later(reply.delay_s, self._answer, reply, is_last)
        else:
            self._answer(reply, is_last)

    def _answer(self, reply: Reply, is_last: bool) -> None:  # noqa: FBT001  # call_later hands over positional arguments
        if self._transport is None:
            return
        self._record.flush()
        if reply.behaviour is Behaviour.NEVER_ANSWER:
            return
        if reply.behaviour is not Behaviour.ANSWER:
            self.abort()
            return
        headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
        if is_last:
            headers.append((b"connection", b"close"))
        reason = HTTPStatus(reply.status).phrase.encode()
        self._write(h11.Response(status_code=reply.status, headers=headers, reason=reason))
        if reply.body:
            self._write(h11.Data(data=reply.body))
        self._write(h11.EndOfMessage())
        if self._h11.our_state is h11.MUST_CLOSE:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._loop.call_soon(self._read_events)  # not recursive: a client may have pipelined thousands

    def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data and self._transport is not None:
            self._transport.write(data)

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._transport is None:
            return
        if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = str(error).encode()
            headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
            self._write(h11.Response(status_code=error.error_status_hint, headers=headers))
            self._write(h11.Data(data=body))
            self._write(h11.EndOfMessage())
        self._transport.close()
