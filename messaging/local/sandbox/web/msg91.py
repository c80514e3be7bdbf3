"""MSG91's flow API, as far as a sender can see it: `POST /api/v5/flow`.

Any auth key is an account here, except REFUSED_KEY, and any template id a template, except REFUSED_TEMPLATE. A request
is taken or refused as a whole. Reports go to the registered address as version 2 of the webhook, unsigned.
Sources: docs.msg91.com/sms/send-sms, msg91.com/help/webhooks.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from messaging.local.sandbox.exchange import Behaviour, Reply, Request
from messaging.local.sandbox.faults import Fault
from messaging.local.sandbox.magic import Answer, Judge, MagicAddress, find_magic
from messaging.local.sandbox.record import Outcome, Record
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Post, Webhooks, events_for

REFUSED_KEY = "refused-key"
"""The auth key that is always wrong."""
FOREIGN_KEY = "foreign-key"
"""The auth key whose addresses this machine's is not among."""
REFUSED_TEMPLATE = "refused-template"
"""The template id that is always wrong."""
MAX_TAG = 80

_INDIA = timezone(timedelta(hours=5, minutes=30))
_NUMBER = re.compile(r"[1-9]\d{6,14}")
_STATUS = {
    "delivered": ("1", "DELIVERED"),
    "deferred": ("8", "SENT"),
    "bounced_hard": ("2", "FAILED"),
    "bounced_soft": ("2", "FAILED"),
    "unsubscribed": ("9", "NDNC"),
    "rejected": ("16", "REJECTED"),
}
"""Status and words of the report for each event."""

_Entry = tuple[str, Mapping[str, Any]]
"""Number with its plus, and what the request has for it."""


def fields() -> dict[str, Any]:
    """An account and its template."""
    return {"authKey": secrets.token_hex(14), "templateId": secrets.token_hex(12), "senderId": "SANDBX"}


class Msg91:
    """Answers requests as MSG91's pages say, and records each recipient."""

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._judge = judge
        self._record = record
        self._webhooks = webhooks
        self._clock = clock

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        refusal = _check_access(request)
        if refusal is not None:
            return self._refuse(refusal)
        try:
            document = json.loads(request.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return self._refuse(Answer(400, "", "Invalid JSON"))
        return self._take(document)

    def _take(self, document: Mapping[str, Any]) -> Reply:
        recipients = document.get("recipients")
        entries = [
            (f"+{each.get('mobiles', '')}", each)
            for each in (recipients if isinstance(recipients, list) else [])
            if isinstance(each, dict)
        ]
        answer = _check(document, entries)
        if answer is None:
            answer = self._judge_all([to for to, _ in entries])
        request_id = secrets.token_hex(12)
        for to, entry in entries:
            tag = entry.get("CRQID")
            self._record.append(
                "msg91",
                to,
                outcome=Outcome.ACCEPTED if answer is None else answer.outcome(),
                status=200 if answer is None else answer.status,
                code="" if answer is None else answer.code,
                provider_id=request_id,
                tag=None if tag is None else str(tag),
                payload=json.dumps({"sender": document.get("sender")} | dict(entry)),
                about=json.dumps({"template": document.get("template_id"), "recipients": len(entries)}),
            )
        if answer is None or answer.accepts:
            self._report(document, entries, request_id)
        if answer is None:
            return self._reply(200, {"message": request_id, "type": "success"})
        if not answer.status:
            return Reply(200, behaviour=answer.behaviour, delay_s=self._judge.delay_s)
        return self._refuse(answer)

    def _judge_all(self, numbers: Sequence[str]) -> Answer | None:
        """The answer for the request: of a magic number, else of a bad one, else of the rates for the first."""
        found: Answer | None = None
        for place, number in enumerate(numbers):
            answer = self._judge.judge(number)
            if answer is None or (found is not None and found.code != _DEAD.code):
                continue
            if find_magic("msg91", number) is not None or answer == _DEAD or place == 0:
                found = answer
        return found

    def _report(self, document: Mapping[str, Any], entries: Sequence[_Entry], request_id: str) -> None:
        registered = self._webhooks.of("msg91")
        if registered is None:
            return
        at = datetime.fromtimestamp(self._clock(), UTC).astimezone(_INDIA).strftime("%Y-%m-%d %H:%M:%S")
        stages: list[list[dict[str, str]]] = []
        for to, entry in entries:
            for stage, event in enumerate(events_for(to)):
                status, words = _STATUS[event]
                if stage == len(stages):
                    stages.append([])
                report = {"date": at, "number": to[1:], "status": status, "desc": words}
                stages[stage].append(report | {"CRQID": str(entry.get("CRQID", "0")), "failedReason": ""})
        posts = []
        for reports in stages:
            request = {"senderId": document.get("sender"), "requestId": request_id, "report": reports}
            data = json.dumps([request | {"userId": "1", "campaignName": "API"}])
            headers = {"content-type": "application/x-www-form-urlencoded"}
            posts.append(Post(url=registered.url, body=urlencode({"data": data}).encode(), headers=headers))
        self._webhooks.post(posts)

    def _refuse(self, answer: Answer) -> Reply:
        body = {"message": answer.text, "type": "error"}
        return self._reply(answer.status, body | ({"code": answer.code} if answer.code else {}))

    def _reply(self, status: int, body: Mapping[str, Any]) -> Reply:
        headers = [(b"content-type", b"application/json")]
        if status in {429, 503} and self._judge.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self._judge.retry_after_s))
        return Reply(status, tuple(headers), json.dumps(body).encode(), delay_s=self._judge.delay_s)


def _check_access(request: Request) -> Answer | None:
    if request.path.partition("?")[0].rstrip("/") != "/api/v5/flow":
        return Answer(404, "", "Not found")
    if request.method != "POST":
        return Answer(405, "", "Method not allowed")
    key = request.headers.get(b"authkey", b"").decode("latin-1")
    if not key or key == REFUSED_KEY:
        return Answer(401, "207", "Invalid authkey")
    return Answer(200, "418", "IP is not whitelisted") if key == FOREIGN_KEY else None


def _check(document: Mapping[str, Any], entries: Sequence[_Entry]) -> Answer | None:
    template = document.get("template_id")
    if not isinstance(template, str) or not template or template == REFUSED_TEMPLATE:
        return Answer(200, "", "Invalid template id")
    if not entries:
        return Answer(200, "101", "Recipients are missing")
    if not all(_NUMBER.fullmatch(to[1:]) for to, _ in entries):
        return _DEAD
    if any(len(str(entry.get("CRQID", ""))) > MAX_TAG for _, entry in entries):
        return Answer(200, "", "CRQID is over 80 characters")
    return None


def _row(prefix: str, status: int, code: str, text: str, *, once: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(status, code, text), once)


_NEVER = Answer(0, "never answered", behaviour=Behaviour.NEVER_ANSWER)
_DROPPED = Answer(0, "connection dropped", behaviour=Behaviour.DROP_CONNECTION)
_LOST = Answer(0, "accepted, then connection dropped", behaviour=Behaviour.DROP_CONNECTION, accepts=True)
_THROTTLED = Answer(429, "", "Too many requests")
_UNAVAILABLE = Answer(503, "", "Service unavailable")
_INTERNAL = Answer(500, "", "Internal server error")
_DEAD = Answer(200, "202", "Invalid mobile number")

STAND_IN = StandIn(
    build=Msg91,
    magic=(
        MagicAddress("+1999400", _DEAD),
        _row("+1999401", 401, "207", "Invalid authkey"),
        _row("+1999402", 200, "301", "Insufficient balance"),
        _row("+1999418", 200, "418", "IP is not whitelisted"),
        _row("+1999306", 200, "306", "This route is currently unavailable"),
        _row("+1999413", 200, "310", "SMS is too long"),
        _row("+1999311", 200, "311", "Request discarded because the same request was generated within 10 seconds"),
        MagicAddress("+1999429", _THROTTLED),
        MagicAddress("+1998429", _THROTTLED, once=True),
        MagicAddress("+1999500", _INTERNAL),
        MagicAddress("+1999503", _UNAVAILABLE),
        MagicAddress("+1998503", _UNAVAILABLE, once=True),
        MagicAddress("+1999000", _NEVER),
        MagicAddress("+1999001", _DROPPED),
        MagicAddress("+1999004", _LOST),
    ),
    faults={
        Fault.THROTTLED: _THROTTLED,
        Fault.INTERNAL: _INTERNAL,
        Fault.UNAVAILABLE: _UNAVAILABLE,
        Fault.DEAD: _DEAD,
        Fault.RESET: _DROPPED,
        Fault.LOST_ANSWER: _LOST,
        Fault.NEVER_ANSWER: _NEVER,
    },
    fields=fields,
    view=lambda payload: {"channel": "sms", "from": payload.get("sender"), "text": payload.get("message")},
)
