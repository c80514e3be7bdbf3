"""MSG91's flow API, as far as a sender can see it: `POST /api/v5/flow`.

Any auth key is an account here, except REFUSED_KEY, and any template id a template, except REFUSED_TEMPLATE. A request
is taken or refused as a whole. Reports go to the registered address as version 2 of the webhook, unsigned.
Sources: docs.msg91.com/sms/send-sms, msg91.com/help/webhooks.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from messaging.local.sandbox.answers import Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import find_magic
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.request_parts import json_object
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Post, events_for

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


class Msg91(Provider):
    """Answers requests as MSG91's pages say, and records each recipient."""

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        refusal = _check_access(request)
        if refusal is not None:
            return self._refuse(refusal)
        document = json_object(request)
        if document is None:
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
                **verdict(answer, 200),
                provider_id=request_id,
                tag=None if tag is None else str(tag),
                payload=json.dumps({"sender": document.get("sender")} | dict(entry)),
                about=json.dumps({"template": document.get("template_id"), "recipients": len(entries)}),
            )
        if answer is None or answer.accepts:
            self._report(document, entries, request_id)
        if answer is None:
            return self._json(200, {"message": request_id, "type": "success"})
        if not answer.status:
            return self._silence(answer)
        return self._refuse(answer)

    def _judge_all(self, numbers: Sequence[str]) -> Answer | None:
        """The answer for the request: of a magic number, else of a bad one, else of the rates for the first."""
        found: Answer | None = None
        for place, number in enumerate(numbers):
            answer = self._judge.judge(number)
            if answer is None or (found is not None and found.code != _TROUBLE.dead.code):
                continue
            if find_magic("msg91", number) is not None or answer == _TROUBLE.dead or place == 0:
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
        return self._json(answer.status, body | ({"code": answer.code} if answer.code else {}))


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
        return _TROUBLE.dead
    if any(len(str(entry.get("CRQID", ""))) > MAX_TAG for _, entry in entries):
        return Answer(200, "", "CRQID is over 80 characters")
    return None


_TROUBLE = Trouble(
    throttled=Answer(429, "", "Too many requests"),
    internal=Answer(500, "", "Internal server error"),
    unavailable=Answer(503, "", "Service unavailable"),
    dead=Answer(200, "202", "Invalid mobile number"),
)

STAND_IN = StandIn(
    build=Msg91,
    magic=(
        MagicAddress("+1999400", _TROUBLE.dead),
        row("+1999401", 401, "207", "Invalid authkey"),
        row("+1999402", 200, "301", "Insufficient balance"),
        row("+1999418", 200, "418", "IP is not whitelisted"),
        row("+1999306", 200, "306", "This route is currently unavailable"),
        row("+1999413", 200, "310", "SMS is too long"),
        row("+1999311", 200, "311", "Request discarded because the same request was generated within 10 seconds"),
        *_TROUBLE.numbers(),
    ),
    faults=_TROUBLE.faults(),
    fields=fields,
    view=lambda payload: {"channel": "sms", "from": payload.get("sender"), "text": payload.get("message")},
)
