"""Pace a provider account over all workers: its buckets, its pauses and its seats in Redis, each taken in one step.

The clock is Redis's own, so workers with wrong clocks agree. When Redis is away nothing is paced and a
warning is logged: the provider's 429 still pauses each delivery.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from messaging import pace_state
from messaging.pace_state import PaceState
from messaging.redis_address import client
from workers import pacing_scripts as scripts
from workers.metrics import road
from workers.pace import SLOWED_S, Pace

_log = structlog.get_logger(__name__)

HIGH_LANE_SHARE = 0.1
"""Part of each account's bucket that bulk never takes."""
_WARN_EVERY_S = 60.0
_TELL_AFTER_S = 0.02
"""Answers that call nobody dead are told to the tally so much later, together."""

_SENDS = "sends"

_HELD_UP_BY: Mapping[str, str] = {
    "pause": "the provider, which asked for a pause",
    "second": "the provider's pace",
    "minute": "the provider's limit a minute",
    "day": "tomorrow's quota of an email account that is warmed up",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """How many may be sent now, and if none, how long to wait and for what."""

    granted: int
    wait_s: float
    waiting_for: str = _HELD_UP_BY["second"]


class Pacer(Protocol):
    """What delivery needs: permission per window, and a way to close an account for everybody."""

    async def reserve(self, provider_id: int, wanted: int, *, pace: Pace, high: bool) -> Grant:
        """Up to `wanted` tokens of the account, none while it is paused."""
        ...

    async def give_back(self, provider_id: int, count: int, pace: Pace) -> None:
        """Tokens that were reserved and not used."""
        ...

    async def pause(self, provider_id: int, pause_s: float) -> None:
        """Close the account for `pause_s` seconds, for all workers."""
        ...

    async def slow(self, provider_id: int, pace: Pace) -> None:
        """Halve the rate of an account whose rate is found by trying, and pause it for `SLOWED_S`."""
        ...

    async def seats(self, provider_id: int, wanted: int, *, most: int, holder: str, for_s: float) -> int:
        """How many of the account's `most` requests in flight `holder` has for `for_s` seconds, `wanted` at most.

        Asked again, it keeps those it has.
        """
        ...

    async def leave(self, provider_id: int, seats: int, *, holder: str) -> None:
        """Free the holder's seats, of which it was given at most so many."""
        ...

    async def state(self, provider_id: int) -> PaceState:
        """How fast the account goes."""
        ...

    async def tally(self, provider_id: int, *, sent: int, dead: int, of: str = "sends") -> tuple[int, int]:
        """Add to the account's sends and dead verdicts of the last two minutes; the sums so far.

        `of` names what is counted: answers to sends, or receipts.
        """
        ...


class RedisPacer:
    """The pacer all workers share."""

    def __init__(
        self, url: str, *, prefix: str = pace_state.PREFIX, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis: Any = client(url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=15, protocol=2)
        self._reserve = self._redis.register_script(scripts.RESERVE)
        self._give_back = self._redis.register_script(scripts.GIVE_BACK)
        self._pause = self._redis.register_script(scripts.PAUSE)
        self._slow = self._redis.register_script(scripts.SLOW)
        self._state = self._redis.register_script(pace_state.STATE)
        self._seats = self._redis.register_script(scripts.SEATS)
        self._leave = self._redis.register_script(scripts.LEAVE)
        self._tally = self._redis.register_script(scripts.TALLY)
        self._prefix = prefix
        self._clock_s = clock_s
        self._warned_s: float | None = None
        self._untold: dict[int, int] = {}
        """Sends by account that the tally does not know of yet."""
        self._telling: asyncio.Task[None] | None = None

    async def reserve(self, provider_id: int, wanted: int, *, pace: Pace, high: bool) -> Grant:
        """Up to `wanted` tokens: what the emptiest bucket has. Bulk leaves a share of each to the high lane."""
        limits = [each or 0 for each in (pace.per_second, pace.per_minute, pace.per_day, pace.begins_at)]
        share = 0.0 if high else HIGH_LANE_SHARE
        try:
            granted, wait_ms, limit = await self._reserve(
                keys=[self._key(provider_id, "account")], args=[wanted, *limits, share, int(high)]
            )
        except RedisError as error:
            self._warn(provider_id, error)
            return Grant(wanted, 0.0)
        if granted:
            return Grant(int(granted), 0.0)
        road().paced(limit.decode(), int(wait_ms) / 1000)
        return Grant(0, int(wait_ms) / 1000, _HELD_UP_BY[limit.decode()])

    async def give_back(self, provider_id: int, count: int, pace: Pace) -> None:
        """Put tokens back that were not used; a bucket never holds more than its size."""
        if not pace.is_limited or count <= 0:
            return
        try:
            await self._give_back(keys=[self._key(provider_id, "account")], args=[count])
        except RedisError as error:
            self._warn(provider_id, error)

    async def pause(self, provider_id: int, pause_s: float) -> None:
        """Close the account for everybody; the longer of two pauses stands."""
        try:
            await self._pause(keys=[self._key(provider_id, "account")], args=[max(1, int(pause_s * 1000))])
        except RedisError as error:
            self._warn(provider_id, error)

    async def slow(self, provider_id: int, pace: Pace) -> None:
        """Halve the account's rate, once a second at most, and pause it; it grows again while nothing is throttled."""
        try:
            await self._slow(keys=[self._key(provider_id, "account")], args=[int(SLOWED_S * 1000), pace.begins_at or 1])
        except RedisError as error:
            self._warn(provider_id, error)

    async def seats(self, provider_id: int, wanted: int, *, most: int, holder: str, for_s: float) -> int:
        """Seats end by themselves, so a worker that died keeps nobody out for longer than `for_s` seconds."""
        try:
            held = await self._seats(
                keys=[self._key(provider_id, "seats")], args=[wanted, most, int(for_s * 1000), holder]
            )
        except RedisError as error:
            self._warn(provider_id, error)
            return min(wanted, most)
        return int(held)

    async def leave(self, provider_id: int, seats: int, *, holder: str) -> None:
        """Free the holder's seats."""
        try:
            await self._leave(keys=[self._key(provider_id, "seats")], args=[seats, holder])
        except RedisError as error:
            self._warn(provider_id, error)

    async def state(self, provider_id: int) -> PaceState:
        """How fast the account goes; raises `RedisError` when Redis is away."""
        return pace_state.parsed(await self._state(keys=[self._key(provider_id, "account")]))

    async def tally(self, provider_id: int, *, sent: int, dead: int, of: str = "sends") -> tuple[int, int]:
        """Sends and dead verdicts of the account in this minute and the last, over all workers.

        Where nobody is dead nothing is to be judged: the sums are those of this call, and Redis is told a moment later.
        """
        if of == _SENDS:
            sent += self._untold.pop(provider_id, 0)
            if not dead:
                self._untold[provider_id] = sent
                if self._telling is None or self._telling.done():
                    self._telling = asyncio.create_task(self._tell())
                return sent, 0
        return await self._add(provider_id, sent, dead, of)

    async def _tell(self) -> None:
        await asyncio.sleep(_TELL_AFTER_S)
        untold, self._untold = self._untold, {}
        for provider_id, sent in untold.items():
            await self._add(provider_id, sent, 0, _SENDS)

    async def _add(self, provider_id: int, sent: int, dead: int, of: str) -> tuple[int, int]:
        try:
            sums = await self._tally(keys=[self._key(provider_id, f"tally:{of}")], args=[sent, dead])
        except RedisError:
            return sent, dead
        return int(sums[0]), int(sums[1])

    async def aclose(self) -> None:
        """Close the connections, having told what is left to tell."""
        if self._telling is not None:
            await self._telling
        await self._redis.aclose()

    def _key(self, provider_id: int, what: str) -> str:
        return f"{self._prefix}:{provider_id}:{what}"

    def _warn(self, provider_id: int, error: RedisError) -> None:
        """One sentence a minute: it is asked for each window."""
        now_s = self._clock_s()
        if self._warned_s is None or now_s - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now_s
            _log.warning("Pacing is off: Redis does not answer.", provider=provider_id, error=str(error))


class NoPacer:
    """For a broker without Redis: grants everything; 429s still make each delivery wait."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, str], tuple[int, int]] = {}

    async def reserve(self, provider_id: int, wanted: int, *, pace: Pace, high: bool) -> Grant:  # noqa: ARG002
        """All of them."""
        return Grant(wanted, 0.0)

    async def give_back(self, provider_id: int, count: int, pace: Pace) -> None:
        """Nothing was counted."""

    async def pause(self, provider_id: int, pause_s: float) -> None:
        """Nothing is shared, so nothing is paused."""

    async def slow(self, provider_id: int, pace: Pace) -> None:
        """Nothing is shared, so nothing is slowed."""

    async def seats(self, provider_id: int, wanted: int, *, most: int, holder: str, for_s: float) -> int:  # noqa: ARG002
        """As many as one run may have: others are not known."""
        return min(wanted, most)

    async def leave(self, provider_id: int, seats: int, *, holder: str) -> None:
        """Nothing was taken."""

    async def state(self, provider_id: int) -> PaceState:  # noqa: ARG002
        """Nothing is known."""
        return PaceState()

    async def tally(self, provider_id: int, *, sent: int, dead: int, of: str = "sends") -> tuple[int, int]:
        """Sums of this process."""
        before = self._sums.get((provider_id, of), (0, 0))
        self._sums[provider_id, of] = sums = (before[0] + sent, before[1] + dead)
        return sums

    async def aclose(self) -> None:
        """Nothing to close."""
