"""One connection that speaks HTTP/1.1, one request at a time: what an `Http1Transport` is made of.

httpx's own transport opens connections through httpcore and anyio, which take three quarters of the processor time of
a small request (`benchmarks/providers.py`). This is the same over an asyncio protocol, parsed by httptools (llhttp).
Failures are httpx's exceptions, so that nobody above can tell the difference.

Source: https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
import select
from typing import cast

import httptools
import httpx

MOST_HEAD_BYTES = 100_000
"""Of an answer's status line and headers, informational answers included, before they end; as httpcore has it."""

_SWITCHING = 101
_BLOCK_BYTES = 256 * 1024
_INFORMATIONAL = 200
"""Below it another answer follows."""
_BODILESS = frozenset({204, 304})
_HOP = frozenset({b"transfer-encoding", b"content-length"})


class Connection(asyncio.Protocol):
    """Sends one request and returns its answer; then, if `usable`, the next."""

    def __init__(self, *, most_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._most_bytes = most_bytes
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._timeout_s = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self._arrivals = select.poll()
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0
        self._until_close = self._complete = self._in_head = False
        self.usable = False
        """Whether the other side keeps it open for another request, as far as this side knows."""
        self.idle_since = 0.0
        """By the loop's clock."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The whole answer; raises `httpx.TransportError`. A cancelled call leaves the connection to be aborted."""
        transport, timeouts = self._transport, request.extensions.get("timeout", {})
        if transport is None or not self.usable:
            raise httpx.ConnectError("the connection was closed before the request")
        data = encoded(request, await _content(request))
        self._status, self._headers, self._body = 0, [], []
        self._head_bytes = self._body_bytes = 0
        self._until_close = self._complete = self.usable = False
        self._in_head = True
        self._parser = httptools.HttpResponseParser(self)
        self._waiter = self._loop.create_future()
        self._watch(timeouts.get("read"))
        try:
            await self._write(transport, data)
            await self._waiter
        except httpx.TransportError as error:
            error.request = request
            raise
        finally:
            self._parser = self._waiter = None
        return httpx.Response(
            self._status,
            headers=self._headers,
            stream=httpx.ByteStream(b"".join(self._body)),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer: bytes nobody asked for, or the other side's end.

        Asks the system, for the loop may not have heard of it yet: what is sent into a closed connection is unknown.
        """
        return self._transport is not None and not self._arrivals.poll(0)

    def abort(self) -> None:
        """Close at once."""
        self.usable = False
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    async def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        """All of it; a long body in parts, so that the loop serves others, until an answer makes the rest pointless."""
        if len(data) <= _BLOCK_BYTES:
            transport.write(data)
            return
        waiter = self._waiter
        for start in range(0, len(data), _BLOCK_BYTES):
            if waiter is None or waiter.done():
                self.usable = False  # the other side has half of this request, and would wait for the rest
                return
            transport.write(data[start : start + _BLOCK_BYTES])
            await self._room.wait()
            self._heard()
            await asyncio.sleep(0)
        if waiter is not None and waiter.done() and transport.get_write_buffer_size():
            self.usable = False  # the same, with the end of it still here

    # ------------------------------------------------------------------ time

    def _heard(self) -> None:
        if self._deadline != float("inf"):
            self._deadline = self._loop.time() + self._timeout_s

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, timeout_s: float | None) -> None:
        """Give up after so long without progress. One timer serves request after request, for making one costs."""
        if timeout_s is None:
            self._deadline = float("inf")
            return
        self._timeout_s, self._deadline = timeout_s, self._loop.time() + timeout_s
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None or self._transport is None or self._deadline == float("inf"):
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            unwritten = self._transport.get_write_buffer_size()
            self._fail(httpx.WriteTimeout("not taken in time") if unwritten else httpx.ReadTimeout("no answer in time"))

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._arrivals.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what is not answered by now never will be."""
        self.usable = False
        self._transport = None
        self._room.set()
        self._stop_timer()
        if self._until_close and exc is None:
            self._finish()
        elif exc is None:
            self._fail(httpx.RemoteProtocolError("the server closed the connection without a whole answer"))
        else:
            self._fail(httpx.ReadError(f"the connection broke: {type(exc).__name__}"))

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        if self._parser is None or self._complete:  # nobody asked: whose answer would it be?
            self.abort()
            return
        self._heard()
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(httpx.RemoteProtocolError("the server wants to speak another protocol"))
        except httptools.HttpParserError as error:
            ours = error.__context__  # raised by a method below
            unreadable = httpx.RemoteProtocolError(f"no HTTP answer: {type(error).__name__}")
            self._fail(ours if isinstance(ours, httpx.TransportError) else unreadable)
        else:
            if self._in_head and self._head_bytes > MOST_HEAD_BYTES:
                self._fail(httpx.RemoteProtocolError("the answer's head is too long"))

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._room.clear()

    def resume_writing(self) -> None:
        """And goes on."""
        self._room.set()

    # ------------------------------------------------------------------ httptools

    # What follows a whole answer in the same bytes is nobody's, and no part of that answer.

    def on_message_begin(self) -> None:
        """An answer begins; a second one that nobody asked for ends the connection."""
        if self._complete:
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of the answer's headers."""
        if not self._complete:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._complete:
            return
        self._status = 0 if self._parser is None else self._parser.get_status_code()
        self._in_head = self._status < _INFORMATIONAL
        names = {name.lower() for name, _ in self._headers}
        self._until_close = self._status >= _INFORMATIONAL and self._status not in _BODILESS and names.isdisjoint(_HOP)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._complete:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._most_bytes:
            raise httpx.ReadError("the answer is too long")
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it only announces another."""
        if self._complete:
            return
        if self._status == _SWITCHING:
            raise httpx.RemoteProtocolError("the server wants to speak another protocol")
        if self._status < _INFORMATIONAL:
            self._headers = []
            return
        self._finish()

    def _finish(self) -> None:
        self._complete = True
        parser, waiter = self._parser, self._waiter
        if parser is not None and self._transport is not None and not self._until_close:
            self.usable = parser.should_keep_alive() and not self._transport.is_closing()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        self._room.set()  # who waits to send the rest need not

    def _fail(self, error: httpx.TransportError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()


def encoded(request: httpx.Request, content: bytes) -> bytes:
    """The request as bytes; raises `httpx.LocalProtocolError` for what would be read as another request."""
    headers = request.headers.raw
    lines = [b"%b: %b\r\n" % header for header in headers if header[0].lower() not in _HOP]
    lines.append(b"content-length: %d\r\n" % len(content))
    target = request.url.raw_path
    head = b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode("ascii"), target, b"".join(lines))
    if head.count(b"\n") != len(lines) + 2 or head.count(b"\r") != len(lines) + 2 or b"\0" in head or b" " in target:
        raise httpx.LocalProtocolError("a header or the address holds a line end or blank", request=request)
    return head + content


async def _content(request: httpx.Request) -> bytes:
    try:
        return request.content
    except httpx.RequestNotRead:
        return await request.aread()
