"""A story of requests and of what a server does meanwhile, played in memory and checked at its end."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.unit.http2_memory import Connection, Got, Loop, Server
from workers.providers.http2 import Http2Client, NotSentCause, NotSentError, Response, UnknownOutcomeError

PROBE = 1_000_000
"""Numbers of the requests that ask whether the client is of use again."""


class Story:
    """One client, one server, and what became of each request."""

    def __init__(self, loop: Loop, greeting: list[tuple[Any, ...]], connections: int) -> None:
        self.loop = loop
        self.server = loop.server = Server(loop, greeting)
        self.client = Http2Client("http://provider.example", ssl_context=None, connections=connections)
        self.calls: list[asyncio.Task[None]] = []
        self.outcomes: dict[int, Response | BaseException] = {}
        self.asked = 0

    async def _ask(self, number: int, size: int, timeout_s: float) -> None:
        began = self.loop.time()
        try:
            self.outcomes[number] = await self.client.request(
                "POST", f"/{number}", [], b"b" * size, timeout_s=timeout_s
            )
        except (NotSentError, UnknownOutcomeError, asyncio.CancelledError) as error:
            self.outcomes[number] = error
        assert self.loop.time() - began <= timeout_s + 0.01, f"request {number} took {self.loop.time() - began} s"

    def ask(self, count: int, size: int, timeout_s: float) -> None:
        """So many requests at once."""
        for number in range(len(self.calls), len(self.calls) + count):
            self.asked += size
            self.calls.append(self.loop.create_task(self._ask(number, size, timeout_s)))

    def latest(self) -> Connection | None:
        """The newest connection that is not lost."""
        living = [c for c in self.server.connections if not c.transport.lost]
        return living[-1] if living else None

    def say(self, frames: list[tuple[Any, ...]], cut: int = 0) -> None:
        """The newest connection says these, in one go or a few bytes at a time."""
        connection = self.latest()
        if connection is None:
            return
        connection.say(connection.put(frames), cut)

    async def step(self, kind: str, *rest: Any) -> None:  # noqa: C901, PLR0912  one branch per kind of step
        """One thing that happens."""
        connection = self.latest()
        match kind:
            case "ask":
                self.ask(*rest)
            case "say":
                self.say(*rest)
            case "say in time":  # in the very turn in which requests time out
                self.loop.call_later(rest[1], self.say, rest[0])
            case "cancel":
                if self.calls:
                    self.calls[rest[0] % len(self.calls)].cancel()
            case "lose" if connection is not None:
                connection.transport.lose(ConnectionResetError("reset") if rest[0] else None)
            case "reads" if connection is not None and not connection.transport.lost:
                connection.transport.reads = rest[0]
                if rest[0]:
                    connection.transport.read()
            case "refuse":
                self.server.refuses = rest[0]
            case "slow close":
                self.server.slow_close = rest[0]
            case "retire":
                for each in list(self.client._open):
                    self.client.retire(each.serial)
        await asyncio.sleep(rest[0] if kind == "pass" else 0)
        for _ in range(4):
            await asyncio.sleep(0)

    async def _ask_until_answered(self) -> Response:
        for number in (PROBE, PROBE + 1):  # a connection that was just being opened may fail them
            try:
                return await self.client.request("POST", f"/{number}", [], b"x", timeout_s=60)
            except NotSentError as error:
                if error.cause is not NotSentCause.CONNECT:
                    raise
        return await self.client.request("POST", f"/{PROBE + 2}", [], b"x", timeout_s=60)

    async def end(self) -> None:
        """All calls end; then the server behaves, and the client is of use again and leaves nothing behind."""
        await asyncio.gather(*self.calls)
        self.server.good = True
        for connection in self.server.connections:
            connection.transport.lose()
        assert (await self._ask_until_answered()).status == 200
        assert self.client._waiting == type(self.client._waiting)()
        assert not any(connection.calls for connection in self.client._all)
        assert not self.client._deadlines.under_way
        await self.client.aclose()
        await asyncio.sleep(100)
        assert not self.client._all
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"
        assert not self.loop.errors, self.loop.errors

    def check(self) -> None:
        """What was said of each request is true of what the server received."""
        received = [(c, s, got) for c in self.server.connections for s, got in c.got.items()]
        for number, outcome in self.outcomes.items():
            mine = [(c, s, got) for c, s, got in received if got.number == number]
            assert len(mine) <= 1, f"request {number} was sent {len(mine)} times"
            if isinstance(outcome, NotSentError):
                self._check_not_sent(number, outcome, mine)
            if (
                isinstance(outcome, Response) and outcome.header(b"x-number") != "none"
            ):  # it guessed at an unread request
                ((connection, stream, _),) = mine
                if connection.ours:
                    assert outcome.header(b"x-number") == str(number), "another's answer"
                    assert str(outcome.status).encode() == connection.answered[stream]
        for connection in self.server.connections:
            assert connection.transport.most_held < 3_000_000 + self.asked

    @staticmethod
    def _check_not_sent(number: int, outcome: NotSentError, mine: list[tuple[Connection, int, Got]]) -> None:
        for connection, stream, got in mine:
            if not connection.ours:
                continue
            if outcome.cause is NotSentCause.GOAWAY:
                assert stream > connection.goaway, f"no GOAWAY covers request {number}"
                assert stream not in connection.contradicted, f"request {number} was being answered"
            elif outcome.cause is NotSentCause.REFUSED_STREAM:
                assert stream in connection.refused, f"request {number} was not refused"
            else:
                assert not got.whole, f"request {number} arrived and is called unsent: {outcome}"


def tell(greeting: list[tuple[Any, ...]], steps: list[tuple[Any, ...]], connections: int = 1) -> Story:
    """Play a story to its end."""
    loop = Loop()
    story = Story(loop, greeting, connections)

    async def play() -> None:
        for step in steps:
            await story.step(*step)
        await story.end()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
    story.check()
    return story
