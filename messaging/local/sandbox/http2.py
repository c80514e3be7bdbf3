"""An HTTP/2 server front end on `h2`: one protocol object per connection, answers coalesced per loop turn."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hpack import HeaderTuple, NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

from messaging.local.sandbox.exchange import Behaviour, ConnectionState, Flushes, Handler, Reply, Request
from messaging.local.sandbox.faults import Dice

DEFAULT_MAX_CONCURRENT_STREAMS = 1000
"""What APNs announces once a connection is trusted: 500 to 1000."""

MAX_BODY_BYTES = 1 << 20
"""More is cut off here; every provider's own limit lies far below and is answered by the provider."""

DRAIN_S = 2.0
"""How long a connection stays open after the last answer that a GOAWAY promised, for the client to close it."""

_SLICE = 8192
# h2 walks every open stream when one opens (connection._open_streams). Feeding it slices and answering between
# them keeps few streams open, however much arrived in one read.

_STATUS = {status: HeaderTuple(b":status", str(status).encode()) for status in range(200, 600)}


@dataclass(slots=True)
class _Stream:
    """A request that is still arriving."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    repeated_header: bool
    body: list[bytes] = field(default_factory=list)
    size: int = 0


class Http2Protocol(asyncio.Protocol):
    """Serves one HTTP/2 connection with a handler, under the faults in force."""

    def __init__(
        self,
        handler: Handler,
        record: Flushes,
        dice: Callable[[], Dice],
        connections: "Connections",
    ) -> None:
        self._handler = handler
        self._record = record
        self._dice = dice
        self._connections = connections
        self._state = ConnectionState()
        self._loop = asyncio.get_running_loop()
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False)
        )
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: DEFAULT_MAX_CONCURRENT_STREAMS,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65536,
            },
        )
        self._streams: dict[int, _Stream] = {}
        self._unsent: set[int] = set()
        self._blocked: dict[int, bytes] = {}
        self._requests = 0
        self._last_stream_id: int | None = None
        self._out: list[bytes] = []
        self._flushing = False
        self._transport: asyncio.Transport | None = None

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._h2.initiate_connection()
        limit = self._dice().faults.max_concurrent_streams
        if limit is not None:
            self.limit_streams(limit)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        """Forget the connection."""
        self._connections.discard(self)
        self._transport = None
        self._streams.clear()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        for start in range(0, len(data), _SLICE):
            try:
                events = self._h2.receive_data(data[start : start + _SLICE])
            except h2.exceptions.ProtocolError:
                self._flush()  # h2 has put its GOAWAY there
                self.close()
                return
            for event in events:
                self._on_event(event)
            if self._transport is None:
                return
        self._flush_soon()

    # ------------------------------------------------------------------ what the sandbox asks

    def limit_streams(self, limit: int | None) -> None:
        """Announce MAX_CONCURRENT_STREAMS (None: the default) to the client, in mid-flight."""
        self._h2.update_settings(
            {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limit or DEFAULT_MAX_CONCURRENT_STREAMS}
        )
        self._flush_soon()

    def close(self) -> None:
        """Close after what is already written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection, as a dead peer does."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # ------------------------------------------------------------------ events

    def _on_event(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(stream_id), headers=list(headers)):
                if self._last_stream_id is None or stream_id <= self._last_stream_id:
                    self._streams[stream_id] = _opened(headers)
            case h2.events.DataReceived(stream_id=int(stream_id), data=bytes(data)):
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
                stream = self._streams.get(stream_id)
                if stream is not None and stream.size < MAX_BODY_BYTES:
                    stream.body.append(data)
                    stream.size += len(data)
            case h2.events.StreamEnded(stream_id=int(stream_id)):
                stream = self._streams.pop(stream_id, None)
                if stream is not None:
                    self._serve(stream_id, stream)
            case h2.events.StreamReset(stream_id=int(stream_id)):
                self._streams.pop(stream_id, None)
                self._blocked.pop(stream_id, None)
                self._unsent.discard(stream_id)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream_id, body in list(self._blocked.items()):
                    del self._blocked[stream_id]
                    self._send_body(stream_id, body)
            case _:
                pass

    def _serve(self, stream_id: int, stream: _Stream) -> None:
        self._requests += 1
        faults = self._dice().faults
        reply = self._handler(
            Request(
                method=stream.method,
                path=stream.path,
                headers=stream.headers,
                body=b"".join(stream.body),
                connection=self._state,
                repeated_header=stream.repeated_header,
            )
        )
        self._unsent.add(stream_id)
        if reply.delay_s > 0:
            self._loop.call_later(reply.delay_s, self._send_later, stream_id, reply)
        else:
            self._send(stream_id, reply)
        if faults.goaway_after is not None and self._requests == faults.goaway_after:
            self._go_away()

    def _go_away(self) -> None:
        """Graceful: streams opened up to here are answered, later ones are not processed (RFC 9113 §6.8).

        Written as a raw frame, because h2 sends nothing more once its own `close_connection` was called.
        """
        last_stream_id = self._h2.highest_inbound_stream_id
        self._last_stream_id = last_stream_id
        self._out.append(self._h2.data_to_send())
        self._out.append(GoAwayFrame(stream_id=0, last_stream_id=last_stream_id, error_code=0).serialize())
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._last_stream_id is not None and not self._unsent and not self._streams:
            # Closing at once would make TCP reset the connection under answers the client hasn't read.
            self._loop.call_later(DRAIN_S, self.close)

    # ------------------------------------------------------------------ answers

    def _send_later(self, stream_id: int, reply: Reply) -> None:
        if self._transport is not None and stream_id in self._unsent:
            self._send(stream_id, reply)
            self._flush_soon()

    def _send(self, stream_id: int, reply: Reply) -> None:
        try:
            self._write_reply(stream_id, reply)
        except h2.exceptions.ProtocolError:
            # The client reset the stream (or left) in the same read that ended its request: nobody waits.
            self._unsent.discard(stream_id)

    def _write_reply(self, stream_id: int, reply: Reply) -> None:
        match reply.behaviour:
            case Behaviour.NEVER_ANSWER:
                return  # stays in _unsent: the stream is still open
            case Behaviour.DROP_CONNECTION:
                self._record.flush()
                self.abort()
                return
            case Behaviour.RESET_STREAM:
                self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case Behaviour.REFUSE_STREAM:
                self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            case Behaviour.ANSWER:
                # Values differ from answer to answer: kept out of the HPACK table, which they would only churn.
                headers: list[HeaderTuple] = [_STATUS[reply.status]]
                headers += [NeverIndexedHeaderTuple(name, value) for name, value in reply.headers]
                self._h2.send_headers(stream_id, headers, end_stream=not reply.body)
                if reply.body:
                    self._send_body(stream_id, reply.body)
                    return
        self._unsent.discard(stream_id)
        self._end_if_drained()

    def _send_body(self, stream_id: int, body: bytes) -> None:
        room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
        while body and room > 0:
            self._h2.send_data(stream_id, body[:room], end_stream=len(body) <= room)
            body = body[room:]
            room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
        if body:
            self._blocked[stream_id] = body
            return
        self._unsent.discard(stream_id)
        self._end_if_drained()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._record.flush()
        self._out.append(self._h2.data_to_send())
        data = b"".join(self._out)
        self._out.clear()
        if data and self._transport is not None:
            self._transport.write(data)


class Connections:
    """The open HTTP/2 connections of one provider, so that a changed fault reaches them at once."""

    def __init__(self) -> None:
        self._open: set[Http2Protocol] = set()

    def add(self, connection: Http2Protocol) -> None:
        """Remember an open connection."""
        self._open.add(connection)

    def discard(self, connection: Http2Protocol) -> None:
        """Forget a closed connection."""
        self._open.discard(connection)

    def limit_streams(self, limit: int | None) -> None:
        """Announce MAX_CONCURRENT_STREAMS on every open connection."""
        for connection in self._open:
            connection.limit_streams(limit)

    def abort(self) -> None:
        """Drop every open connection."""
        for connection in list(self._open):
            connection.abort()


class AlpnSwitch(asyncio.Protocol):
    """Hands a connection to HTTP/2 or, where the provider speaks it too, HTTP/1.1: whatever TLS agreed on."""

    def __init__(
        self,
        http2: Callable[[], asyncio.Protocol],
        http1: Callable[[], asyncio.Protocol] | None = None,
    ) -> None:
        self._http2 = http2
        self._http1 = http1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over: the handshake is done by now."""
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        chosen: asyncio.Protocol
        if session.selected_alpn_protocol() == "h2":
            chosen = self._http2()
        elif self._http1 is not None:
            chosen = self._http1()
        else:
            transport.close()
            return
        transport.set_protocol(chosen)
        chosen.connection_made(transport)


def _opened(headers: Iterable[tuple[bytes, bytes]]) -> _Stream:
    seen: dict[bytes, bytes] = {}
    count = 0
    for name, value in headers:
        seen[name] = value
        count += 1
    method = seen.pop(b":method", b"").decode("latin-1")
    path = seen.pop(b":path", b"").decode("latin-1")
    # `:scheme` and `:authority` remain in `seen`.
    return _Stream(method=method, path=path, headers=seen, repeated_header=len(seen) + 2 != count)
