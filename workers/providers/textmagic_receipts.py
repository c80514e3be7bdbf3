"""What Textmagic reports: the status of messages sent, and messages that came in.

Textmagic signs nothing: the secret path of the receipt address is all that vouches for a report. Both of an account's
callback addresses, that of delivery notifications and that of incoming messages, are to be the receipt address.

Sources: https://www.textmagic.com/docs/api/receive-sms/; its pages on delivery notifications name the letters of a
status, and once `message_id` and a time in seconds, once the fields of the message itself. Both are read, as JSON or
as a form of either kind.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from messaging.outcome import Action, Outcome
from messaging.receipt import Event, Receipt, UnreadableReceiptError
from workers.providers import sms_words
from workers.providers.receipt_parts import iso_time, unix_time

if TYPE_CHECKING:
    from messaging.receipt import Inbound
    from workers.providers.base import Account, Fetch

LETTERS: Mapping[str, tuple[Event, Action, str]] = {
    "q": (Event.ACCEPTED, Action.NONE, "queued"),
    "s": (Event.ACCEPTED, Action.NONE, "sent"),
    "r": (Event.ACCEPTED, Action.NONE, "sent to the carrier"),
    "a": (Event.ACCEPTED, Action.NONE, "acknowledged by the carrier"),
    "b": (Event.DEFERRED, Action.NONE, "queued by the carrier"),
    "d": (Event.DELIVERED, Action.DELIVERED, ""),
    "f": (Event.BOUNCED_SOFT, Action.NONE, "it could not be delivered"),
    "e": (Event.BOUNCED_SOFT, Action.NONE, "it could not be sent"),
    "j": (Event.REJECTED, Action.REJECT_MESSAGE, "refused by the carrier"),
    "u": (Event.ACCEPTED, Action.NONE, "the final status is unknown"),
}
"""By the letter of a status."""

_WORD = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
_NUMBER = re.compile(r"\+?[1-9][0-9]{1,14}\Z")


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001  neither a key nor anything to fetch
    """The status of one message, or the opt-out that came in; none for any other message that came in."""
    fields = _fields(inbound)
    if fields.get("status"):
        return [_status(fields)]
    if fields.get("text") is not None and (fields.get("sender") or fields.get("from")):
        return _incoming(fields)
    raise UnreadableReceiptError("the callback has neither a status nor a text")


def classify_status(letter: str) -> Outcome:
    """What a message's status means."""
    _, action, meaning = LETTERS.get(letter, (Event.ACCEPTED, Action.NONE, "a status Textmagic's pages don't list"))
    return Outcome(action, code=letter, reason=meaning)


def _status(fields: Mapping[str, str]) -> Receipt:
    letter = fields["status"].lower()
    id_ = fields.get("messageId") or fields.get("message_id") or fields.get("id")
    if not id_ or not _WORD.match(id_) or not _WORD.match(letter):
        raise UnreadableReceiptError("the callback has no message id, or no status")
    event, _, meaning = LETTERS.get(letter, (Event.ACCEPTED, Action.NONE, "a status Textmagic's pages don't list"))
    return Receipt(
        event=event,
        key=f"{id_}:{letter}",
        provider_message_id=id_,
        at=_time(fields.get("timestamp", "")),
        code="" if event is Event.DELIVERED else letter,
        reason=meaning,
    )


def _incoming(fields: Mapping[str, str]) -> Sequence[Receipt]:
    word = fields["text"].strip().strip(".!").upper()
    if word not in sms_words.STOP | sms_words.START:
        return []
    stops = word in sms_words.STOP
    sender = fields.get("sender") or fields.get("from") or ""
    if not _NUMBER.match(sender):
        raise UnreadableReceiptError("the callback has no sender")
    id_ = fields.get("id") or fields.get("message_id") or f"{sender}:{fields.get('messageTime') or ''}"
    return [
        Receipt(
            event=Event.UNSUBSCRIBED if stops else Event.RESUBSCRIBED,
            key=f"in:{id_}",
            address=f"+{sender.removeprefix('+')}",
            at=_time(fields.get("messageTime") or fields.get("timestamp") or ""),
            action=Action.SUPPRESS_TARGET if stops else Action.UNSUPPRESS_TARGET,
            code=word,
            reason="opted out by text message" if stops else "opted in by text message",
        )
    ]


def _fields(inbound: Inbound) -> dict[str, str]:
    kind = inbound.headers.get("content-type", "")
    try:
        if kind.startswith("multipart/form-data"):
            return _multipart(kind, inbound.body)
        if kind.startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(inbound.body.decode(), keep_blank_values=True))
        document = json.loads(inbound.body)
    except (ValueError, RecursionError):
        raise UnreadableReceiptError("the callback is neither JSON nor a form") from None
    if not isinstance(document, dict):
        raise UnreadableReceiptError("the callback is no JSON object")
    return {name: str(value) for name, value in document.items() if isinstance(value, str | int | float)}


def _multipart(kind: str, body: bytes) -> dict[str, str]:
    message = email.message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    parts = [part for part in message.iter_parts() if isinstance(part, email.message.EmailMessage)]
    named = ((part.get_param("name", header="content-disposition"), part) for part in parts)
    return {name: part.get_content().rstrip("\r\n") for name, part in named if isinstance(name, str)}


def _time(text: str) -> datetime | None:
    return unix_time(text) if text.isdecimal() else iso_time(text)
