"""The token bucket all workers share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import redis

from workers.pacing import HIGH_LANE_SHARE, RedisPacer


def run(url: str, work: Callable[[RedisPacer, RedisPacer], Awaitable[None]]) -> None:
    """`work` with two workers' pacers, on a bucket nobody used before."""

    async def both() -> None:
        with redis.Redis.from_url(url) as client:
            client.flushall()
        one, two = RedisPacer(url), RedisPacer(url)
        try:
            await work(one, two)
        finally:
            await one.aclose()
            await two.aclose()

    asyncio.run(both())


def test_two_workers_share_one_bucket(valkey_url: str) -> None:
    """Together they get no more than a second's worth, and the rest is told when to come back."""

    async def work(one: RedisPacer, two: RedisPacer) -> None:
        first = await one.reserve(1, 60, rate_per_s=100, high=True)
        second = await two.reserve(1, 60, rate_per_s=100, high=True)
        third = await one.reserve(1, 60, rate_per_s=100, high=True)
        assert first.granted == 60
        assert 40 <= second.granted <= 45
        assert third.granted <= 5
        if not third.granted:
            assert 0 < third.wait_s <= 0.7

    run(valkey_url, work)


def test_bulk_leaves_a_share_to_the_high_lane(valkey_url: str) -> None:
    """A password code goes out although a newsletter has emptied its part of the bucket."""

    async def work(one: RedisPacer, two: RedisPacer) -> None:
        bulk = await one.reserve(1, 1000, rate_per_s=100, high=False)
        assert bulk.granted == 100 - 100 * HIGH_LANE_SHARE
        assert (await one.reserve(1, 1000, rate_per_s=100, high=False)).granted <= 2
        assert (await two.reserve(1, 5, rate_per_s=100, high=True)).granted == 5

    run(valkey_url, work)


def test_a_pause_closes_the_account_for_everybody_and_the_longer_one_stands(valkey_url: str) -> None:
    """One worker's 429 is every worker's."""

    async def work(one: RedisPacer, two: RedisPacer) -> None:
        await one.pause(1, 30)
        await two.pause(1, 5)
        paused = await two.reserve(1, 10, rate_per_s=None, high=True)
        assert paused.granted == 0
        assert 25 < paused.wait_s <= 30
        assert (await two.reserve(2, 10, rate_per_s=None, high=True)).granted == 10

    run(valkey_url, work)


def test_the_tally_is_summed_over_all_workers(valkey_url: str) -> None:
    """So that the guard sees a wrong certificate whoever sends."""

    async def work(one: RedisPacer, two: RedisPacer) -> None:
        await one.tally(1, sent=30, dead=20)
        assert await two.tally(1, sent=30, dead=25) == (60, 45)
        assert await two.tally(2, sent=1, dead=0) == (1, 0)

    run(valkey_url, work)


def test_without_redis_nothing_is_paced_and_nothing_stops(valkey_url: str) -> None:  # noqa: ARG001
    """The provider's own 429 still makes each delivery wait."""

    async def work() -> None:
        lost = RedisPacer("redis://127.0.0.1:1/0")
        assert (await lost.reserve(1, 7, rate_per_s=1, high=False)).granted == 7
        await lost.pause(1, 1)
        assert await lost.tally(1, sent=2, dead=1) == (2, 1)
        await lost.aclose()

    asyncio.run(work())
