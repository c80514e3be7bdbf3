"""The buckets, pauses and seats of an account that all workers share."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from messaging import pace_state
from messaging.limits import Limits
from messaging.message import Email
from messaging.pace_state import PaceState
from messaging.status import DeliveryStatus
from tests.integration.road import OneAdapter, Road
from workers import pacing_scripts as scripts
from workers.deliver import Deliverer
from workers.pace import UNLIMITED, Pace
from workers.pacing import HIGH_LANE_SHARE, RedisPacer

HUNDRED = Pace(per_second=100)
ACCOUNT = "messaging:pace:1:account"
_TIME = "redis.call('TIME')"
_STANDING = "test:clock"
_TIMED = ((scripts, ("RESERVE", "GIVE_BACK", "PAUSE", "SLOW", "SEATS", "TALLY")), (pace_state, ("STATE",)))
_PATIENCE_S = 60.0


class Clock:
    """What the scripts take for Redis's clock: it stands until the test lets time pass."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client

    def passes(self, seconds: int) -> None:
        """So many seconds."""
        self.client.hincrby(_STANDING, "s", seconds)

    def midnight_passes(self) -> None:
        """What was counted today was yesterday."""
        self.passes(86_400 - int(self.client.hget(_STANDING, "s")) % 86_400)


@contextlib.contextmanager
def standing_clock(url: str) -> Iterator[Clock]:
    """The clock of pacers made meanwhile, on an empty Redis.

    By the real one buckets fill while a test is held up, and what they grant depends on how long that was.
    """
    with redis.Redis.from_url(url) as client, pytest.MonkeyPatch.context() as patch:
        client.flushall()
        seconds, microseconds = client.time()
        client.hset(_STANDING, mapping={"s": seconds, "us": microseconds})
        for module, names in _TIMED:
            for name in names:
                script = getattr(module, name)
                assert _TIME in script
                patch.setattr(module, name, script.replace(_TIME, f"redis.call('HMGET', '{_STANDING}', 's', 'us')"))
        yield Clock(client)


@pytest.fixture
def clock(valkey_url: str) -> Iterator[Clock]:
    """The clock of the test's pacers."""
    with standing_clock(valkey_url) as standing:
        yield standing


def pacer_at(url: str) -> RedisPacer:
    """A pacer that waits for an answer: after two seconds without one it would grant everything."""
    pacer = RedisPacer(url)
    pacer._redis.connection_pool.connection_kwargs |= {
        "socket_timeout": _PATIENCE_S,
        "socket_connect_timeout": _PATIENCE_S,
    }
    return pacer


async def with_two(url: str, work: Callable[[RedisPacer, RedisPacer], Awaitable[None]]) -> None:
    """`work` with two workers' pacers."""
    one, two = pacer_at(url), pacer_at(url)
    try:
        await work(one, two)
    finally:
        await one.aclose()
        await two.aclose()


def run(url: str, work: Callable[[RedisPacer, RedisPacer, Clock], Awaitable[None]]) -> None:
    """`work` with two workers' pacers and their clock, on an account nobody used before."""
    with standing_clock(url) as clock:
        asyncio.run(with_two(url, lambda one, two: work(one, two, clock)))


async def granted(pacer: RedisPacer, wanted: int, pace: Pace, *, high: bool = True) -> int:
    """What account 1 may send of `wanted`."""
    return (await pacer.reserve(1, wanted, pace=pace, high=high)).granted


class TestBuckets:
    """Of a second, a minute and a day; each grant is what the emptiest has."""

    def test_two_workers_share_one_bucket(self, valkey_url: str) -> None:
        """Together they get no more than a second's worth, and the rest is told when to come back."""

        async def work(one: RedisPacer, two: RedisPacer, _clock: Clock) -> None:
            first = await one.reserve(1, 60, pace=HUNDRED, high=True)
            second = await two.reserve(1, 60, pace=HUNDRED, high=True)
            third = await one.reserve(1, 60, pace=HUNDRED, high=True)
            assert (first.granted, second.granted, third.granted) == (60, 40, 0)
            assert 0.5 < third.wait_s <= 0.7

        run(valkey_url, work)

    def test_bulk_leaves_a_share_to_the_high_lane(self, valkey_url: str) -> None:
        """A password code goes out although a newsletter has emptied its part of the bucket."""

        async def work(one: RedisPacer, two: RedisPacer, _clock: Clock) -> None:
            assert await granted(one, 1000, HUNDRED, high=False) == 100 - 100 * HIGH_LANE_SHARE
            assert await granted(one, 1000, HUNDRED, high=False) == 0
            assert await granted(two, 5, HUNDRED) == 5

        run(valkey_url, work)

    def test_a_minutes_bucket_is_refilled_bit_by_bit(self, valkey_url: str) -> None:
        """Bulk leaves a share of it too, and waits for a few seconds' worth."""

        async def work(one: RedisPacer, two: RedisPacer, clock: Clock) -> None:
            pace = Pace(per_minute=600)
            assert await granted(one, 1000, pace, high=False) == 540
            held_up = await two.reserve(1, 1000, pace=pace, high=False)
            assert (held_up.granted, held_up.waiting_for) == (0, "the provider's limit a minute")
            assert 4 < held_up.wait_s <= 5
            clock.passes(5)
            assert await granted(one, 1000, pace, high=False) == 50
            assert await granted(two, 1000, pace) == 60
            clock.passes(3600)
            assert await granted(two, 1000, pace) == 600

        run(valkey_url, work)

    def test_nothing_is_taken_from_a_bucket_when_another_has_less(self, valkey_url: str) -> None:
        """What the second's bucket would have granted is still there."""

        async def work(one: RedisPacer, _two: RedisPacer, _clock: Clock) -> None:
            pace = Pace(per_second=100, per_minute=30, per_day=1000)
            assert await granted(one, 50, pace) == 30
            state = await one.state(1)
            assert (state.tokens, state.sent_today) == (70, 30)

        run(valkey_url, work)

    def test_a_days_quota_holds_bulk_up_and_not_the_high_lane(self, valkey_url: str) -> None:
        """Which counts in it all the same. Tomorrow there is a new one."""

        async def work(one: RedisPacer, two: RedisPacer, clock: Clock) -> None:
            pace = Pace(per_day=200)
            assert await granted(one, 150, pace, high=False) == 150
            assert await granted(two, 20, pace) == 20
            assert await granted(two, 100, pace, high=False) == 30
            held_up = await one.reserve(1, 100, pace=pace, high=False)
            assert held_up.granted == 0
            assert 0 < held_up.wait_s <= 900
            assert "warmed up" in held_up.waiting_for
            assert await granted(one, 7, pace) == 7
            assert (await one.state(1)).sent_today == 207
            clock.midnight_passes()
            assert (await one.state(1)).sent_today is None
            assert await granted(one, 500, pace, high=False) == 200

        run(valkey_url, work)

    def test_a_rate_below_one_grants_one_now_and_then(self, valkey_url: str) -> None:
        """Also to bulk: a share of less than one is nobody's."""

        async def work(one: RedisPacer, _two: RedisPacer, clock: Clock) -> None:
            pace = Pace(per_second=0.5)
            assert await granted(one, 10, pace, high=False) == 1
            held_up = await one.reserve(1, 10, pace=pace, high=False)
            assert held_up.granted == 0
            assert 1 < held_up.wait_s <= 2
            clock.passes(2)
            assert await granted(one, 10, pace, high=False) == 1

        run(valkey_url, work)

    def test_no_second_grants_more_than_the_bucket_and_what_flows_in(self, valkey_url: str) -> None:
        """However many ask at once, and whatever they give back."""
        pace = Pace(per_second=200)
        grants, returns = list[tuple[float, float, int]](), list[tuple[float, float, int]]()

        def enough() -> int:
            return 200 + sum(count for *_, count in returns)

        async def ask(pacer: RedisPacer, seed: int, until: float) -> None:
            draw = random.Random(seed)
            while time.monotonic() < until or sum(count for *_, count in grants) <= enough():
                began = time.monotonic()
                count = await granted(pacer, draw.randint(1, 50), pace, high=draw.random() < 0.5)
                grants.append((began, time.monotonic(), count))
                if count > 1 and draw.random() < 0.3:
                    began = time.monotonic()
                    await pacer.give_back(1, count // 2, pace)
                    returns.append((began, time.monotonic(), count // 2))
                await asyncio.sleep(draw.random() / 20)

        async def work(one: RedisPacer, two: RedisPacer) -> None:
            until = time.monotonic() + 1.8
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*(ask(pacer, seed, until) for seed, pacer in enumerate([one, two] * 8)))

        with redis.Redis.from_url(valkey_url) as client:
            client.flushall()
        asyncio.run(with_two(valkey_url, work))  # by the real clock
        assert sum(count for *_, count in grants) > enough()
        for second, *_ in grants:
            within = sum(count for began, ended, count in grants if began >= second and ended <= second + 1)
            back = sum(count for began, ended, count in returns if ended >= second and began <= second + 1)
            assert within <= 200 + 200 + back + 1

    def test_a_limit_that_was_lifted_is_forgotten(self, valkey_url: str) -> None:
        """And no longer shown."""

        async def work(one: RedisPacer, _two: RedisPacer, _clock: Clock) -> None:
            await granted(one, 10, HUNDRED)
            assert (await one.state(1)).rate == 100
            assert await granted(one, 10_000, UNLIMITED) == 10_000
            assert await one.state(1) == PaceState()

        run(valkey_url, work)


class TestUnused:
    """Tokens that were reserved and not used."""

    def test_they_go_back_into_every_bucket(self, valkey_url: str) -> None:
        """Which never holds more than its size."""

        async def work(one: RedisPacer, two: RedisPacer, _clock: Clock) -> None:
            pace = Pace(per_second=1, per_minute=10, per_day=10)
            assert await granted(one, 1, pace) == 1
            assert await granted(two, 1, pace) == 0
            await one.give_back(1, 1, pace)
            assert (await one.state(1)).sent_today == 0
            assert await granted(two, 1, pace) == 1
            await one.give_back(1, 500, pace)
            assert (await one.state(1)).tokens == 1
            assert await granted(two, 500, pace) == 1
            assert await granted(two, 500, Pace(per_minute=10)) == 9

        run(valkey_url, work)

    def test_what_was_reserved_before_midnight_is_not_taken_from_the_new_day(self, valkey_url: str) -> None:
        """Its count begins at nothing."""

        async def work(one: RedisPacer, _two: RedisPacer, clock: Clock) -> None:
            pace = Pace(per_day=10)
            await granted(one, 8, pace)
            clock.midnight_passes()
            await one.give_back(1, 8, pace)
            assert await granted(one, 100, pace, high=False) == 10

        run(valkey_url, work)

    def test_where_nothing_is_counted_nothing_is_given_back(self, valkey_url: str) -> None:
        """Redis is not even asked."""

        async def work() -> None:
            lost = RedisPacer("redis://127.0.0.1:1/0")
            with capture_logs() as logs:
                await lost.give_back(1, 5, UNLIMITED)
            assert logs == []
            await lost.aclose()

        assert valkey_url
        asyncio.run(work())


class TestPauses:
    """An account that is closed for a while."""

    def test_a_pause_closes_the_account_for_everybody_and_the_longer_one_stands(self, valkey_url: str) -> None:
        """One worker's 429 is every worker's."""

        async def work(one: RedisPacer, two: RedisPacer, clock: Clock) -> None:
            await one.pause(1, 30)
            await two.pause(1, 5)
            paused = await two.reserve(1, 10, pace=UNLIMITED, high=True)
            assert paused.granted == 0
            assert 25 < paused.wait_s <= 30
            assert (await two.reserve(2, 10, pace=UNLIMITED, high=True)).granted == 10
            assert (await two.state(1)).paused_until is not None
            assert (await two.state(2)).paused_until is None
            clock.passes(31)
            assert await granted(one, 10, UNLIMITED) == 10
            assert (await two.state(1)).paused_until is None

        run(valkey_url, work)


class TestTrying:
    """A rate that is found by trying: it grows bit by bit and is halved when it was too fast."""

    def test_it_grows_while_it_is_what_holds_up(self, valkey_url: str) -> None:
        """By a twentieth or by one, once a second, whoever asks."""

        async def work(one: RedisPacer, two: RedisPacer, clock: Clock) -> None:
            pace, rates = Pace(begins_at=14), []
            for _ in range(4):
                for pacer in (one, two, one):
                    await granted(pacer, 1000, pace)
                state = await one.state(1)
                assert state.rate is not None
                rates.append(state.rate)
                clock.passes(1)
            assert rates == [14, 15, 16, 17]
            clock.client.hset(ACCOUNT, "rate", "100")
            await granted(one, 1000, pace)
            assert (await one.state(1)).rate == 105

        run(valkey_url, work)

    def test_it_stays_where_it_is_enough(self, valkey_url: str) -> None:
        """Nobody knows whether more would do; nor where something else holds up."""

        async def work(one: RedisPacer, _two: RedisPacer, clock: Clock) -> None:
            for pace, wanted in ((Pace(begins_at=14), 5), (Pace(begins_at=14, per_minute=2), 100)):
                for _ in range(3):
                    await granted(one, wanted, pace)
                    clock.passes(1)
                assert (await one.state(1)).rate == 14

        run(valkey_url, work)

    def test_it_never_grows_beyond_what_the_operator_set(self, valkey_url: str) -> None:
        """Also where that was lowered since."""

        async def work(one: RedisPacer, _two: RedisPacer, clock: Clock) -> None:
            for _ in range(5):
                await granted(one, 1000, Pace(begins_at=14, per_second=16))
                clock.passes(1)
            assert await granted(one, 1000, Pace(begins_at=14, per_second=16)) == 16
            clock.passes(1)
            assert await granted(one, 1000, Pace(begins_at=3, per_second=3)) == 3

        run(valkey_url, work)

    def test_it_is_halved_once_a_second_and_pauses(self, valkey_url: str) -> None:
        """Twenty calls that were under way tell the same; after the pause the bucket fills from nothing."""

        async def work(one: RedisPacer, two: RedisPacer, clock: Clock) -> None:
            pace = Pace(begins_at=40)
            await granted(one, 20, pace)
            for pacer in (one, two) * 10:
                await pacer.slow(1, pace)
            assert (await two.state(1)).rate == 20
            held_up = await two.reserve(1, 10, pace=pace, high=True)
            assert held_up.granted == 0
            assert 0 < held_up.wait_s <= 1
            clock.passes(1)
            assert await granted(two, 40, pace) < 10
            assert (await two.state(1)).rate == 20
            clock.passes(1)
            await granted(two, 40, pace)
            assert (await two.state(1)).rate == 21

        run(valkey_url, work)

    def test_it_never_falls_below_one_a_second(self, valkey_url: str) -> None:
        """The slowest account there is."""

        async def work(one: RedisPacer, _two: RedisPacer, clock: Clock) -> None:
            for _ in range(8):
                await one.slow(1, Pace(begins_at=14))
                clock.passes(1)
            assert (await one.state(1)).rate == 1
            clock.passes(1)
            assert await granted(one, 5, Pace(begins_at=14), high=False) == 1

        run(valkey_url, work)


class TestSeats:
    """Requests in flight over all workers."""

    def test_runs_share_them(self, valkey_url: str) -> None:
        """First come, first served; who leaves makes room."""

        async def work(one: RedisPacer, two: RedisPacer, _clock: Clock) -> None:
            assert await one.seats(1, 3, most=5, holder="a", for_s=60) == 3
            assert await two.seats(1, 3, most=5, holder="b", for_s=60) == 2
            assert await two.seats(1, 3, most=5, holder="c", for_s=60) == 0
            assert await two.seats(2, 3, most=5, holder="c", for_s=60) == 3
            await one.leave(1, 3, holder="a")
            assert await two.seats(1, 9, most=5, holder="c", for_s=60) == 3

        run(valkey_url, work)

    def test_they_are_kept_by_asking_again_and_free_when_a_worker_died(self, valkey_url: str) -> None:
        """After as long as its lease."""

        async def work(one: RedisPacer, two: RedisPacer, clock: Clock) -> None:
            await one.seats(1, 2, most=5, holder="lives", for_s=60)
            await two.seats(1, 3, most=5, holder="died", for_s=60)
            clock.passes(40)
            assert await one.seats(1, 2, most=5, holder="lives", for_s=60) == 2
            assert await one.seats(1, 5, most=5, holder="new", for_s=60) == 0
            clock.passes(30)
            assert await one.seats(1, 5, most=5, holder="new", for_s=60) == 3

        run(valkey_url, work)

    def test_no_more_are_given_than_there_are_however_many_ask(self, valkey_url: str) -> None:
        """At once, and by turns."""

        async def work(one: RedisPacer, two: RedisPacer, _clock: Clock) -> None:
            asked = (pacer.seats(1, 2, most=7, holder=f"{n}", for_s=60) for n, pacer in enumerate([one, two] * 10))
            held = await asyncio.gather(*asked)
            assert sum(held) == 7
            for number, count in enumerate(held):
                await two.leave(1, count, holder=f"{number}")
            assert await one.seats(1, 20, most=7, holder="last", for_s=60) == 7

        run(valkey_url, work)


def test_the_tally_is_summed_over_all_workers(valkey_url: str) -> None:
    """So that the guard sees a wrong certificate whoever sends."""

    async def work(one: RedisPacer, two: RedisPacer, _clock: Clock) -> None:
        await one.tally(1, sent=30, dead=20)
        assert await two.tally(1, sent=30, dead=25) == (60, 45)
        assert await two.tally(2, sent=1, dead=0) == (1, 0)

    run(valkey_url, work)


class TestWithoutRedis:
    """The provider's own 429 still makes each delivery wait."""

    def test_nothing_is_paced_and_nothing_stops(self) -> None:
        async def work() -> None:
            lost = RedisPacer("redis://127.0.0.1:1/0")
            assert await granted(lost, 7, Pace(per_second=1)) == 7
            await lost.pause(1, 1)
            await lost.slow(1, Pace(begins_at=1))
            await lost.give_back(1, 1, Pace(per_second=1))
            assert await lost.seats(1, 9, most=5, holder="a", for_s=60) == 5
            await lost.leave(1, 5, holder="a")
            assert await lost.tally(1, sent=2, dead=1) == (2, 1)
            with pytest.raises(RedisError):
                await lost.state(1)
            await lost.aclose()

        asyncio.run(work())

    def test_one_sentence_a_minute_says_so(self) -> None:
        """It is asked for each window of each batch."""
        times = itertools.chain([0.0, 1.0, 59.0, 60.0, 61.0])

        async def work() -> None:
            lost = RedisPacer("redis://127.0.0.1:1/0", clock_s=lambda: next(times))
            for _ in range(5):
                await granted(lost, 1, Pace(per_second=1))
            await lost.aclose()

        with capture_logs() as logs:
            asyncio.run(work())
        assert [entry["event"] for entry in logs] == ["Pacing is off: Redis does not answer."] * 2


@pytest.mark.usefixtures("clock")
class TestOnTheRoad:
    """What a batch does that may not go on."""

    @staticmethod
    def deliver(road: Road, url: str, *, seats: int = 0) -> PaceState:
        """Deliver what is there while another run holds so many seats of account 1; how fast it goes then."""

        async def work() -> PaceState:
            pacer = pacer_at(url)
            assert await pacer.seats(1, seats, most=5, holder="another", for_s=60) == seats
            one: Any = OneAdapter(road.provider)
            deliverer = Deliverer(road.engine, road.vault, road.settings, pacer, one, road.publisher.publish)
            for ref in road.batches():
                await deliverer.deliver(ref)
            await pacer.leave(1, seats, holder="another")
            assert await pacer.seats(1, 99, most=99, holder="probe", for_s=60) == 99  # the run left its own
            await pacer.leave(1, 99, holder="probe")
            state = await pacer.state(1)
            await pacer.aclose()
            return state

        return asyncio.run(work())

    def message(self, road: Road, limits: Limits) -> Any:
        """Forty letters over an account with these limits."""
        assert road.add_provider("mail", "sendgrid", limits=limits) == 1
        addresses = [f"reader{number}@example.com" for number in range(40)]
        message = road.send(Email(subject="Hello", content="there"), addresses=addresses)
        road.expand(message.message_id)
        return message

    def test_it_sends_what_the_minute_allows_and_the_rest_later(
        self, road: Road, valkey_url: str, clock: Clock
    ) -> None:
        """At no attempt: those that waited are sent at their first."""
        message = self.message(road, Limits(per_minute=20))
        self.deliver(road, valkey_url)
        assert len(road.provider.received) == 18
        assert road.view(message).waiting_for == "the provider's limit a minute"
        clock.passes(120)
        road.make_due()
        self.deliver(road, valkey_url)
        assert len(road.provider.received) == 36
        assert {delivery.attempts for delivery in road.deliveries(message)} == {0, 1}

    def test_an_account_that_warms_up_sends_its_first_days_quota(self, road: Road, valkey_url: str) -> None:
        """Counted over all of its messages."""
        message = self.message(road, Limits(warm_up=True))
        assert self.deliver(road, valkey_url).sent_today == 40
        assert road.statuses(message) == {DeliveryStatus.ACCEPTED: 40}

    def test_it_waits_for_a_seat_without_an_attempt(self, road: Road, valkey_url: str) -> None:
        """Another run has all that bulk may have."""
        message = self.message(road, Limits(concurrency=3))
        self.deliver(road, valkey_url, seats=2)
        assert road.provider.received == []
        assert "as many requests as it may have" in (road.view(message).waiting_for or "")
        assert {delivery.attempts for delivery in road.deliveries(message)} == {0}
        road.make_due()
        self.deliver(road, valkey_url, seats=1)
        assert road.statuses(message) == {DeliveryStatus.ACCEPTED: 40}
