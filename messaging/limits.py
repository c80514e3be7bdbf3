"""How fast an account may send, over all workers and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError

FASTEST = 1_000_000
FIRST_DAY = 200
"""Messages a new email account sends on its first day while it is warmed up; each further day twice as many."""
WARM_AFTER_DAYS = 21


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """None means: the kind's own, or as fast as the provider lets us."""

    per_second: float | None = None
    per_minute: int | None = None
    concurrency: int | None = None
    """Requests in flight at once, over all workers."""
    warm_up: bool = False
    """Start slowly: a new email account that sends a hundred thousand on its first day is taken for a spammer."""

    def __post_init__(self) -> None:
        for name in ("per_second", "per_minute", "concurrency"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= FASTEST:
                raise InvalidArgumentError(f"limits.{name}", f"a number above 0, and {FASTEST:,} at most")
        for name in ("per_minute", "concurrency"):
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise InvalidArgumentError(f"limits.{name}", "a whole number")

    def of_channel(self, channel: Channel) -> Self:
        """Itself; raises `InvalidArgumentError` where accounts of `channel` don't have such a limit."""
        if self.warm_up and channel is not Channel.EMAIL:
            raise InvalidArgumentError("limits.warm_up", "only email accounts are warmed up")
        return self

    def as_json(self) -> dict[str, Any]:
        """What is set, by name."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The limits `as_json` wrote."""
        return cls(**values)


def warm_up_quota(age_days: int) -> int | None:
    """Messages an account may send on its `age_days`-th day (the first is 0); None once it is warm."""
    return FIRST_DAY << age_days if age_days < WARM_AFTER_DAYS else None
