"""Delivery receipts and inbound messages of Vonage's SMS API.

The account's settings decide whether they come as GET, as a form or as JSON, and whether they are signed: then `sig`
is a digest over all other fields. An account that signs nothing is protected by the secret path alone. Vonage
prescribes no age; it tells a receipt again for a day, so older ones are refused.
Sources: https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts,
https://developer.vonage.com/en/messaging/sms/guides/inbound-sms,
https://developer.vonage.com/en/getting-started/concepts/signing-messages
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

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
from workers.providers.receipt_parts import is_same, unix_time, what_follows, with_failure
from workers.providers.sms_words import choice_in

MAX_AGE = timedelta(hours=25)
"""A day of repetitions, and clocks that differ."""

STATUSES: Mapping[str, tuple[Action, str]] = {
    "delivered": (Action.DELIVERED, ""),
    "accepted": (Action.NONE, "accepted by the carrier"),
    "buffered": (Action.NONE, "waits at the carrier"),
    "expired": (Action.NONE, "could not be delivered in time"),
    "unknown": (Action.NONE, "the carrier does not say what became of it"),
    "failed": (Action.NONE, "could not be delivered"),
    "rejected": (Action.REJECT_MESSAGE, "rejected by the carrier"),
}
"""By `status`, where `err-code` says nothing more."""

ERRORS: Mapping[str, tuple[Action, str]] = {
    "1": (Action.NONE, "not delivered, the reason is not known"),
    "2": (Action.RETRY, "the handset was not reachable for the time being"),
    "3": (Action.DISABLE_TARGET, "the number is no longer in use"),
    "4": (Action.SUPPRESS_TARGET, "barred by the recipient"),
    "5": (Action.RETRY, "the number's network could not be told"),
    "6": (Action.REJECT_MESSAGE, "held back by the carrier's spam filter"),
    "7": (Action.RETRY, "the handset was busy"),
    "8": (Action.RETRY, "network error"),
    "9": (Action.DISABLE_TARGET, "not a number that can be sent to"),
    "10": (Action.REJECT_MESSAGE, "a part of the message is not valid"),
    "11": (Action.REJECT_MESSAGE, "no route to the number"),
    "12": (Action.DISABLE_TARGET, "the number can't be reached"),
    "13": (Action.REJECT_MESSAGE, "the recipient's age forbids the content"),
    "14": (Action.REJECT_MESSAGE, "blocked by the carrier"),
    "15": (Action.NONE, "the recipient's prepaid credit does not suffice"),
    "16": (Action.NONE, "the carrier's quota is used up"),
    "50": (Action.REJECT_MESSAGE, "the sending entity is not registered there"),
    "51": (Action.REJECT_MESSAGE, "the sender is not registered there"),
    "52": (Action.REJECT_MESSAGE, "the content is not registered there"),
    "53": (Action.REJECT_MESSAGE, "the recipient's consent is not registered there"),
    "54": (Action.REJECT_MESSAGE, "a regulation forbids it"),
    "99": (Action.NONE, "general error"),
}
"""By `err-code`:
https://api.support.vonage.com/hc/en-us/articles/204014733-Vonage-SMS-Delivery-Error-Codes-and-Descriptions.
16 and above are not confirmed."""

_DIGESTS = frozenset({"md5", "sha1", "sha256", "sha512"})
_PLAIN_MD5 = "md5hash"
_WITHIN_VALUES = str.maketrans({"&": "_", "=": "_"})

_EVENTS: Mapping[str, Event] = {
    "delivered": Event.DELIVERED,
    "accepted": Event.ACCEPTED,
    "unknown": Event.ACCEPTED,
    "buffered": Event.DEFERRED,
}
_STOPS_FIRST = "STOP"


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:
    """A delivery receipt, an opt-out by message, or nothing for any other message.

    A receipt of a long text comes for each of its parts. Raises `ForgedReceiptError` for a signature that is missing,
    wrong or too old, `ReceiptKeyMissingError` for one that can't be checked, `UnreadableReceiptError`.
    """
    del fetch
    key = str(account.credentials.get("webhookKey") or "")
    method = str(account.options.get("signatureMethod") or _PLAIN_MD5)
    try:
        fields = _fields(inbound)
    except ValueError as error:
        if key:
            raise ForgedReceiptError("the request can't be read, so its signature can't be checked") from error
        raise UnreadableReceiptError("the request holds no fields: neither query, form nor JSON object") from error
    if key:
        _check(fields, key, method, inbound.received_at)
    elif "sig" in fields:
        raise ReceiptKeyMissingError("Vonage signs the account's webhooks: set webhookKey to its signature secret")
    if "status" in fields:
        return _delivery(fields)
    if "msisdn" in fields and ("text" in fields or "keyword" in fields):
        return _message(fields)
    raise UnreadableReceiptError("neither a delivery receipt (status) nor a message (msisdn and text)")


def sign(fields: Mapping[str, str], key: str, method: str) -> str:
    """The signature in hexadecimal over all fields but `sig`, sorted by name: `&name=value` each.

    `&` and `=` within a value become `_`, and only those: a data set of Vonage's Node SDK that also replaces those
    between the fields does not follow the documented rule. Raises `ValueError` for an unknown method.
    """
    joined = "".join(
        f"&{name}={value.translate(_WITHIN_VALUES)}" for name, value in sorted(fields.items()) if name != "sig"
    ).encode(errors="replace")
    if method == _PLAIN_MD5:
        return hashlib.md5(joined + key.encode(), usedforsecurity=False).hexdigest()  # Vonage's own rule
    if method not in _DIGESTS:
        raise ValueError(f"no signature method '{method}'; there are: {_PLAIN_MD5}, {', '.join(sorted(_DIGESTS))}")
    return hmac.new(key.encode(), joined, method).hexdigest()


def classify_receipt(status: str, error: str = "") -> Outcome:
    """What `status` and `err-code` of a delivery receipt say; the code says more where there is one."""
    if status != "delivered" and error in ERRORS:
        action, meaning = ERRORS[error]
        return Outcome(action, code=f"{status[:40]} {error}", reason=meaning)
    action, meaning = STATUSES.get(status, (Action.NONE, "a status that is not known"))
    return Outcome(action, code="" if action is Action.DELIVERED else status[:40], reason=meaning)


def _check(fields: Mapping[str, str], key: str, method: str, received_at: datetime) -> None:
    given = fields.get("sig", "")
    try:
        expected = sign(fields, key, method)
    except ValueError as error:
        raise ForgedReceiptError(f"{error}: correct signatureMethod") from error
    if not is_same(given.lower(), expected):
        raise ForgedReceiptError(
            "the signature is missing or wrong: check webhookKey and signatureMethod against the account's settings"
        )
    at = unix_time(fields.get("timestamp"))
    if at is None:
        raise ForgedReceiptError("the signature covers no time")
    if abs(received_at - at) > MAX_AGE:
        raise ForgedReceiptError("the signature is out of date")


def _delivery(fields: Mapping[str, str]) -> Sequence[Receipt]:
    status, error, message = fields["status"], fields.get("err-code", ""), fields.get("messageId", "")
    tag = fields.get("client-ref") or None
    if not message and tag is None:
        raise UnreadableReceiptError("a delivery receipt without messageId and client-ref")
    outcome = classify_receipt(status, error)
    common = Receipt(
        event=_event(status, outcome.action),
        key=f"{message}:{status}:{error}",
        tag=tag,
        provider_message_id=message or None,
        at=_time(fields),
        code=outcome.code,
        reason=outcome.reason,
        action=what_follows(outcome.action),
    )
    return with_failure(common) if outcome.action is Action.SUPPRESS_TARGET else [common]


def _event(status: str, action: Action) -> Event:
    match action:
        case Action.DISABLE_TARGET:
            return Event.BOUNCED_HARD
        case Action.SUPPRESS_TARGET:
            return Event.UNSUBSCRIBED
        case Action.REJECT_MESSAGE:
            return Event.REJECTED
        case _:
            return _EVENTS.get(status, Event.BOUNCED_SOFT if status in STATUSES else Event.ACCEPTED)


def _message(fields: Mapping[str, str]) -> Sequence[Receipt]:
    text = fields.get("text", "")
    if fields.get("keyword", "").upper() == _STOPS_FIRST:  # the first word; others begin sentences of all kinds
        text = _STOPS_FIRST
    return choice_in(text, sender=fields["msisdn"], message=fields.get("messageId", ""), at=_time(fields))


def _fields(inbound: Inbound) -> Mapping[str, str]:
    """The fields as text; raises `ValueError` where there are none."""
    if inbound.method == "GET":
        pairs = parse_qsl(urlsplit(inbound.url).query, keep_blank_values=True)
    elif inbound.headers.get("content-type", "").startswith("application/json"):
        document = _json(inbound.body)
        pairs = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in document.items()]
    else:
        pairs = parse_qsl(inbound.body.decode(), keep_blank_values=True)
    if not pairs:
        raise ValueError("no fields")
    return dict(pairs)


def _json(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise ValueError("no JSON object") from error
    if not isinstance(document, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  whatever is wrong with it, the caller handles one error
    return document


def _time(fields: Mapping[str, str]) -> datetime | None:
    """When Vonage told it, UTC; None where it doesn't say."""
    try:
        return datetime.strptime(fields.get("message-timestamp", ""), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
