"""Text messages through MSG91's flow API: up to 100 recipients a request.

The words of a message live in a template that India's carriers approve (DLT), and a request fills its variables. Ours
gives the whole text as both `message` and `VAR1`, so a template is to be `##message##` or `##VAR1##`, with whatever
stands around it; what the template does not name is left out.

A request is taken or refused as a whole, and HTTP 200 is not yet success: `type` says which. Where a number is at
fault, nothing says whose, and the request is halved until it is found.
Sources: https://docs.msg91.com/sms/send-sms, https://msg91.com/help/api.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from messaging.errors import SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.answers import delay_s, json_object
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.halving import send_halving
from workers.providers.http1 import lost, open_client, required_text
from workers.providers.msg91_receipts import read_receipts as read_receipts  # noqa: PLC0414  found here by name
from workers.providers.sms import (
    SmsAdapter,
    check_length,
    check_letters,
    is_number,
    not_a_number,
    text_of,
    without_numbers,
)

TEXT_LIMIT = 1600
"""Characters: about ten parts. Templates have limits of their own, which the answer tells."""

CODES: Mapping[str, tuple[Action, str]] = {
    "101": (Action.REJECT_MESSAGE, "a number is needed"),
    "102": (Action.REJECT_MESSAGE, "a text is needed"),
    "103": (Action.STOP_PROVIDER, "a sender is needed: set senderId"),
    "106": (Action.STOP_PROVIDER, "the auth key is missing: set authKey"),
    "202": (Action.DISABLE_TARGET, "not a valid number"),
    "203": (Action.STOP_PROVIDER, "the sender is refused: correct senderId"),
    "207": (Action.STOP_PROVIDER, "the auth key is refused: set authKey anew"),
    "208": (Action.STOP_PROVIDER, "this machine's address is not allowed: allow it under the auth key"),
    "301": (Action.QUOTA, "the balance is too low: top it up"),
    "302": (Action.QUOTA, "the account has expired"),
    "303": (Action.STOP_PROVIDER, "the account is banned"),
    "306": (Action.RETRY_AFTER, "the route takes nothing at this hour"),
    "310": (Action.REJECT_MESSAGE, "the text is too long"),
    "311": (Action.ACCEPTED, "the same request was taken within the last 10 seconds"),
    "418": (Action.STOP_PROVIDER, "this machine's address is not allowed: allow it under the auth key"),
}
"""`code` of a refusal; most are of the older API, whose page lists them."""

BY_STATUS: Mapping[int, tuple[Action, str]] = {
    401: (Action.STOP_PROVIDER, "the auth key is refused: set authKey anew"),
    402: (Action.QUOTA, "payment required"),
    403: (Action.STOP_PROVIDER, "access denied: see what the auth key may do"),
    404: (Action.STOP_PROVIDER, "no such resource: check the endpoint"),
    405: (Action.STOP_PROVIDER, "the method is not allowed: check the endpoint"),
    418: CODES["418"],
    429: (Action.RETRY_AFTER, "too many requests"),
    503: (Action.RETRY, "the service is unavailable"),
}
"""By HTTP status; other 5xx are unknown, for there is no idempotency key."""

_SAYS: Sequence[tuple[re.Pattern[str], Action, str]] = (
    (re.compile(r"auth ?key|unauthori[sz]ed|authentication"), *CODES["207"]),
    (re.compile(r"whitelist|\bip\b"), *CODES["418"]),
    (re.compile(r"balance|credit"), *CODES["301"]),
    (re.compile(r"template|flow"), Action.STOP_PROVIDER, "the template is not there or not approved: set templateId"),
    (re.compile(r"sender"), *CODES["203"]),
    (re.compile(r"(invalid|incorrect|not valid|wrong).*(mobile|number|recipient)"), *CODES["202"]),
    (re.compile(r"(mobile|number|recipient).*(invalid|incorrect|not valid|wrong)"), *CODES["202"]),
)
"""By the words of a refusal without a code we know."""

_PATH = "/api/v5/flow"
_TITLE = "MSG91"
_NO_NUMBER = not_a_number("202", "+15005550006")


@dataclass(frozen=True)
class Msg91Settings:
    """An MSG91 account and its template."""

    auth_key: str = field(repr=False)
    template_id: str
    sender_id: str


@dataclass(frozen=True)
class Prepared:
    """What every recipient's entry holds: the variables of the template."""

    variables: Mapping[str, str]


class Msg91Adapter(SmsAdapter[Msg91Settings, Prepared]):
    """One MSG91 account."""

    title = _TITLE

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The template's variables; raises `ContentError` when the text is empty or too long.

        MSG91 takes no time at which a message expires.
        """
        text = text_of(outgoing, _TITLE, empty="102")
        check_length(text, TEXT_LIMIT, _TITLE, "310")
        check_letters(text)
        return Prepared({"message": text, "VAR1": text})

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request, or more where a number occurs twice or a number is refused."""
        outcomes: dict[int, Outcome] = {}
        rounds: list[dict[str, int]] = []
        for place, recipient in enumerate(recipients):
            if not is_number(recipient.address):
                outcomes[place] = _NO_NUMBER
                continue
            free = next((each for each in rounds if recipient.address not in each), None)
            if free is None:  # a number may occur once in a request
                rounds.append(free := {})
            free[recipient.address] = place

        async def post(places: Sequence[int]) -> Sequence[Outcome] | None:
            outcome = await self._outcome(message, [recipients[place] for place in places])
            is_one_of_several = outcome.action is Action.DISABLE_TARGET and len(places) > 1
            return None if is_one_of_several else [outcome] * len(places)

        for each in rounds:
            places = list(each.values())
            outcomes.update(zip(places, await send_halving(places, post), strict=True))
        return [outcomes[place] for place in range(len(recipients))]

    async def _outcome(self, message: Prepared, recipients: Sequence[Recipient]) -> Outcome:
        """What one request comes to, for all of its recipients."""
        entries = [{"mobiles": each.address[1:], "CRQID": each.tag, **message.variables} for each in recipients]
        try:
            response = await self._post(entries)
        except httpx.HTTPError as error:
            return lost(error, _TITLE)
        return classify(response.status_code, response.content, response.headers)

    async def _check(self) -> Outcome:
        """Ask for a message to nobody: the refusal tells whether the auth key, this address and the template are good.

        The balance can be asked for with the auth key in the address only, where logs would keep it.
        """
        response = await self._post([])
        outcome = classify(response.status_code, response.content, response.headers)
        if outcome.action in {Action.REJECT_MESSAGE, Action.DISABLE_TARGET, Action.ACCEPTED}:
            return Outcome(Action.ACCEPTED, reason="MSG91 takes the auth key")
        return outcome

    async def _post(self, entries: Sequence[Mapping[str, str]]) -> httpx.Response:
        body = {
            "template_id": self._settings.template_id,
            "sender": self._settings.sender_id,
            "short_url": "0",
            "recipients": entries,
        }
        return await self._client.post(_PATH, json=body)


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer means for every recipient of the request."""
    document = json_object(body)
    kind, said = document.get("type"), str(document.get("message") or document.get("msg") or "")
    if httpx.codes.is_success(status) and kind == "success" and said:
        return Outcome(Action.ACCEPTED, provider_message_id=said)
    if httpx.codes.is_success(status) and kind != "error":
        reason = "a positive answer that says neither success nor error"
        return Outcome(Action.AMBIGUOUS_RETRY, code=str(status), reason=reason, outage=True)
    code = str(document.get("code") or "")
    action, meaning = _meaning(status, code, said)
    if action is Action.ACCEPTED:
        return Outcome(action)
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, code or str(status), meaning, retry_after_s=delay_s(action, headers), outage=outage)


def _meaning(status: int, code: str, said: str) -> tuple[Action, str]:
    if code in CODES:
        return CODES[code]
    if status in BY_STATUS:
        return BY_STATUS[status]
    if httpx.codes.is_server_error(status):
        return Action.AMBIGUOUS_RETRY, "MSG91 may or may not have taken the messages"
    if httpx.codes.is_redirect(status):
        return Action.STOP_PROVIDER, "redirected: check the endpoint"
    lower = said.lower()
    for words, action, meaning in _SAYS:
        if words.search(lower):
            return action, meaning
    safe = without_numbers(said)
    return Action.REJECT_MESSAGE, f"refused: {safe}" if safe else "refused"


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of an MSG91 account; raises `SettingsError` naming what is missing."""
    settings = Msg91Settings(
        auth_key=required_text(account.credentials, "authKey", _TITLE),
        template_id=required_text(account.credentials, "templateId", _TITLE),
        sender_id=required_text(account.credentials, "senderId", _TITLE),
    )
    if not re.fullmatch(r"[!-~]+", settings.auth_key):
        raise SettingsError("The MSG91 provider's authKey holds blanks or other letters: copy it anew.")
    return Msg91Adapter(settings, open_client(account, context, headers={"authkey": settings.auth_key}))
