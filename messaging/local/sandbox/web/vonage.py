"""Vonage's SMS API, as far as a sender can see it: `POST /sms/json` and `GET /account/get-balance`.

A text in several parts is answered part by part, and each part has a receipt of its own. A text with letters outside
GSM-7 that is not sent as `unicode` arrives with question marks in their place.
Sources: developer.vonage.com/en/api/sms, developer.vonage.com/en/messaging/sms/guides/delivery-receipts.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from messaging.local.sandbox.answers import SILENT_NUMBERS, Answer, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.request_parts import basic_auth, form_of
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import events_for, json_post
from messaging.sms_segments import segments

REFUSED_SECRET = "refused-secret"  # noqa: S105  # nosec B105  opens nothing
"""The API secret that is always wrong."""
MAX_TEXT = 3200
MAX_REFERENCE = 100
MAX_CALLBACK = 100
TTL_MS = (20_000, 604_800_000)

_NUMBER = re.compile(r"[1-9][0-9]{4,14}")
_SENDER = re.compile(r"[0-9]{3,15}|[A-Za-z0-9 ]{1,11}")
_OK = 200
_UNAUTHORIZED = 401
_NOT_FOUND = 404

_WORDS: Mapping[str, tuple[str, str]] = {
    "delivered": ("delivered", "0"),
    "deferred": ("buffered", "0"),
    "bounced_hard": ("failed", "3"),
    "bounced_soft": ("failed", "2"),
    "unsubscribed": ("rejected", "4"),
    "rejected": ("rejected", "6"),
}
"""`status` and `err-code` by the word of an event."""


class Vonage(Provider):
    """Answers messages as Vonage's pages say, and records each.

    Any key with any secret is an account here, except REFUSED_SECRET.
    """

    def __call__(self, request: Request) -> Reply:
        """The reply to one message, or to a question for the balance."""
        path = request.path.partition("?")[0]
        form = form_of(request)
        key, secret = _credentials(request, form)
        refused = not key or not secret or secret == REFUSED_SECRET
        if path == "/account/get-balance" and request.method == "GET":
            if refused:
                return self._json(_UNAUTHORIZED, {"error-code": "401", "error-code-label": "authentication failed"})
            return self._json(_OK, {"value": 10.28, "autoReload": False})
        if path != "/sms/json" or request.method != "POST":
            return self._json(_NOT_FOUND, {"error-code": "420", "error-code-label": "no such resource"})
        if refused:
            return self._refuse(Answer(_OK, "4", "Bad Credentials"))
        return self._take(form, key)

    def _take(self, form: Mapping[str, str], key: str) -> Reply:
        to = f"+{form.get('to', '')}"
        answer = _check(form) or self._judge.judge(to)
        parts = segments(form.get("text", "")).parts
        identities = [secrets.token_hex(8).upper() for _ in range(parts)]
        self._record.append(
            "vonage",
            to,
            **verdict(answer, _OK),
            provider_id=identities[0],
            tag=form.get("client-ref"),
            payload=json.dumps({name: value for name, value in form.items() if name != "api_secret"}),
            about=json.dumps({"parts": parts}),
        )
        if answer is None or answer.accepts:
            self._tell(form, key, identities)
        if answer is not None:
            return self._refuse(answer)
        messages = [
            {
                "to": form["to"],
                "message-id": identity,
                "status": "0",
                "remaining-balance": "10.28",
                "message-price": "0.0333",
                "network": "23410",
                "client-ref": form.get("client-ref", ""),
            }
            for identity in identities
        ]
        return self._json(_OK, {"message-count": str(parts), "messages": messages})

    def _tell(self, form: Mapping[str, str], key: str, identities: list[str]) -> None:
        registered = self._webhooks.of("vonage")
        url = self._webhooks.address("vonage", form.get("callback"))
        if not url:
            return
        method, _, secret = (registered.key if registered else "").partition(":")
        now = self._clock()
        posts = []
        for event in events_for(f"+{form['to']}"):
            status, error = _WORDS[event]
            for identity in identities:
                fields = {
                    "msisdn": form["to"],
                    "to": form["from"],
                    "network-code": "23410",
                    "messageId": identity,
                    "price": "0.0333",
                    "status": status,
                    "scts": f"{datetime.fromtimestamp(now, UTC):%y%m%d%H%M}",
                    "err-code": error,
                    "api-key": key,
                    "message-timestamp": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S}",
                    "timestamp": str(int(now)),
                    "nonce": secrets.token_hex(8),
                }
                if "client-ref" in form:
                    fields["client-ref"] = form["client-ref"]
                if secret:
                    fields["sig"] = signature(fields, method, secret)
                posts.append(json_post(url, fields))
        self._webhooks.post(posts)

    def _refuse(self, answer: Answer) -> Reply:
        if not answer.status:
            return self._silence(answer)
        if answer.status != _OK:
            return self._json(answer.status, {"error-code": answer.code, "error-code-label": answer.text})
        message = {"status": answer.code, "error-text": answer.text}
        return self._json(_OK, {"message-count": "1", "messages": [message]})


def signature(fields: Mapping[str, str], method: str, secret: str) -> str:
    """`sig` of a webhook: all fields sorted by name, `&name=value` each, `&` and `=` of values as `_`."""
    text = ""
    for name in sorted(fields):
        value = fields[name].replace("&", "_").replace("=", "_")
        text += f"&{name}={value}"
    if method == "md5hash":
        return hashlib.md5((text + secret).encode(), usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), text.encode(), method).hexdigest().upper()


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    if request.headers.get(b"authorization", b"").partition(b" ")[0].lower() == b"basic":
        return basic_auth(request)
    return form.get("api_key", ""), form.get("api_secret", "")


def _check(form: Mapping[str, str]) -> Answer | None:
    for name in ("to", "from", "text"):
        if not form.get(name):
            return Answer(_OK, "2", f"Missing {name} param")
    if not _NUMBER.fullmatch(form["to"]):
        return Answer(_OK, "3", "Invalid value for param: to")
    if not _SENDER.fullmatch(form["from"]):
        return Answer(_OK, "15", "Illegal Sender Address - rejected")
    if form.get("type", "text") not in {"text", "unicode", "binary"}:
        return Answer(_OK, "3", "Invalid value for param: type")
    if len(form["text"]) > MAX_TEXT:
        return Answer(_OK, "12", "Message too long")
    return _check_options(form)


def _check_options(form: Mapping[str, str]) -> Answer | None:
    ttl = form.get("ttl")
    if ttl is not None and not (ttl.isdecimal() and TTL_MS[0] <= int(ttl) <= TTL_MS[1]):
        return Answer(_OK, "3", "Invalid value for param: ttl")
    if len(form.get("client-ref", "")) > MAX_REFERENCE:
        return Answer(_OK, "3", "Invalid value for param: client-ref")
    callback = form.get("callback")
    if callback is not None and (len(callback) > MAX_CALLBACK or urlsplit(callback).scheme not in {"http", "https"}):
        return Answer(_OK, "23", "Invalid Callback Url")
    return None


def _fields() -> dict[str, Any]:
    return {
        "apiKey": secrets.token_hex(4),
        "apiSecret": secrets.token_urlsafe(12),
        "webhookKey": secrets.token_urlsafe(24),
        "signatureMethod": "sha256",
        "from": "447700900000",
    }


def _view(payload: Mapping[str, Any]) -> dict[str, Any]:
    text = str(payload.get("text") or "")
    if payload.get("type") != "unicode":
        forcing = segments(text).forcing
        text = "".join("?" if letter in forcing else letter for letter in text)
    return {"channel": "sms", "from": payload.get("from"), "text": text}


def _webhook_key(fields: Mapping[str, Any]) -> str:
    return f"{fields.get('signatureMethod') or 'md5hash'}:{fields.get('webhookKey') or ''}"


STAND_IN = StandIn(
    build=Vonage,
    magic=(
        row("+1999033", _OK, "33", "Number De-activated"),
        row("+1999003", _OK, "3", "Invalid value for param: to"),
        row("+1999006", _OK, "6", "Unroutable message - rejected"),
        row("+1999007", _OK, "7", "Number barred"),
        row("+1999009", _OK, "9", "Partner quota exceeded"),
        row("+1999008", _OK, "8", "Partner account barred"),
        row("+1999015", _OK, "15", "Illegal Sender Address - rejected"),
        row("+1999101", _OK, "1", "Throughput Rate Exceeded"),
        row("+1998101", _OK, "1", "Throughput Rate Exceeded", once=True),
        row("+1999105", _OK, "5", "Internal Error"),
        row("+1998105", _OK, "5", "Internal Error", once=True),
        row("+1999401", 401, "401", "authentication failed"),
        row("+1999429", 429, "429", "too many requests"),
        row("+1999500", 500, "500", "internal error"),
        row("+1999503", 503, "503", "service unavailable"),
        row("+1998503", 503, "503", "service unavailable", once=True),
        *SILENT_NUMBERS,
    ),
    faults=Trouble(
        throttled=Answer(_OK, "1", "Throughput Rate Exceeded"),
        internal=Answer(500, "500", "internal error"),
        unavailable=Answer(503, "503", "service unavailable"),
        dead=Answer(_OK, "33", "Number De-activated"),
    ).faults(),
    fields=_fields,
    view=_view,
    webhook_key=_webhook_key,
)
