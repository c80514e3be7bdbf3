"""Receipts of our webhook protocol: events, signed like the requests, with the same secret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from messaging.errors import SettingsError
from messaging.outcome import Action
from messaging.receipt import Event, Inbound, Receipt, ReceiptKeyMissingError, UnreadableReceiptError
from workers.providers.base import Account, Fetch
from workers.providers.webhook_codes import clean
from workers.providers.webhook_signature import signing_key, verify

ACTIONS: Mapping[Event, Action] = {
    Event.BOUNCED_HARD: Action.DISABLE_TARGET,
    Event.COMPLAINED: Action.SUPPRESS_TARGET,
    Event.UNSUBSCRIBED: Action.SUPPRESS_TARGET,
    Event.RESUBSCRIBED: Action.UNSUPPRESS_TARGET,
}
"""What follows from an event, where anything does."""

_BAD_NEWS = frozenset(
    {Event.DEFERRED, Event.BOUNCED_HARD, Event.BOUNCED_SOFT, Event.REJECTED, Event.COMPLAINED, Event.UNSUBSCRIBED}
)
_LONGEST_CODE = 64
_LONGEST_KEY = 255


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001  nothing to fetch
    """The events of one request, all or none.

    Raises `ForgedReceiptError`, `UnreadableReceiptError` naming the event at fault, `ReceiptKeyMissingError`.
    """
    try:
        key = signing_key(str(account.credentials.get("secret") or ""))
    except SettingsError as error:
        raise ReceiptKeyMissingError(str(error)) from None
    verify(key, inbound.headers, inbound.body, inbound.received_at)
    try:
        events = json.loads(inbound.body)["events"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UnreadableReceiptError('the body is not {"events": […]}') from None
    if not isinstance(events, list):
        raise UnreadableReceiptError("events is no list")
    return [_receipt(event, f"events[{place}]") for place, event in enumerate(events)]


def _receipt(event: object, place: str) -> Receipt:
    if not isinstance(event, dict):
        raise UnreadableReceiptError(f"{place} is no object")
    key, tag, address = (_text(event, name, place) for name in ("id", "delivery", "to"))
    if not key or len(key) > _LONGEST_KEY:
        raise UnreadableReceiptError(f"{place}.id is missing or over {_LONGEST_KEY} characters")
    if not tag and not address:
        raise UnreadableReceiptError(f"{place}.delivery is missing: name the delivery, or the address in to")
    try:
        word = Event(_text(event, "event", place))
    except ValueError:
        raise UnreadableReceiptError(f"{place}.event is none of {', '.join(Event)}") from None
    action = Action.SUPPRESS_TARGET if event.get("suppress") is True else ACTIONS.get(word, Action.NONE)
    return Receipt(
        event=word,
        key=key,
        tag=tag or None,
        address=None if tag else address,
        at=_time(event, place),
        action=action,
        code=clean(event.get("code"))[:_LONGEST_CODE] or (word.value if word in _BAD_NEWS else ""),
        reason=clean(event.get("reason"), address),
    )


def _text(event: Mapping[str, object], name: str, place: str) -> str:
    value = event.get(name)
    if value is not None and not isinstance(value, str):
        raise UnreadableReceiptError(f"{place}.{name} is no text")
    return value or ""


def _time(event: Mapping[str, object], place: str) -> datetime | None:
    given = _text(event, "at", place)
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UnreadableReceiptError(f"{place}.at is no time with its offset, such as 2030-01-31T12:00:00Z")
    return at
