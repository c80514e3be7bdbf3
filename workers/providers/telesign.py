"""Text messages through Telesign's SMS API, one request each.

Requests are signed with the API key (TSA, HMAC-SHA256), so that the key itself never travels.
Sources: https://developer.telesign.com/enterprise/reference/sms,
https://developer.telesign.com/enterprise/docs/authentication.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import urlencode

import httpx

from messaging.errors import SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.answers import by_status, delay_s, json_object
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import open_client, required_text
from workers.providers.sms import FORM, OneByOne, check_length, form_of, not_a_number, tagged, text_of, without_numbers
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


class TelesignAdapter(OneByOne[TelesignSettings, Prepared]):
    """One Telesign account."""

    title = _TITLE
    no_number = not_a_number("11000", "+15005550006")

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The shared part of the form; raises `ContentError` when the text is empty or too long.

        Telesign takes no time at which a message expires.
        """
        text = text_of(outgoing, _TITLE, empty="12009")
        check_length(text, TEXT_LIMIT, _TITLE, "11009")
        fields = {"message": text, "message_type": MESSAGE_TYPE, "sender_id": self._settings.sender}
        return Prepared(form_of(fields))

    def _request(self, message: Prepared, recipient: Recipient) -> httpx.Request:
        fields = {"phone_number": recipient.address[1:], "external_id": recipient.tag}
        if self._settings.receipts_url:  # tagged for accounts whose callbacks don't repeat the external id
            fields["callback_url"] = tagged(self._settings.receipts_url, recipient.tag)
        body = f"{urlencode(fields)}&{message.form}"
        headers = self._signed("POST", _PATH, body)
        return self._client.build_request("POST", _PATH, content=body.encode(), headers=headers)

    def _classify(self, response: httpx.Response) -> Outcome:
        return classify(response.status_code, response.content, response.headers)

    async def _check(self) -> Outcome:
        """Ask for a transaction that never was: to be told so takes good credentials."""
        path = f"{_PATH}/{_NOBODY}"
        response = await self._client.get(path, headers=self._signed("GET", path))
        document = json_object(response.content)
        known = bool(document) and (response.is_success or _codes(document)[0] in _NO_SUCH_REFERENCE)
        if known and response.status_code not in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return Outcome(Action.ACCEPTED, reason="Telesign takes the customer id and the API key")
        return self._classify(response)

    def _signed(self, method: str, path: str, body: str = "") -> dict[str, str]:
        return signed_headers(self._settings, method, path, body, at=self._now(), nonce=str(uuid.uuid4()))


def signed_headers(
    settings: TelesignSettings, method: str, path: str, body: str, *, at: datetime, nonce: str
) -> dict[str, str]:
    """The headers that sign a request; the path is that of the API, without what an endpoint puts before it."""
    kind = FORM if method == "POST" else ""
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


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a message means."""
    document = json_object(body)
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
    if action is None:
        safe = without_numbers(said).rstrip(": ")
        action, meaning = BY_STATUS.get(status) or by_status(status, _TITLE, said=safe)
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, code or str(status), meaning, retry_after_s=delay_s(action, headers), outage=outage)


def _codes(document: Mapping[str, object]) -> tuple[str, str]:
    """The first error's code and text in lower case, else the status's; empty where there is neither."""
    errors = document.get("errors")
    for found in (errors[0] if isinstance(errors, list) and errors else None, document.get("status")):
        if isinstance(found, dict) and isinstance(found.get("code"), int | str):
            return str(found["code"]), str(found.get("description") or "").lower()
    return "", ""


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Telesign account; raises `SettingsError` naming what is missing."""
    settings = TelesignSettings(
        customer_id=required_text(account.credentials, "customerId", _TITLE),
        api_key=required_text(account.credentials, "apiKey", _TITLE),
        sender=required_text(account.options, "from", _TITLE).removeprefix("+"),
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
