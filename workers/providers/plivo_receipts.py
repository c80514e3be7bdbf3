"""Status callbacks and inbound messages of Plivo.

Plivo signs with the account's auth token. Version 3 covers address and fields; version 2, the one its pages name for
messages, covers the address without its query only, so that what such a request says is protected by the secret path
alone. Where a request has version 3, that must be right; version 2 counts where there is no other. Neither has a time.
Sources: https://www.plivo.com/docs/messaging/api/message/send-a-message/,
https://docs.plivo.com/docs/messaging/concepts/signature-validation,
https://docs.plivo.com/docs/voice/concepts/signature-validation
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit, urlunsplit

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
from workers.providers.receipt_parts import is_same, what_follows, with_failure
from workers.providers.sms_words import choice_in

ERRORS: Mapping[str, tuple[Action, str]] = {
    "10": (Action.REJECT_MESSAGE, "the carrier refused the message as not valid"),
    "20": (Action.RETRY, "network error at the carrier"),
    "30": (Action.REJECT_MESSAGE, "held back by the carrier's spam filter"),
    "40": (Action.STOP_PROVIDER, "the sender is not valid: correct from"),
    "50": (Action.DISABLE_TARGET, "not a valid number"),
    "60": (Action.REJECT_MESSAGE, "the same message goes to and fro (loop)"),
    "70": (Action.DISABLE_TARGET, "the number is out of use"),
    "80": (Action.RETRY, "the number was not reachable for the time being"),
    "90": (Action.STOP_PROVIDER, "no route to that country from this sender"),
    "100": (Action.REJECT_MESSAGE, "forbidden by the carrier"),
    "110": (Action.REJECT_MESSAGE, "the message is too long"),
    "200": (Action.SUPPRESS_TARGET, "the recipient has opted out (STOP)"),
    "300": (Action.RETRY, "Plivo could not pass it on"),
    "420": (Action.NONE, "expired before it could be sent"),
    "900": (Action.QUOTA, "the account's credit does not suffice: top it up"),
    "910": (Action.STOP_PROVIDER, "the account is disabled: ask Plivo"),
    "1000": (Action.RETRY, "the reason is not known"),
}
"""By ErrorCode of a callback: https://plivo.com/docs/messaging/troubleshooting/error-codes"""

_EVENTS: Mapping[str, Event] = {
    "queued": Event.ACCEPTED,
    "sent": Event.ACCEPTED,
    "delivered": Event.DELIVERED,
    "read": Event.OPENED,
}
_FAILED = frozenset({"failed", "undelivered", "rejected"})


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:
    """A status callback, an opt-out by message, or nothing for any other message.

    Raises `ForgedReceiptError` without a right signature, `ReceiptKeyMissingError`, `UnreadableReceiptError`.
    """
    del fetch
    token = account.credentials.get("authToken")
    if not isinstance(token, str) or not token:
        raise ReceiptKeyMissingError("Plivo signs with the account's auth token: set authToken")
    query = parse_qsl(urlsplit(inbound.url).query, keep_blank_values=True)
    form: list[tuple[str, str]] = []
    if inbound.method != "GET":
        form = parse_qsl(inbound.body.decode(errors="replace"), keep_blank_values=True)
    _check(inbound, form, token)
    fields = dict(query) | dict(form)
    if "Status" in fields:
        return _status(fields, dict(query).get("delivery"))
    if "From" in fields and "Text" in fields:
        return choice_in(fields["Text"], sender=fields["From"], message=fields.get("MessageUUID", ""))
    raise UnreadableReceiptError("neither a status callback (Status) nor a message (From and Text)")


def sign_v3(url: str, form: Sequence[tuple[str, str]], nonce: str, token: str) -> str:
    """Version 3: over the address, its query and the form's fields, both sorted, and the nonce."""
    parts = urlsplit(url)
    query = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True)))
    signed = _without_query(url)
    if query or form:
        signed += f"?{query}"
    if form:
        signed += ("." if query else "") + "".join(f"{name}{value}" for name, value in sorted(form))
    return _digest(f"{signed}.{nonce}", token)


def sign_v2(url: str, nonce: str, token: str) -> str:
    """Version 2: over the address without its query, and the nonce."""
    return _digest(f"{_without_query(url)}{nonce}", token)


def classify_callback(status: str, error: str = "") -> Outcome:
    """What Status and ErrorCode of a callback say about a delivery."""
    if status in _FAILED and error in ERRORS:
        action, meaning = ERRORS[error]
        return Outcome(action, code=error, reason=meaning)
    if status == "delivered":
        return Outcome(Action.DELIVERED)
    if status == "rejected":
        return Outcome(Action.REJECT_MESSAGE, code=error or status, reason="rejected by Plivo")
    if status in _FAILED:
        return Outcome(Action.NONE, code=error or status, reason=f"Plivo reports it as {status}")
    return Outcome(Action.NONE, code=status[:40])


def _check(inbound: Inbound, form: Sequence[tuple[str, str]], token: str) -> None:
    given = inbound.headers.get("x-plivo-signature-v3")
    if given is not None:
        expected = sign_v3(inbound.url, form, inbound.headers.get("x-plivo-signature-v3-nonce", ""), token)
    else:
        given = inbound.headers.get("x-plivo-signature-v2", "")
        expected = sign_v2(inbound.url, inbound.headers.get("x-plivo-signature-v2-nonce", ""), token)
    if not any([is_same(candidate.strip(), expected) for candidate in given.split(",")]):  # noqa: C419  all of them, in any case
        raise ForgedReceiptError("the signature is missing or wrong: check authToken and the address Plivo calls")


def _status(fields: Mapping[str, str], tag: str | None) -> Sequence[Receipt]:
    status, error, message = fields["Status"].lower(), fields.get("ErrorCode", ""), fields.get("MessageUUID", "")
    if not message and tag is None:
        raise UnreadableReceiptError("a status callback without MessageUUID and delivery")
    outcome = classify_callback(status, error)

    def told(event: Event, action: Action) -> Receipt:
        return Receipt(
            event=event,
            key=f"{message}:{status}:{error}",
            tag=tag or None,
            provider_message_id=message or None,
            action=action,
            code=outcome.code if status in _FAILED else "",
            reason=outcome.reason,
        )

    follows = what_follows(outcome.action)
    match outcome.action:
        case Action.SUPPRESS_TARGET:
            return with_failure(told(Event.UNSUBSCRIBED, follows))
        case Action.DISABLE_TARGET:
            return [told(Event.BOUNCED_HARD, follows)]
        case Action.REJECT_MESSAGE | Action.STOP_PROVIDER | Action.QUOTA:
            return [told(Event.REJECTED, follows)]
        case _ if status in _FAILED:
            return [told(Event.BOUNCED_SOFT, follows)]
        case _:
            return [told(_EVENTS[status], follows)] if status in _EVENTS else []


def _without_query(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def _digest(signed: str, token: str) -> str:
    return b64encode(hmac.digest(token.encode(), signed.encode(errors="replace"), "sha256")).decode()
