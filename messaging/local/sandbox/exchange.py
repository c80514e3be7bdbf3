"""What passes between a protocol front end (HTTP/2, HTTP/1.1) and a provider: one request, one reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Protocol


@unique
class Behaviour(StrEnum):
    """What the server does with a reply, apart from sending it."""

    ANSWER = "answer"
    NEVER_ANSWER = "never_answer"
    RESET_STREAM = "reset_stream"
    """RST_STREAM INTERNAL_ERROR: the caller can't know whether the request was processed."""
    REFUSE_STREAM = "refuse_stream"
    """RST_STREAM REFUSED_STREAM: certainly not processed (RFC 9113 §8.7)."""
    DROP_CONNECTION = "drop_connection"
    """The connection is aborted, and with it every other exchange on it."""


@dataclass(slots=True)
class ConnectionState:
    """What a provider may remember of one connection."""

    key_id: str | None = None
    """The APNs key of the first push: another one is answered UnrelatedKeyIdInToken."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, names of headers in lower case, the path with its query."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    connection: ConnectionState = field(default_factory=ConnectionState)
    repeated_header: bool = False
    """Some header came more than once; `headers` has its last value."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer and how it is given."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    behaviour: Behaviour = Behaviour.ANSWER
    delay_s: float = 0.0


Handler = Callable[[Request], Reply]
"""A provider: it decides at once, what it takes is on the record when it returns."""


class Flushes(Protocol):
    """The record, as a front end sees it: everything accepted is written before it is answered."""

    def flush(self) -> None:
        """Return when every line appended so far has reached the file."""
