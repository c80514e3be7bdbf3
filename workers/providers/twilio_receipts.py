"""Twilio's status callbacks, and the text messages people answer with.

Sources: https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks,
https://www.twilio.com/docs/usage/security#validating-requests, https://www.twilio.com/docs/api/errors (codes),
https://support.twilio.com/hc/en-us/articles/223134027 (words that opt out and in).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import SplitResult, parse_qsl, urlsplit

from messaging.outcome import Action, Outcome
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from workers.providers import sms_words
from workers.providers.answers import json_object
from workers.providers.base import Account, Fetch
from workers.providers.receipt_parts import is_same, tag_in

CALLBACK_CODES: Mapping[str, tuple[Action, str]] = {
    "30001": (Action.RETRY, "queue overflow"),
    "30002": (Action.STOP_PROVIDER, "the account is suspended"),
    "30003": (Action.NONE, "the handset was unreachable"),
    "30004": (Action.SUPPRESS_TARGET, "blocked by the recipient or the carrier"),
    "30005": (Action.DISABLE_TARGET, "unknown handset"),
    "30006": (Action.DISABLE_TARGET, "landline or unreachable carrier"),
    "30007": (Action.REJECT_MESSAGE, "filtered by the carrier"),
    "30008": (Action.RETRY, "unknown error"),
    "30010": (Action.REJECT_MESSAGE, "the price is over the maximum"),
    "30011": (Action.REJECT_MESSAGE, "media are not supported there"),
    "30017": (Action.RETRY, "the carrier's network is congested"),
    "30018": (Action.STOP_PROVIDER, "the sender id must be registered in that country"),
    "30019": (Action.REJECT_MESSAGE, "the content is too big for the carrier"),
    "30022": (Action.RETRY_AFTER, "the sender's rate at US carriers is exceeded"),
    "30023": (Action.QUOTA, "the sender's daily cap at US carriers is reached"),
    "30024": (Action.STOP_PROVIDER, "the sender is not provisioned at the carrier"),
    "30027": (Action.QUOTA, "T-Mobile's daily limit is reached"),
    "30032": (Action.STOP_PROVIDER, "the toll-free number is not verified"),
    "30033": (Action.STOP_PROVIDER, "the US campaign is suspended"),
    "30034": (Action.STOP_PROVIDER, "the US number is not registered"),
    "30035": (Action.RETRY_AFTER, "the number is still being configured"),
    "30036": (Action.REJECT_MESSAGE, "expired before it could be sent"),
    "30410": (Action.RETRY, "the carrier did not answer in time"),
    "30450": (Action.REJECT_MESSAGE, "held back by SMS pumping protection"),
    "30453": (Action.REJECT_MESSAGE, "could not be delivered"),
    "63038": (Action.QUOTA, "the account's daily limit is reached"),
}
"""ErrorCode of a status callback."""

_OPTED_OUT = ("21610", Action.SUPPRESS_TARGET, "the recipient has opted out (STOP)")
"""A refusal of a request that comes as a callback where a messaging service queued the message."""
_EVENTS: Mapping[str, Event] = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), Event.ACCEPTED),
    "delivered": Event.DELIVERED,
    "read": Event.OPENED,
}
_FAILED = frozenset({"failed", "undelivered", "canceled"})
_GOOD_ADDRESS = frozenset({Action.NONE, Action.RETRY, Action.RETRY_AFTER})
"""A message that failed with one of these may arrive another time."""
_GAVE_UP = frozenset({"", "30036", "30453"})
"""Neither number nor content is said to be at fault."""

STOP_WORDS = sms_words.STOP | {"OPTOUT", "REVOKE"}
START_WORDS = sms_words.START | {"YES"}
"""Twilio's own words: the whole text, in any case."""

_SIGNATURE = "x-twilio-signature"
_SETTINGS = "x-twilio-webhooks-signature-settings"
_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_MOST_FIELDS = 300
_DEFAULT_PORT = {"https": 443, "http": 80}


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001  signed
    """The receipt of a status callback or of an answer; none for other texts people send."""
    if not account.credentials.get("authToken"):
        raise ReceiptKeyMissingError("The account has no authToken, which Twilio signs with: set it.")
    fields = _verified(inbound, account)
    if "MessageStatus" in fields:
        return list(_status(fields, tag_in(inbound.url)))
    if "Body" in fields:
        return list(_answer(fields))
    raise UnreadableReceiptError("Twilio's request is signed and no status callback nor a message.")


def classify_callback(status: str, error_code: str = "") -> Outcome:
    """What a status callback's MessageStatus and ErrorCode say about a delivery."""
    if error_code in CALLBACK_CODES:
        action, meaning = CALLBACK_CODES[error_code]
        return Outcome(action, code=error_code, reason=meaning)
    if error_code == _OPTED_OUT[0]:
        return Outcome(_OPTED_OUT[1], code=error_code, reason=_OPTED_OUT[2])
    if status in {"delivered", "read"}:
        return Outcome(Action.DELIVERED)
    if status in _FAILED:
        return Outcome(Action.REJECT_MESSAGE, code=error_code or status, reason=f"Twilio reports it as {status}")
    return Outcome(Action.NONE, code=status)


def sign(secret: str, url: str, fields: Sequence[tuple[str, str]], *, algorithm: str = "HMAC_SHA1") -> str:
    """Twilio's signature of a request: over its address and its form, by name and value, each once."""
    said = url + "".join(f"{name}{value}" for name, value in sorted(set(fields)))
    digest = hmac.digest(secret.encode(), said.encode("utf-8", "surrogatepass"), _ALGORITHMS[algorithm])
    return b64encode(digest).decode("ascii")


def _verified(inbound: Inbound, account: Account) -> Mapping[str, str]:
    """The fields of the request; raises unless Twilio signed it.

    The signature is over the address as Twilio called it, with or without the port, and the fields of a form. A JSON
    body is signed by its digest, the parameter `bodySHA256` of the address. With a shared key, whose secret is
    `webhookKey`, Twilio announces SHA-256; before that it is SHA-1 with the auth token.
    """
    given = inbound.headers.get(_SIGNATURE, "")
    if not given:
        raise ForgedReceiptError("The request is not signed.")
    parts = (part.partition("=") for part in inbound.headers.get(_SETTINGS, "").split(","))
    settings = {name.strip(): value.strip() for name, _, value in parts}
    algorithm = (settings.get("algorithm") or "HMAC_SHA1").upper()
    if algorithm not in _ALGORITHMS:
        raise ForgedReceiptError("The request is signed by a method this program does not know.")
    signed, fields = _fields(inbound)
    shared_key = str(account.credentials.get("webhookKey") or "")
    secrets = [str(account.credentials["authToken"]), *([shared_key] if shared_key else [])]
    if not any(
        is_same(given, sign(secret, url, signed, algorithm=algorithm))
        for secret in secrets
        for url in _addresses(inbound.url)
    ):
        if settings.get("key") and not shared_key:
            raise ReceiptKeyMissingError("Twilio signs with a shared key: set its secret as the account's webhookKey.")
        raise ForgedReceiptError("The signature is not Twilio's: is authToken that of the account that sent?")
    return fields


def _fields(inbound: Inbound) -> tuple[list[tuple[str, str]], Mapping[str, str]]:
    """What the signature covers besides the address, and the fields it all says."""
    query = parse_qsl(_parts(inbound.url).query, keep_blank_values=True)
    if inbound.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        digest = hashlib.sha256(inbound.body).hexdigest()
        claimed = dict(query).get("bodySHA256", "")
        if not is_same(claimed.lower(), digest):
            raise ForgedReceiptError("The body is not the one that was signed.")
        return [], _json(inbound.body)
    try:
        form = parse_qsl(inbound.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise UnreadableReceiptError("The request's body is no form Twilio would send.") from None
    return form, dict(form or query)


def _json(body: bytes) -> Mapping[str, str]:
    """The fields of a JSON body; a broken one has none."""
    return {name: str(value) for name, value in json_object(body).items() if isinstance(value, str | int)}


def _parts(url: str) -> SplitResult:
    """The parts of an address; raises `ForgedReceiptError` for what is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ForgedReceiptError("The address that was called can't be read.") from None
    return parts


def _addresses(url: str) -> Iterator[str]:
    """The address as it came, and with the port taken off or put on: Twilio signs either."""
    yield url
    parts = _parts(url)
    if parts.port is not None:
        yield parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl()
    elif parts.netloc and parts.scheme in _DEFAULT_PORT:
        yield parts._replace(netloc=f"{parts.netloc}:{_DEFAULT_PORT[parts.scheme]}").geturl()


def _status(fields: Mapping[str, str], tag: str | None) -> Iterator[Receipt]:
    status, error = fields["MessageStatus"].lower(), fields.get("ErrorCode", "")
    sid = fields.get("MessageSid") or fields.get("SmsSid") or ""
    if not sid:
        raise UnreadableReceiptError("Twilio's status callback has no MessageSid.")
    outcome = classify_callback(status, error)
    event = _event(status, error, outcome.action)
    if event is None:
        return
    failed = status in _FAILED
    yield Receipt(
        event=event,
        key=f"{sid} {status} {error}".strip(),
        tag=tag,
        provider_message_id=_plain(sid),
        action=outcome.action if failed or event is Event.DELIVERED else Action.NONE,
        code=_plain(outcome.code) or "" if failed else "",
        reason=outcome.reason if failed else "",
    )


def _event(status: str, error: str, action: Action) -> Event | None:
    if status not in _FAILED:
        return _EVENTS.get(status)
    if action is Action.DISABLE_TARGET:
        return Event.BOUNCED_HARD
    gave_up = action in _GOOD_ADDRESS or (error in _GAVE_UP and status != "canceled")
    return Event.BOUNCED_SOFT if gave_up else Event.REJECTED


def _answer(fields: Mapping[str, str]) -> Iterator[Receipt]:
    """An opt-out or opt-in; Twilio tells which where the messaging service has words of its own (OptOutType)."""
    word = (fields.get("OptOutType") or fields["Body"]).strip().upper()
    sender, sid = fields.get("From", ""), fields.get("MessageSid") or fields.get("SmsSid") or ""
    event = Event.UNSUBSCRIBED if word in STOP_WORDS else Event.RESUBSCRIBED if word in START_WORDS else None
    if event is None:
        return
    if not sender or not sid:
        raise UnreadableReceiptError("Twilio's message has no From or no MessageSid.")
    yield Receipt(
        event=event,
        key=sid,
        address=sender,
        action=Action.SUPPRESS_TARGET if event is Event.UNSUBSCRIBED else Action.UNSUPPRESS_TARGET,
        code=word if event is Event.UNSUBSCRIBED else "",
        reason=f"the recipient answered {word}",
    )


def _plain(text: str) -> str | None:
    return text[:100] if text.isascii() and text.isprintable() else None
