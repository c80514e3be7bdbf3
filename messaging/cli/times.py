"""Times as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from messaging.errors import InvalidArgumentError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_time(value: str, *, argument: str, now: datetime | None = None) -> datetime:
    """`2026-11-24T09:00` (local time unless it names a zone); `+90s`, `+15m`, `+2h`, `+1d` from now, `-2h` ago.

    A local time that is skipped or occurs twice means what `docs/explanation/time.md` says.

    Raises `InvalidArgumentError`.
    """
    start = now or datetime.now().astimezone()
    relative = re.fullmatch(r"([+-]\d{1,9})([smhd])", value.strip())
    if relative:
        return start + timedelta(seconds=int(relative[1]) * _UNITS[relative[2]])
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        raise InvalidArgumentError(argument, f"'{value}' is no time; write 2026-11-24T09:00, or +15m") from None
    if at.tzinfo is not None:
        return at
    # not `at.astimezone()`: of a time that is skipped when clocks go forward it makes one an hour too early
    return datetime.fromtimestamp(at.timestamp(), UTC).astimezone()
