"""A push service, as far as a sender can see it: `POST /{token}` with an encrypted body (RFC 8030, 8291, 8292).

It is push service and browser in one: it hands out subscriptions (`web_push_subscriptions.py`) and reads what comes.
"""

import json
import re
import secrets
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from messaging.local.sandbox.answers import DROPPED, LOST, NEVER, Answer, MagicAddress, Trouble, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.replies import json_reply, no_reply
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.web_push_subscriptions import (
    ORIGIN,
    UndecipherableError,
    auth_secret,
    browser_key,
    decipher,
    encoded,
    point,
    subscription,
)
from messaging.local.sandbox.webhooks import Webhooks

REFUSED_SUBJECT = "mailto:nobody@refused.example"
"""The `subject` that is refused as Apple refuses one it can't reach."""
MAX_BODY_BYTES = 4096
LONGEST_TTL_S = 4 * 7 * 86_400
LONGEST_TOKEN_S = 86_400

_TOKEN = re.compile(r"/([A-Za-z0-9_-]{1,200})")
_AUTHORIZATION = re.compile(r"vapid t=([A-Za-z0-9_.-]+), *k=([A-Za-z0-9_-]{87})")
_TOPIC = re.compile(rb"[A-Za-z0-9_-]{1,32}")
_URGENCIES = frozenset({b"very-low", b"low", b"normal", b"high"})


MAGIC = (
    MagicAddress("magic-gone", Answer(410, "Gone", "Push subscription has unsubscribed or expired.")),
    MagicAddress("magic-expired", Answer(404, "NotFound", "No such subscription")),
    MagicAddress(
        "magic-other-key",
        Answer(
            403,
            "Forbidden",
            "the VAPID credentials in the authorization header do not correspond to the credentials used to create the"
            " subscriptions.",
        ),
    ),
    MagicAddress("magic-unauthorized", Answer(401, "Unauthorized", "Request did not validate")),
    MagicAddress("magic-bad-request", Answer(400, "BadRequest", "Request did not validate")),
    MagicAddress("magic-too-large", Answer(413, "PayloadTooLarge", "This message is too large.")),
    MagicAddress("magic-throttled-once", Answer(429, "TooManyRequests", "Too many messages"), once=True),
    MagicAddress("magic-throttled", Answer(429, "TooManyRequests", "Too many messages")),
    MagicAddress("magic-internal-once", Answer(500, "InternalServerError", "Unknown error"), once=True),
    MagicAddress("magic-internal", Answer(500, "InternalServerError", "Unknown error")),
    MagicAddress("magic-bad-gateway", Answer(502, "BadGateway", "Endpoint did not accept data")),
    MagicAddress("magic-unavailable-once", Answer(503, "ServiceUnavailable", "Use exponential back-off"), once=True),
    MagicAddress("magic-unavailable", Answer(503, "ServiceUnavailable", "Use exponential back-off")),
    MagicAddress("magic-timeout", NEVER),
    MagicAddress("magic-drop", DROPPED),
    MagicAddress("magic-lost-answer", LOST),
)
"""By the beginning of a subscription's token, the last part of its endpoint."""

FAULTS = Trouble(
    throttled=Answer(429, "TooManyRequests", "Too many messages"),
    internal=Answer(500, "InternalServerError", "Unknown error"),
    unavailable=Answer(503, "ServiceUnavailable", "Use exponential back-off"),
    dead=Answer(410, "Gone", "Push subscription has unsubscribed or expired."),
).faults()


class PushService:
    """Answers pushes as the RFCs say, and records each with its plaintext, under the address of its subscription.

    Any P-256 key with any subject is an application here, except REFUSED_SUBJECT.
    """

    def __init__(
        self, judge: Judge, record: Record, _: Webhooks | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._judge = judge
        self._record = record
        self._clock = clock

    def __call__(self, request: Request) -> Reply:
        """The reply to one push."""
        found = _TOKEN.fullmatch(request.path.partition("?")[0])
        if found is None:
            return self._refuse(Answer(404, "NotFound", "No such subscription"))
        token = found[1]
        refusal = self._check_access(request) or _check_headers(request.headers)
        if refusal is not None:
            return self._refuse(refusal)
        answer, payload = self._judge.judge(token), "null"
        if len(request.body) > MAX_BODY_BYTES:
            answer = Answer(413, "PayloadTooLarge", "This message is too large.")
        else:
            try:
                payload = _as_json(decipher(request.body, browser_key(token), auth_secret(token)))
            except UndecipherableError as error:
                answer = Answer(400, "BadRequest", str(error))
        message_id = secrets.token_urlsafe(12)
        self._record.append(
            "webpush",
            subscription(token),
            **verdict(answer, 201),
            provider_id=message_id,
            payload=payload,
            about=json.dumps({name: request.headers.get(name.encode(), b"").decode("latin-1") for name in _NOTED}),
        )
        if answer is None:
            location = f"{ORIGIN}/message/{message_id}".encode()
            return Reply(201, ((b"location", location), (b"ttl", request.headers[b"ttl"])), delay_s=self._judge.delay_s)
        if not answer.status:
            return no_reply(self._judge, answer, 201)
        return self._refuse(answer)

    def _check_access(self, request: Request) -> Answer | None:
        if request.method != "POST":
            return Answer(405, "MethodNotAllowed", "Method not allowed")
        given = _AUTHORIZATION.fullmatch(request.headers.get(b"authorization", b"").decode("latin-1"))
        if given is None:
            return Answer(401, "Unauthorized", "VAPID is missing")
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), urlsafe_b64decode(given[2] + "="))
            claims = jwt.decode(given[1], key, algorithms=["ES256"], audience=ORIGIN, options={"require": ["exp"]})
        except (ValueError, jwt.PyJWTError) as error:
            return Answer(401, "Unauthorized", f"VAPID is invalid: {error}")
        subject = str(claims.get("sub", ""))
        if claims["exp"] > self._clock() + LONGEST_TOKEN_S or not subject.startswith(("mailto:", "https:")):
            return Answer(401, "Unauthorized", "VAPID is invalid: exp or sub")
        return Answer(403, "BadJwtToken", "BadJwtToken") if subject == REFUSED_SUBJECT else None

    def _refuse(self, answer: Answer) -> Reply:
        body = {"code": answer.status, "reason": answer.code, "message": answer.text}
        return json_reply(self._judge, answer.status, body)


_NOTED = ("ttl", "urgency", "topic")


def _check_headers(headers: Mapping[bytes, bytes]) -> Answer | None:
    ttl = headers.get(b"ttl", b"")
    if not ttl.isdigit() or int(ttl) > LONGEST_TTL_S:
        return Answer(400, "BadRequest", "TTL is missing or out of range")
    if headers.get(b"content-encoding") != b"aes128gcm":
        return Answer(400, "BadRequest", "Content-Encoding must be aes128gcm")
    if headers.get(b"urgency", b"normal") not in _URGENCIES:
        return Answer(400, "BadRequest", "Urgency is none of RFC 8030")
    if b"topic" in headers and not _TOPIC.fullmatch(headers[b"topic"]):
        return Answer(400, "BadRequest", "Topic has more than 32 characters, or others than base64url")
    return None


def _as_json(plaintext: bytes) -> str:
    """The payload if it is JSON, else its text as JSON."""
    try:
        return json.dumps(json.loads(plaintext))
    except ValueError:
        return json.dumps(plaintext.decode("utf-8", "replace"))


def _fields() -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    return {
        "vapidPublicKey": encoded(point(key.public_key())),
        "vapidPrivateKey": encoded(key.private_numbers().private_value.to_bytes(32, "big")),
        "subject": "mailto:push@shop.example",
    }


def _view(payload: Mapping[str, Any]) -> dict[str, Any]:
    shown = payload if isinstance(payload, dict) else {"body": payload}
    return {"channel": "push", "data": shown.get("data") or {}} | {
        name: shown.get(name) for name in ("title", "body", "image", "icon", "badge", "url")
    }


STAND_IN = StandIn(build=PushService, magic=MAGIC, faults=FAULTS, fields=_fields, view=_view)
