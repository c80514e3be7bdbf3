"""Halving a request that is refused for one item nobody names."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from messaging.outcome import Action, Outcome
from workers.providers.halving import REQUESTS, send_halving

TAKEN, DEAD = Outcome(Action.ACCEPTED), Outcome(Action.DISABLE_TARGET, "bad")


class Provider:
    """Refuses a request as a whole while a bad number is in it."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.asked: list[list[int]] = []
        self.taken: list[int] = []

    async def post(self, items: Sequence[int]) -> Sequence[Outcome] | None:
        """One request."""
        self.asked.append(list(items))
        if not self.bad & set(items):
            self.taken += items
            return [TAKEN] * len(items)
        return [DEAD] if len(items) == 1 else None


def sent(provider: Provider, count: int, **limit: int) -> list[Outcome]:
    """The outcomes of 0 to `count` - 1."""
    return asyncio.run(send_halving(range(count), provider.post, **limit))


def test_a_request_nobody_objects_to_is_made_once() -> None:
    """And an empty one not at all."""
    provider = Provider(set())
    assert sent(provider, 1000) == [TAKEN] * 1000
    assert len(provider.asked) == 1
    assert sent(provider, 0) == []
    assert len(provider.asked) == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_bad_ones_fail_alone_and_the_rest_is_sent_once(seed: int) -> None:
    """Wherever they stand."""
    bad = set(random.Random(seed).sample(range(1000), 2))
    provider = Provider(bad)
    outcomes = sent(provider, 1000)
    assert outcomes == [DEAD if n in bad else TAKEN for n in range(1000)]
    assert provider.taken == [n for n in range(1000) if n not in bad]


def test_it_ends_where_every_part_is_refused() -> None:
    """What is left was certainly not sent, and waits for its next attempt."""
    provider = Provider(set(range(1000)))
    outcomes = sent(provider, 1000)
    assert len(provider.asked) == REQUESTS
    found = [outcome.action for outcome in outcomes]
    assert found[0] is Action.DISABLE_TARGET
    assert set(found) == {Action.DISABLE_TARGET, Action.RETRY}
    assert sent(Provider({0}), 2, requests=1) == [outcomes[-1]] * 2


@pytest.mark.parametrize("action", [Action.RETRY_AFTER, Action.STOP_PROVIDER, Action.QUOTA, Action.RETRY])
def test_an_answer_about_the_account_holds_for_the_rest(action: Action) -> None:
    """It is not asked for it."""
    told = Outcome(action, "429", retry_after_s=7)
    asked: list[Sequence[int]] = []

    async def post(items: Sequence[int]) -> Sequence[Outcome] | None:
        asked.append(items)
        return None if len(items) > 2 else [told] * len(items)

    assert asyncio.run(send_halving(range(8), post)) == [told] * 8
    assert len(asked) == 3


def test_after_an_answer_that_got_lost_the_rest_is_known_to_be_unsent() -> None:
    """Only those of the request itself are unknown."""
    lost = Outcome(Action.AMBIGUOUS_RETRY, "ReadError", "who knows", outage=True)

    async def post(items: Sequence[int]) -> Sequence[Outcome] | None:
        return None if len(items) > 2 else [lost] * len(items)

    first, second, third, fourth = asyncio.run(send_halving(range(4), post))
    assert first == second == lost
    assert third == fourth
    assert (third.action, third.outage) == (Action.RETRY, True)
