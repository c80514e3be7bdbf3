"""Commands and replies of an SMTP connection that is open: many commands in one write, their replies in order.

aiosmtplib opens the connection (greeting, EHLO, STARTTLS, AUTH); it takes one command at a time and drops what it did
not wait for, so what follows is spoken here. Every failure is an `OSError`.

Sources: RFC 5321 §4.2 (replies), RFC 2920 (PIPELINING)
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, cast

LONGEST_REPLY = 64 * 1024
"""Bytes of one reply, all its lines together, and of what waits to be read."""

_BLOCK_BYTES = 256 * 1024


class DisconnectedError(ConnectionError):
    """The server closed the connection, or the network did."""


class NoReplyError(TimeoutError):
    """The server did not reply in time."""


class UnreadableReplyError(ConnectionError):
    """What came is no SMTP reply, or has no end: is it a mail server?"""


class Reply(NamedTuple):
    """One reply, its lines joined."""

    code: int
    message: str


class Wire(asyncio.Protocol):
    """Takes over a transport; commands are written, replies read in the order of the commands."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._replies: deque[Reply] = deque()
        self._expected = 0
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    def over(cls, transport: asyncio.BaseTransport) -> Wire:
        """One on a transport that somebody else has opened, and whose next reply nobody waits for."""
        wire = cls()
        taken = cast("asyncio.Transport", transport)
        taken.set_protocol(wire)
        wire.connection_made(taken)
        return wire

    @property
    def is_open(self) -> bool:
        """Whether it is, as far as this side knows."""
        return self._failure is None and self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes, *, replies: int) -> None:
        """Write, expecting so many replies; raises `DisconnectedError` when it is closed."""
        transport = self._transport
        if transport is None or not self.is_open:
            raise DisconnectedError("the connection is closed")
        self._expected += replies
        transport.write(data)

    async def send_long(self, data: bytes, *, block_s: float) -> None:
        """Write in parts, each within `block_s`; returns when all but the last was handed over, or raises."""
        for start in range(0, len(data), _BLOCK_BYTES):
            self.send(data[start : start + _BLOCK_BYTES], replies=0)
            async with asyncio.timeout(block_s):
                await self._room.wait()
        if not self.is_open:
            raise DisconnectedError("the connection is closed")

    async def reply(self, *, within_s: float) -> Reply:
        """The reply to the next command.

        Raises `DisconnectedError`, `NoReplyError` and, for what is no reply,
        `UnreadableReplyError`.
        """
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(within_s):
                    await self._waiter
            except TimeoutError:
                raise NoReplyError("no reply in time") from None
            finally:
                self._waiter = None
        return self._replies.popleft()

    def abort(self) -> None:
        """Close at once: a polite end of TLS waits half a minute for a server that says nothing."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = None
        self._room.set()
        failure = DisconnectedError("the connection was lost")
        failure.__cause__ = exc
        self._fail(failure)

    def data_received(self, data: bytes) -> None:
        """Replies, or a part of one."""
        if self._failure is not None:
            return
        self._buffer += data
        if len(self._buffer) > LONGEST_REPLY:
            self._fail(UnreadableReplyError("the reply is too long"))
            return
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        for line in lines:
            self._read_line(bytes(line))
        if rest and not self._expected:
            self._fail(_unasked())

    def pause_writing(self) -> None:
        """The server reads slowly."""
        self._room.clear()

    def resume_writing(self) -> None:
        """And goes on."""
        self._room.set()

    def _read_line(self, line: bytes) -> None:
        if self._failure is not None:
            return
        if not self._expected:
            self._fail(_unasked())
            return
        code = line[:3]
        if len(code) != 3 or not code.isdigit():  # noqa: PLR2004  (RFC 5321 §4.2)
            self._fail(UnreadableReplyError("no SMTP reply"))
            return
        self._lines.append(line[4:].strip())
        if line[3:4] == b"-":
            if sum(map(len, self._lines)) > LONGEST_REPLY:
                self._fail(UnreadableReplyError("the reply is too long"))
            return
        message = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
        self._lines.clear()
        self._expected -= 1
        self._replies.append(Reply(int(code), message))
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _unasked() -> UnreadableReplyError:
    """No further command may go to that server: each would be given the reply to the one before it."""
    return UnreadableReplyError("a reply that nobody asked for")
