"""Email through SendGrid's v3 mail/send: up to 1,000 recipients a request, one personalization each.

A personalization is a copy of its own, so recipients never see each other. A cc or bcc copy shows its own
address in To as well: SendGrid would send to every address that To or Cc showed.
Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import httpx
from sendgrid.helpers import mail

from messaging.clock import clock
from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.http1_adapter import Http1Adapter
from workers.providers.mime import (
    RESERVED,
    Mailbox,
    Sender,
    checked_headers,
    header_line,
    mailbox,
    message_id,
    plain_text,
    reply_to_of,
    sender_of,
    unsubscribe_headers,
)
from workers.providers.sendgrid_receipts import classify_event, read_receipts

__all__ = [
    "CODES",
    "SendgridAdapter",
    "classify",
    "classify_event",
    "classify_scopes",
    "open_adapter",
    "personalization",
    "read_receipts",
    "refused_recipients",
    "shared_body",
]

CODES: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "the request is malformed"),
    401: (Action.STOP_PROVIDER, "the API key is wrong or revoked: set a new one"),
    402: (Action.QUOTA, "payment required"),
    403: (Action.STOP_PROVIDER, "the key lacks mail.send, or fromEmail is not a verified sender"),
    404: (Action.STOP_PROVIDER, "no such resource: check the endpoint"),
    405: (Action.REJECT_MESSAGE, "method not allowed"),
    406: (Action.REJECT_MESSAGE, "answer format not available"),
    413: (Action.REJECT_MESSAGE, "the message is over 30 MB"),
    415: (Action.REJECT_MESSAGE, "unsupported media type"),
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the service is unavailable"),
}
"""By HTTP status; other 5xx are unknown, for there is no idempotency key.
https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses"""

REQUEST_LIMIT_BYTES = 30_000_000
_PERSONALIZATION_BYTES = 1000
"""Room left for each recipient of a full request."""
_RESERVED = RESERVED | {"x-sg-id", "x-sg-eid"}
_PERSONALIZATION = re.compile(r"personalizations\.(\d+)(?:\.(\w+))?")
_SPLITS = 20
"""Requests made for one call at most while SendGrid names one bad recipient after the other."""
_PATH = "/v3/mail/send"
_SCOPES_PATH = "/v3/scopes"
_TITLE = "SendGrid"

_OK, _ACCEPTED, _BAD_REQUEST, _UNAUTHORIZED = 200, 202, 400, 401


@dataclass(frozen=True)
class Prepared:
    """A request without its personalizations."""

    shared: bytes
    """The request's JSON object without its opening brace."""
    header_names: tuple[str, ...] = ()
    """Headers the message has of its own."""


class SendgridAdapter(Http1Adapter[Prepared]):
    """One SendGrid account."""

    title = _TITLE

    def __init__(self, sender: Sender, client: httpx.AsyncClient, *, now_s: Callable[[], float] = clock.now_s) -> None:
        super().__init__(client)
        self._sender = sender
        self._now_s = now_s

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """What all recipients share, as JSON; raises `ContentError` naming what can't be sent."""
        shared = json.dumps(shared_body(outgoing, self._sender)).encode()
        if len(shared) > REQUEST_LIMIT_BYTES - 1000 * _PERSONALIZATION_BYTES:
            raise ContentError(f"the message takes {len(shared)} bytes; SendGrid takes 30 MB with attachments", "413")
        return Prepared(shared[1:], tuple(cast("Email", outgoing.content).headers))

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request, or a few where an address occurs twice or SendGrid refuses single recipients."""
        outcomes: dict[int, Outcome] = {}
        waiting: list[tuple[int, bytes, str]] = []
        for index, recipient in enumerate(recipients):
            try:
                box = mailbox(recipient.address)
            except ContentError as error:
                outcomes[index] = Outcome(Action.DISABLE_TARGET, error.code, str(error))
            else:
                entry = personalization(recipient, box, self._sender.mailbox.domain, message.header_names)
                waiting.append((index, json.dumps(entry).encode(), box.spec.lower()))
        while waiting:
            seen: set[str] = set()
            request: list[tuple[int, bytes]] = []
            again: list[tuple[int, bytes, str]] = []
            for index, entry_json, address in waiting:  # an address may occur once in a request
                if address in seen:
                    again.append((index, entry_json, address))
                else:
                    seen.add(address)
                    request.append((index, entry_json))
            outcomes.update(await self._send_unique(message.shared, request))
            waiting = again
        return [outcomes[index] for index in range(len(recipients))]

    async def _check(self) -> Outcome:
        """What the key may do, by its scopes."""
        response = await self._client.get(_SCOPES_PATH)
        return classify_scopes(response.status_code, response.content, response.headers, self._now_s())

    async def _send_unique(self, shared: bytes, request: list[tuple[int, bytes]]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        for _ in range(_SPLITS):
            try:
                response = await self._post(shared, [entry for _, entry in request])
            except httpx.HTTPError as error:
                return outcomes | dict.fromkeys((index for index, _ in request), lost(error, _TITLE))
            refused = refused_recipients(response.status_code, response.content, len(request))
            if not refused:
                outcome = classify(response.status_code, response.content, response.headers, self._now_s())
                return outcomes | dict.fromkeys((index for index, _ in request), outcome)
            outcomes |= {request[place][0]: outcome for place, outcome in refused.items()}
            request = [item for place, item in enumerate(request) if place not in refused]
            if not request:
                return outcomes
        reason = "not sent: SendGrid refused the request for other recipients, one after the other"
        return outcomes | dict.fromkeys((index for index, _ in request), Outcome(Action.RETRY, "400", reason))

    async def _post(self, shared: bytes, entries: Sequence[bytes]) -> httpx.Response:
        body = b'{"personalizations": [' + b",".join(entries) + b"], " + shared
        return await self._client.post(_PATH, content=body, headers={"content-type": "application/json"})


def shared_body(outgoing: Outgoing, sender: Sender) -> dict[str, object]:
    """The request without personalizations, built by SendGrid's own helper; raises `ContentError`."""
    email = outgoing.content
    if not isinstance(email, Email):
        raise ContentError(f"SendGrid can't send a {outgoing.content.channel} message", "wrong_channel")
    text = plain_text(email)
    if not email.subject.strip() or not email.content:
        raise ContentError("SendGrid refuses a message without subject or content", "400")
    header_line("Subject", email.subject)  # raises for a line end, which a reader's program would take for a header's
    body = mail.Mail()
    body.from_email = mail.From(sender.mailbox.spec, sender.name or None)
    body.subject = mail.Subject(email.subject)
    reply_to = reply_to_of(email, sender)
    if reply_to:
        body.reply_to = mail.ReplyTo(reply_to[1].spec, reply_to[0] or None)
    if text:  # text/plain before text/html
        body.add_content(mail.Content("text/plain", text))
    if email.html:
        body.add_content(mail.Content("text/html", email.content))
    for name, value in checked_headers(email.headers, _RESERVED).items():
        body.add_header(mail.Header(name, value))
    for attachment in email.attachments:
        body.add_attachment(_attachment(attachment))
    return cast("dict[str, object]", body.get())


def personalization(
    recipient: Recipient, box: Mailbox, domain: str, header_names: Sequence[str] = ()
) -> dict[str, object]:
    """One recipient's part of a request; the tag comes back with every event as `delivery`.

    `header_names` are the message's own headers, which those written here would replace.
    """
    to = {"email": box.spec, "name": recipient.name} if recipient.name else {"email": box.spec}
    return {
        "to": [to],
        "headers": {
            "Message-ID": message_id(recipient.tag, domain),
            **unsubscribe_headers(recipient, header_names),
        },
        "custom_args": {"delivery": recipient.tag},
    }


def classify(status: int, body: bytes, headers: Mapping[str, str], now_s: float) -> Outcome:
    """What an answer means for every recipient of the request; `now_s` is the time in epoch seconds."""
    if status in {_OK, _ACCEPTED}:  # 200: sandbox mode, checked and not sent
        return Outcome(Action.ACCEPTED, provider_message_id=headers.get("x-message-id"))
    errors = _errors(body)
    said = "; ".join(f"{field}: {message}" if field else message for field, message in errors)[:200]
    if status == _BAD_REQUEST and any(field.partition(".")[0] == "from" for field, _ in errors):
        reason = f"the sender is refused, correct fromEmail and fromName: {said}"
        return Outcome(Action.STOP_PROVIDER, code="400", reason=reason)
    if status == _UNAUTHORIZED and "credits" in said.lower():
        return Outcome(Action.QUOTA, code="401", reason=f"the plan's credits are used up: {said}")
    if status in CODES:
        action, meaning = CODES[status]
    elif httpx.codes.is_server_error(status) or httpx.codes.is_success(status):  # a 2xx that says neither yes nor no
        action, meaning = Action.AMBIGUOUS_RETRY, "SendGrid may or may not have taken the message"
    elif not httpx.codes.is_client_error(status):
        action, meaning = Action.STOP_PROVIDER, "redirected: check the endpoint"
    else:
        action, meaning = Action.REJECT_MESSAGE, "refused"
    delay_s = _delay_s(headers, now_s) if action in {Action.RETRY_AFTER, Action.RETRY} else None
    reason = f"{meaning}: {said}" if said else meaning
    # No answer of SendGrid's own: it fails as such, or something else stands at its address.
    outage = httpx.codes.is_server_error(status) or httpx.codes.is_success(status)
    return Outcome(action, code=str(status), reason=reason, retry_after_s=delay_s, outage=outage)


def classify_scopes(status: int, body: bytes, headers: Mapping[str, str], now_s: float) -> Outcome:
    """What the answer to the question for the key's scopes means.

    Source: https://www.twilio.com/docs/sendgrid/api-reference/api-key-permissions
    """
    if status != _OK:
        return classify(status, body, headers, now_s)
    try:
        scopes = json.loads(body)["scopes"]
        may_send = "mail.send" in scopes
    except (ValueError, TypeError, KeyError, RecursionError):
        reason = "an answer that says nothing of the key: check the endpoint"
        return Outcome(Action.RETRY, code=str(status), reason=reason, outage=True)
    if not may_send:
        return Outcome(
            Action.STOP_PROVIDER, code="mail.send", reason="the key lacks mail.send: allow it or set another"
        )
    return Outcome(Action.ACCEPTED, reason=f"the key may send mail ({len(scopes)} scopes)")


def refused_recipients(status: int, body: bytes, count: int) -> dict[int, Outcome]:
    """The places (0 to `count` - 1) of the personalizations a 400 blames; empty when it blames the whole request.

    SendGrid refuses the whole request for one bad recipient, so the others are to be sent again.
    """
    if status != _BAD_REQUEST:
        return {}
    refused: dict[int, Outcome] = {}
    for field, message in _errors(body):
        found = _PERSONALIZATION.match(field)
        if found is None or int(found[1]) >= count:
            return {}
        if field.endswith(".email"):
            refused[int(found[1])] = Outcome(Action.DISABLE_TARGET, "400 email", f"the address is refused: {message}")
        else:
            refused.setdefault(int(found[1]), Outcome(Action.REJECT_MESSAGE, f"400 {found[2]}", f"refused: {message}"))
    return refused


def _attachment(attachment: Attachment) -> mail.Attachment:
    return mail.Attachment(
        mail.FileContent(b64encode(attachment.content).decode("ascii")),
        mail.FileName(attachment.filename),
        mail.FileType(attachment.content_type),
        mail.Disposition("attachment"),
    )


def _errors(body: bytes) -> list[tuple[str, str]]:
    """Field (may be empty) and message of each error in an answer; the messages hold no addresses."""
    try:
        document = json.loads(body)
        errors = document["errors"]
        pairs = [(str(error.get("field") or ""), str(error.get("message") or "")) for error in errors]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    return [(field, re.sub(r"\S+@\S+", "<address>", message)) for field, message in pairs]


def _delay_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds until X-RateLimit-Reset (epoch seconds), or Retry-After (seconds), or None."""
    for name, base_s in (("retry-after", 0.0), ("x-ratelimit-reset", now_s)):
        try:
            return max(0.0, float(headers[name]) - base_s)
        except (KeyError, ValueError):
            continue
    return None


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a SendGrid account; raises `SettingsError` naming what is missing."""
    key = str(account.credentials.get("apiKey") or "")
    if not re.fullmatch(r"[!-~]+", key):
        raise SettingsError("The SendGrid provider's apiKey is missing or holds blanks: set the key that begins SG.")
    client = open_client(account, context, headers={"authorization": f"Bearer {key}"})
    return SendgridAdapter(sender_of(account.options), client)
