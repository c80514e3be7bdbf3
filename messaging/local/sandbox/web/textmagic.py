"""Textmagic's REST API v2, as far as a sender can see it: `POST /api/v2/messages`, `GET /api/v2/user`.

Any username with any key is an account here, except REFUSED_KEY. Reports go to the registered address, unsigned.
Sources: textmagic.com/docs/api/send-sms, …/receive-sms, docs.textmagic.com.
"""

import itertools
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from messaging.local.sandbox.answers import Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.request_parts import fields_of
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Webhooks, events_for, json_post
from messaging.sms_segments import segments

REFUSED_KEY = "refused-key"
"""The API key that is always wrong."""
MAX_PARTS = 6
MAX_RECIPIENTS = 1000
"""More than that is a bulk session, which the sandbox does not have."""

_NUMBER = re.compile(r"\+?[1-9]\d{6,14}")
_SENDER = re.compile(r"[1-9]\d{2,14}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_LETTERS = {"delivered": "d", "deferred": "b", "bounced_hard": "f", "bounced_soft": "e", "rejected": "j"}
"""The status for each event; an opt-out is a message that comes in."""


def fields() -> dict[str, Any]:
    """An account."""
    return {"username": f"user{secrets.token_hex(4)}", "apiKey": secrets.token_urlsafe(24), "from": "+15005550006"}


class Textmagic(Provider):
    """Answers messages as Textmagic's pages say, and records each recipient."""

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(judge, record, webhooks, clock=clock)
        self._numbers = itertools.count(secrets.randbelow(10**9) + 10**9)

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        username, key = (request.headers.get(name, b"").decode("latin-1") for name in (b"x-tm-username", b"x-tm-key"))
        if not username or not key or key == REFUSED_KEY:
            return self._refuse(Answer(401, "", "Invalid credentials"))
        path = request.path.partition("?")[0]
        if (request.method, path) == ("GET", "/api/v2/user"):
            user = {"id": 1, "username": username, "balance": 100.5, "currency": {"id": "USD"}, "status": "A"}
            return self._json(200, user)
        if path != "/api/v2/messages":
            return self._refuse(Answer(404, "", "Not Found"))
        if request.method != "POST":
            return self._refuse(Answer(405, "", "Method Not Allowed"))
        return self._take(request)

    def _take(self, request: Request) -> Reply:
        form = fields_of(request, keep_blank=False)
        if form is None:
            return self._refuse(Answer(400, "", "Invalid request body"))
        phones = [phone for phone in form.get("phones", "").split(",") if phone]
        refusal = _check(form, phones)
        if refusal is not None and not phones:
            return self._refuse(refusal)
        answer, ids = refusal, []
        for phone in phones:
            to = f"+{phone.removeprefix('+')}"
            found = self._judge.judge(to) if refusal is None else None
            answer = answer or found
            ids.append((next(self._numbers), to))
        for id_, to in ids:
            self._record.append(
                "textmagic",
                to,
                **verdict(answer, 201),
                provider_id=str(id_),
                payload=json.dumps(form),
            )
        if answer is None or answer.accepts:
            self._report(ids, form)
        if answer is None:
            return self._json(201, _created([id_ for id_, _ in ids], next(self._numbers)))
        if not answer.status:
            return self._silence(answer, 201)
        return self._refuse(answer)

    def _report(self, ids: list[tuple[int, str]], form: Mapping[str, str]) -> None:
        registered = self._webhooks.of("textmagic")
        if registered is None:
            return
        at = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
        for id_, to in ids:
            bodies: list[dict[str, Any]] = []
            for event in events_for(to):
                if event == "unsubscribed":
                    said = {"sender": to[1:], "receiver": form.get("from"), "messageTime": at, "text": "STOP"}
                    bodies.append({"id": next(self._numbers)} | said)
                    continue
                said = {"sender": form.get("from"), "receiver": to[1:], "messageTime": at, "text": form.get("text")}
                bodies.append({"id": id_, "status": _LETTERS[event], "timestamp": int(self._clock())} | said)
            self._webhooks.post([json_post(registered.url, body) for body in bodies])

    def _refuse(self, answer: Answer) -> Reply:
        body: dict[str, Any] = {"code": answer.status, "message": answer.text}
        if answer.status == 400:  # noqa: PLR2004  only a bad request has them
            named = {answer.code: [answer.text]} if answer.code else {}
            body = {
                "code": 400,
                "message": "Validation Failed",
                "errors": {"common": [] if named else [answer.text], "fields": named},
            }
        return self._json(answer.status, body)


def _created(ids: list[int], session: int) -> dict[str, Any]:
    single = len(ids) == 1
    id_ = ids[0] if single else session
    return {
        "id": id_,
        "href": f"/api/v2/{'messages' if single else 'sessions'}/{id_}",
        "type": "message" if single else "session",
        "sessionId": session,
        "bulkId": None,
        "messageId": ids[0] if single else None,
        "scheduleId": None,
        "chatId": None,
    }


def _check(form: Mapping[str, str], phones: list[str]) -> Answer | None:
    text, sender, reference = form.get("text", ""), form.get("from"), form.get("referenceId")
    checks = (
        (bool(text), "", "Either text or templateId must be specified"),
        (segments(text).parts <= MAX_PARTS, "partsCount", "Too many message parts"),
        (0 < len(phones) <= MAX_RECIPIENTS, "", "No recipients specified"),
        (all(_NUMBER.fullmatch(phone) for phone in phones), "phones", "Invalid phone number"),
        (not sender or bool(_SENDER.fullmatch(sender)), "from", "Invalid sender ID"),
        (reference is None or reference.isdecimal(), "referenceId", "This value should be of type integer"),
    )
    return next((Answer(400, code, said) for holds, code, said in checks if not holds), None)


_TROUBLE = Trouble(
    throttled=Answer(429, "", "Too Many Requests"),
    internal=Answer(500, "", "Internal Server Error"),
    unavailable=Answer(503, "", "Service Unavailable"),
    dead=Answer(400, "phones", "Invalid phone number"),
)

STAND_IN = StandIn(
    build=Textmagic,
    magic=(
        MagicAddress("+1999400", _TROUBLE.dead),
        row("+1999401", 401, "", "Invalid credentials"),
        row("+1999402", 402, "", "Low balance"),
        row("+1999403", 403, "", "Access denied"),
        row("+1999413", 400, "text", "This text can't be sent"),
        row("+1999610", 400, "phones", "The contact has unsubscribed"),
        row("+1999606", 400, "from", "The sender ID is not allowed"),
        *_TROUBLE.numbers(),
    ),
    faults=_TROUBLE.faults(),
    fields=fields,
    view=lambda payload: {"channel": "sms", "from": payload.get("from"), "text": payload.get("text")},
)
