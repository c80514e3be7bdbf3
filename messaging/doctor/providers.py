"""Accounts at providers: enough of them, working, and reachable for their receipts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.doctor.finding import Finding, broken, ok, warning
from messaging.settings import Settings

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the checks ask of an account."""

    project: str
    id: str
    kind: str
    channel: Channel
    stopped_reason: str | None
    stopped_until: datetime | None
    is_stopped: bool


def accounts(connection: Connection) -> list[Account]:
    """Every enabled account of every project."""
    rows = connection.execute(
        text(
            "SELECT pr.public_id AS project, p.public_id AS id, p.kind, p.channel, p.stopped_reason, p.stopped_until,"
            " p.stopped_at IS NOT NULL AS is_stopped FROM providers p JOIN projects pr ON pr.id = p.project_id"
            " WHERE p.enabled ORDER BY p.id"
        )
    )
    return [Account(**{**row._mapping, "channel": Channel(row.channel)}) for row in rows]  # noqa: SLF001  SQLAlchemy's name for a public thing


def channels(found: Iterable[Account]) -> set[Channel]:
    """The channels somebody can send over."""
    return {account.channel for account in found}


def served(connection: Connection, found: Collection[Account]) -> Finding:
    """Whether each channel that has targets has an account."""
    have = {(account.project, account.channel) for account in found}
    rows = connection.execute(
        text(
            "SELECT pr.public_id AS project, c.channel FROM projects pr"
            " CROSS JOIN unnest(CAST(:channels AS text[])) AS c(channel)"
            " WHERE EXISTS (SELECT 1 FROM targets t WHERE t.project_id = pr.id AND t.channel = c.channel"
            " AND t.expired_at IS NULL) ORDER BY pr.id, c.channel"
        ),
        {"channels": list(Channel)},
    )
    bare = [f"{row.channel} ({row.project})" for row in rows if (row.project, Channel(row.channel)) not in have]
    if bare:
        return broken(
            "providers",
            f"people can be reached and no account is enabled: {_some(bare)}",
            "Add one with `messaging provider add`, or `messaging provider enable` one.",
        )
    if not found:
        return warning("providers", "none is enabled", "Add one with `messaging provider add`.")
    return ok("providers", f"{len(found)} enabled: {', '.join(sorted(channels(found)))}")


def stopped(found: Collection[Account]) -> Finding:
    """Whether any account is stopped."""
    for_good = [each for each in found if each.is_stopped and each.stopped_until is None]
    for_a_while = [each for each in found if each.is_stopped and each.stopped_until is not None]
    said = _some([f"{each.id}: {each.stopped_reason or 'no reason given'}" for each in (*for_good, *for_a_while)])
    if for_good:
        return broken(
            "stopped providers",
            said,
            f"Mend it, then `messaging provider check {for_good[0].id} --start`.",
        )
    if for_a_while:
        return warning("stopped providers", said, "They are tried again by themselves: `messaging provider list`.")
    return ok("stopped providers", "none")


def unusable(found: Collection[Account]) -> Finding:
    """Whether an enabled account is of a kind that this process can't send with."""
    strange = [f"{each.id} ({each.kind})" for each in found if each.kind not in KINDS or KINDS[each.kind].unavailable]
    if strange:
        return broken(
            "provider kinds",
            f"no adapter for {_some(strange)}",
            "Install the package that brought the kind, here and where workers run.",
        )
    return ok("provider kinds", f"{len({each.kind for each in found})} in use")


def reached(settings: Settings, found: Collection[Account]) -> Finding:
    """Whether providers and readers know an address of ours, where they need one."""
    check = "address from outside"
    if settings.outside_url is not None:
        return ok(check, settings.outside_url)
    tell = [each.id for each in found if each.kind in KINDS and KINDS[each.kind].has_receipts]
    needs = [
        *([f"receipts of {_some(tell)}"] if tell else []),
        *(["unsubscribe links of emails"] if Channel.EMAIL in channels(found) else []),
    ]
    if needs:
        return warning(
            check,
            f"not known; it is needed for {' and '.join(needs)}",
            "Set MESSAGING_PUBLIC_URL to the https:// address of the API, for API and workers alike.",
        )
    return ok(check, "not known, and nobody needs one")


def _some(names: Sequence[str]) -> str:
    left = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f", and {left} more" if left > 0 else "")
