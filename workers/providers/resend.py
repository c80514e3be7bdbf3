"""Email through Resend: up to 100 emails a request, each to one reader.

A cc or bcc copy shows its own address in To as well: Resend would send to every address that Cc showed. Message-ID is
Resend's own. A batch can't have attachments, so emails with some go one by one.

Every request has an idempotency key made of what it says: told twice within 24 hours, the same emails are sent once.
So a request without a clear answer is made once more, at once. Later the road may try the same emails in other
company, which is another request with another key: then the outcome is unknown, as with any provider.

Sources: https://resend.com/docs/api-reference/emails/send-batch-emails,
https://resend.com/docs/dashboard/emails/idempotency-keys.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.header import Header
from mimetypes import MimeTypes

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.halving import send_halving
from workers.providers.http1 import lost, open_client
from workers.providers.http1_adapter import Http1Adapter
from workers.providers.mime import (
    RESERVED,
    Mailbox,
    Sender,
    checked_headers,
    header_line,
    mailbox,
    plain_text,
    reply_to_of,
    sender_of,
    unsubscribe_headers,
)
from workers.providers.resend_codes import classify, classify_batch, problem_of, refusal
from workers.providers.resend_receipts import read_receipts as read_receipts  # noqa: PLC0414  handed on

BATCH = 100
REQUEST_LIMIT_BYTES = 40_000_000
"""Of an email after its attachments are written in base64; taken for that of a batch, too."""

_ONE, _MANY = "/emails", "/emails/batch"
_PERMISSIVE = {"x-batch-validation": "permissive"}
_PAUSE_S = 0.25
"""Before a request is made once more."""
_NOT_IN_A_SENDER = re.compile(r"[<>\",;:@\\]")
"""Resend takes the sender's name neither quoted nor encoded, so these can't stand in it."""
_SPECIALS = re.compile(r"[][\\()<>@,;:\".]|=\?")
_UNVERIFIED = frozenset({"not_started", "pending", "failed"})
_KNOWN_TYPES = MimeTypes()
"""Python's own list, the same on every host: an email must be the same when it is told again."""
_TITLE = "Resend"

_REFUSED = frozenset({400, 422})
_SETTLES = frozenset({Action.ACCEPTED, Action.REJECT_MESSAGE, Action.DISABLE_TARGET})


@dataclass(frozen=True)
class Prepared:
    """An email without what differs between recipients."""

    message_id: str
    shared: Mapping[str, object]
    headers: Mapping[str, str]
    size: int
    """Bytes of `shared` as JSON."""
    alone: bool
    """It has attachments."""


@dataclass(frozen=True)
class _Entry:
    place: int
    tag: str
    body: bytes


class ResendAdapter(Http1Adapter[Prepared]):
    """One Resend account."""

    title = _TITLE

    def __init__(self, sender: Sender, client: httpx.AsyncClient, *, concurrency: int = 1) -> None:
        super().__init__(client)
        self._sender = sender
        self._from = sender_text(sender)
        self._slots = asyncio.Semaphore(max(1, concurrency))

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """What all recipients share; raises `ContentError` naming what can't be sent."""
        email = outgoing.content
        if not isinstance(email, Email):
            raise ContentError(f"Resend can't send a {outgoing.content.channel} message", "wrong_channel")
        if not email.subject.strip() or not email.content:
            raise ContentError("Resend refuses a message without subject or content", "missing_required_field")
        header_line("Subject", email.subject)  # raises for a line end
        headers = checked_headers(email.headers, RESERVED)
        shared = {"from": self._from, **_content(email, self._sender)}
        try:
            size = len(json.dumps(shared, ensure_ascii=False).encode())
        except UnicodeEncodeError:
            raise ContentError("the message holds half a character (a lone surrogate): remove it") from None
        if size > REQUEST_LIMIT_BYTES:
            raise ContentError(f"the message takes {size} bytes; Resend takes 40 MB with attachments", "413")
        return Prepared(outgoing.message_id, shared, headers, size, bool(email.attachments))

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request; one for each recipient where there are attachments."""
        outcomes: dict[int, Outcome] = {}
        entries: list[_Entry] = []
        for place, recipient in enumerate(recipients):
            try:
                entries.append(_Entry(place, recipient.tag, json.dumps(email_of(message, recipient)).encode()))
            except ContentError as error:
                action = Action.DISABLE_TARGET if error.code == "address_invalid" else Action.REJECT_MESSAGE
                outcomes[place] = Outcome(action, error.code, str(error))
        entries.sort(key=lambda entry: entry.tag)  # the same emails make the same request
        if message.alone:
            found = await self._send_alone(message, entries)
        else:
            at_once = max(1, min(BATCH, REQUEST_LIMIT_BYTES // (message.size + 1000)))
            found = []
            for start in range(0, len(entries), at_once):
                request = entries[start : start + at_once]
                found += await send_halving(request, lambda part: self._post_batch(message, part))
        outcomes.update((entry.place, outcome) for entry, outcome in zip(entries, found, strict=True))
        return [outcomes[place] for place in range(len(recipients))]

    async def _check(self) -> Outcome:
        """The state of the sender's domain; a key that may only send may not ask, which proves it as well."""
        response = await self._client.get("/domains")
        if problem_of(response.content).name == "restricted_api_key":
            return Outcome(Action.ACCEPTED, reason="the key may send, and nothing else")
        if response.is_success:
            return _state(response, self._sender.mailbox.domain)
        return classify(response.status_code, response.content, response.headers)

    async def _send_alone(self, message: Prepared, entries: Sequence[_Entry]) -> list[Outcome]:
        """Each in a request of its own, side by side; once one is throttled the rest wait with it."""
        stopped: list[Outcome] = []

        async def send_one(entry: _Entry) -> Outcome:
            async with self._slots:
                if stopped:
                    return stopped[0]
                (outcome,) = await self._ask(message, _ONE, entry.body, 1)
            if outcome.action in {Action.RETRY_AFTER, Action.QUOTA, Action.STOP_PROVIDER}:
                stopped.append(outcome)
            return outcome

        return await asyncio.gather(*(send_one(entry) for entry in entries))

    async def _post_batch(self, message: Prepared, request: Sequence[_Entry]) -> Sequence[Outcome] | None:
        outcomes = await self._ask(message, _MANY, b"[" + b",".join(e.body for e in request) + b"]", len(request))
        return None if all(outcome is _BLAMED for outcome in outcomes) else outcomes

    async def _ask(self, message: Prepared, path: str, body: bytes, count: int) -> Sequence[Outcome]:
        """One outcome per email of a request, which is made once more where nothing clear came of it."""
        first = await self._post(message, path, body, count)
        if not any(_is_worth_repeating(outcome) for outcome in first):
            return first
        await asyncio.sleep(_PAUSE_S)
        second = await self._post(message, path, body, count)
        return [_of_both(*pair) for pair in zip(first, second, strict=True)]

    async def _post(self, message: Prepared, path: str, body: bytes, count: int) -> Sequence[Outcome]:
        headers = {"content-type": "application/json", "idempotency-key": idempotency_key(message.message_id, body)}
        if path == _MANY:
            headers |= _PERMISSIVE
        try:
            response = await self._client.post(path, content=body, headers=headers)
        except httpx.HTTPError as error:
            return [lost(error, _TITLE)] * count
        problem = problem_of(response.content)
        if response.status_code in _REFUSED and problem.blames_the_recipient:
            return [refusal(problem)] * count if count == 1 else [_BLAMED] * count
        if path == _ONE:
            return [classify(response.status_code, response.content, response.headers)]
        return classify_batch(response.status_code, response.content, response.headers, count)


_BLAMED = Outcome(Action.RETRY, "422 to, of several", "not sent: the request was refused for one of its recipients")
"""Of a batch that is refused for one address, without saying which."""


def email_of(message: Prepared, recipient: Recipient) -> dict[str, object]:
    """One email as Resend takes it; raises `ContentError` for an address or a name that can't stand in it."""
    box = mailbox(recipient.address)
    headers = {**message.headers, **unsubscribe_headers(recipient, message.headers)}
    return {
        **message.shared,
        "to": [address_text(recipient.name or "", box)],
        "tags": [{"name": "delivery", "value": recipient.tag}],
        **({"headers": headers} if headers else {}),
    }


def address_text(name: str, box: Mailbox) -> str:
    """`name <address>`; Resend refuses quoted names, so one that would need quotes is encoded (RFC 2047)."""
    header_line("To", name)  # raises for a line end
    name = " ".join(name.split())
    if not name:
        return box.spec
    if _SPECIALS.search(name):
        name = Header(name, "utf-8").encode().replace("\n", "")
    return f"{name} <{box.spec}>"


def sender_text(sender: Sender) -> str:
    """`name <address>`, neither quoted nor encoded: Resend takes the sender no other way; raises `SettingsError`."""
    name = " ".join(sender.name.split())
    if _NOT_IN_A_SENDER.search(name):
        raise SettingsError(
            "The Resend provider's fromName holds one of <>\",;:@\\, which Resend refuses: take it out."
        )
    return f"{name} <{sender.mailbox.spec}>" if name else sender.mailbox.spec


def idempotency_key(message_id: str, body: bytes) -> str:
    """The same for the same request of the same message."""
    return hashlib.sha256(message_id.encode() + b"\0" + body).hexdigest()


def _content(email: Email, sender: Sender) -> dict[str, object]:
    content: dict[str, object] = {"subject": email.subject}
    text = plain_text(email)
    if text:
        content["text"] = text
    if email.html:
        content["html"] = email.content
    reply_to = reply_to_of(email, sender)
    if reply_to:
        content["reply_to"] = [address_text(*reply_to)]
    if email.attachments:
        content["attachments"] = [_attachment(attachment) for attachment in email.attachments]
    return content


def _attachment(attachment: Attachment) -> dict[str, str]:
    """Without its type where the name says another: Resend drops such a file in silence."""
    header_line("attachment filename", attachment.filename)
    header_line("attachment type", attachment.content_type)
    entry = {"filename": attachment.filename, "content": b64encode(attachment.content).decode("ascii")}
    by_name, _ = _KNOWN_TYPES.guess_type(attachment.filename)
    declared = attachment.content_type.partition(";")[0].strip().lower()
    return entry | ({"content_type": attachment.content_type} if by_name in {None, declared} else {})


def _is_worth_repeating(outcome: Outcome) -> bool:
    """Whether nothing clear came of a request, and not for want of time."""
    unclear = outcome.action is Action.AMBIGUOUS_RETRY or outcome.code.startswith("500")
    return outcome.outage and unclear and not outcome.code.endswith("Timeout")


def _of_both(first: Outcome, second: Outcome) -> Outcome:
    """What a request and its repetition come to for one email: no refusal but of the email itself undoes the first."""
    if not _is_worth_repeating(first):
        return first
    settled = second is _BLAMED or second.action in _SETTLES
    return second if settled or first.action is not Action.AMBIGUOUS_RETRY else first


def _state(response: httpx.Response, domain: str) -> Outcome:
    """What the list of domains says of the sender's."""
    try:
        states = {str(each["name"]).lower(): str(each["status"]) for each in response.json()["data"]}
    except (ValueError, RecursionError, KeyError, TypeError):
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(response.status_code), reason="the answer can't be read")
    state = states.get(domain.lower())
    if state in _UNVERIFIED:
        reason = f"the domain {domain} is not verified ({state}): verify it at Resend"
        return Outcome(Action.STOP_PROVIDER, code=state, reason=reason)
    return Outcome(Action.ACCEPTED, reason=f"the domain {domain} is {state or 'not among the first listed'}")


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Resend account; raises `SettingsError` naming what is missing."""
    key = str(account.credentials.get("apiKey") or "").strip()
    if not re.fullmatch(r"[!-~]+", key):
        raise SettingsError("The Resend provider's apiKey is missing or holds blanks: set the key that begins re_.")
    client = open_client(account, context, headers={"authorization": f"Bearer {key}"})
    return ResendAdapter(sender_of(account.options), client, concurrency=context.concurrency)
