"""Email through Mailgun's messages API: up to 1,000 recipients a request, each with variables of its own.

Every recipient gets a copy of its own, as `recipient-variables` has it; a single one needs none. A cc or bcc copy
shows its own address in To as well: Mailgun would send to every address that Cc showed.

Mailgun replaces ``%recipient.name%`` wherever it stands in subject, text and headers of a batch, so what a message
itself writes that way is taken apart (`literal`) and arrives as written. That an unknown name is left alone is not
documented. Other marks of Mailgun's (``%unsubscribe_url%``) work as it documents them.

Sources: https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/batch-sending,
https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from messaging.clock import clock
from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.halving import send_halving
from workers.providers.http1 import lost, open_client, required_text
from workers.providers.http1_adapter import Http1Adapter
from workers.providers.mailgun_codes import blames_a_recipient, classify, words_of
from workers.providers.mailgun_receipts import read_receipts as read_receipts  # noqa: PLC0414  handed on
from workers.providers.mime import (
    RESERVED,
    Mailbox,
    Sender,
    address_line,
    checked_headers,
    header_line,
    mailbox,
    message_id,
    plain_text,
    reply_to_of,
    sender_of,
    unsubscribe_headers,
)

EU_ENDPOINT = "https://api.eu.mailgun.net"
MESSAGE_LIMIT_BYTES = 25_000_000
OPTIONS_LIMIT_BYTES = 16_384
"""Of all fields that begin with o:, h: and v: together."""
DELIVER_WITHIN_MIN = (5, 24 * 60)
"""Least and most of o:deliver-within, in minutes."""

_TAG, _UNSUBSCRIBE, _LETTER = "delivery_tag", "unsubscribe_address", "letter_e"
_MARK, _TAKEN_APART = "%recipient", f"%r%recipient.{_LETTER}%cipient"
_OPTION = ("o:", "h:", "v:")
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;[\t\x20-\x7e]*)?\Z", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_TITLE = "Mailgun"

_FORBIDDEN = frozenset({401, 403})
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prepared:
    """A request without its recipients."""

    fields: Fields
    attachments: tuple[Attachment, ...]
    expires_at: datetime
    header_names: tuple[str, ...] = ()
    """Headers the message has of its own."""


@dataclass(frozen=True)
class _Entry:
    place: int
    recipient: Recipient
    to: str
    """As it stands in To, with the name."""
    address: str


class MailgunAdapter(Http1Adapter[Prepared]):
    """One sending domain at Mailgun."""

    title = _TITLE

    def __init__(
        self,
        domain: str,
        sender: Sender,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        super().__init__(client)
        self._domain = domain
        self._sender = sender
        self._now = now
        self._path = f"/v3/{quote(domain, safe='')}/messages"

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The fields all recipients share; raises `ContentError` naming what can't be sent."""
        email = outgoing.content
        if not isinstance(email, Email):
            raise ContentError(f"Mailgun can't send a {outgoing.content.channel} message", "wrong_channel")
        fields = tuple(shared_fields(email, self._sender))
        for attachment in email.attachments:
            _check(attachment)
        try:
            size = sum(len(value.encode()) for _, value in fields)
        except UnicodeEncodeError:
            raise ContentError("the message holds half a character (a lone surrogate): remove it") from None
        size += sum(len(attachment.content) * 4 // 3 for attachment in email.attachments)
        if size > MESSAGE_LIMIT_BYTES:
            raise ContentError(f"the message takes {size} bytes; Mailgun takes 25 MB with attachments", "413")
        options = sum(len(name) + len(value.encode()) for name, value in fields if name.startswith(_OPTION))
        if options > OPTIONS_LIMIT_BYTES:
            raise ContentError(f"the headers take {options} bytes; Mailgun takes {OPTIONS_LIMIT_BYTES}", "400")
        return Prepared(fields, email.attachments, outgoing.expires_at, tuple(email.headers))

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request, or a few where an address occurs twice or Mailgun refuses one for an address."""
        outcomes: dict[int, Outcome] = {}
        entries: list[_Entry] = []
        for place, recipient in enumerate(recipients):
            found = _entry(place, recipient)
            if isinstance(found, Outcome):
                outcomes[place] = found
            else:
                entries.append(found)
        for request in _requests(entries, message.header_names):
            found_all = await send_halving(request, lambda part: self._post(message, part))
            outcomes.update((entry.place, outcome) for entry, outcome in zip(request, found_all, strict=True))
        return [outcomes[place] for place in range(len(recipients))]

    async def _check(self) -> Outcome:
        """The state of the domain. A key that may only send is tried with an empty message, which is refused."""
        response = await self._client.get(f"/v4/domains/{quote(self._domain, safe='')}")
        if response.status_code in _FORBIDDEN:
            response = await self._client.post(self._path, data={"o:testmode": "yes"})
            if response.status_code == httpx.codes.BAD_REQUEST and "parameter" in words_of(response.content):
                return Outcome(Action.ACCEPTED, reason=f"the key may send for {self._domain}")
        return _state(response, self._domain) or self._classify(response)

    async def _post(self, message: Prepared, request: Sequence[_Entry]) -> Sequence[Outcome] | None:
        fields = [*message.fields, *own_fields(message, [e.recipient for e in request], self._now())]
        if len(request) == 1:  # nothing is left to Mailgun's replacing
            variables = variables_of(request[0].recipient)
            fields = [(name, filled_in(value, variables)) for name, value in fields]
        else:
            everybody = {entry.address: variables_of(entry.recipient) for entry in request}
            fields.append(("recipient-variables", json.dumps(everybody)))
        fields += [("to", entry.to) for entry in request]
        try:
            response = await self._client.post(self._path, **_encoded(fields, message.attachments))
        except httpx.HTTPError as error:
            return [lost(error, _TITLE)] * len(request)
        outcome = self._classify(response)
        if blames_a_recipient(response.status_code, response.content):
            if len(request) > 1:
                return None
            return [replace(outcome, action=Action.DISABLE_TARGET, code="400 to", reason="the address is refused")]
        return [_with_its_id(outcome, entry.recipient) for entry in request]

    def _classify(self, response: httpx.Response) -> Outcome:
        return classify(response.status_code, response.content, response.headers, self._now())


def shared_fields(email: Email, sender: Sender) -> Iterator[tuple[str, str]]:
    """Fields of the form that are the same for all recipients; raises `ContentError`."""
    text = plain_text(email)
    if not email.subject.strip() or not email.content:
        raise ContentError("Mailgun refuses a message without subject or content", "400")
    header_line("Subject", email.subject)  # raises for a line end
    yield "from", _address("From", literal(sender.name), sender.mailbox)
    yield "subject", literal(email.subject)
    if text:
        yield "text", literal(text)
    if email.html:
        yield "html", literal(email.content)
    yield "h:Message-Id", message_id(f"%recipient.{_TAG}%", sender.mailbox.domain)
    reply_to = reply_to_of(email, sender)
    if reply_to:
        yield "h:Reply-To", _address("Reply-To", *reply_to)
    for name, value in checked_headers(email.headers, RESERVED).items():
        if name.lower().startswith("x-mailgun-"):
            raise ContentError(f"the header {name} steers Mailgun: leave it out", "header_reserved")
        yield f"h:{name}", literal(value)
    yield "v:delivery", f"%recipient.{_TAG}%"


def own_fields(message: Prepared, recipients: Sequence[Recipient], now: datetime) -> Iterator[tuple[str, str]]:
    """Fields of one request: how long it may take, and headers its recipients have with values of their own."""
    left_min = math.ceil((message.expires_at - now).total_seconds() / 60)
    least, most = DELIVER_WITHIN_MIN
    if left_min < most:
        hours, minutes = divmod(max(left_min, least), 60)
        yield "o:deliver-within", f"{hours}h{minutes}m" if hours else f"{minutes}m"
    for name, value in unsubscribe_headers(recipients[0], message.header_names).items():
        yield f"h:{name}", value.replace(recipients[0].unsubscribe_url or "\0", f"%recipient.{_UNSUBSCRIBE}%")


def variables_of(recipient: Recipient) -> dict[str, str]:
    """What Mailgun puts in place of the marks in one recipient's copy."""
    variables = {_TAG: recipient.tag, _LETTER: "e"}
    return variables | ({_UNSUBSCRIBE: recipient.unsubscribe_url} if recipient.unsubscribe_url else {})


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """`text` with the marks replaced, as Mailgun does it for a batch."""
    for name, value in variables.items():
        text = text.replace(f"%recipient.{name}%", value)
    return text


def literal(text: str) -> str:
    """`text` such that its ``%recipient…`` arrive as written.

    No part of the result is a mark but ours, whether Mailgun replaces marks in one go or name by name.
    """
    return text.replace(_MARK, _TAKEN_APART)


def _requests(entries: Sequence[_Entry], own: Sequence[str]) -> Iterator[list[_Entry]]:
    """The entries as requests: an address once in each, for variables go by address, and all with the same headers."""
    for with_header in (True, False):
        waiting = [entry for entry in entries if bool(unsubscribe_headers(entry.recipient, own)) is with_header]
        while waiting:
            request: dict[str, _Entry] = {}
            waiting = [entry for entry in waiting if request.setdefault(entry.address.lower(), entry) is not entry]
            yield list(request.values())


def _entry(place: int, recipient: Recipient) -> _Entry | Outcome:
    try:
        box = mailbox(recipient.address)
    except ContentError as error:
        return Outcome(Action.DISABLE_TARGET, error.code, str(error))
    try:
        return _Entry(place, recipient, _address("To", recipient.name or "", box), box.spec)
    except ContentError as error:
        return Outcome(Action.REJECT_MESSAGE, error.code, str(error))


def _address(header: str, name: str, box: Mailbox) -> str:
    """`name <address>` on one line, the name quoted or encoded where it has to be."""
    line = address_line(header, [(name, box)]).decode("utf-8")
    return line.partition(": ")[2].replace("\r\n", "")


def _check(attachment: Attachment) -> None:
    """Raise `ContentError` for what can't stand in the head of a part."""
    header_line("attachment filename", attachment.filename)
    if not _TYPE.match(attachment.content_type):
        raise ContentError(
            f"the attachment's content type {attachment.content_type!r} is not type/subtype", "attachment_invalid"
        )


def _encoded(fields: Sequence[tuple[str, str]], attachments: Sequence[Attachment]) -> dict[str, Any]:
    """The body of a request, as arguments for the client: multipart only where there are files."""
    if not attachments:
        content_type = "application/x-www-form-urlencoded"
        return {"content": urlencode(fields).encode("ascii"), "headers": {"content-type": content_type}}
    by_name: dict[str, list[str]] = {}
    for name, value in fields:
        by_name.setdefault(name, []).append(value)
    files = [("attachment", (a.filename, a.content, a.content_type)) for a in attachments]
    return {"data": by_name, "files": files}


def _with_its_id(outcome: Outcome, recipient: Recipient) -> Outcome:
    """The batch has one id; where Mailgun takes ours for it, it holds our mark."""
    if outcome.provider_message_id is None:
        return outcome
    its = outcome.provider_message_id.replace(f"%recipient.{_TAG}%", recipient.tag)
    return replace(outcome, provider_message_id=its)


def _state(response: httpx.Response, domain: str) -> Outcome | None:
    """What a look at the domain says, or None where it can't be read."""
    try:
        state = response.json()["domain"]["state"] if response.is_success else None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if state == "active":
        return Outcome(Action.ACCEPTED, reason=f"the domain {domain} is active")
    if state is None:
        return None
    reason = f"the domain {domain} is {state}: verify or reactivate it at Mailgun"
    return Outcome(Action.STOP_PROVIDER, code=str(state), reason=reason)


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Mailgun account; raises `SettingsError` naming what is missing."""
    key = required_text(account.credentials, "apiKey", _TITLE)
    domain = required_text(account.credentials, "domain", _TITLE)
    if not _DOMAIN.match(domain):  # a slash would lead to another resource, which answers 200
        raise SettingsError("The Mailgun provider's domain is no domain name: set the sending domain.")
    base_url = EU_ENDPOINT if account.credentials.get("isEuRegion") else None
    client = open_client(account, context, auth=("api", key), base_url=base_url)
    return MailgunAdapter(domain, sender_of(account.options), client)
