"""Text messages through Telesign's SMS API, one request each.

Requests are signed with the API key (TSA, HMAC-SHA256), so that the key itself never travels.
Sources: https://developer.telesign.com/enterprise/reference/sms,
https://developer.telesign.com/enterprise/docs/authentication.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import cast
from urllib.parse import urlencode, urlsplit

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.telesign_codes import BY_STATUS, ERRORS, STATUSES
from workers.providers.telesign_receipts import read_receipts as read_receipts  # noqa: PLC0414  found here by name

TEXT_LIMIT = 1600
"""Characters: https://developer.telesign.com/enterprise/reference/sms"""
MESSAGE_TYPE = "ARN"
"""Alerts, reminders and notifications."""
SENDER_LIMIT = 20

_PATH = "/v1/messaging"
_NOBODY = "0" * 32
"""The reference id of no transaction."""
_FORM = "application/x-www-form-urlencoded"
_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_TITLE = "Telesign"
_TAKEN = frozenset({Action.ACCEPTED, Action.DELIVERED, Action.NONE})
_NO_SUCH_REFERENCE = frozenset({"10017", "10036", "11011", "-10001", "-10004"})


@dataclass(frozen=True)
class TelesignSettings:
    """A Telesign account."""

    customer_id: str
    api_key: str = field(repr=False)
    """Base64, as the portal shows it."""
    sender: str
    receipts_url: str | None = None


@dataclass(frozen=True)
class Prepared:
    """The form without what differs between recipients."""

    form: str


class TelesignAdapter:
    """One Telesign account."""

    def __init__(
        self,
        settings: TelesignSettings,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._client = client
        self._now = now
        self._in_flight = InFlight()

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The shared part of the form; raises `ContentError` when the text is empty or too long.

        Telesign takes no time at which a message expires.
        """
        sms = outgoing.content
        if not isinstance(sms, Sms):
            raise ContentError(f"Telesign can't send a {outgoing.content.channel} message here", "wrong_channel")
        if not sms.content:
            raise ContentError("the text is empty: give a content", "12009")
        if len(sms.content) > TEXT_LIMIT:
            raise ContentError(f"the text has {len(sms.content)} characters; Telesign takes {TEXT_LIMIT}", "11009")
        fields = {"message": sms.content, "message_type": MESSAGE_TYPE, "sender_id": self._settings.sender}
        try:
            return Prepared(urlencode(fields))
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character (a lone surrogate): remove it") from None

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per recipient, side by side."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def check(self) -> Outcome:
        """Ask for a transaction that never was: to be told so takes good credentials."""
        if self._in_flight.closing:
            return CLOSED
        path = f"{_PATH}/{_NOBODY}"
        with self._in_flight:
            try:
                response = await self._client.get(path, headers=self._signed("GET", path))
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        document = _object(response.content)
        known = bool(document) and (response.is_success or _codes(document)[0] in _NO_SUCH_REFERENCE)
        if known and response.status_code not in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return Outcome(Action.ACCEPTED, reason="Telesign takes the customer id and the API key")
        return classify(response.status_code, response.content, response.headers)

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send_one(self, message: Prepared, recipient: Recipient) -> Outcome:
        if not _PHONE.match(recipient.address):
            return Outcome(Action.DISABLE_TARGET, "11000", "not a number in E.164, such as +15005550006")
        fields = {"phone_number": recipient.address[1:], "external_id": recipient.tag}
        if self._settings.receipts_url:
            fields["callback_url"] = tagged(self._settings.receipts_url, recipient.tag)
        body = f"{urlencode(fields)}&{message.form}"
        try:
            response = await self._client.post(_PATH, content=body.encode(), headers=self._signed("POST", _PATH, body))
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)

    def _signed(self, method: str, path: str, body: str = "") -> dict[str, str]:
        return signed_headers(self._settings, method, path, body, at=self._now(), nonce=str(uuid.uuid4()))


def signed_headers(
    settings: TelesignSettings, method: str, path: str, body: str, *, at: datetime, nonce: str
) -> dict[str, str]:
    """The headers that sign a request; the path is that of the API, without what an endpoint puts before it."""
    kind = _FORM if method == "POST" else ""
    date = format_datetime(at, usegmt=True)
    parts = [method, kind, date, "x-ts-auth-method:HMAC-SHA256", f"x-ts-nonce:{nonce}", *([body] if body else []), path]
    digest = hmac.digest(base64.b64decode(settings.api_key), "\n".join(parts).encode(), "sha256")
    headers = {
        "authorization": f"TSA {settings.customer_id}:{base64.b64encode(digest).decode()}",
        "date": date,
        "x-ts-auth-method": "HMAC-SHA256",
        "x-ts-nonce": nonce,
    }
    return headers | ({"content-type": kind} if kind else {})


def tagged(address: str, tag: str) -> str:
    """The receipt address with the delivery's tag, for accounts whose callbacks don't repeat the external id."""
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode({'delivery': tag})}"


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a message means."""
    document = _object(body)
    code, said = _codes(document)
    if httpx.codes.is_success(status):
        reference = document.get("reference_id")
        if code in ERRORS or document.get("errors"):
            return _refused(status, code, said, headers)
        action, meaning = STATUSES.get(code, (Action.AMBIGUOUS_RETRY, "a positive answer that can't be read"))
        if action not in _TAKEN:
            return Outcome(action, code or str(status), meaning, outage=not code)
        if isinstance(reference, str) and reference:
            return Outcome(Action.ACCEPTED, provider_message_id=reference)
        reason = "a positive answer without a reference id"
        return Outcome(Action.AMBIGUOUS_RETRY, code or str(status), reason, outage=True)
    return _refused(status, code, said, headers)


def classify_status(code: str) -> Outcome:
    """What a transaction's `status.code` means."""
    action, meaning = STATUSES.get(code, (Action.NONE, "a status Telesign's pages don't list"))
    return Outcome(action, code=code, reason=meaning)


def _refused(status: int, code: str, said: str, headers: Mapping[str, str]) -> Outcome:
    action, meaning = ERRORS.get(code, (None, ""))
    if code == "10033" and "trial" in said:
        action, meaning = Action.STOP_PROVIDER, "a trial account sends to verified numbers only"
    elif action is Action.DISABLE_TARGET and status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        action = None
    if action is None and status in BY_STATUS:
        action, meaning = BY_STATUS[status]
    elif action is None and httpx.codes.is_server_error(status):
        action, meaning = Action.AMBIGUOUS_RETRY, "Telesign may or may not have taken the message"
    elif action is None and httpx.codes.is_redirect(status):
        action, meaning = Action.STOP_PROVIDER, "redirected: check the endpoint"
    elif action is None:
        action, meaning = Action.REJECT_MESSAGE, f"refused: {_DIGITS.sub('<number>', said)[:200]}".rstrip(": ")
    delay_s = _retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    return Outcome(
        action, code or str(status), meaning, retry_after_s=delay_s, outage=httpx.codes.is_server_error(status)
    )


def _codes(document: Mapping[str, object]) -> tuple[str, str]:
    """The first error's code and text in lower case, else the status's; empty where there is neither."""
    errors = document.get("errors")
    for found in (errors[0] if isinstance(errors, list) and errors else None, document.get("status")):
        if isinstance(found, dict) and isinstance(found.get("code"), int | str):
            return str(found["code"]), str(found.get("description") or "").lower()
    return "", ""


def _object(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Telesign account; raises `SettingsError` naming what is missing."""
    settings = TelesignSettings(
        customer_id=_text(account.credentials, "customerId"),
        api_key=_text(account.credentials, "apiKey"),
        sender=_text(account.options, "from").removeprefix("+"),
        receipts_url=context.receipts_url,
    )
    if not settings.customer_id.isascii() or not settings.customer_id.isprintable():
        raise SettingsError("The Telesign provider's customerId holds what no header can: copy it anew.")
    if len(settings.sender) > SENDER_LIMIT:
        raise SettingsError(f"The Telesign provider's from is over {SENDER_LIMIT} characters: shorten it.")
    try:
        base64.b64decode(settings.api_key, validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError("The Telesign provider's apiKey is no base64: copy it anew from the portal.") from None
    return TelesignAdapter(settings, open_client(account, context))


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The Telesign provider's {name} is missing: set it and enable the provider.")
    return value.strip()
