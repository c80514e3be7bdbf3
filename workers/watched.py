"""An adapter as a run sees it whose requests are timed, or traced: now and then, or each of them.

A push costs a worker 40 µs, so what is done for each of them has to be next to nothing: the time of one request in so
many is taken, and a span is made only where the message is traced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from messaging.outcome import Outcome
from messaging.tracing import Span
from workers.providers.base import Adapter, Outgoing, Recipient, StartingAdapter

ONE_IN = 64
"""Requests that are timed, after the first of a run."""

Note = Callable[[float], None]
"""Called with the seconds a request took."""


def watch(adapter: Adapter, note: Note, span: Span | None = None) -> Adapter:
    """`adapter`, with `note` told how long requests take; each is a span below `span`, where there is one."""
    if isinstance(adapter, StartingAdapter):
        return _WatchedStarting(adapter, note, span)
    return _Watched(adapter, note, span)


class _Watched:
    def __init__(self, adapter: Adapter, note: Note, span: Span | None) -> None:
        self._adapter = adapter
        self._send = adapter.send
        self._note = note
        self._span = span
        self._left = 0
        """Requests until the next that is timed."""

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """See `Adapter.send`."""
        if self._span is not None:
            return await self._send_traced(prepared, recipients, self._span)
        if self._left:
            self._left -= 1
            return await self._send(prepared, recipients)
        self._left = ONE_IN - 1
        began_s = time.perf_counter()
        outcomes = await self._send(prepared, recipients)
        self._note(time.perf_counter() - began_s)
        return outcomes

    async def _send_traced(self, prepared: object, recipients: Sequence[Recipient], span: Span) -> Sequence[Outcome]:
        began_s = time.perf_counter()
        request = span.request(recipients=len(recipients))
        try:
            outcomes = await self._send(prepared, recipients)
        except BaseException as error:
            request.end(type(error).__name__)
            raise
        request.end(*(outcome.action for outcome in outcomes))
        self._note(time.perf_counter() - began_s)
        return outcomes

    def prepare(self, outgoing: Outgoing) -> object:
        """See `Adapter.prepare`."""
        return self._adapter.prepare(outgoing)

    async def check(self) -> Outcome:
        """See `Adapter.check`."""
        return await self._adapter.check()

    async def aclose(self) -> None:
        """See `Adapter.aclose`."""
        await self._adapter.aclose()


class _WatchedStarting(_Watched):
    def __init__(self, adapter: Adapter, note: Note, span: Span | None) -> None:
        super().__init__(adapter, note, span)
        if not isinstance(adapter, StartingAdapter):
            raise TypeError(f"{type(adapter).__name__} has no `start`")
        self._start = adapter.start

    def start(self, prepared: object, recipient: Recipient, done: Callable[[Outcome], None]) -> None:
        """See `StartingAdapter.start`."""
        if self._left:
            self._left -= 1
            self._start(prepared, recipient, done)
            return
        if self._span is None:  # else each is timed
            self._left = ONE_IN - 1
        began_s = time.perf_counter()
        request = None if self._span is None else self._span.request(recipients=1)

        def noted(outcome: Outcome) -> None:
            self._note(time.perf_counter() - began_s)
            if request is not None:
                request.end(outcome.action)
            done(outcome)

        self._start(prepared, recipient, noted)
