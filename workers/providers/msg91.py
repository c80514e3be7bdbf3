"""Text messages through MSG91's flow API: up to 100 recipients a request.

The words of a message live in a template that India's carriers approve (DLT), and a request fills its variables. Ours
gives the whole text as both `message` and `VAR1`, so a template is to be `##message##` or `##VAR1##`, with whatever
stands around it; what the template does not name is left out.

A request is taken or refused as a whole, and HTTP 200 is not yet success: `type` says which. Where a number is at
fault, nothing says whose, and the request is halved until it is found.
Sources: https://docs.msg91.com/sms/send-sms, https://msg91.com/help/api.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import httpx

from messaging.errors import ContentError, SettingsError
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.halving import send_halving
from workers.providers.http1 import lost, open_client
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.msg91_receipts import read_receipts as read_receipts  # noqa: PLC0414  found here by name

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
_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_DIGITS = re.compile(r"\+?\d[\d ()-]{5,}\d")
_TITLE = "MSG91"


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


class Msg91Adapter:
    """One MSG91 account."""

    def __init__(self, settings: Msg91Settings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._in_flight = InFlight()

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The template's variables; raises `ContentError` when the text is empty or too long.

        MSG91 takes no time at which a message expires.
        """
        sms = outgoing.content
        if not isinstance(sms, Sms):
            raise ContentError(f"MSG91 can't send a {outgoing.content.channel} message here", "wrong_channel")
        if not sms.content:
            raise ContentError("the text is empty: give a content", "102")
        if len(sms.content) > TEXT_LIMIT:
            raise ContentError(f"the text has {len(sms.content)} characters; MSG91 takes {TEXT_LIMIT}", "310")
        try:
            sms.content.encode()
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character (a lone surrogate): remove it") from None
        return Prepared({"message": sms.content, "VAR1": sms.content})

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request, or more where a number occurs twice or a number is refused."""
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await self._send(cast("Prepared", prepared), recipients)

    async def check(self) -> Outcome:
        """Ask for a message to nobody: the refusal tells whether the auth key, this address and the template are good.

        The balance can be asked for with the auth key in the address only, where logs would keep it.
        """
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                response = await self._post([])
            except httpx.HTTPError as error:
                return lost(error, _TITLE)
        outcome = classify(response.status_code, response.content, response.headers)
        if outcome.action in {Action.REJECT_MESSAGE, Action.DISABLE_TARGET, Action.ACCEPTED}:
            return Outcome(Action.ACCEPTED, reason="MSG91 takes the auth key")
        return outcome

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        outcomes: dict[int, Outcome] = {}
        rounds: list[dict[str, int]] = []
        for place, recipient in enumerate(recipients):
            if not _PHONE.match(recipient.address):
                reason = "not a number in E.164, such as +15005550006"
                outcomes[place] = Outcome(Action.DISABLE_TARGET, "202", reason)
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
    document = _object(body)
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
    delay_s = _retry_after_s(headers) if action in {Action.RETRY, Action.RETRY_AFTER} else None
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, code=code or str(status), reason=meaning, retry_after_s=delay_s, outage=outage)


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
    safe = _DIGITS.sub("<number>", said)[:200]
    return Action.REJECT_MESSAGE, f"refused: {safe}" if safe else "refused"


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
    """The adapter of an MSG91 account; raises `SettingsError` naming what is missing."""
    settings = Msg91Settings(
        auth_key=_text(account.credentials, "authKey"),
        template_id=_text(account.credentials, "templateId"),
        sender_id=_text(account.credentials, "senderId"),
    )
    if not re.fullmatch(r"[!-~]+", settings.auth_key):
        raise SettingsError("The MSG91 provider's authKey holds blanks or other letters: copy it anew.")
    return Msg91Adapter(settings, open_client(account, context, headers={"authkey": settings.auth_key}))


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The MSG91 provider's {name} is missing: set it and enable the provider.")
    return value.strip()
