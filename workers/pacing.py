"""Pace a provider account over all workers: a token bucket and a pause in Redis, taken in one step.

The clock is Redis's own, so workers with wrong clocks agree. When Redis is away nothing is paced and a
warning is logged: the provider's 429 still pauses each delivery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

_log = structlog.get_logger(__name__)

# KEYS: bucket, pause. ARGV: wanted, rate per second (0: unlimited), burst, share kept for the high lane.
# Answers {granted, wait in ms}.
_RESERVE = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local paused = tonumber(redis.call('GET', KEYS[2]) or '0')
if paused > now_ms then return {0, paused - now_ms} end
local wanted, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
if rate <= 0 then return {wanted, 0} end
local burst, reserve = tonumber(ARGV[3]), tonumber(ARGV[4])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(state[1] or burst), tonumber(state[2] or now_ms)
tokens = math.min(burst, tokens + math.max(0, now_ms - at) * rate / 1000)
local granted = math.max(0, math.min(wanted, math.floor(tokens - reserve)))
redis.call('HSET', KEYS[1], 'tokens', tokens - granted, 'at', now_ms)
redis.call('PEXPIRE', KEYS[1], 3600000)
if granted > 0 then return {granted, 0} end
return {0, math.ceil((reserve + math.min(wanted, burst - reserve) - tokens) * 1000 / rate)}
"""

# KEYS: pause. ARGV: pause in ms. The longer of two pauses stands.
_PAUSE = """
local now = redis.call('TIME')
local ends = now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[1])
if ends > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], ends, 'PX', tonumber(ARGV[1]) + 1000)
end
return ends
"""

# KEYS: prefix of the per-minute counters. ARGV: sent, dead. Answers the sums of this minute and the last.
_TALLY = """
local minute = math.floor(redis.call('TIME')[1] / 60)
local this, last = KEYS[1] .. ':' .. minute, KEYS[1] .. ':' .. (minute - 1)
local sent = redis.call('HINCRBY', this, 'sent', ARGV[1])
local dead = redis.call('HINCRBY', this, 'dead', ARGV[2])
redis.call('EXPIRE', this, 180)
local before = redis.call('HMGET', last, 'sent', 'dead')
return {sent + tonumber(before[1] or '0'), dead + tonumber(before[2] or '0')}
"""

HIGH_LANE_SHARE = 0.1
"""Part of each account's bucket that bulk never takes."""


@dataclass(frozen=True, slots=True)
class Grant:
    """How many may be sent now, and if none, how long to wait."""

    granted: int
    wait_s: float


class Pacer(Protocol):
    """What delivery needs: permission per window, and a way to close an account for everybody."""

    async def reserve(self, provider_id: int, wanted: int, *, rate_per_s: float | None, high: bool) -> Grant:
        """Up to `wanted` tokens of the account, none while it is paused."""
        ...

    async def pause(self, provider_id: int, pause_s: float) -> None:
        """Close the account for `pause_s` seconds, for all workers."""
        ...

    async def tally(self, provider_id: int, *, sent: int, dead: int) -> tuple[int, int]:
        """Add to the account's sends and dead verdicts of the last two minutes; the sums so far."""
        ...


class RedisPacer:
    """The pacer all workers share."""

    def __init__(self, url: str, *, prefix: str = "messaging:pace") -> None:
        self._redis: Any = Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=15, protocol=2
        )
        self._reserve = self._redis.register_script(_RESERVE)
        self._pause = self._redis.register_script(_PAUSE)
        self._tally = self._redis.register_script(_TALLY)
        self._prefix = prefix

    async def reserve(self, provider_id: int, wanted: int, *, rate_per_s: float | None, high: bool) -> Grant:
        """Up to `wanted` tokens; a bucket holds one second's worth, of which bulk leaves a share to the high lane."""
        rate = rate_per_s or 0.0
        burst = max(1.0, rate)
        reserve = 0.0 if high else min(burst * HIGH_LANE_SHARE, burst - 1.0)
        try:
            granted, wait_ms = await self._reserve(
                keys=[self._key(provider_id, "bucket"), self._key(provider_id, "pause")],
                args=[wanted, rate, burst, reserve],
            )
        except RedisError as error:
            _log.warning("Pacing is off: Redis does not answer.", provider=provider_id, error=str(error))
            return Grant(wanted, 0.0)
        return Grant(int(granted), int(wait_ms) / 1000)

    async def pause(self, provider_id: int, pause_s: float) -> None:
        """Close the account for everybody; the longer of two pauses stands."""
        try:
            await self._pause(keys=[self._key(provider_id, "pause")], args=[max(1, int(pause_s * 1000))])
        except RedisError as error:
            _log.warning("Could not pause the provider for all workers.", provider=provider_id, error=str(error))

    async def tally(self, provider_id: int, *, sent: int, dead: int) -> tuple[int, int]:
        """Sends and dead verdicts of the account in this minute and the last, over all workers."""
        try:
            sums = await self._tally(keys=[self._key(provider_id, "tally")], args=[sent, dead])
        except RedisError:
            return sent, dead
        return int(sums[0]), int(sums[1])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _key(self, provider_id: int, what: str) -> str:
        return f"{self._prefix}:{provider_id}:{what}"


class NoPacer:
    """For a broker without Redis: grants everything; 429s still make each delivery wait."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[int, int]] = {}

    async def reserve(self, provider_id: int, wanted: int, *, rate_per_s: float | None, high: bool) -> Grant:  # noqa: ARG002
        """All of them."""
        return Grant(wanted, 0.0)

    async def pause(self, provider_id: int, pause_s: float) -> None:
        """Nothing is shared, so nothing is paused."""

    async def tally(self, provider_id: int, *, sent: int, dead: int) -> tuple[int, int]:
        """Sums of this process."""
        before = self._sums.get(provider_id, (0, 0))
        self._sums[provider_id] = sums = (before[0] + sent, before[1] + dead)
        return sums

    async def aclose(self) -> None:
        """Nothing to close."""
