"""One HTTP/2 connection as an asyncio protocol: streams, windows, pings and the end of it.

Requests of one turn of the event loop leave in one write. The limit on concurrent streams is read
from the server's settings whenever a stream is about to open and never inside the reader, so a
server that lowers it in mid-flight (APNs does) only makes later requests wait.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RemoteSettingsChanged
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError

from workers.providers.http2_answer import NotSentCause, NotSentError, UnknownOutcomeError
from workers.providers.http2_call import Call
from workers.providers.http2_frames import Frame, FrameReader, Kind
from workers.providers.http2_goaway import GoAway, parse
from workers.providers.http2_headers import HeaderDecoder, HeaderEncoder
from workers.providers.http2_streams import RECEIVE_WINDOW, BrokenRuleError, Streams

if TYPE_CHECKING:
    from collections.abc import Callable

_STREAMS_AT_MOST = 1000  # where the server names no limit
_INITIAL_WINDOW = 65_535
_REPLIES_AT_MOST = 1 << 20
"""Bytes of answers to PINGs and SETTINGS that wait for a server which does not read them."""

_serial = itertools.count(1)


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
        self.draining = False
        self.closed = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._on_capacity = on_capacity
        self._on_closed = on_closed
        self._limit = 0
        self._paused = False
        self._replies = 0
        self._flushing = False
        self._heard_at = self._loop.time()
        self._pinged_at = 0.0
        self._watcher: asyncio.TimerHandle | None = None
        self._why = "the connection was lost"
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._reader = FrameReader()
        encoder, decoder = HeaderEncoder(), HeaderDecoder()
        decoder.max_header_list_size = H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE
        self._streams = Streams(self.serial, encoder, decoder, self._out.append)
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_HEADER_LIST_SIZE: H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self._h2.encoder = encoder  # its table has the size the server's settings say
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            Kind.DATA: self._streams.data_received,
            Kind.HEADERS: self._streams.headers_received,
            Kind.RST_STREAM: self._streams.reset_received,
            Kind.WINDOW_UPDATE: self._window_received,
            Kind.CONTINUATION: self._streams.continuation_received,
            Kind.GOAWAY: self._goaway_received,
        }

    # what the client asks

    @property
    def calls(self) -> dict[int, Call]:
        """What is in flight, by stream."""
        return self._streams.calls

    @property
    def answered(self) -> bool:
        """Whether it brought any answer."""
        return self._streams.answered

    @property
    def free_streams(self) -> int:
        """How many requests may start now."""
        if self.draining or self.closed or self._paused or self._streams.window <= 0:
            return 0
        return max(0, self._limit - len(self._streams.calls))

    def start(self, call: Call) -> None:
        """Open a stream for `call`; only while `free_streams` is positive."""
        self._streams.start(call)
        if self._streams.is_used_up:
            self.drain()
        if not self._flushing:
            self._flush_soon()

    def abandon(self, call: Call) -> None:
        """Reset the stream of a call nobody waits for any more."""
        if self._streams.abandon(call) and not self.closed:
            self._flush_soon()
            # Not at once: requests that time out in the same turn must not take each other's place and leave.
            self._loop.call_soon(self._on_capacity)
            self._close_if_drained()

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
        self._h2.increment_flow_control_window(RECEIVE_WINDOW - _INITIAL_WINDOW)
        self._take_from_h2()
        self._flush()
        self._heard_at = self._loop.time()
        self._watcher = self._loop.call_later(self._ping_interval_s, self._watch)

    def data_received(self, data: bytes) -> None:
        """Hand the answers in `data` to those who wait for them."""
        if self._transport is None or self._transport.is_closing():
            return  # nobody waits any more
        self._heard_at = self._loop.time()
        handlers, expect = self._handlers, self._streams.expect
        try:
            for frame in self._reader.feed(data):
                kind, flags, stream_id, payload = frame
                expect(kind)
                handler = handlers.get(kind)
                if handler is None:
                    self._connection_frame_received(frame)
                else:
                    handler(flags, stream_id, payload)
        except (ProtocolError, HPACKError, ValueError) as error:
            self._leave(error)
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
        self._streams.send_blocked(self._is_paused)
        self._flush_soon()
        self._on_capacity()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give every open call its end."""
        self.closed = True
        if self._watcher is not None:
            self._watcher.cancel()
        why = f"{self._why} ({type(exc).__name__}: {exc})" if exc else self._why
        self._fail_ready(why)
        for call in self._streams.forsake_all():
            if call.left:
                call.end(UnknownOutcomeError(f"The request left, then {why}."))
            else:
                reason = f"Before the whole request had left, {why}."
                call.end(NotSentError(reason, cause=NotSentCause.CONNECTION_LOST))
        self._on_closed(self)

    # what the server says

    def _connection_frame_received(self, frame: Frame) -> None:
        """Settings, pings and what is none of ours: h2's."""
        for event in self._h2.receive_data(frame.whole()):
            if isinstance(event, RemoteSettingsChanged):
                self._settings_changed(event)
        self._take_from_h2()

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        settings = self._h2.remote_settings
        self._limit = min(settings.max_concurrent_streams, _STREAMS_AT_MOST)
        self._streams.largest_frame_bytes = settings.max_frame_size
        if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
            self._streams.start_with_window(settings.initial_window_size)
        if not self.ready.done():
            self.ready.set_result(None)
        self._streams.send_blocked(self._is_paused)  # the initial window may have grown

    def _window_received(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._streams.window_received(flags, stream_id, payload)
        self._streams.send_blocked(self._is_paused)

    def _goaway_received(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._went_away(parse(payload, stream_id))

    def _went_away(self, goaway: GoAway) -> None:
        """Split what is in flight: above the last stream nothing was processed, the rest is still awaited.

        A stream whose answer had begun was processed, whatever the frame says.
        """
        if goaway.fault:
            raise BrokenRuleError(goaway.fault)
        self.draining = True
        notice = goaway.notice
        self._why = f"the server closed the connection ({notice})"
        self._fail_ready(self._why)
        for call in self._streams.forsake(above=goaway.last_stream_id):
            if call.begun:
                call.end(
                    UnknownOutcomeError(f"The server closed the connection in the middle of its answer ({notice}).")
                )
                continue
            reason = f"The server closed the connection before it looked at the request ({notice})."
            call.end(NotSentError(reason, cause=NotSentCause.GOAWAY))

    def _leave(self, error: ProtocolError | HPACKError | ValueError) -> None:
        """The server broke the protocol: tell it how (h2 does where it found out), and go."""
        self.draining = True
        code = error.code if isinstance(error, BrokenRuleError) else None
        code = ErrorCodes.COMPRESSION_ERROR if isinstance(error, HPACKError) else code
        if code is not None:
            self._h2.close_connection(code)
        self._take_from_h2()
        self._flush()
        self.abort(f"the server broke the HTTP/2 protocol ({type(error).__name__}: {error})")

    # sending

    def _is_paused(self) -> bool:
        return self._paused

    def _take_from_h2(self) -> None:
        """Put what h2 has to say in its place between the frames of streams."""
        data = self._h2.data_to_send()
        if data:
            self._out.append(data)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or self._transport.is_closing():
            return
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
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
            self._take_from_h2()
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
        if (
            self.draining
            and not self._streams.calls
            and self._transport is not None
            and not self._transport.is_closing()
        ):
            self._h2.close_connection()
            self._take_from_h2()
            self._flush()
            self._transport.close()
