"""How fast an account goes at this moment: what the workers keep in Redis for it, and how it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import RedisError

from messaging import redis_address

PREFIX = "messaging:pace"

# KEYS: account. Answers {paused until, rate, tokens of the second, sent today}; empty texts for what is not there.
STATE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local day = math.floor(clock[1] / 86400)
local state = redis.call('HMGET', KEYS[1], 'paused', 'rate', 'tokens', 'at', 'day', 'sent')
local paused = tonumber(state[1] or '0')
local tokens = ''
if state[2] and state[3] then
  local rate = tonumber(state[2])
  tokens = tostring(math.min(math.max(1, rate), state[3] + math.max(0, now - state[4]) * rate / 1000))
end
return {paused > now and tostring(paused) or '', state[2] or '', tokens,
  tonumber(state[5] or '0') == day and state[6] or ''}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaceState:
    """How fast an account goes at this moment; None: not known, or not limited."""

    paused_until: datetime | None = None
    rate: float | None = None
    """Messages a second."""
    tokens: float | None = None
    """Messages that could be sent at once."""
    sent_today: int | None = None
    """Messages since midnight UTC, of an account that is warmed up."""


def account_key(provider_id: int, prefix: str = PREFIX) -> str:
    """Where the buckets of the account of that number are."""
    return f"{prefix}:{provider_id}:account"


def parsed(answer: Sequence[Any]) -> PaceState:
    """What `STATE` answered."""
    paused, rate, tokens, sent = answer
    return PaceState(
        paused_until=datetime.fromtimestamp(int(paused) / 1000, UTC) if paused else None,
        rate=float(rate) if rate else None,
        tokens=max(0.0, float(tokens)) if tokens else None,
        sent_today=int(sent) if sent else None,
    )


def read(url: str, provider_ids: Sequence[int]) -> Mapping[int, PaceState] | None:
    """Number of an account → how fast it goes; None while Redis is away."""
    try:
        return asyncio.run(_read(url, provider_ids))
    except (RedisError, OSError):
        return None


async def _read(url: str, provider_ids: Sequence[int]) -> Mapping[int, PaceState]:
    client = redis_address.client(url, socket_timeout=1, socket_connect_timeout=1, protocol=2)
    try:
        script = client.register_script(STATE)
        return {each: parsed(await script(keys=[account_key(each)])) for each in provider_ids}
    finally:
        await client.aclose()
