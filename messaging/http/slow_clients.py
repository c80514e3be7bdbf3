"""A connection that is served or closed: what a client may take in time and in memory before it is heard.

uvicorn 0.54 waits for ever for a request that never ends, for a reader that never reads, and keeps a head of any length
(`protocols/http/httptools_impl.py`): a few hundred sockets of one stranger would be all the connections there are.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = "The head of the request is too large."


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long we wait for a client."""

    head_s: float = 15.0
    """From the connection, or the first byte of a further request, to the end of its head."""
    head_bytes: int = 64 * 1024
    """Of all header lines of a request, and of its address; both are held in memory."""
    body_s: float = 30.0
    """For a body to come, once somebody waits for it, and as much again for each `body_bytes` that came."""
    body_bytes: int = 64 * 1024
    """About two kilobytes a second, which the worst of telephones does."""
    reader_s: float = 60.0
    """For a reader that has stopped reading its answer to go on."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with an end to its patience."""

    patience = Patience()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's arguments
        super().__init__(*args, **kwargs)
        self._waiting: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for a request; where far too many wait, let this one go unheard."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > 2 * self.limit_concurrency:
            self._give_up()
        self._wait(self.patience.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait(None)
        self._stop_stalling()
        super().connection_lost(exc)

    # -- the head ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what came, unless a head has grown too long: then say so, once, and close."""
        if self._in_head:
            self._head_bytes += len(data)
            # what comes in one piece with the end of a head counts once, when the next piece shows that it goes on
            if self._head_bytes - len(data) > self.patience.head_bytes:
                self.send_400_response(_TOO_LARGE)
                return
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's annotation says
        if self._waiting is None and (cycle is None or cycle.response_complete):
            self._wait(self.patience.head_s)  # empty lines begin no request, and end the wait for one
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins: its head must end in time."""
        super().on_message_begin()
        self._in_head = True
        if self._waiting is None:
            self._wait(self.patience.head_s)

    def on_headers_complete(self) -> None:
        """Its head has ended; a body may come."""
        self._in_head = False
        self._head_bytes = self._body_bytes = 0
        self._wait(self.patience.body_s)
        super().on_headers_complete()

    # -- the body ----------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        """A piece of it came; every so many bytes earn some more time."""
        self._body_bytes += len(body)
        if self._body_bytes >= self.patience.body_bytes:
            self._body_bytes = 0
            self._wait(self.patience.body_s)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; it is our turn."""
        self._wait(None)
        super().on_message_complete()

    # -- the answer --------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The reader does not keep up."""
        super().pause_writing()
        self._stop_stalling()
        self._stalled = self.loop.call_later(self.patience.reader_s, self._give_up)

    def resume_writing(self) -> None:
        """It has read on."""
        self._stop_stalling()
        super().resume_writing()

    # ----------------------------------------------------------------------------------------------

    def _wait(self, seconds: float | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = None if seconds is None else self.loop.call_later(seconds, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        self._waiting = None
        if self.flow.read_paused:  # it is us who do not read on
            self._wait(self.patience.body_s)
        else:
            self._give_up()

    def _stop_stalling(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _give_up(self) -> None:
        """Close without a word: the other side does not listen, and half an answer would mislead it."""
        self.transport.abort()
