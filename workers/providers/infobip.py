"""Text messages through Infobip's SMS API, version 3: many messages a request, each with its own id and callback data.

The id of a message is the delivery's tag, and Infobip refuses an id it has seen (status 23). So a message whose answer
was lost can be sent again and is not delivered twice. Infobip does not say whether the id of a rejected message counts
as seen, so status 23 alone does not mean that the message stands: the log does. It is asked what became of the first,
and a rejected one is sent under a further id (`<tag>.2` and so on). The number of an attempt would not do: it counts
attempts that may have been taken, too.
Sources: https://www.infobip.com/docs/api/channels/sms/outbound-sms/send-sms-messages,
https://www.infobip.com/docs/api/channels/sms/logs-and-status-reports/get-outbound-sms-message-logs
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import httpx

from messaging.errors import SettingsError
from messaging.outcome import ACCEPTED, Action, Outcome
from workers.providers.answers import by_status, delay_s, json_object, object_at
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.halving import send_halving
from workers.providers.http1 import lost, open_client, required_text
from workers.providers.infobip_codes import BY_HTTP, DUPLICATE, classify_status, is_rejected
from workers.providers.infobip_receipts import read_receipts as read_receipts  # noqa: PLC0414  part of this module
from workers.providers.sms import (
    SmsAdapter,
    check_letters,
    check_parts,
    is_number,
    not_a_number,
    text_of,
    without_numbers,
)

PARTS_LIMIT = 25
"""Parts of a text; what is longer is refused with status 25."""
VALIDITY_S = (60, 48 * 3600)
"""Least (ours) and most (Infobip's) validityPeriod."""
IDS = 8
"""Ids tried for one delivery within one call."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_OF_ONE = re.compile(r"messages\[(\d+)\]\.(destinations|webhooks)\b")
_ABOUT_FROM = re.compile(r"\bsender\b", re.IGNORECASE)
_REFUSALS = 20
"""Requests made while Infobip names one bad recipient after the other."""
_BAD_REQUEST = 400
_MOST_LOGS = 1000
_TITLE = "Infobip"
_NO_NUMBER = not_a_number("52", "+41793026727")


@dataclass(frozen=True)
class InfobipSettings:
    """An Infobip account."""

    sender: str
    api_key: str = field(default="", repr=False)
    callback: str = ""
    """Where delivery reports go; empty: where the account's own subscriptions say."""


@dataclass(frozen=True)
class Prepared:
    """A text that can be sent."""

    text: str
    expires_at: datetime


@dataclass(frozen=True)
class Entry:
    """One message of a request."""

    place: int
    """Of its recipient in the call."""
    identity: str
    body: bytes


class InfobipAdapter(SmsAdapter[InfobipSettings, Prepared]):
    """One Infobip account."""

    title = _TITLE

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """The text; raises `ContentError` when it is empty or too long."""
        text = text_of(outgoing, _TITLE, empty="400")
        check_letters(text)
        check_parts(text, PARTS_LIMIT, _TITLE, "25")
        return Prepared(text, outgoing.expires_at)

    async def _check(self) -> Outcome:
        """The account's balance."""
        response = await self._client.get("/account/1/balance")
        document = json_object(response.content)
        if not httpx.codes.is_success(response.status_code):
            return classify(response.status_code, response.content, response.headers)
        if "balance" not in document:
            return Outcome(Action.AMBIGUOUS_RETRY, str(response.status_code), "no balance in the answer: check baseUrl")
        return Outcome(Action.ACCEPTED, reason=f"balance {document['balance']} {document.get('currency', '')}".strip())

    async def _send(self, message: Prepared, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request, or a few where recipients are refused or were sent to before."""
        outcomes: dict[int, Outcome] = {}
        numbers: dict[int, int] = {}
        for place, recipient in enumerate(recipients):
            if is_number(recipient.address):
                numbers[place] = 1
            else:
                outcomes[place] = _NO_NUMBER
        for _ in range(IDS):
            if not numbers:
                break
            entries = [self._entry(message, recipients[place], place, number) for place, number in numbers.items()]
            outcomes |= await self._deliver(entries)
            used = [entry for entry in entries if outcomes[entry.place].code == DUPLICATE]
            fates = await self._fates(used) if used else {}
            outcomes |= {entry.place: fates[entry.identity] for entry in used}
            numbers = {e.place: numbers[e.place] + 1 for e in used if fates[e.identity].code == DUPLICATE}
        return [outcomes[place] for place in range(len(recipients))]

    def _entry(self, message: Prepared, recipient: Recipient, place: int, number: int) -> Entry:
        identity = recipient.tag if number == 1 else f"{recipient.tag}.{number}"
        left_s = self._left(message.expires_at, VALIDITY_S)
        webhooks: dict[str, object] = {"contentType": "application/json", "callbackData": recipient.tag}
        if self._settings.callback:
            webhooks["delivery"] = {"url": self._settings.callback, "intermediateReport": True}
        body = {
            "sender": self._settings.sender,
            "destinations": [{"to": recipient.address[1:], "messageId": identity}],
            "content": {"text": message.text},
            "options": {"validityPeriod": {"amount": left_s, "timeUnit": "SECONDS"}},
            "webhooks": webhooks,
        }
        return Entry(place, identity, json.dumps(body).encode())

    async def _deliver(self, entries: Sequence[Entry]) -> Mapping[int, Outcome]:
        """The outcomes by place."""
        told: dict[int, Outcome] = {}
        answers = await send_halving(entries, partial(self._post, told))
        return {entry.place: told.get(entry.place, answer) for entry, answer in zip(entries, answers, strict=True)}

    async def _post(self, told: dict[int, Outcome], entries: Sequence[Entry]) -> Sequence[Outcome] | None:
        """The outcomes of one request, made again without the recipients that are refused by name.

        None where it is refused for one of several and Infobip does not say for which. What is said of a single
        message goes into `told` and counts as accepted here: one number's trouble keeps no other from being sent.
        """
        outcomes: dict[int, Outcome] = {}
        waiting = list(entries)
        for _ in range(_REFUSALS):
            try:
                response = await self._client.post(
                    "/sms/3/messages",
                    content=b'{"messages": [' + b",".join(entry.body for entry in waiting) + b"]}",
                    headers={"content-type": "application/json"},
                )
            except httpx.HTTPError as error:
                outcomes |= dict.fromkeys((entry.place for entry in waiting), lost(error, _TITLE))
                break
            if response.status_code == _BAD_REQUEST and len(entries) > 1 and not violations(response.content):
                return None
            refused = refused_messages(response.status_code, response.content, len(waiting))
            if not refused:
                own = _statuses(waiting, response)
                told |= own
                whole = ACCEPTED if own else classify(response.status_code, response.content, response.headers)
                outcomes |= dict.fromkeys((entry.place for entry in waiting), whole)
                break
            outcomes |= {waiting[index].place: outcome for index, outcome in refused.items()}
            waiting = [entry for index, entry in enumerate(waiting) if index not in refused]
            if not waiting:
                break
        rest = Outcome(Action.RETRY, "400", "not sent: Infobip refused the request for other recipients")
        return [outcomes.get(entry.place, rest) for entry in entries]

    async def _fates(self, used: Sequence[Entry]) -> Mapping[str, Outcome]:
        """What became of messages under ids used before; one that was rejected has `DUPLICATE` as its code."""
        parameters = [("messageId", entry.identity) for entry in used]
        try:
            response = await self._client.get("/sms/3/logs", params=[*parameters, ("limit", str(_MOST_LOGS))])
        except httpx.HTTPError:
            response = None
        logs = None if response is None or not response.is_success else json_object(response.content).get("results")
        if not isinstance(logs, list):
            reason = "Infobip has seen the message's id before, and its log could not be asked what became of it"
            unknown = Outcome(Action.AMBIGUOUS_RETRY, "log", reason)
            return {e.identity: replace(unknown, provider_message_id=e.identity) for e in used}
        return {entry.identity: _fate(entry.identity, logs) for entry in used}


def _fate(identity: str, logs: Sequence[object]) -> Outcome:
    """Whether a message stands by what the log has under its id: refusals of the id itself say nothing."""
    statuses = [object_at(log, "status") for log in logs if isinstance(log, dict) and log.get("messageId") == identity]
    told = [status for status in statuses if str(status.get("id")) != DUPLICATE]
    if told and all(is_rejected(status) for status in told):
        return Outcome(Action.RETRY, DUPLICATE, "not sent: the ids of the message are used up by rejected attempts")
    return Outcome(Action.ACCEPTED, provider_message_id=identity)


def _statuses(entries: Sequence[Entry], response: httpx.Response) -> dict[int, Outcome]:
    """The outcomes by place, of an answer with a status for each message; else none."""
    messages = json_object(response.content).get("messages")
    if not response.is_success or not isinstance(messages, list):
        return {}
    statuses = {str(m.get("messageId")): object_at(m, "status") for m in messages if isinstance(m, dict)}
    return {entry.place: classify_status(statuses.get(entry.identity, {}), entry.identity) for entry in entries}


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """What an answer without a status for each message means for all of them."""
    if httpx.codes.is_success(status):
        return Outcome(Action.AMBIGUOUS_RETRY, str(status), "a positive answer that can't be read", outage=True)
    said = "; ".join(f"{where}: {what}" if where else what for where, what in violations(body) or [("", _said(body))])
    said = without_numbers(said)
    if status == _BAD_REQUEST and _ABOUT_FROM.search(said):
        return Outcome(Action.STOP_PROVIDER, "400 sender", f"the sender is refused, correct from: {said}")
    action, meaning = BY_HTTP.get(status) or by_status(status, _TITLE, endpoint="baseUrl")
    reason = f"{meaning}: {said}" if said and action is Action.REJECT_MESSAGE else meaning
    outage = httpx.codes.is_server_error(status)
    return Outcome(action, str(status), reason, retry_after_s=delay_s(action, headers), outage=outage)


def refused_messages(status: int, body: bytes, count: int) -> dict[int, Outcome]:
    """The places (0 to `count` - 1) of the messages a 400 blames; empty when it blames the whole request."""
    refused: dict[int, Outcome] = {}
    for where, what in violations(body) if status == _BAD_REQUEST else []:
        found = _OF_ONE.match(where)
        if found is None or int(found[1]) >= count:
            return {}
        said = without_numbers(what)
        if where.endswith(".to"):
            refused[int(found[1])] = Outcome(Action.DISABLE_TARGET, "400 to", f"the number is refused: {said}")
        else:
            refused.setdefault(int(found[1]), Outcome(Action.REJECT_MESSAGE, "400", f"refused: {said}"))
    return refused


def violations(body: bytes) -> Sequence[tuple[str, str]]:
    """Field and complaint of each thing wrong with a request, in both forms Infobip has for it."""
    document = json_object(body)
    listed = document.get("violations")
    found = [
        (str(each.get("property") or ""), str(each.get("violation") or ""))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    ]
    for where, complaints in object_at(_exception(document), "validationErrors").items():
        found += [(where, str(what)) for what in (complaints if isinstance(complaints, list) else [complaints])]
    return found


def _said(body: bytes) -> str:
    document = json_object(body)
    return str(_exception(document).get("text") or document.get("description") or "")


def _exception(document: Mapping[str, object]) -> Mapping[str, object]:
    return object_at(object_at(document, "requestError"), "serviceException")


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of an Infobip account; raises `SettingsError` naming what is missing."""
    settings = InfobipSettings(
        sender=required_text(account.options, "from", _TITLE).removeprefix("+"),
        api_key=required_text(account.credentials, "apiKey", _TITLE),
        callback=context.receipts_url or "",
    )
    if not re.fullmatch(r"[!-~]+", settings.api_key):
        raise SettingsError("The Infobip provider's apiKey holds blanks or other letters: copy it anew.")
    headers = {"authorization": f"App {settings.api_key}"}
    base_url = base_address(required_text(account.credentials, "baseUrl", _TITLE))
    return InfobipAdapter(settings, open_client(account, context, headers=headers, base_url=base_url))


def base_address(base_url: str) -> str:
    """The account's own address, given with or without `https://`; raises `SettingsError` for what is none."""
    host = base_url.removeprefix("https://").rstrip("/")
    if not _HOST.fullmatch(host):
        raise SettingsError("The Infobip provider's baseUrl is no host, such as xyz123.api.infobip.com: correct it.")
    return f"https://{host}"
