"""Text messages through Twilio's Messages resource.

Sources: https://www.twilio.com/docs/messaging/api/message-resource,
https://www.twilio.com/docs/api/errors (codes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from urllib.parse import quote, urlencode

import httpx

from messaging.outcome import Action, Outcome
from workers.providers.answers import by_status, delay_s, json_object
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.http1 import open_client, required_text
from workers.providers.http1_posting import Posting
from workers.providers.sms import FORM, OneByOne, check_length, form_of, not_a_number, tagged, text_of, without_numbers
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


class TwilioAdapter(OneByOne[TwilioSettings, Prepared]):
    """One Twilio account."""

    title = _TITLE
    no_number = not_a_number("21211", "+15005550006")

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The shared part of the form; raises `ContentError` when the text is empty or too long."""
        text = text_of(outgoing, _TITLE, empty="21602")
        check_length(text, BODY_LIMIT, _TITLE, "21617")
        sender = "MessagingServiceSid" if _SERVICE_SID.match(self._settings.sender) else "From"
        return Prepared(form_of({sender: self._settings.sender, "Body": text}), outgoing.expires_at)

    def _request(self, message: Prepared, recipient: Recipient) -> httpx.Request:
        fields = {"To": recipient.address, "ValidityPeriod": self._left(message.expires_at, VALIDITY_S)}
        if self._settings.status_callback:
            fields["StatusCallback"] = tagged(self._settings.status_callback, recipient.tag)
        return self._posting(f"{message.form}&{urlencode(fields)}".encode("ascii"))

    @cached_property
    def _posting(self) -> Posting:
        return Posting(self._client, f"{self._account}/Messages.json", content_type=FORM)

    def _classify(self, response: httpx.Response) -> Outcome:
        return classify(response.status_code, response.content, response.headers)

    async def _check(self) -> Outcome:
        """What the account resource says: whether the token is good and the account active."""
        response = await self._client.get(f"{self._account}.json")
        return classify_account(response.status_code, response.content, response.headers)

    @property
    def _account(self) -> str:
        return f"/2010-04-01/Accounts/{quote(self._settings.account_sid, safe='')}"


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer to a request means."""
    document = json_object(body)
    if httpx.codes.is_success(status):
        sid = document.get("sid")
        if isinstance(sid, str) and sid:
            return Outcome(Action.ACCEPTED, provider_message_id=sid)
        reason = "a positive answer without a message id"
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)
    code = str(document.get("code") or "")
    said = without_numbers(str(document.get("message") or ""))
    action, meaning = CODES.get(code) or _BY_STATUS.get(status) or by_status(status, _TITLE, said=said)
    return Outcome(
        action,
        code=code or str(status),
        reason=meaning,
        retry_after_s=delay_s(action, headers),
        one_route=code in _ONE_ROUTE,
        outage=httpx.codes.is_server_error(status),
        throttled=status == httpx.codes.TOO_MANY_REQUESTS and action is Action.RETRY,
    )


def classify_account(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What the answer to a question for the account means.

    Source: https://www.twilio.com/docs/iam/api/account
    """
    document = json_object(body)
    if not httpx.codes.is_success(status):
        return classify(status, body, headers)
    state, name = document.get("status"), str(document.get("friendly_name") or "")
    if state == "active":
        # The name is the owner's email address where nobody gave it another.
        named = f" {name[:64]!r}" if name and "@" not in name else ""
        trial = "; a trial account sends to verified numbers only" if document.get("type") == "Trial" else ""
        return Outcome(Action.ACCEPTED, reason=f"the account{named} is active{trial}")
    if state in ("suspended", "closed"):
        return Outcome(Action.STOP_PROVIDER, code=f"account {state}", reason=f"the account is {state}: see the console")
    reason = "an answer that says nothing of the account: check the endpoint"
    return Outcome(Action.RETRY, code=str(status), reason=reason, outage=True)


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of a Twilio account; raises `SettingsError` naming what is missing."""
    settings = TwilioSettings(
        account_sid=required_text(account.credentials, "accountSid", _TITLE),
        auth_token=required_text(account.credentials, "authToken", _TITLE),
        sender=required_text(account.options, "from", _TITLE),
        status_callback=str(account.options.get("statusCallback") or context.receipts_url or ""),
    )
    return TwilioAdapter(settings, open_client(account, context, auth=(settings.account_sid, settings.auth_token)))
