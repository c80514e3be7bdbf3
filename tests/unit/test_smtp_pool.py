"""The connection pool: reuse, limits, idleness."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from workers.providers.smtp_pool import Pool


class Line:
    """A connection that remembers what was done to it."""

    def __init__(self) -> None:
        self.usable = True
        self.ended = ""

    async def close(self) -> None:
        """Count as ended politely."""
        self.ended, self.usable = "closed", False

    def abort(self) -> None:
        """Count as dropped."""
        self.ended, self.usable = "aborted", False


class Exchange:
    """Opens lines and keeps them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    async def open(self) -> Line:
        """A new line."""
        await asyncio.sleep(0)
        self.lines.append(Line())
        return self.lines[-1]

    def pool(self, **settings: Any) -> Pool[Line]:
        """A pool with these settings instead of the usual ones."""
        return Pool(self.open, **{"size": 2, "max_uses": 100, "idle_s": 30.0} | settings)


def run(test: Callable[[Exchange], Awaitable[None]]) -> Exchange:
    """Run `test` in a loop of its own; the exchange it used."""
    exchange = Exchange()
    asyncio.run(test(exchange))  # type: ignore[arg-type]
    return exchange


def test_a_kept_connection_serves_the_next_message() -> None:
    """Two messages one after the other need one connection."""

    async def two(exchange: Exchange) -> None:
        pool = exchange.pool()
        for _ in range(2):
            pool.release(await pool.acquire(), keep=True)
        await pool.aclose()

    lines = run(two).lines
    assert [line.ended for line in lines] == ["closed"]


def test_a_connection_is_replaced_after_its_number_of_messages() -> None:
    """Five messages at two each need three connections."""

    async def five(exchange: Exchange) -> None:
        pool = exchange.pool(max_uses=2)
        for _ in range(5):
            pool.release(await pool.acquire(), keep=True)
        await pool.aclose()

    assert len(run(five).lines) == 3


def test_no_more_connections_are_open_than_the_pool_may_have() -> None:
    """Ten users at once share two connections."""

    async def ten(exchange: Exchange) -> None:
        pool = exchange.pool()

        async def use() -> None:
            slot = await pool.acquire()
            await asyncio.sleep(0)
            pool.release(slot, keep=True)

        await asyncio.gather(*(use() for _ in range(10)))
        await pool.aclose()

    assert len(run(ten).lines) == 2


def test_a_connection_that_was_closed_meanwhile_is_not_lent() -> None:
    """The server hung up while it lay idle."""

    async def hang_up(exchange: Exchange) -> None:
        pool = exchange.pool()
        pool.release(await pool.acquire(), keep=True)
        exchange.lines[0].usable = False
        slot = await pool.acquire()
        assert slot.connection is exchange.lines[1]
        pool.release(slot, keep=False)

    assert [line.ended for line in run(hang_up).lines] == ["aborted", "aborted"]


def test_an_idle_connection_is_closed_after_its_time() -> None:
    """Closed by us before the server does it."""

    async def idle(exchange: Exchange) -> None:
        pool = exchange.pool(idle_s=0.0)
        pool.release(await pool.acquire(), keep=True)
        async with asyncio.timeout(60):
            while not exchange.lines[0].ended:  # noqa: ASYNC110  (the loop's own timer is what is under test)
                await asyncio.sleep(0)

    assert run(idle).lines[0].ended == "closed"


def test_a_failed_opening_leaves_room_for_the_next() -> None:
    """The pool is not used up by servers that refuse."""

    async def refuse() -> Line:
        raise ConnectionRefusedError

    async def three(_: Exchange) -> None:
        pool = Pool(refuse, size=1, max_uses=1, idle_s=1)
        for _attempt in range(3):
            with pytest.raises(ConnectionRefusedError):
                await pool.acquire()
        async with asyncio.timeout(60):
            await pool.aclose()

    run(three)


def test_closing_waits_for_what_is_in_flight() -> None:
    """A lent connection is given back before the pool is closed."""

    async def close(exchange: Exchange) -> None:
        pool = exchange.pool()
        slot = await pool.acquire()
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        assert not closing.done()
        pool.release(slot, keep=True)
        await closing
        assert exchange.lines[0].ended == "closed"

    run(close)


def test_a_connection_is_promised_to_the_first_in_line_and_to_nobody_else() -> None:
    """What was asked for goes along with it; the others wait on."""

    async def line(exchange: Exchange) -> None:
        pool = exchange.pool(size=1)
        slot = await pool.acquire("a")
        users = [asyncio.create_task(pool.acquire(name)) for name in "bc"]
        await asyncio.sleep(0)
        assert pool.promise(slot, lambda wants: wants == "c") is None
        promised = pool.promise(slot, lambda wants: wants == "b")
        assert promised is not None
        pool.release(slot, keep=True, promised=promised)
        assert await users[0] is slot
        assert not users[1].done()
        pool.release(slot, keep=True)
        assert await users[1] is slot
        pool.release(slot, keep=True)
        await pool.aclose()

    assert [found.ended for found in run(line).lines] == ["closed"]


def test_a_connection_is_not_promised_beyond_its_number_of_messages() -> None:
    """The next one opens another."""

    async def two(exchange: Exchange) -> None:
        pool = exchange.pool(size=1, max_uses=1)
        slot = await pool.acquire("a")
        other = asyncio.create_task(pool.acquire("b"))
        await asyncio.sleep(0)
        assert pool.promise(slot, lambda _: True) is None
        pool.release(slot, keep=True)
        pool.release(await other, keep=True)
        await pool.aclose()

    assert len(run(two).lines) == 2


@pytest.mark.parametrize("moment", ["promised", "handed over", "let in"])
def test_who_gives_up_in_line_takes_no_room_along(moment: str) -> None:
    """Whatever it had been given by then goes to the next one, a connection that heard of it to nobody."""

    async def give_up(exchange: Exchange) -> None:
        pool = exchange.pool(size=1)
        slot = await pool.acquire("a")
        quitter, last = (asyncio.create_task(pool.acquire(name)) for name in "bc")
        await asyncio.sleep(0)
        promised = None if moment == "let in" else pool.promise(slot, lambda _: True)
        if moment == "promised":
            quitter.cancel()
            await asyncio.sleep(0)
        pool.release(slot, keep=True, promised=promised)
        quitter.cancel()
        pool.release(await last, keep=True)
        await pool.aclose()

    exchange = run(give_up)
    assert [found.ended for found in exchange.lines] == (["closed"] if moment == "let in" else ["aborted", "closed"])
