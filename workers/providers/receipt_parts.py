"""What readers of receipts share: JSON, times, our tag in an address, comparing signatures, and what follows."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import parse_qs, urlsplit

from messaging.outcome import Action
from messaging.receipt import Event, Receipt, UnreadableReceiptError

FIRST_YEAR = 2000
"""A time before is a placeholder for none."""

_FOLLOWS = frozenset({Action.DISABLE_TARGET, Action.SUPPRESS_TARGET, Action.STOP_PROVIDER, Action.QUOTA})


def json_of(body: bytes | str, complaint: str) -> Any:  # noqa: ANN401  JSON is anything until it is looked at
    """The document a body is; raises `UnreadableReceiptError` with the complaint where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableReceiptError(complaint) from None


def unix_time(seconds: object) -> datetime | None:
    """The time of epoch seconds, a number or the text of one; None for anything else."""
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso_time(text: object, zone: tzinfo | None = UTC) -> datetime | None:
    """The time of an ISO text, in `zone` where it names none itself; None for anything else.

    Without a `zone` a time has to name its own. One before `FIRST_YEAR` counts as none.
    """
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    if at.year < FIRST_YEAR:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=zone)
    return at if at.tzinfo else None


def tag_in(url: str) -> str | None:
    """Our name of the delivery in the address a provider called (`sms.tagged`); None where there is none."""
    return next(iter(parse_qs(urlsplit(url).query).get("delivery", ())), None)


def is_same(given: str, expected: str) -> bool:
    """Whether two signatures are the same, in constant time; `given` may be any text."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def what_follows(action: Action) -> Action:
    """`action` where a report leads to it, else `NONE`: what could not be sent is not sent again for a report."""
    return action if action in _FOLLOWS else Action.NONE


def with_failure(opt_out: Receipt) -> Sequence[Receipt]:
    """That the message did not arrive, and the opt-out that is the reason."""
    return [replace(opt_out, event=Event.REJECTED, action=Action.NONE), opt_out]
