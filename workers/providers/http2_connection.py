"""One HTTP/2 connection as an asyncio protocol: streams, windows, pings and the end of it.

Requests of one turn of the event loop leave in one write. The limit on concurrent streams is read
from the server's settings whenever a stream is about to open and never inside the reader, so a
server that lowers it in mid-flight (APNs does) only makes later requests wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError

from workers.providers.http2_answer import NotSentCause, NotSentError, Response, UnknownOutcomeError
from workers.providers.http2_call import Call
from workers.providers.http2_goaway import GoAway, GoAwaySplitter, error_name
from workers.providers.http2_headers import HeaderDecoder, HeaderEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from h2.events import Event

LARGEST_RESPONSE_BYTES = 1 << 20
"""A longer answer is not one of a provider: the stream is reset and the outcome unknown."""

_STREAMS_AT_MOST = 1000  # where the server names no limit
_LAST_STREAM_ID = 2**31 - 1
_RECEIVE_WINDOW = 1 << 20
_FLUSH_RECEIVED = _RECEIVE_WINDOW // 4
_ACKNOWLEDGE_STREAM = 16_384
_SWEEP = 64
_REPLIES_AT_MOST = 1 << 20
"""Bytes of answers to PINGs and SETTINGS that wait for a server which does not read them."""
_STATUSES = range(200, 600)

_serial = itertools.count(1)


class _Streams(H2Connection):
    """h2 counts the open streams by walking over all of them at each request; we keep our own count."""

    _asked = 0

    @property
    def open_outbound_streams(self) -> int:
        """Zero but for each 64th time, when h2's walk also forgets the closed streams."""
        self._asked += 1
        return super().open_outbound_streams if self._asked % _SWEEP == 0 else 0


class Connection(asyncio.Protocol):
    """A connection in use by `Http2Client`, which decides what is sent where.

    `on_capacity` is called when a stream may be opened that could not before, `on_closed` once at
    the end, after every call has its answer or error.
    """

    def __init__(
        self,
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        on_capacity: Callable[[], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self.serial = next(_serial)
        self.calls: dict[int, Call] = {}
        self.draining = False
        self.closed = False
        self.answered = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._on_capacity = on_capacity
        self._on_closed = on_closed
        self._splitter = GoAwaySplitter()
        self._blocked: dict[int, Call] = {}
        self._next_stream_id = 1
        self._limit = 0
        self._paused = False
        self._replies = 0
        self._flushing = False
        self._received = 0
        self._heard_at = self._loop.time()
        self._pinged_at = 0.0
        self._watcher: asyncio.TimerHandle | None = None
        self._why = "the connection was lost"
        self._transport: asyncio.Transport | None = None
        self._encoder = HeaderEncoder()
        self._h2 = _Streams(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_HEADER_LIST_SIZE: H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self._h2.encoder = self._encoder
        self._h2.decoder = HeaderDecoder()
        self._h2.decoder.max_header_list_size = H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            InformationalResponseReceived: self._progress_received,
            ResponseReceived: self._headers_received,
            DataReceived: self._data_received,
            StreamEnded: self._stream_ended,
            StreamReset: self._stream_reset,
            RemoteSettingsChanged: self._settings_changed,
            WindowUpdated: self._window_updated,
        }

    # what the client asks

    @property
    def free_streams(self) -> int:
        """How many requests may start now."""
        if self.draining or self.closed or self._paused or self._h2.outbound_flow_control_window <= 0:
            return 0
        return max(0, self._limit - len(self.calls))

    def start(self, call: Call) -> None:
        """Open a stream for `call`; only while `free_streams` is positive."""
        call.stream_id = stream_id = self._next_stream_id
        self._next_stream_id += 2
        self.calls[stream_id] = call
        block = self._encoder.request_block(call.pseudo, call.path, call.headers)
        self._h2.send_headers(
            stream_id,
            [(b":method", call.pseudo[0][1]), (b":authority", call.pseudo[2][1]), (b"", block)],
            end_stream=not call.body,
        )
        if call.body:
            self._send_body(call)
        if self._next_stream_id > _LAST_STREAM_ID:
            self.drain()
        self._flush_soon()

    def abandon(self, call: Call) -> None:
        """Reset the stream of a call nobody waits for any more."""
        if self.calls.pop(call.stream_id, None) is None:
            return
        self._blocked.pop(call.stream_id, None)
        if not self.closed:
            self._reset(call.stream_id)
            self._flush_soon()
            # Not at once: requests that time out in the same turn must not take each other's place and leave.
            self._loop.call_soon(self._on_capacity)
            self._close_if_drained()

    def _reset(self, stream_id: int) -> None:
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(ProtocolError):  # it ended in the same read, and its event is still to come
                self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)

    def drain(self) -> None:
        """Open no more streams; close when the last answer is in."""
        self.draining = True
        self._close_if_drained()

    @property
    def why(self) -> str:
        """What ended it, or is about to."""
        return self._why

    def abort(self, why: str) -> None:
        """Close at once; what is in flight ends as not sent or unknown."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface; the first request waits for the server's settings."""
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._fail_ready("the server does not speak HTTP/2 (ALPN 'h2' was not selected); check the endpoint")
            self._transport.abort()
            return
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_RECEIVE_WINDOW)
        self._flush()
        self._heard_at = self._loop.time()
        self._watcher = self._loop.call_later(self._ping_interval_s, self._watch)

    def data_received(self, data: bytes) -> None:
        """Hand the answers in `data` to those who wait for them."""
        if self._transport is None or self._transport.is_closing():
            return  # nobody waits any more
        self._heard_at = self._loop.time()
        try:
            for piece in self._splitter.feed(data):
                if isinstance(piece, GoAway):
                    self._went_away(piece)
                    continue
                for event in self._h2.receive_data(piece):
                    handler = self._handlers.get(type(event))
                    if handler is not None:
                        handler(event)
        except (ProtocolError, HPACKError, ValueError) as error:
            self.draining = True
            self._flush()
            self.abort(f"the server broke the HTTP/2 protocol ({type(error).__name__}: {error})")
            return
        self._flush_soon()
        self._on_capacity()
        self._close_if_drained()

    def pause_writing(self) -> None:
        """The transport's buffer is full: start nothing new."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._paused = False
        self._replies = 0
        self._send_blocked()
        self._flush_soon()
        self._on_capacity()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give every open call its end."""
        self.closed = True
        if self._watcher is not None:
            self._watcher.cancel()
        why = f"{self._why} ({type(exc).__name__}: {exc})" if exc else self._why
        self._fail_ready(why)
        calls, self.calls, self._blocked = self.calls, {}, {}
        for call in calls.values():
            if call.left:
                call.end(UnknownOutcomeError(f"The request left, then {why}."))
            else:
                reason = f"Before the whole request had left, {why}."
                call.end(NotSentError(reason, cause=NotSentCause.CONNECTION_LOST))
        self._on_closed(self)

    # what the server says

    def _progress_received(self, event: InformationalResponseReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            call.begun = True

    def _headers_received(self, event: ResponseReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is None:
            return
        call.begun = True
        headers = []
        for name, value in event.headers or ():
            if name == b":status":
                call.status = int(value) if len(value) == 3 and value.isdigit() else 0  # noqa: PLR2004  RFC 9110, 15
            else:
                headers.append((name, value))
        call.response = tuple(headers)

    def _data_received(self, event: DataReceived) -> None:
        length = event.flow_controlled_length
        self._received += length
        if self._received >= _FLUSH_RECEIVED:
            self._h2.increment_flow_control_window(self._received)
            self._received = 0
        call = self.calls.get(event.stream_id)
        if call is None:
            return
        call.begun = True
        if event.data:
            call.chunks.append(event.data)
        call.size += length
        if call.size > LARGEST_RESPONSE_BYTES:
            self.abandon(call)
            call.end(UnknownOutcomeError(f"The answer is longer than {LARGEST_RESPONSE_BYTES} bytes."))
            return
        call.unacknowledged += length
        if call.unacknowledged >= _ACKNOWLEDGE_STREAM and event.stream_ended is None:
            with contextlib.suppress(ProtocolError):  # the stream ended in the same read
                self._h2.increment_flow_control_window(call.unacknowledged, event.stream_id)
            call.unacknowledged = 0

    def _stream_ended(self, event: StreamEnded) -> None:
        call = self.calls.pop(event.stream_id, None)
        if call is None:
            return
        if self._blocked.pop(event.stream_id, None):  # answered before it had the whole request
            self._reset(event.stream_id)
        if call.status not in _STATUSES:
            call.end(UnknownOutcomeError("The answer has no status that HTTP knows."))
            return
        self.answered = True
        chunks = call.chunks
        call.end(Response(call.status, call.response, chunks[0] if len(chunks) == 1 else b"".join(chunks), self.serial))

    def _stream_reset(self, event: StreamReset) -> None:
        call = self.calls.pop(event.stream_id, None)
        if call is None:
            return
        self._blocked.pop(event.stream_id, None)
        code = event.error_code
        name = error_name(int(code or 0))
        if code == ErrorCodes.REFUSED_STREAM and not call.begun:
            reason = "The server refused the stream (REFUSED_STREAM)."
            call.end(NotSentError(reason, cause=NotSentCause.REFUSED_STREAM))
        else:
            call.end(UnknownOutcomeError(f"The server reset the stream ({name})."))

    def _settings_changed(self, _event: RemoteSettingsChanged) -> None:
        self._limit = min(self._h2.remote_settings.max_concurrent_streams, _STREAMS_AT_MOST)
        if not self.ready.done():
            self.ready.set_result(None)
        self._send_blocked()  # the initial window may have grown

    def _window_updated(self, _event: WindowUpdated) -> None:
        if self._blocked:
            self._send_blocked()

    def _went_away(self, goaway: GoAway) -> None:
        """Split what is in flight: above the last stream nothing was processed, the rest is still awaited.

        A stream whose answer had begun was processed, whatever the frame says.
        """
        if goaway.fault:
            raise ProtocolError(goaway.fault)
        self.draining = True
        notice = goaway.notice
        self._why = f"the server closed the connection ({notice})"
        self._fail_ready(self._why)
        for stream_id in [s for s in self.calls if s > goaway.last_stream_id]:
            self._blocked.pop(stream_id, None)
            call = self.calls.pop(stream_id)
            if call.begun:
                call.end(
                    UnknownOutcomeError(f"The server closed the connection in the middle of its answer ({notice}).")
                )
                continue
            reason = f"The server closed the connection before it looked at the request ({notice})."
            call.end(NotSentError(reason, cause=NotSentCause.GOAWAY))

    # sending

    def _send_blocked(self) -> None:
        for call in list(self._blocked.values()):
            if self._paused:
                return
            try:
                self._send_body(call)
            except ProtocolError:  # the stream ended in the same read, and its event is still to come
                self._blocked.pop(call.stream_id, None)
            if self._h2.outbound_flow_control_window <= 0:
                return

    def _send_body(self, call: Call) -> None:
        """Send as much of the body as both windows and the frame size let."""
        while True:
            rest = len(call.body) - call.sent
            room = min(self._h2.local_flow_control_window(call.stream_id), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._blocked[call.stream_id] = call
                return
            piece = call.body[call.sent : call.sent + room] if call.sent or room < rest else call.body
            self._h2.send_data(call.stream_id, piece, end_stream=room >= rest)
            call.sent += len(piece)
            if room >= rest:
                self._blocked.pop(call.stream_id, None)
                return

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or self._transport.is_closing():
            return
        data = self._h2.data_to_send()
        if data:
            self._transport.write(data)
            if self._paused:
                self._replies += len(data)
                if self._replies > _REPLIES_AT_MOST:
                    self.abort("the server wants answers to its PINGs or SETTINGS and does not read them")

    # the end

    def _watch(self) -> None:
        """Ping after a silence, and give the connection up when nothing at all follows."""
        if self._transport is None or self._transport.is_closing():
            return
        now = self._loop.time()
        if self._heard_at <= self._pinged_at:
            left_s = self._pinged_at + self._ping_timeout_s - now
            if left_s <= 0:
                self.abort(f"the server did not answer a PING within {self._ping_timeout_s:g} s")
                return
            next_s = min(left_s, self._ping_interval_s)
        elif now - self._heard_at >= self._ping_interval_s:
            self._h2.ping(self.serial.to_bytes(8, "big"))
            self._flush()
            self._pinged_at = now
            next_s = min(self._ping_timeout_s, self._ping_interval_s)
        else:
            next_s = self._heard_at + self._ping_interval_s - now
        self._watcher = self._loop.call_later(next_s, self._watch)

    def _fail_ready(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
            self.ready.exception()  # nobody may be waiting: that is no error of ours

    def _close_if_drained(self) -> None:
        if self.draining and not self.calls and self._transport is not None and not self._transport.is_closing():
            self._h2.close_connection()
            self._flush()
            self._transport.close()
