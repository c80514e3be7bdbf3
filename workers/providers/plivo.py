"""Text messages through Plivo's Message resource.

One recipient a request, though Plivo takes several: the callback of each then carries its own tag. Plivo takes no
idempotency key, so a lost answer leaves a message unknown.
Source: https://www.plivo.com/docs/messaging/api/message/send-a-message/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from urllib.parse import quote

import httpx

from messaging.errors import ContentError
from messaging.outcome import Action, Outcome
from messaging.sms_segments import Encoding, segments
from workers.providers.answers import by_status, delay_s, json_object
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import open_client, required_text
from workers.providers.http1_posting import Posting
from workers.providers.plivo_receipts import read_receipts as read_receipts  # noqa: PLC0414  part of this module
from workers.providers.sms import OneByOne, check_letters, not_a_number, tagged, text_of, without_numbers

TEXT_LIMITS: Mapping[Encoding, int] = {Encoding.GSM_7: 1600, Encoding.UCS_2: 737}
"""Characters: https://www.plivo.com/docs/messaging/api/message/send-a-message/"""
EXPIRY_S = (5, 10_799)
"""Least and most message_expiry, the time in Plivo's queue:
https://support.plivo.com/hc/en-us/articles/14814454609561-Message-Expiry"""

CODES: Mapping[int, tuple[Action, str]] = {
    400: (Action.REJECT_MESSAGE, "refused"),
    401: (Action.STOP_PROVIDER, "auth id or auth token refused: set them anew"),
    402: (Action.QUOTA, "the account's credit does not suffice: top it up"),
    403: (Action.STOP_PROVIDER, "the account may not send there: allow it in the console (geo permissions)"),
    404: (Action.STOP_PROVIDER, "no such account: check the auth id"),
    405: (Action.REJECT_MESSAGE, "method not allowed"),
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the service is unavailable"),
}
"""By HTTP status. Plivo lists no codes for errors of a request; what is wrong is told in words."""

_ABOUT_TO = re.compile(r"\b(dst|destination)\b", re.IGNORECASE)
_ABOUT_FROM = re.compile(r"\b(src|source|sender)\b", re.IGNORECASE)
_NOT_VALID = re.compile(r"\b(invalid|not (a )?valid|incorrect)\b", re.IGNORECASE)
_NO_CREDIT = "insufficient credit"
_BAD_REQUEST = 400
_TITLE = "Plivo"


@dataclass(frozen=True)
class PlivoSettings:
    """A Plivo account."""

    auth_id: str
    auth_token: str = field(repr=False)
    sender: str
    """A number in E.164, a short code or a name."""
    callback: str = ""
    """Where status callbacks go; empty: nowhere."""


@dataclass(frozen=True)
class Prepared:
    """A text that can be sent."""

    text: str
    expires_at: datetime


class PlivoAdapter(OneByOne[PlivoSettings, Prepared]):
    """One Plivo account."""

    title = _TITLE
    no_number = not_a_number("50", "+14155550100")

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The text; raises `ContentError` when it is empty or too long."""
        text = text_of(outgoing, _TITLE, empty="400")
        check_letters(text)
        limit = TEXT_LIMITS[segments(text).encoding]
        if len(text) > limit:
            raise ContentError(f"the text has {len(text)} characters; Plivo takes {limit} of this kind", "110")
        return Prepared(text, outgoing.expires_at)

    def _request(self, message: Prepared, recipient: Recipient) -> httpx.Request:
        fields: dict[str, object] = {
            "src": self._settings.sender,
            "dst": recipient.address,
            "text": message.text,
            "type": "sms",
            "message_expiry": self._left(message.expires_at, EXPIRY_S),
        }
        if self._settings.callback:
            fields |= {"url": tagged(self._settings.callback, recipient.tag), "method": "POST"}
        return self._posting(json.dumps(fields).encode("ascii"))

    @cached_property
    def _posting(self) -> Posting:
        return Posting(self._client, f"{self._path}Message/", content_type="application/json")

    def _classify(self, response: httpx.Response) -> Outcome:
        return classify(response.status_code, response.content, response.headers)

    async def _check(self) -> Outcome:
        """The account's name and credit."""
        response = await self._client.get(self._path)
        return classify_account(response.status_code, response.content, response.headers)

    @property
    def _path(self) -> str:
        return f"/v1/Account/{quote(self._settings.auth_id, safe='')}/"


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a request with one recipient means."""
    document = json_object(body)
    if not httpx.codes.is_success(status):
        return _refusal(status, document, headers)
    identities = document.get("message_uuid")
    if isinstance(identities, list) and identities and isinstance(identities[0], str) and identities[0]:
        return Outcome(Action.ACCEPTED, provider_message_id=identities[0])
    if document.get("invalid_number"):
        return Outcome(Action.DISABLE_TARGET, "invalid_number", "not a valid number")
    return Outcome(Action.AMBIGUOUS_RETRY, str(status), "a positive answer without a message id", outage=True)


def classify_account(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What the answer to a question for the account means."""
    document = json_object(body)
    if not httpx.codes.is_success(status):
        return _refusal(status, document, headers)
    if "cash_credits" not in document:
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "an answer that names no account: check the endpoint")
    return Outcome(Action.ACCEPTED, reason=f"account {document.get('name')}, credit {document['cash_credits']} USD")


def _refusal(status: int, document: Mapping[str, object], headers: Mapping[str, str]) -> Outcome:
    error = document.get("error")
    said = without_numbers(error) if isinstance(error, str) else ""
    if httpx.codes.is_client_error(status) and _NO_CREDIT in said.lower():
        return Outcome(Action.QUOTA, str(status), CODES[402][1])
    if status == _BAD_REQUEST and _ABOUT_FROM.search(said) and not _ABOUT_TO.search(said):
        return Outcome(Action.STOP_PROVIDER, f"{status} src", f"the sender is refused, correct from: {said}")
    if status == _BAD_REQUEST and _ABOUT_TO.search(said) and _NOT_VALID.search(said) and not _ABOUT_FROM.search(said):
        return Outcome(Action.DISABLE_TARGET, f"{status} dst", f"the number is refused: {said}")
    action, meaning = CODES.get(status) or by_status(status, _TITLE)
    reason = f"{meaning}: {said}" if said and action is Action.REJECT_MESSAGE else meaning
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, str(status), reason, retry_after_s=delay_s(action, headers), outage=outage)


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Plivo account; raises `SettingsError` naming what is missing."""
    settings = PlivoSettings(
        auth_id=required_text(account.credentials, "authId", _TITLE),
        auth_token=required_text(account.credentials, "authToken", _TITLE),
        sender=required_text(account.options, "from", _TITLE),
        callback=context.receipts_url or "",
    )
    return PlivoAdapter(settings, open_client(account, context, auth=(settings.auth_id, settings.auth_token)))
