"""Infobip's SMS API, as far as a sender can see it: sending, the log, the balance.

`POST /sms/3/messages`, `GET /sms/3/logs`, `GET /account/1/balance`. Each message has a status of its own in an answer
200; a mistake in the form refuses the whole request. A message id is taken once, also where the message is rejected.
Sources: infobip.com/docs/api/channels/sms/outbound-sms/send-sms-messages,
infobip.com/docs/essentials/api-essentials/response-status-and-error-codes.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from messaging.local.sandbox.answers import Answer, MagicAddress, Trouble, row
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge, find_magic
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.record import Outcome, Record
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Webhooks, events_for, json_post
from messaging.sms_segments import segments

REFUSED_KEY = "refused-key"
"""The API key that is always wrong."""
MAX_PARTS = 25
MAX_ID = 200
MAX_CALLBACK_DATA = 4000
DUPLICATE = "23"

_KEPT_IDS = 100_000
_OK = 200
_NAMED, _UNNAMED = "named", "unnamed"
_NUMBER = re.compile(r"[1-9][0-9]{4,14}")
_UNITS = {"SECONDS", "MINUTES", "HOURS", "DAYS"}
_GROUPS = {1: "PENDING", 2: "UNDELIVERABLE", 3: "DELIVERED", 4: "EXPIRED", 5: "REJECTED"}
_STATUSES: Mapping[str, tuple[int, str]] = {
    "3": (1, "PENDING_WAITING_DELIVERY"),
    "5": (3, "DELIVERED_TO_HANDSET"),
    "6": (5, "REJECTED_NETWORK"),
    "9": (2, "UNDELIVERABLE_NOT_DELIVERED"),
    "10": (5, "REJECTED_DND"),
    "12": (5, "REJECTED_NOT_ENOUGH_CREDITS"),
    "13": (5, "REJECTED_SENDER"),
    "14": (5, "REJECTED_DESTINATION_BLOCKLISTED"),
    "20": (5, "REJECTED_FLOODING_FILTER"),
    "21": (5, "REJECTED_SYSTEM_ERROR"),
    DUPLICATE: (5, "REJECTED_DUPLICATE_MESSAGE_ID"),
    "25": (5, "REJECTED_MESSAGE_TOO_LONG"),
    "26": (1, "PENDING_ACCEPTED"),
    "52": (5, "REJECTED_DESTINATION"),
    "87": (5, "SIGNALS_BLOCKED"),
}
_ERRORS: Mapping[str, tuple[str, bool]] = {
    "0": ("NO_ERROR", False),
    "1": ("EC_UNKNOWN_SUBSCRIBER", True),
    "27": ("EC_ABSENT_SUBSCRIBER", False),
    "573": ("EC_SC_BLOCKED_BY_END_USER", True),
}
_WORDS: Mapping[str, tuple[str, str]] = {
    "delivered": ("5", "0"),
    "deferred": ("3", "27"),
    "bounced_hard": ("9", "1"),
    "bounced_soft": ("9", "27"),
    "unsubscribed": ("9", "573"),
    "rejected": ("87", "0"),
}
"""Ids of status and error by the word of an event."""


@dataclass(frozen=True)
class _Sms:
    """One destination of one message."""

    place: int
    """Of its message in the request."""
    to: str
    identity: str
    message: Mapping[str, Any]

    @property
    def callback(self) -> str:
        return str(((self.message.get("webhooks") or {}).get("delivery") or {}).get("url") or "")

    @property
    def callback_data(self) -> str | None:
        found = (self.message.get("webhooks") or {}).get("callbackData")
        return None if found is None else str(found)

    @property
    def wants_intermediate(self) -> bool:
        return bool(((self.message.get("webhooks") or {}).get("delivery") or {}).get("intermediateReport"))


class Infobip(Provider):
    """Answers messages as Infobip's pages say, and records each destination.

    Any API key is an account here, except REFUSED_KEY.
    """

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(judge, record, webhooks, clock=clock)
        self._log: dict[str, str] = {}
        """Status by message id."""

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        parts = urlsplit(request.path)
        scheme, _, key = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "app" or not key or key == REFUSED_KEY:
            return self._refuse(Answer(401, "UNAUTHORIZED", "Invalid login details"))
        match parts.path, request.method:
            case "/account/1/balance", "GET":
                return self._json(_OK, {"balance": 47.79, "currency": "EUR"})
            case "/sms/3/logs", "GET":
                return self._json(_OK, {"results": self._logs(parse_qs(parts.query))})
            case "/sms/3/messages", "POST":
                return self._read(request.body)
            case _:
                return self._refuse(Answer(404, "NOT_FOUND", "Requested URL not found"))

    def _read(self, body: bytes) -> Reply:
        try:
            document = json.loads(body)
        except ValueError:
            return self._refuse(Answer(400, "BAD_REQUEST", "Bad Request"))
        messages = document.get("messages") if isinstance(document, dict) else None
        if not isinstance(messages, list) or not messages:
            return self._violate([("messages", "must not be empty")])
        found = [each for place, message in enumerate(messages) for each in _check(place, message)]
        if found:
            return self._violate(found)
        return self._take(
            [
                _Sms(place, str(to["to"]), str(to.get("messageId") or secrets.token_hex(12)), message)
                for place, message in enumerate(messages)
                for to in message["destinations"]
            ]
        )

    def _take(self, texts: Sequence[_Sms]) -> Reply:
        """The reply to a request that keeps the rules: by its destinations and the faults in force."""
        whole: Answer | None = None
        blamed = 0
        own: list[Answer | None] = []
        for number, sms in enumerate(texts):
            is_magic = find_magic("infobip", f"+{sms.to}") is not None
            answer = self._judge.judge(f"+{sms.to}")
            if answer is not None and answer.status != _OK:
                if whole is None and (is_magic or number == 0):
                    whole, blamed = answer, sms.place
                answer = None
            own.append(answer)
        bulk = secrets.token_hex(10)
        statuses = [self._settle(sms, whole, answer, bulk) for sms, answer in zip(texts, own, strict=True)]
        if whole is None or whole.accepts:
            self._tell([sms for sms, status in zip(texts, statuses, strict=True) if status == "26"], bulk)
        if whole is None:
            messages = [
                {
                    "messageId": sms.identity,
                    "destination": sms.to,
                    "status": _status(status),
                    "details": {"messageCount": segments(_text(sms)).parts},
                }
                for sms, status in zip(texts, statuses, strict=True)
            ]
            return self._json(_OK, {"bulkId": bulk, "messages": messages})
        if whole.code == _NAMED:
            return self._violate([(f"messages[{blamed}].destinations[0].to", whole.text)])
        return self._refuse(whole)

    def _settle(self, sms: _Sms, whole: Answer | None, own: Answer | None, bulk: str) -> str:
        """The status of one destination, which is on the record and in the log then."""
        status = "26" if own is None else own.code
        if sms.identity in self._log:
            status = DUPLICATE
        outcome, code, number = Outcome.ACCEPTED, "", _OK
        if whole is not None:
            outcome, code, number = whole.outcome(), whole.code, whole.status
        if outcome is Outcome.ACCEPTED and status != "26":
            outcome, code = Outcome.REFUSED, status
        self._record.append(
            "infobip",
            f"+{sms.to}",
            outcome=outcome,
            status=number,
            code=code,
            provider_id=sms.identity,
            tag=sms.callback_data,
            payload=json.dumps(sms.message),
            about=json.dumps({"bulk": bulk}),
        )
        if whole is None or whole.accepts:
            self._log.setdefault(sms.identity, status)
            if len(self._log) > _KEPT_IDS:
                del self._log[next(iter(self._log))]
        return status

    def _logs(self, query: Mapping[str, list[str]]) -> list[dict[str, object]]:
        limit = int((query.get("limit") or ["50"])[0])
        found = [identity for identity in query.get("messageId", []) if identity in self._log]
        return [{"messageId": each, "status": _status(self._log[each]), "error": _error("0")} for each in found[:limit]]

    def _tell(self, texts: Sequence[_Sms], bulk: str) -> None:
        """Reports, those of one step and address in one request."""
        steps: dict[tuple[int, str], list[dict[str, object]]] = {}
        for sms in texts:
            url = self._webhooks.address("infobip", sms.callback)
            for step, event in enumerate(events_for(f"+{sms.to}")):
                if url and (event != "deferred" or sms.wants_intermediate):
                    steps.setdefault((step, url), []).append(self._report(sms, bulk, *_WORDS[event]))
        ordered = sorted(steps.items(), key=lambda item: item[0])
        self._webhooks.post([json_post(url, {"results": results}) for (_, url), results in ordered])

    def _report(self, sms: _Sms, bulk: str, status: str, error: str) -> dict[str, object]:
        now = f"{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%dT%H:%M:%S.000+0000}"
        report: dict[str, object] = {
            "bulkId": bulk,
            "messageId": sms.identity,
            "to": sms.to,
            "sender": sms.message["sender"],
            "sentAt": now,
            "doneAt": now,
            "messageCount": segments(_text(sms)).parts,
            "mccMnc": "22801",
            "price": {"pricePerMessage": 0.02, "currency": "EUR"},
            "status": _status(status),
            "error": _error(error),
        }
        return report if sms.callback_data is None else report | {"callbackData": sms.callback_data}

    def _refuse(self, answer: Answer) -> Reply:
        if not answer.status:
            return self._silence(answer)
        exception = {"messageId": answer.code, "text": answer.text}
        return self._json(answer.status, {"requestError": {"serviceException": exception}})

    def _violate(self, found: Sequence[tuple[str, str]]) -> Reply:
        listed = [{"property": where, "violation": what} for where, what in found]
        document = {
            "errorCode": "E400",
            "description": "Request cannot be processed.",
            "action": "Check the syntax, violations and adjust the request.",
            "violations": listed,
            "resources": [],
        }
        return self._json(400, document)


def _status(identity: str) -> dict[str, object]:
    group, name = _STATUSES[identity]
    return {
        "groupId": group,
        "groupName": _GROUPS[group],
        "id": int(identity),
        "name": name,
        "description": name.replace("_", " ").capitalize(),
    }


def _error(identity: str) -> dict[str, object]:
    name, permanent = _ERRORS[identity]
    group = 0 if identity == "0" else 1
    return {
        "groupId": group,
        "groupName": "OK" if group == 0 else "HANDSET_ERRORS",
        "id": int(identity),
        "name": name,
        "description": name.replace("_", " ").capitalize(),
        "permanent": permanent,
    }


def _text(sms: _Sms) -> str:
    return str(sms.message["content"]["text"])


def _check(place: int, message: object) -> list[tuple[str, str]]:
    """What is wrong with the form of one message."""
    at = f"messages[{place}]"
    if not isinstance(message, dict):
        return [(at, "must be an object")]
    found = []
    if not message.get("sender"):
        found.append((f"{at}.sender", "must not be empty"))
    content = message.get("content")
    if not isinstance(content, dict) or not content.get("text"):
        found.append((f"{at}.content.text", "must not be empty"))
    elif segments(str(content["text"])).parts > MAX_PARTS:
        found.append((f"{at}.content.text", "is too long"))
    destinations = message.get("destinations")
    if not isinstance(destinations, list) or not destinations:
        found.append((f"{at}.destinations", "must not be empty"))
    else:
        found += [
            each
            for number, to in enumerate(destinations)
            for each in _check_destination(f"{at}.destinations[{number}]", to)
        ]
    return found + _check_options(at, message)


def _check_destination(at: str, destination: object) -> list[tuple[str, str]]:
    if not isinstance(destination, dict) or not _NUMBER.fullmatch(str(destination.get("to", ""))):
        return [(f"{at}.to", "must be a number in international format")]
    if len(str(destination.get("messageId", ""))) > MAX_ID:
        return [(f"{at}.messageId", f"size must be between 0 and {MAX_ID}")]
    return []


def _check_options(at: str, message: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    validity = (message.get("options") or {}).get("validityPeriod")
    if validity is not None:
        amount = validity.get("amount")
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
            found.append((f"{at}.options.validityPeriod.amount", "must be a whole number of at least 1"))
        if validity.get("timeUnit", "MINUTES") not in _UNITS:
            found.append((f"{at}.options.validityPeriod.timeUnit", "is not known"))
    webhooks = message.get("webhooks") or {}
    url = (webhooks.get("delivery") or {}).get("url")
    if url is not None and urlsplit(str(url)).scheme not in {"http", "https"}:
        found.append((f"{at}.webhooks.delivery.url", "must be a URL"))
    if len(str(webhooks.get("callbackData", ""))) > MAX_CALLBACK_DATA:
        found.append((f"{at}.webhooks.callbackData", f"size must be between 0 and {MAX_CALLBACK_DATA}"))
    return found


def _fields() -> dict[str, Any]:
    return {"baseUrl": "sandbox.api.infobip.com", "apiKey": secrets.token_urlsafe(32), "from": "Sandbox"}


def _view(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"channel": "sms", "from": payload.get("sender"), "text": (payload.get("content") or {}).get("text")}


_TROUBLE = Trouble(
    throttled=Answer(429, "TOO_MANY_REQUESTS", "Too many requests"),
    internal=Answer(500, "GENERAL_ERROR", "Something went wrong"),
    unavailable=Answer(503, "SERVICE_UNAVAILABLE", "Service unavailable"),
    dead=Answer(_OK, "52", "rejected destination"),
)

# Rows with status 200 are about one destination, the others about the request it is in.
STAND_IN = StandIn(
    build=Infobip,
    magic=(
        MagicAddress("+1999052", _TROUBLE.dead),
        row("+1999010", _OK, "10", "do not disturb"),
        row("+1999014", _OK, "14", "blocklisted"),
        row("+1999087", _OK, "87", "blocked by Signals"),
        row("+1999012", _OK, "12", "not enough credits"),
        row("+1999013", _OK, "13", "rejected sender"),
        row("+1999006", _OK, "6", "no network"),
        row("+1999020", _OK, "20", "flooding filter"),
        row("+1998020", _OK, "20", "flooding filter", once=True),
        row("+1999021", _OK, "21", "system error"),
        row("+1998021", _OK, "21", "system error", once=True),
        row("+1999400", 400, _NAMED, "must be a number in international format"),
        row("+1999499", 400, _UNNAMED, "Bad Request"),
        row("+1999401", 401, "UNAUTHORIZED", "Invalid login details"),
        row("+1999403", 403, "FORBIDDEN", "Unauthorized access"),
        *_TROUBLE.numbers(),
    ),
    faults=_TROUBLE.faults(),
    fields=_fields,
    view=_view,
)
