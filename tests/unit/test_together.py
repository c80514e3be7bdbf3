"""Work that comes one by one is done together, and nobody waits for it to become much."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from messaging.http.together import Together

_PATIENCE_S = 120


@dataclass
class Doubler:
    """Doubles numbers, when it may; keeps which came together."""

    may: threading.Event = field(default_factory=threading.Event)
    groups: list[list[int]] = field(default_factory=list)

    def __call__(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(numbers))
        assert self.may.wait(_PATIENCE_S)
        if any(number < 0 for number in numbers):
            raise ZeroDivisionError("nothing of this group was done")
        return [ValueError(f"{number} is odd") if number % 2 else 2 * number for number in numbers]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110  a thread does it
            await asyncio.sleep(0.001)


def ask(together: Together[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Ask for each, all in one turn of the event loop."""
    return [asyncio.ensure_future(together.result(number)) for number in numbers]


def test_one_alone_waits_for_nobody() -> None:
    """It is done by itself, though many would fit."""

    async def story() -> None:
        work = Doubler()
        work.may.set()
        together = Together(work, most=50, at_once=2)
        assert await asyncio.wait_for(together.result(4), _PATIENCE_S) == 8
        assert work.groups == [[4]]
        together.close()

    asyncio.run(story())


def test_those_of_one_turn_are_done_together_and_each_gets_its_own() -> None:
    """Also its own error, which is nobody else's."""

    async def story() -> None:
        work = Doubler()
        work.may.set()
        together = Together(work, most=50, at_once=2)
        first, second, third = await asyncio.gather(*ask(together, 2, 3, 6), return_exceptions=True)
        assert (first, third) == (4, 12)
        assert isinstance(second, ValueError)
        assert str(second) == "3 is odd"
        assert work.groups == [[2, 3, 6]]
        together.close()

    asyncio.run(story())


def test_while_as_many_groups_as_may_be_are_under_way_the_next_gather() -> None:
    """They begin as soon as one of those has ended, at most so many at a time."""

    async def story() -> None:
        work = Doubler()
        together = Together(work, most=3, at_once=2)
        asked = ask(together, 0)
        await until(lambda: len(work.groups) == 1)
        asked += ask(together, 2)
        await until(lambda: len(work.groups) == 2)
        asked += ask(together, 4, 6, 8, 10, 12)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert work.groups == [[0], [2]]
        work.may.set()
        assert await asyncio.gather(*asked) == [0, 4, 8, 12, 16, 20, 24]
        assert sorted(work.groups) == [[0], [2], [4, 6, 8], [10, 12]]
        together.close()

    asyncio.run(story())


def test_an_error_of_the_whole_is_everyones_and_the_next_group_goes_on() -> None:
    """Nobody is left without an answer."""

    async def story() -> None:
        work = Doubler()
        work.may.set()
        together = Together(work, most=50, at_once=1)
        outcomes = await asyncio.gather(*ask(together, 2, -1, 4), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
        assert await together.result(4) == 8
        together.close()

    asyncio.run(story())


def test_who_has_gone_is_missed_by_nobody() -> None:
    """A result that nobody waits for any more keeps none of the others from theirs."""

    async def story() -> None:
        work = Doubler()
        together = Together(work, most=50, at_once=1)
        stays, goes = ask(together, 2, 4)
        await until(lambda: work.groups == [[2, 4]])
        goes.cancel()
        work.may.set()
        assert await stays == 4
        with pytest.raises(asyncio.CancelledError):
            await goes
        together.close()

    asyncio.run(story())
