"""One request on its way through the HTTP/2 client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.providers.http2_answer import NotSentError, Response, UnknownOutcomeError
from workers.providers.http2_headers import Fields

Answer = Response | NotSentError | UnknownOutcomeError


@dataclass(slots=True, eq=False)
class Call:
    """A request and what has come back so far; `done` is called once, with the answer or why there is none."""

    done: Callable[[Answer], None]
    pseudo: Fields
    path: str
    headers: Sequence[tuple[str, str]]
    shared: Fields
    body: bytes
    under_way: set[Call]
    """Where it is listed until it ends."""
    deadline_s: float
    """By the clock of the event loop."""
    timeout_s: float
    stream_id: int = 0
    sent: int = 0
    """Bytes of the body handed to the transport."""
    begun: bool = False
    """Whether anything of an answer came: then the server has looked at it."""
    status: int = 0
    response: tuple[tuple[bytes, bytes], ...] = ()
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    unacknowledged: int = 0
    window: int = 0
    """Bytes of the body that may be sent on its stream."""
    has_head: bool = False
    length: int | None = None
    """Of the answer's body, as its head says."""
    ended: bool = False
    """Whether `done` was called, or nobody waits any more."""

    @property
    def left(self) -> bool:
        """Whether the whole request was handed to the transport."""
        return self.stream_id != 0 and self.sent >= len(self.body)

    def end(self, answer: Answer) -> None:
        """End with `answer`, unless it has ended."""
        if not self.ended:
            self.drop()
            self.done(answer)

    def drop(self) -> None:
        """Nobody waits any more."""
        self.ended = True
        self.under_way.discard(self)
