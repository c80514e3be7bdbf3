"""How fast an account may send, as the shared buckets need it: from its kind, its limits and its age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from messaging.catalog import ProviderKind
from messaging.channel import Channel
from messaging.limits import Limits, warm_up_quota

SLOWED_S = 1.0
"""Pause of an account whose rate is found by trying, when it was too fast and the provider names no delay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Messages of one account over all workers. None: not limited in that way."""

    per_second: float | None = None
    """Where the rate is found by trying: the fastest that is tried."""
    per_minute: int | None = None
    per_day: int | None = None
    """Per day of UTC. The high lane counts in it and is never held up by it."""
    begins_at: float | None = None
    """Messages a second to begin with, where the rate is found by trying; None: it is fixed."""

    @classmethod
    def of(cls, kind: ProviderKind, limits: Limits, *, created_at: datetime, now: datetime) -> Self:
        """The pace of an account of `kind` made at `created_at`: what its operator set, else the kind's own."""
        first, is_found = kind.first_rate(limits.per_second), kind.adapts_rate and kind.rate_per_s is not None
        age = now.astimezone(UTC).date() - created_at.astimezone(UTC).date()
        warms_up = limits.warm_up and kind.channel is Channel.EMAIL
        return cls(
            per_second=limits.per_second if is_found else first,
            per_minute=limits.per_minute,
            per_day=warm_up_quota(max(0, age.days)) if warms_up else None,
            begins_at=first if is_found else None,
        )

    @property
    def is_adaptive(self) -> bool:
        """The rate is found by trying."""
        return self.begins_at is not None

    @property
    def is_limited(self) -> bool:
        """There are tokens to be counted."""
        return any((self.per_second, self.per_minute, self.per_day, self.begins_at))


UNLIMITED = Pace()
"""The provider tells by 429."""
