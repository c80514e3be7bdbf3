"""Text messages through Twilio's Messages resource.

Sources: https://www.twilio.com/docs/messaging/api/message-resource,
https://www.twilio.com/docs/api/errors (codes).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import lost, open_client
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.twilio_receipts import CALLBACK_CODES, classify_callback, read_receipts

__all__ = [
    "CALLBACK_CODES",
    "CODES",
    "TwilioAdapter",
    "TwilioSettings",
    "classify",
    "classify_account",
    "classify_callback",
    "open_adapter",
    "read_receipts",
    "tagged",
]

BODY_LIMIT = 1600
"""Characters: https://www.twilio.com/docs/api/errors/21617"""
VALIDITY_S = (1, 36_000)
"""Least and most ValidityPeriod: how long Twilio may keep a message queued."""

CODES: Mapping[str, tuple[Action, str]] = {
    "10001": (Action.STOP_PROVIDER, "the account is not active"),
    "14107": (Action.RETRY, "too many messages between the two numbers"),
    "20003": (Action.STOP_PROVIDER, "account SID or auth token refused: set them anew"),
    "20004": (Action.REJECT_MESSAGE, "method not allowed"),
    "20005": (Action.QUOTA, "the account is not active or out of funds"),
    "20006": (Action.STOP_PROVIDER, "access denied"),
    "20404": (Action.STOP_PROVIDER, "no such account: check the account SID"),
    "20429": (Action.RETRY, "too many requests at once"),
    "20500": (Action.AMBIGUOUS_RETRY, "internal error at Twilio"),
    "20503": (Action.RETRY, "the service is unavailable"),
    "21211": (Action.DISABLE_TARGET, "not a valid number"),
    "21212": (Action.STOP_PROVIDER, "the sender is not valid: correct from"),
    "21214": (Action.DISABLE_TARGET, "the number can't be reached"),
    "21217": (Action.DISABLE_TARGET, "not a valid number"),
    "21219": (Action.STOP_PROVIDER, "a trial account sends to verified numbers only"),
    "21408": (Action.STOP_PROVIDER, "the account may not send to that country: allow it in the console"),
    "21601": (Action.STOP_PROVIDER, "the sender can't send text messages"),
    "21602": (Action.REJECT_MESSAGE, "a body is needed"),
    "21603": (Action.STOP_PROVIDER, "a sender is needed: set from"),
    "21604": (Action.REJECT_MESSAGE, "a recipient is needed"),
    "21606": (Action.STOP_PROVIDER, "the sender can't send to that destination"),
    "21608": (Action.STOP_PROVIDER, "a trial account sends to verified numbers only"),
    "21609": (Action.REJECT_MESSAGE, "the status callback is not a valid address"),
    "21610": (Action.SUPPRESS_TARGET, "the recipient has opted out (STOP)"),
    "21611": (Action.RETRY_AFTER, "the sender's queue is full"),
    "21612": (Action.DISABLE_TARGET, "the number can't be reached from this sender"),
    "21614": (Action.DISABLE_TARGET, "not a mobile number"),
    "21617": (Action.REJECT_MESSAGE, "the body is over 1600 characters"),
    "21619": (Action.REJECT_MESSAGE, "a body or media is needed"),
    "21620": (Action.REJECT_MESSAGE, "the media address is not valid"),
    "21621": (Action.STOP_PROVIDER, "the sender can't send media"),
    "21623": (Action.REJECT_MESSAGE, "more than ten media"),
    "21624": (Action.REJECT_MESSAGE, "the validity period is not valid"),
    "21654": (Action.REJECT_MESSAGE, "a content SID is needed"),
    "21655": (Action.STOP_PROVIDER, "the content SID is not valid"),
    "21656": (Action.REJECT_MESSAGE, "the content variables are not valid"),
    "21657": (Action.STOP_PROVIDER, "the sender id is not valid"),
    "21701": (Action.STOP_PROVIDER, "the messaging service does not exist"),
    "21703": (Action.STOP_PROVIDER, "the messaging service has no number"),
    "21704": (Action.STOP_PROVIDER, "the messaging service has no numbers"),
    "21705": (Action.STOP_PROVIDER, "the messaging service is not valid"),
    "21910": (Action.REJECT_MESSAGE, "sender and recipient are of different channels"),
}
"""Codes in the answer to a request."""

_BY_STATUS: Mapping[int, tuple[Action, str]] = {
    401: (Action.STOP_PROVIDER, "account SID or auth token refused: set them anew"),
    402: (Action.QUOTA, "payment required"),
    403: (Action.STOP_PROVIDER, "access denied"),
    404: (Action.STOP_PROVIDER, "no such account: check the account SID"),
    429: (Action.RETRY, "too many requests at once"),
    503: (Action.RETRY, "the service is unavailable"),
}
_ONE_ROUTE = frozenset({"21408"})
"""About the country of one number: the account works otherwise."""
_PHONE = re.compile(r"\+[1-9]\d{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}\Z")
_TITLE = "Twilio"


@dataclass(frozen=True)
class TwilioSettings:
    """A Twilio account."""

    account_sid: str
    auth_token: str = field(repr=False)
    sender: str
    """A number in E.164, an alphanumeric sender id, or a messaging service (MG…)."""
    status_callback: str = ""


@dataclass(frozen=True)
class Prepared:
    """The form without what differs between recipients."""

    form: str
    expires_at: datetime


class TwilioAdapter:
    """One Twilio account."""

    def __init__(
        self,
        settings: TwilioSettings,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._client = client
        self._now = now
        self._in_flight = InFlight()
        self._account = f"/2010-04-01/Accounts/{quote(settings.account_sid, safe='')}"

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The shared part of the form; raises `ContentError` when the text is empty or too long."""
        sms = outgoing.content
        if not isinstance(sms, Sms):
            raise ContentError(f"Twilio can't send a {outgoing.content.channel} message here", "wrong_channel")
        if not sms.content:
            raise ContentError("the text is empty: give a content", "21602")
        if len(sms.content) > BODY_LIMIT:
            raise ContentError(f"the text has {len(sms.content)} characters; Twilio takes {BODY_LIMIT}", "21617")
        sender = "MessagingServiceSid" if _SERVICE_SID.match(self._settings.sender) else "From"
        try:
            form = urlencode({sender: self._settings.sender, "Body": sms.content})
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character (a lone surrogate): remove it") from None
        return Prepared(form, outgoing.expires_at)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per recipient, side by side."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await asyncio.gather(*(self._send_one(message, recipient) for recipient in recipients))

    async def check(self) -> Outcome:
        """What the account resource says: whether the token is good and the account active."""
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                response = await self._client.get(f"{self._account}.json")
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        return classify_account(response.status_code, response.content, response.headers)

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send_one(self, message: Prepared, recipient: Recipient) -> Outcome:
        if not _PHONE.match(recipient.address):
            return Outcome(Action.DISABLE_TARGET, "21211", "not a number in E.164, such as +15005550006")
        left_s = int((message.expires_at - self._now()).total_seconds())
        fields = {"To": recipient.address, "ValidityPeriod": min(max(left_s, VALIDITY_S[0]), VALIDITY_S[1])}
        if self._settings.status_callback:
            fields["StatusCallback"] = tagged(self._settings.status_callback, recipient.tag)
        try:
            response = await self._client.post(
                f"{self._account}/Messages.json",
                content=f"{message.form}&{urlencode(fields)}".encode("ascii"),
                headers={"content-type": "application/x-www-form-urlencoded"},
            )
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)


def tagged(address: str, tag: str) -> str:
    """The callback address with the delivery's tag, which Twilio hands back with every report."""
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode({'delivery': tag})}"


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a request means."""
    document = _object(body)
    if httpx.codes.is_success(status):
        sid = document.get("sid")
        if isinstance(sid, str) and sid:
            return Outcome(Action.ACCEPTED, provider_message_id=sid)
        reason = "a positive answer without a message id"
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)
    code = str(document.get("code") or "")
    if code in CODES:
        action, meaning = CODES[code]
    elif status in _BY_STATUS:
        action, meaning = _BY_STATUS[status]
    elif httpx.codes.is_server_error(status):
        action, meaning = Action.AMBIGUOUS_RETRY, "Twilio may or may not have taken the message"
    elif not httpx.codes.is_client_error(status):
        action, meaning = Action.STOP_PROVIDER, "redirected: check the endpoint"
    else:
        said = _DIGITS.sub("<number>", str(document.get("message") or ""))[:200]
        action, meaning = Action.REJECT_MESSAGE, f"refused: {said}" if said else "refused"
    delay_s = _retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    return Outcome(
        action,
        code=code or str(status),
        reason=meaning,
        retry_after_s=delay_s,
        one_route=code in _ONE_ROUTE,
        outage=httpx.codes.is_server_error(status),
    )


def classify_account(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What the answer to a question for the account means.

    Source: https://www.twilio.com/docs/iam/api/account
    """
    document = _object(body)
    if not httpx.codes.is_success(status):
        return classify(status, body, headers)
    state, name = document.get("status"), str(document.get("friendly_name") or "")
    if state == "active":
        # The name is the owner's email address where nobody gave it another.
        named = f" {name[:64]!r}" if name and "@" not in name else ""
        trial = "; a trial account sends to verified numbers only" if document.get("type") == "Trial" else ""
        return Outcome(Action.ACCEPTED, reason=f"the account{named} is active{trial}")
    if state in {"suspended", "closed"}:
        return Outcome(Action.STOP_PROVIDER, code=f"account {state}", reason=f"the account is {state}: see the console")
    reason = "an answer that says nothing of the account: check the endpoint"
    return Outcome(Action.RETRY, code=str(status), reason=reason, outage=True)


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
    """The adapter of a Twilio account; raises `SettingsError` naming what is missing."""
    settings = TwilioSettings(
        account_sid=_text(account.credentials, "accountSid"),
        auth_token=_text(account.credentials, "authToken"),
        sender=_text(account.options, "from"),
        status_callback=str(account.options.get("statusCallback") or context.receipts_url or ""),
    )
    return TwilioAdapter(settings, open_client(account, context, auth=(settings.account_sid, settings.auth_token)))


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The Twilio provider's {name} is missing: set it and enable the provider.")
    return value.strip()
