"""An HTTP/2 client for push providers: many small POSTs at once over a few long-lived connections.

Built on `h2`, but for the streams (`http2_streams.py`). In its favour over a general client: it says for
each failure whether the request was certainly not processed or whether that is unknown, follows a changing
MAX_CONCURRENT_STREAMS and both flow-control windows, keeps the answers that come after a GOAWAY, pings, and
costs a thirtieth of the processor time (`python -m benchmarks.peers`).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workers.providers.http2_answer import NotSentCause, NotSentError, Response, UnknownOutcomeError
from workers.providers.http2_call import Answer, Call
from workers.providers.http2_connection import Connection
from workers.providers.http2_deadlines import Deadlines
from workers.providers.http2_headers import NO_FIELDS, Fields, check_field

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

__all__ = ["Fields", "Http2Client", "NotSentCause", "NotSentError", "Response", "UnknownOutcomeError"]

_BACKOFF_FIRST_S = 0.1
_BACKOFF_MOST_S = 10.0


class Http2Client:
    """Connections to one origin, opened when first needed and again after they are lost.

    Lives on the event loop that makes the first request. Concurrent requests share the connections;
    what finds no free stream waits its turn.
    """

    def __init__(
        self,
        origin: str,
        *,
        ssl_context: ssl.SSLContext | None,
        connections: int = 1,
        connect_timeout_s: float = 10.0,
        request_timeout_s: float = 30.0,
        ping_interval_s: float = 30.0,
        ping_timeout_s: float = 10.0,
    ) -> None:
        """Connect to `origin` (``https://host[:port]``) when needed.

        `request_timeout_s` covers a request from the call to its answer, waiting included.
        After `ping_interval_s` of silence a PING is sent; a connection that stays silent for
        `ping_timeout_s` more is given up. Raises `ValueError` for an origin that is not one.
        """
        parts = urlsplit(origin)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.path.strip("/"):
            msg = f"'{origin}' is not an origin; give https://host[:port] without a path"
            raise ValueError(msg)
        if parts.scheme == "https" and ssl_context is None:
            msg = f"'{origin}' needs an ssl_context"
            raise ValueError(msg)
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = ssl_context if parts.scheme == "https" else None
        if self._ssl is not None:
            self._ssl.set_alpn_protocols(["h2"])
        self._pseudo = {"POST": Fields((":method", "POST"), (":scheme", parts.scheme), (":authority", parts.netloc))}
        self._wanted = connections
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._open: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[Call] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._next_attempt_at = 0.0
        self._closing = False
        self._deadlines = Deadlines(self._expire)
        self._idle: asyncio.Event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def free_streams(self) -> int:
        """Requests that could start now; a connection not yet open counts as one stream."""
        missing = max(0, self._wanted - sum(not (c.draining or c.closed) for c in self._open))
        return max(0, sum(c.free_streams for c in self._open) + missing - len(self._waiting))

    async def request(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        shared: Fields = NO_FIELDS,
        timeout_s: float | None = None,
    ) -> Response:
        """The server's answer, whatever its status.

        `shared` go before `headers`; these have lower-case names, no pseudo-headers and no CR or LF.
        Raises `NotSentError` when the request was certainly not processed and `UnknownOutcomeError`
        when it may have been, and `ValueError` for a path that is not printable ASCII or a header no
        peer would take.
        A cancelled call resets its stream.
        """
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def done(answer: Answer) -> None:
            if future.done():
                return
            if isinstance(answer, Response):
                future.set_result(answer)
            else:
                future.set_exception(answer)

        call = self.submit(path, headers, body, done, shared=shared, method=method, timeout_s=timeout_s)
        try:
            return await future
        except asyncio.CancelledError:
            call.drop()
            self._abandon(call)
            raise

    def submit(
        self,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        done: Callable[[Answer], None],
        *,
        shared: Fields = NO_FIELDS,
        method: str = "POST",
        timeout_s: float | None = None,
    ) -> Call:
        """As `request`, without anybody who waits: `done` is called once, with the answer or the error.

        That may be before this returns. Raises `ValueError` as `request` does, and then `done` is not called.
        """
        if not (path.isascii() and path.isprintable()):
            msg = "The path holds a character that must be percent-encoded; quote it first."
            raise ValueError(msg)
        for name, value in headers:
            check_field(name, value)
        pseudo = self._pseudo.get(method) or self._pseudo.setdefault(
            method, Fields((":method", method), *self._pseudo["POST"].pairs[1:])
        )
        allowed_s = self._request_timeout_s if timeout_s is None else timeout_s
        loop, deadlines = self._loop or self._live_here(), self._deadlines
        call = Call(done, pseudo, path, headers, shared, body, deadlines.under_way, loop.time() + allowed_s, allowed_s)
        if self._closing:
            call.end(NotSentError("The client is being closed; nothing was sent.", cause=NotSentCause.CLOSED))
            return call
        deadlines.add(call, loop)
        connection = None if self._waiting else self._freest()
        if connection is not None:
            connection.start(call)
            if len(self._open) < self._wanted:
                self._connect_missing()
        else:
            self._waiting.append(call)
            self._connect_missing()
        return call

    def _live_here(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def retire(self, connection: int) -> None:
        """Open no more streams on the connection of that serial number; a new one takes its place."""
        for candidate in list(self._open):
            if candidate.serial == connection:
                self._open.remove(candidate)
                candidate.drain()
        self._pump()

    async def aclose(self, *, timeout_s: float | None = None) -> None:
        """Let what was requested get its answer (at most `timeout_s`, default the request timeout), then close."""
        self._closing = True
        limit_s = self._request_timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                while self._waiting or any(c.calls for c in self._all):
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        for task in list(self._connecting):
            task.cancel()
        self._deadlines.stop()
        self._fail_waiting("The client was closed; nothing was sent.", NotSentCause.CLOSED)
        for connection in list(self._all):
            connection.drain()
            if connection.calls:
                connection.abort("the client was closed")
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while self._all:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:  # a peer that does not take part in closing TLS
            for connection in list(self._all):
                connection.abort("the client was closed")

    # giving requests to connections

    def _freest(self) -> Connection | None:
        best, most = None, 0
        for connection in self._open:
            free = connection.free_streams
            if free > most:
                best, most = connection, free
        return best

    def _pump(self) -> None:
        """Start what waits, as far as there are free streams."""
        waiting = self._waiting
        while waiting:
            if waiting[0].ended:
                waiting.popleft()
                continue
            connection = self._freest()
            if connection is None:
                self._connect_missing()
                break
            connection.start(waiting.popleft())
        if self._closing:
            self._idle.set()

    def _expire(self, call: Call) -> None:
        left, timeout_s = call.left, call.timeout_s
        self._abandon(call)
        if left:
            call.end(UnknownOutcomeError(f"No answer came within {timeout_s:g} s after the request left."))
        else:
            reason = f"The request could not leave within {timeout_s:g} s (no free stream, window or connection)."
            call.end(NotSentError(reason, cause=NotSentCause.TIMEOUT))

    def _abandon(self, call: Call) -> None:
        if call.stream_id:
            for connection in self._all:
                if connection.calls.get(call.stream_id) is call:
                    connection.abandon(call)
                    break
        else:
            self._drop_waiting(call)

    def _drop_waiting(self, call: Call) -> None:
        try:
            self._waiting.remove(call)
        except ValueError:
            return
        if self._closing:
            self._idle.set()

    def _fail_waiting(self, reason: str, cause: NotSentCause) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.end(NotSentError(reason, cause=cause))
        self._idle.set()

    # opening connections

    def _connect_missing(self) -> None:
        for spent in [c for c in self._open if c.draining or c.closed]:
            self._leave(spent)
        for _ in range(self._wanted - len(self._open) - len(self._connecting)):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connect_ended)

    def _connect_ended(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if self._waiting and not self._closing:
            self._connect_missing()

    def _leave(self, connection: Connection) -> None:
        """Give nothing more to a connection; one that was opened but of no use is not replaced at once."""
        self._open.remove(connection)
        if connection.answered:
            self._failures = 0
        else:
            self._back_off()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._next_attempt_at - loop.time()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    self._new_connection,
                    self._host,
                    self._port,
                    ssl=self._ssl,
                    server_hostname=self._host if self._ssl else None,
                )
                self._all.add(connection)
                await connection.ready
                if connection.draining or connection.closed:  # it came with the SETTINGS
                    raise ConnectionError(connection.why)
        except (OSError, TimeoutError) as error:
            if connection is not None:
                connection.abort("no SETTINGS came")
            self._connect_failed(error)
        else:
            self._open.append(connection)
            self._pump()

    def _new_connection(self) -> Connection:
        return Connection(
            ping_interval_s=self._ping_interval_s,
            ping_timeout_s=self._ping_timeout_s,
            on_capacity=self._pump,
            on_closed=self._closed,
        )

    def _connect_failed(self, error: OSError | TimeoutError) -> None:
        self._back_off()
        if not any(not (c.draining or c.closed) for c in self._open):
            what = str(error) or f"no answer within {self._connect_timeout_s:g} s"
            where = f"{self._host}:{self._port}"
            reason = f"No connection to {where}: {what}. Check the endpoint, the network and the CA file."
            self._fail_waiting(reason, NotSentCause.CONNECT)

    def _back_off(self) -> None:
        self._failures += 1
        longest_s = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2 ** min(self._failures, 10))
        pause_s = random.uniform(0.5, 1.0) * longest_s  # noqa: S311  # nosec B311  jitter, not a secret
        self._next_attempt_at = asyncio.get_running_loop().time() + pause_s

    def _closed(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._open:
            self._leave(connection)
        self._idle.set()
        if self._waiting:
            self._connect_missing()
