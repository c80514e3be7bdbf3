"""Recipients as people type them: `topic:news`, `user:ada`, `target:x`, or an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from messaging.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class NamedAudience:
    """Recipients by kind."""

    topics: tuple[str, ...]
    users: tuple[str, ...]
    targets: tuple[str, ...]
    addresses: tuple[str, ...]


def parse_audience(recipients: Sequence[str]) -> NamedAudience:
    """Recipients sorted by their prefix; what has none is an address. Raises `InvalidArgumentError` for an empty id."""
    found: dict[str, list[str]] = {"topic": [], "user": [], "target": [], "": []}
    for recipient in recipients:
        prefix, colon, rest = recipient.partition(":")
        kind = prefix if colon and prefix in found else ""
        value = rest if kind else recipient
        if not value:
            raise InvalidArgumentError("--to", f"'{recipient}' names nobody")
        found[kind].append(value)
    return NamedAudience(
        topics=tuple(found["topic"]),
        users=tuple(found["user"]),
        targets=tuple(found["target"]),
        addresses=tuple(found[""]),
    )
