"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not for long, or not as well as it could."""
    BROKEN = "broken"
    """Something that is promised does not hold, or nothing moves."""
    SKIPPED = "skipped"
    """It could not be looked at."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check: what was looked at, how it stands, what was found, and what to do."""

    check: str
    state: State
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check=check, state=State.OK, found=found)


def warning(check: str, found: str, advice: str) -> Finding:
    """Somebody should look at it."""
    return Finding(check=check, state=State.WARNING, found=found, advice=advice)


def broken(check: str, found: str, advice: str) -> Finding:
    """Somebody must act."""
    return Finding(check=check, state=State.BROKEN, found=found, advice=advice)


def skipped(check: str, found: str, advice: str = "") -> Finding:
    """Nobody knows."""
    return Finding(check=check, state=State.SKIPPED, found=found, advice=advice)


def duration(seconds: float) -> str:
    """A time as people say it: `3 s`, `5 min`, `2 h`, `4 days`."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:  # noqa: PLR2004  of a kilobyte
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} TB"
