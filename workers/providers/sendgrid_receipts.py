"""SendGrid's signed event webhook: what became of messages, many events a request.

Sources: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event,
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader

from messaging.outcome import Action, Outcome
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from workers.providers.base import Account, Fetch
from workers.providers.receipt_parts import json_of, unix_time

TOLERANCE = timedelta(days=1)
"""How far a signature's time may be from now. SendGrid prescribes none and repeats a request for up to a day."""

EVENTS: Mapping[str, tuple[Action, str]] = {
    "processed": (Action.NONE, "accepted for delivery"),
    "delivered": (Action.DELIVERED, ""),
    "deferred": (Action.NONE, "deferred: tried again for up to 72 hours"),
    "bounce": (Action.DISABLE_TARGET, "bounced"),
    "dropped": (Action.SUPPRESS_TARGET, "dropped before sending"),
    "spamreport": (Action.SUPPRESS_TARGET, "reported as spam"),
    "unsubscribe": (Action.SUPPRESS_TARGET, "unsubscribed"),
    "group_unsubscribe": (Action.SUPPRESS_TARGET, "unsubscribed from a group"),
    "group_resubscribe": (Action.UNSUPPRESS_TARGET, "subscribed to a group again"),
    "open": (Action.NONE, "opened"),
    "click": (Action.NONE, "clicked"),
}
"""By name of an event: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event"""

_DROPPED: Sequence[tuple[str, Action]] = (
    ("bounced address", Action.DISABLE_TARGET),
    ("invalid smtpapi", Action.REJECT_MESSAGE),
    ("invalid", Action.DISABLE_TARGET),
    ("spam content", Action.REJECT_MESSAGE),
    ("package quota", Action.QUOTA),
)
"""What the reason of a `dropped` event begins to mean; the rest are suppressions."""

_NAMED: Mapping[str, Event] = {
    "processed": Event.ACCEPTED,
    "delivered": Event.DELIVERED,
    "deferred": Event.DEFERRED,
    "spamreport": Event.COMPLAINED,
    "unsubscribe": Event.UNSUBSCRIBED,
    "group_unsubscribe": Event.UNSUBSCRIBED,
    "group_resubscribe": Event.RESUBSCRIBED,
    "open": Event.OPENED,
    "click": Event.CLICKED,
}
"""`bounce` and `dropped` are read for their reason; other names are no news of a message."""
_GOOD_NEWS = frozenset({Event.ACCEPTED, Event.DELIVERED, Event.RESUBSCRIBED, Event.OPENED, Event.CLICKED})
_ABOUT_THE_READER = frozenset({Event.COMPLAINED, Event.UNSUBSCRIBED, Event.RESUBSCRIBED})
"""Heeded for mail that was not ours, too: the account may send other mail, and the reader is the same."""

_SIGNATURE = EventWebhookHeader.SIGNATURE.lower()
_TIMESTAMP = EventWebhookHeader.TIMESTAMP.lower()
_PEM_LINE = re.compile(r"-----[A-Z ]+-----|\s")
_LONGEST_REASON = 200


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001  signed
    """The receipts of one request to the event webhook, whose signature is checked with `webhookKey`."""
    _verify(inbound, str(account.credentials.get("webhookKey") or ""))
    events = json_of(inbound.body, "SendGrid's request is signed and no JSON: it changes nothing.")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise UnreadableReceiptError("SendGrid's request is signed and no list of events: it changes nothing.")
    return [receipt for event in events for receipt in _receipts(event)]


def classify_event(event: Mapping[str, object]) -> Outcome:
    """What one object of the event webhook says about its delivery."""
    name = str(event.get("event", ""))
    action, meaning = EVENTS.get(name, (Action.NONE, "unknown event"))
    reason = str(event.get("reason") or event.get("response") or "").lower()
    if name == "bounce":
        if event.get("type") == "blocked":
            action, meaning = Action.NONE, "blocked by policy or reputation; the address may be good"
        elif str(event.get("bounce_classification") or "Invalid Address").lower() != "invalid address":
            action = Action.SUPPRESS_TARGET
    if name == "dropped":
        action = next((action for words, action in _DROPPED if words in reason), action)
    code = f"{name} {event.get('status') or event.get('bounce_classification') or ''}".strip()
    return Outcome(action, code=code, reason=meaning)


def _verify(inbound: Inbound, key: str) -> None:
    """Raise unless SendGrid signed the request with the private half of `key`.

    The helper of SendGrid's own library checks the signature; it takes text, which is the body byte for byte where
    the body is UTF-8, as JSON is.
    """
    if not key:
        raise ReceiptKeyMissingError("The account has no webhookKey: set the verification key of the event webhook.")
    given, timestamp = inbound.headers.get(_SIGNATURE, ""), inbound.headers.get(_TIMESTAMP, "")
    if not given or not timestamp:
        raise ForgedReceiptError("The request is not signed: turn on SendGrid's Signed Event Webhook.")
    try:
        webhook = EventWebhook(_PEM_LINE.sub("", key))
    except (ValueError, UnsupportedAlgorithm):
        webhook = None
    if webhook is None or not isinstance(webhook.public_key, EllipticCurvePublicKey):
        raise ReceiptKeyMissingError("The account's webhookKey is no public key: copy SendGrid's verification key.")
    try:
        # One text for each signature: the decoder alone would pass over letters that are no base64.
        genuine = b64encode(b64decode(given, validate=True)) == given.encode() and webhook.verify_signature(
            inbound.body.decode(), given, timestamp
        )
    except ValueError:  # no base64, or no UTF-8
        genuine = False
    if not genuine:
        raise ForgedReceiptError("The signature is not SendGrid's: is webhookKey that of this webhook?")
    if not timestamp.isdecimal() or not timestamp.isascii():
        raise ForgedReceiptError("The signature has no time.")
    if abs(inbound.received_at.timestamp() - int(timestamp[:20])) > TOLERANCE.total_seconds():
        raise ForgedReceiptError("The signature is more than a day old: a request that was sent again.")


def _receipts(event: Mapping[str, object]) -> Iterator[Receipt]:
    name = str(event.get("event", ""))
    outcome = classify_event(event)
    kind = _kind(name, outcome.action)
    tag = event.get("delivery")
    tag = tag if isinstance(tag, str) and tag else None
    if kind is None or (tag is None and kind not in _ABOUT_THE_READER):
        return
    said = _words(event.get("reason") or event.get("response"))
    reason = f"{outcome.reason}: {said}" if said else outcome.reason
    # Dropped for an opt-out of before: the message failed, and the opt-out reaches no further than it did.
    opted_out = name == "dropped" and "unsubscribed" in said.lower()
    for what, action in (
        (kind, Action.NONE if opted_out else outcome.action),
        *([(Event.UNSUBSCRIBED, outcome.action)] if opted_out else []),
    ):
        yield Receipt(
            event=what,
            key=str(event.get("sg_event_id") or f"{event.get('sg_message_id')} {name} {event.get('timestamp')}"),
            tag=tag,
            provider_message_id=None if tag is None else _message_id(event.get("sg_message_id")),
            address=_address(event.get("email")) if tag is None else None,
            at=unix_time(event.get("timestamp")),
            action=action,
            code="" if what in _GOOD_NEWS else _words(outcome.code)[:100],
            reason="" if what is Event.DELIVERED else reason,
        )


def _kind(name: str, action: Action) -> Event | None:
    if name == "bounce":
        return Event.BOUNCED_HARD if action is Action.DISABLE_TARGET else Event.BOUNCED_SOFT
    if name == "dropped":
        return Event.BOUNCED_HARD if action is Action.DISABLE_TARGET else Event.REJECTED
    return _NAMED.get(name)


def _words(text: object) -> str:
    """A mail server's or SendGrid's own words, on one line, without addresses."""
    if not isinstance(text, str):
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _LONGEST_REASON])
    return " ".join(re.sub(r"\S+@\S+", "<address>", printable).split())[:_LONGEST_REASON]


def _message_id(given: object) -> str | None:
    """The X-Message-Id of the request: what stands before the first dot."""
    text = given.partition(".")[0] if isinstance(given, str) else ""
    return text if text.isascii() and text.isprintable() and text else None


def _address(given: object) -> str | None:
    return given if isinstance(given, str) and given.isprintable() and given else None
