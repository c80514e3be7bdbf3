"""Plivo, as far as a sender can see it: `POST /v1/Account/{authId}/Message/` and `GET /v1/Account/{authId}/`.

A message may have several recipients, joined by `<`. Callbacks carry the signatures of version 2 and 3.
Sources: plivo.com/docs/messaging/api/message/send-a-message,
docs.plivo.com/docs/messaging/concepts/signature-validation.
"""

import base64
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from messaging.local.sandbox.answers import Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.request_parts import basic_auth, fields_of
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Post, events_for
from messaging.sms_segments import Encoding, segments

REFUSED_TOKEN = "refused-token"  # noqa: S105  # nosec B105  opens nothing
"""The auth token that is always wrong."""
MAX_RECIPIENTS = 1000
MAX_CHARACTERS = {Encoding.GSM_7: 1600, Encoding.UCS_2: 737}
EXPIRY_S = (5, 10_799)

_PATH = re.compile(r"/v1/Account/([A-Z0-9]{20})/(Message/)?")
_NUMBER = re.compile(r"\+?[1-9][0-9]{4,14}")
_STRIPPED = re.compile(r"[^A-Za-z0-9]")
_FORM = "application/x-www-form-urlencoded"
_INVALID = "invalid_number"

_WORDS: Mapping[str, tuple[str, str]] = {
    "delivered": ("delivered", "000"),
    "deferred": ("sent", ""),
    "bounced_hard": ("undelivered", "50"),
    "bounced_soft": ("undelivered", "80"),
    "unsubscribed": ("undelivered", "200"),
    "rejected": ("undelivered", "30"),
}
"""`Status` and `ErrorCode` by the word of an event; Plivo has none for a delivery that is tried again."""


class Plivo(Provider):
    """Answers messages as Plivo's pages say, and records each recipient.

    Any auth id of 20 letters and digits with any token is an account here, except REFUSED_TOKEN.
    """

    def __call__(self, request: Request) -> Reply:
        """The reply to one message, or to a question for the account."""
        path = _PATH.fullmatch(request.path.partition("?")[0])
        if path is None:
            return self._refuse(Answer(404, "404", "not found"))
        user, token = basic_auth(request)
        if not token or token == REFUSED_TOKEN or user != path[1]:
            return self._refuse(Answer(401, "401", "authentication failed"))
        match path[2], request.method:
            case None, "GET":
                account = {"auth_id": user, "name": "Sandbox", "cash_credits": "25.00000", "state": "active"}
                return self._json(200, account)
            case "Message/", "POST":
                fields = fields_of(request)
                unread = Answer(400, "400", "the body is neither JSON nor a form")
                return self._refuse(unread) if fields is None else self._take(fields, token)
            case _:
                return self._refuse(Answer(405, "405", "method not allowed"))

    def _take(self, fields: Mapping[str, str], token: str) -> Reply:
        numbers = fields.get("dst", "").split("<")
        problem = _check(fields, numbers)
        answers = [problem or _check_number(number) or self._judge.judge(_plus(number)) for number in numbers]
        # Only a bad number is about one recipient; the first other answer is about the request.
        whole = next((answer for answer in answers if answer is not None and answer.code != _INVALID), None)
        identities = []
        for number, own in zip(numbers, answers, strict=True):
            answer = whole or own
            identity = str(uuid.uuid4())
            self._record.append(
                "plivo",
                _plus(number),
                **verdict(answer, 202),
                provider_id=identity,
                tag=_tag(fields),
                payload=json.dumps(fields),
            )
            if answer is None or answer.accepts:
                identities.append(identity)
                self._tell(fields, number, identity, token)
        if whole is not None:
            return self._refuse(whole)
        document: dict[str, object] = {
            "api_id": str(uuid.uuid4()),
            "message": "message(s) queued",
            "message_uuid": identities,
        }
        invalid = [number for number, answer in zip(numbers, answers, strict=True) if answer is not None]
        return self._json(202, document | ({_INVALID: invalid} if invalid else {}))

    def _tell(self, fields: Mapping[str, str], number: str, identity: str, token: str) -> None:
        url = self._webhooks.address("plivo", fields.get("url"))
        if not url:
            return
        posts = []
        for event in events_for(_plus(number)):
            status, error = _WORDS[event]
            form = [
                ("From", fields["src"].removeprefix("+")),
                ("To", number.removeprefix("+")),
                ("MessageUUID", identity),
                ("Status", status),
                ("Units", str(segments(fields["text"]).parts)),
                ("TotalRate", "0.00350"),
                ("TotalAmount", "0.00350"),
                ("MCC", "310"),
                ("MNC", "150"),
                *([("ErrorCode", error)] if error else []),
            ]
            headers = {"content-type": _FORM} | signatures(url, form, token)
            posts.append(Post(url=url, body=urlencode(form).encode(), headers=headers))
        self._webhooks.post(posts)

    def _refuse(self, answer: Answer) -> Reply:
        if not answer.status:
            return self._silence(answer, 202)
        return self._json(answer.status, {"api_id": str(uuid.uuid4()), "error": answer.text})


def signatures(url: str, form: list[tuple[str, str]], token: str) -> dict[str, str]:
    """The headers of a signed callback, versions 2 and 3."""
    parts = urlsplit(url)
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    nonce = str(secrets.randbelow(10**20))
    query = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True)))
    fields = "".join(f"{name}{value}" for name, value in sorted(form))
    whole = f"{bare}?{query}.{fields}" if query else f"{bare}?{fields}"
    return {
        "x-plivo-signature-v2": _hmac(bare + nonce, token),
        "x-plivo-signature-v2-nonce": nonce,
        "x-plivo-signature-v3": _hmac(f"{whole}.{nonce}", token),
        "x-plivo-signature-v3-nonce": nonce,
    }


def _hmac(text: str, token: str) -> str:
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), "sha256")).decode()


def _check(fields: Mapping[str, str], numbers: list[str]) -> Answer | None:
    for name in ("src", "dst", "text"):
        if not fields.get(name):
            return Answer(400, "400", f"{name} parameter not present")
    if not _STRIPPED.sub("", fields["src"]):
        return Answer(400, "400", "src is not valid")
    if len(numbers) > MAX_RECIPIENTS:
        return Answer(400, "400", f"more than {MAX_RECIPIENTS} numbers")
    if fields["src"] in numbers:
        return Answer(400, "400", "src and dst cannot be the same")
    if len(fields["text"]) > MAX_CHARACTERS[segments(fields["text"]).encoding]:
        return Answer(400, "400", "text is too long")
    return _check_options(fields)


def _check_options(fields: Mapping[str, str]) -> Answer | None:
    expiry = fields.get("message_expiry")
    if expiry is not None and not (expiry.isdecimal() and EXPIRY_S[0] <= int(expiry) <= EXPIRY_S[1]):
        return Answer(400, "400", "message_expiry is not valid")
    url = fields.get("url")
    if url is not None and urlsplit(url).scheme not in {"http", "https"}:
        return Answer(400, "400", "url is not valid")
    if fields.get("method", "POST") not in {"GET", "POST"}:
        return Answer(400, "400", "method is not valid")
    if fields.get("type", "sms") not in {"sms", "mms", "whatsapp"}:
        return Answer(400, "400", "type is not valid")
    return None


def _check_number(number: str) -> Answer | None:
    return None if _NUMBER.fullmatch(number) else Answer(202, _INVALID, "not a number")


def _plus(number: str) -> str:
    return number if number.startswith("+") else f"+{number}"


def _tag(fields: Mapping[str, str]) -> str | None:
    """The caller's own tag: parameter `delivery` of the callback, the one field Plivo leaves to the sender."""
    found = parse_qs(urlsplit(fields.get("url", "")).query).get("delivery")
    return found[0] if found else None


def _new_fields() -> dict[str, Any]:
    return {
        "authId": f"MA{secrets.token_hex(9).upper()}",
        "authToken": secrets.token_urlsafe(30),
        "from": "+14155550100",
    }


def _view(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"channel": "sms", "from": payload.get("src"), "text": payload.get("text")}


def _webhook_key(fields: Mapping[str, Any]) -> str:
    return str(fields.get("authToken") or "")


_TROUBLE = Trouble(
    throttled=Answer(429, "429", "too many requests"),
    internal=Answer(500, "500", "internal server error"),
    unavailable=Answer(503, "503", "service unavailable"),
    dead=Answer(202, _INVALID, "not a number"),
)

STAND_IN = StandIn(
    build=Plivo,
    magic=(
        MagicAddress("+1999050", _TROUBLE.dead),
        row("+1999051", 400, "400", "dst is not a valid number"),
        row("+1999040", 400, "400", "src is not assigned to the account"),
        row("+1999400", 400, "400", "the message is refused"),
        row("+1999401", 401, "401", "authentication failed"),
        row("+1999402", 402, "402", "Insufficient Credit"),
        row("+1999403", 403, "403", "sending to this region is not enabled"),
        row("+1999404", 404, "404", "not found"),
        *_TROUBLE.numbers(),
    ),
    faults=_TROUBLE.faults(),
    fields=_new_fields,
    view=_view,
    webhook_key=_webhook_key,
)
