"""What a request over HTTP/2 comes to: a response, or one of two errors that never blur."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Lower-case names, without pseudo-headers, in the order received."""
    body: bytes
    connection: int
    """Serial number of the connection it came over, for `Http2Client.retire`."""

    def header(self, name: bytes) -> str | None:
        """The first value under `name` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


class NotSentCause(StrEnum):
    """Why a request was certainly not processed."""

    CONNECT = "connect"
    """No connection could be opened."""
    GOAWAY = "goaway"
    """The server closed the connection before it looked at the stream (RFC 9113 section 6.8)."""
    REFUSED_STREAM = "refused_stream"
    """The server refused the stream before any processing (RFC 9113 section 8.7)."""
    TIMEOUT = "timeout"
    """The time ran out before the whole request had left."""
    CONNECTION_LOST = "connection_lost"
    """The connection broke before the whole request had left."""
    CLOSED = "closed"
    """The client is being closed."""


class NotSentError(Exception):
    """The request was certainly not processed: it is safe to send it again."""

    def __init__(self, reason: str, *, cause: NotSentCause) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cause = cause


class UnknownOutcomeError(Exception):
    """The request left and no readable answer came: it may or may not have been processed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
