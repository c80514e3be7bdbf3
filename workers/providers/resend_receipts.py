"""What Resend's webhooks tell; Svix signs them.

Sources: https://resend.com/docs/webhooks/event-types, https://docs.svix.com/receiving/verifying-payloads/how-manual.
"""

from __future__ import annotations

import binascii
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import timedelta

from messaging.outcome import Action, Outcome
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from workers.providers.answers import object_at
from workers.providers.base import Account, Fetch
from workers.providers.receipt_parts import is_same, iso_time, unix_time
from workers.providers.resend_codes import scrub

EVENTS: Mapping[str, tuple[Event, Action, str]] = {
    "email.sent": (Event.ACCEPTED, Action.NONE, "taken by Resend"),
    "email.delivered": (Event.DELIVERED, Action.DELIVERED, ""),
    "email.delivery_delayed": (Event.DEFERRED, Action.NONE, "not delivered yet: Resend goes on trying"),
    "email.complained": (Event.COMPLAINED, Action.SUPPRESS_TARGET, "reported as spam"),
    "email.opened": (Event.OPENED, Action.NONE, ""),
    "email.clicked": (Event.CLICKED, Action.NONE, ""),
}
"""By type; those below depend on more, others (of domains, contacts, scheduled or received mail) bring no receipt."""

BOUNCES: Mapping[str, tuple[Event, Action, str]] = {
    "Permanent": (Event.BOUNCED_HARD, Action.DISABLE_TARGET, "bounced"),
    "Transient": (Event.BOUNCED_SOFT, Action.NONE, "bounced for now"),
    "Undetermined": (Event.BOUNCED_SOFT, Action.NONE, "bounced without saying why"),
}
"""By `bounce.type` of email.bounced."""

SUPPRESSIONS: Mapping[str, tuple[Event, Action, str]] = {
    "previous_bounce": (Event.BOUNCED_HARD, Action.DISABLE_TARGET, "not sent: bounced before"),
    "previous_complaint": (Event.REJECTED, Action.SUPPRESS_TARGET, "not sent: reported as spam before"),
}
"""By `suppressed.reason` of email.suppressed."""

FAILURES: Mapping[str, tuple[Event, Action, str]] = {
    "reached_daily_quota": (Event.REJECTED, Action.QUOTA, "not sent: the account's daily quota is used up"),
    "reached_monthly_quota": (Event.REJECTED, Action.QUOTA, "not sent: the account's monthly quota is used up"),
}
"""By `failed.reason` of email.failed; any other refuses the message."""

TOLERANCE = timedelta(minutes=5)

_PREFIX, _VERSION = "whsec_", "v1"


async def read_receipts(
    inbound: Inbound,
    account: Account,
    fetch: Fetch,  # noqa: ARG001  every reader is handed one
) -> Sequence[Receipt]:
    """The event a request brings; raises as `ReceiptReader` says."""
    event_id = _verified(inbound, _key(account))
    try:
        document = json.loads(inbound.body)
        kind, data = str(document["type"]), document["data"]
        created_at = document.get("created_at")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise UnreadableReceiptError("a signed request of Resend's without type and data") from None
    found = classify_event(kind, data) if isinstance(data, dict) else None
    if found is None:
        return ()
    event, outcome = found
    email_id = data.get("email_id")
    return (
        Receipt(
            event=event,
            key=event_id,
            tag=_tag(data.get("tags")),
            provider_message_id=str(email_id) if email_id else None,
            at=iso_time(created_at),
            action=outcome.action,
            code=outcome.code,
            reason=outcome.reason,
        ),
    )


def classify_event(kind: str, data: Mapping[str, object]) -> tuple[Event, Outcome] | None:
    """What an event of this type says, and what follows; None for what is not about a delivery."""
    if kind in EVENTS:
        event, action, meaning = EVENTS[kind]
        code = kind if event in {Event.DEFERRED, Event.COMPLAINED} else ""
        return event, Outcome(action, code=code, reason=meaning)
    if kind == "email.bounced":
        bounce = object_at(data, "bounce")
        by_type, sub_type = str(bounce.get("type") or ""), str(bounce.get("subType") or "")
        event, action, meaning = BOUNCES.get(by_type, BOUNCES["Undetermined"])
        said, code = _said(bounce), f"{by_type} {sub_type}".strip()
    elif kind == "email.suppressed":
        suppressed = object_at(data, "suppressed")
        code = str(suppressed.get("reason") or "")
        unknown = (Event.REJECTED, Action.NONE, "not sent: on Resend's suppression list")
        event, action, meaning = SUPPRESSIONS.get(code, unknown)
        said = _said(suppressed)
    elif kind == "email.failed":
        code = said = scrub(str(object_at(data, "failed").get("reason") or ""))
        event, action, meaning = FAILURES.get(code, (Event.REJECTED, Action.REJECT_MESSAGE, "not sent by Resend"))
    else:
        return None
    return event, Outcome(action, code=code or kind, reason=f"{meaning}: {said}" if said else meaning)


def _key(account: Account) -> bytes:
    """The bytes of webhookKey; raises `ReceiptKeyMissingError`."""
    text = str(account.credentials.get("webhookKey") or "").strip().removeprefix(_PREFIX)
    try:
        key = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ReceiptKeyMissingError(
            "set the account's webhookKey: the signing secret whsec_… of the webhook at Resend"
        )
    return key


def _verified(inbound: Inbound, key: bytes) -> str:
    """The id of a request whose signature holds; raises `ForgedReceiptError`."""
    event_id, timestamp, signatures = (
        inbound.headers.get(f"svix-{name}") or inbound.headers.get(f"webhook-{name}") or ""
        for name in ("id", "timestamp", "signature")
    )
    signed = f"{event_id}.{timestamp}.".encode("utf-8", "replace") + inbound.body
    expected = b64encode(hmac.digest(key, signed, "sha256")).decode()
    holds = False
    for each in signatures.split():  # several while a key is being replaced
        version, _, signature = each.partition(",")
        holds |= version == _VERSION and is_same(signature, expected)
    if not holds or not event_id:
        raise ForgedReceiptError("the signature is missing or made with another key than webhookKey")
    at = unix_time(timestamp)
    if at is None:
        raise ForgedReceiptError("the signature has no time")
    if abs(inbound.received_at - at) > TOLERANCE:
        raise ForgedReceiptError("the signature is over five minutes old: it is told again, or a clock is wrong")
    return event_id


def _said(details: Mapping[str, object]) -> str:
    """What the receiving server said, else Resend's own words."""
    codes = details.get("diagnosticCode")
    said = codes[0] if isinstance(codes, list) and codes else details.get("message")
    return scrub(str(said or ""))


def _tag(tags: object) -> str | None:
    """Ours among the tags: an object by the description, a list of name and value in some older events."""
    if isinstance(tags, list):
        tags = {str(each.get("name")): each.get("value") for each in tags if isinstance(each, dict)}
    tag = tags.get("delivery") if isinstance(tags, dict) else None
    return str(tag) if tag else None
