"""Telesign's SMS API, as far as a sender can see it: `POST /v1/messaging`, `GET /v1/messaging/{reference_id}`.

Any customer id is an account here; its API key follows from it, so that the sandbox can check what is signed.
Sources: developer.telesign.com/enterprise/reference/sms, …/docs/authentication, …/docs/authenticate-callbacks.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from messaging.local.sandbox.exchange import Behaviour, Reply, Request
from messaging.local.sandbox.faults import Fault
from messaging.local.sandbox.magic import Answer, Judge, MagicAddress
from messaging.local.sandbox.record import Outcome, Record
from messaging.local.sandbox.stand_in import StandIn
from messaging.local.sandbox.webhooks import Post, Webhooks, events_for

REFUSED_CUSTOMER = "00000000-0000-0000-0000-000000000000"
"""The customer id that is always wrong."""
MAX_CHARACTERS = 1600

_DATE_RANGE_S = 15 * 60
_NONCES = 10_000
_FORM = "application/x-www-form-urlencoded"
_NUMBER = re.compile(r"[1-9]\d{6,14}")
_TYPES = frozenset({"OTP", "ARN", "MKT"})

_STATUS = {
    "delivered": (200, "Delivered to handset"),
    "deferred": (295, "Status delayed"),
    "bounced_hard": (211, "Permanent phone error"),
    "bounced_soft": (210, "Temporary phone error"),
    "unsubscribed": (510, "Message blocked by subscriber action or request"),
    "rejected": (515, "Suspected spam"),
}
"""Code and text of the callback for each event."""


def api_key_of(customer_id: str) -> str:
    """The key of an account here."""
    return base64.b64encode(hashlib.sha512(b"sandbox " + customer_id.encode()).digest()).decode()


def fields() -> dict[str, Any]:
    """An account."""
    customer_id = str(uuid.uuid4()).upper()
    return {"customerId": customer_id, "apiKey": api_key_of(customer_id), "from": "+15005550006"}


class Telesign:
    """Answers messages as Telesign's pages say, records each, and calls back."""

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._judge = judge
        self._record = record
        self._webhooks = webhooks
        self._clock = clock
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        path = request.path.partition("?")[0]
        if not path.startswith("/v1/messaging"):
            return self._refuse(Answer(404, "-40004", "Resource not found"))
        customer = self._customer(request, path)
        if isinstance(customer, Answer):
            return self._refuse(customer)
        if request.method == "GET" and path.count("/") == 3:  # noqa: PLR2004  /v1/messaging/{reference_id}
            return self._refuse(Answer(404, "-10001", "CustomerID/ReferenceID not found"))
        if request.method != "POST" or path != "/v1/messaging":
            return self._refuse(Answer(405, "-40005", "Method not allowed"))
        return self._take(request, customer)

    def _take(self, request: Request, customer: str) -> Reply:
        form = {name: values[-1] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        to = f"+{form.get('phone_number', '')}"
        answer = _check_form(form) or self._judge.judge(to)
        reference = secrets.token_hex(16).upper()
        self._record.append(
            "telesign",
            to,
            outcome=Outcome.ACCEPTED if answer is None else answer.outcome(),
            status=200 if answer is None else answer.status,
            code="" if answer is None else answer.code,
            provider_id=reference,
            tag=form.get("external_id"),
            payload=json.dumps(form),
            about=json.dumps({"customer": customer}),
        )
        if answer is None or answer.accepts:
            self._call_back(form, to, customer, reference)
        if answer is None:
            return self._reply(200, self._body(reference, 290, "Message in progress", form))
        if not answer.status:
            return Reply(200, behaviour=answer.behaviour, delay_s=self._judge.delay_s)
        return self._refuse(answer, reference)

    def _call_back(self, form: Mapping[str, str], to: str, customer: str, reference: str) -> None:
        registered = self._webhooks.of("telesign")
        url = form.get("callback_url") or (registered.url if registered else "")
        if not url:
            return
        posts = []
        for event in events_for(to):
            code, text = _STATUS[event]
            body = json.dumps(self._body(reference, code, text, form) | {"submit_timestamp": self._now()}).encode()
            signature = base64.b64encode(hmac.digest(base64.b64decode(api_key_of(customer)), body, "sha256")).decode()
            headers = {
                "content-type": "application/json",
                "authorization": f"TSA {customer}:{signature}",
                "x-ts-authorization": signature,
            }
            posts.append(Post(url=url, body=body, headers=headers))
        self._webhooks.post(posts)

    def _body(self, reference: str, code: int, text: str, form: Mapping[str, str]) -> dict[str, Any]:
        status = {"code": code, "description": text, "updated_on": self._now()}
        return {"reference_id": reference, "status": status, "external_id": form.get("external_id")}

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _refuse(self, answer: Answer, reference: str | None = None) -> Reply:
        number = int(answer.code)
        # A refusal of the SMS product is a status; those of what stands before all products are errors.
        status = {"code": number if number > 0 else 500, "description": answer.text, "updated_on": self._now()}
        body: dict[str, Any] = {"reference_id": reference, "status": status, "external_id": None}
        if number < 0:
            body |= {"status": status | {"description": "Transaction not attempted"}}
            body |= {"errors": [{"code": number, "description": answer.text}]}
        return self._reply(answer.status, body)

    def _reply(self, status: int, body: Mapping[str, Any]) -> Reply:
        headers = [(b"content-type", b"application/json")]
        if status in {429, 503} and self._judge.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self._judge.retry_after_s))
        return Reply(status, tuple(headers), json.dumps(body).encode(), delay_s=self._judge.delay_s)

    def _customer(self, request: Request, path: str) -> str | Answer:
        """Who signed the request, or why it is refused."""
        scheme, _, rest = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme == "Basic":
            try:
                customer, _, key = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return Answer(401, "-30005", "Required 'Authorization' header is not in the correct format")
            right = key == api_key_of(customer) and customer != REFUSED_CUSTOMER
            return customer if right else Answer(401, "-30015", "Invalid API Key.")
        customer, colon, signature = rest.partition(":")
        if not scheme:
            return Answer(401, "-30004", "Missing required 'Authorization' header")
        if scheme != "TSA" or not colon:
            return Answer(401, "-30005", "Required 'Authorization' header is not in the correct format")
        if customer == REFUSED_CUSTOMER:
            return Answer(401, "-30000", "Invalid Customer ID")
        return self._check_signature(request, path, customer, signature) or customer

    def _check_signature(self, request: Request, path: str, customer: str, signature: str) -> Answer | None:
        heads = {name: request.headers.get(name, b"").decode("latin-1") for name in _SIGNED}
        method, nonce, date = heads[b"x-ts-auth-method"], heads[b"x-ts-nonce"], heads[b"x-ts-date"] or heads[b"date"]
        if method.upper() != "HMAC-SHA256":
            return Answer(401, "-30008", "Invalid 'x-ts-auth-method' header.")
        try:
            at = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return Answer(401, "-30009", "'Date' or 'x-ts-date' header is not RFC822 compliant")
        if abs(at - self._clock()) > _DATE_RANGE_S:
            return Answer(401, "-30010", "'Date' or 'x-ts-date' header is not within tolerable range")
        body = [request.body] if request.body else []
        first = f"{request.method}\n{heads[b'content-type']}\n{date}\nx-ts-auth-method:{method}\nx-ts-nonce:{nonce}"
        to_sign = b"\n".join([first.encode(), *body, path.encode()])
        expected = base64.b64encode(hmac.digest(base64.b64decode(api_key_of(customer)), to_sign, "sha256")).decode()
        if not hmac.compare_digest(signature, expected):
            return Answer(401, "-30006", "Invalid Signature")
        if nonce in self._nonces:
            return Answer(401, "-30012", "'x-ts-nonce' header value has been used recently")
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES:
            self._nonces.popitem(last=False)
        return None


_SIGNED = (b"content-type", b"date", b"x-ts-date", b"x-ts-auth-method", b"x-ts-nonce")


def _check_form(form: Mapping[str, str]) -> Answer | None:
    checks: Sequence[tuple[bool, str, str]] = (
        ("phone_number" in form, "12000", "Missing Required Parameter phone_number"),
        ("message" in form, "12009", "Missing Required Parameter message"),
        ("message_type" in form, "12017", "Missing Required Parameter message_type"),
        (bool(_NUMBER.fullmatch(form.get("phone_number", ""))), "11000", "Invalid value for parameter phone_number."),
        (len(form.get("message", "")) <= MAX_CHARACTERS, "11009", "Invalid value for parameter message."),
        (form.get("message_type") in _TYPES, "11017", "Invalid value for parameter message_type."),
        (len(form.get("sender_id", "")) <= 20, "11013", "Invalid value for parameter sender_id."),  # noqa: PLR2004  the page's limit
        (_is_id(form.get("external_id", "")), "11016", "Invalid value for parameter external_id"),
        (_is_url(form.get("callback_url")), "11004", "Invalid value for parameter callback_url"),
    )
    return next((Answer(400, code, text) for holds, code, text in checks if not holds), None)


def _is_id(text: str) -> bool:
    return len(text) <= 100 and text.isascii()  # noqa: PLR2004  the page's limit


def _is_url(url: str | None) -> bool:
    return url is None or urlsplit(url).scheme in {"http", "https"}


def _row(prefix: str, status: int, code: str, text: str, *, once: bool = False) -> MagicAddress:
    return MagicAddress(prefix, Answer(status, code, text), once)


_NEVER = Answer(0, "never answered", behaviour=Behaviour.NEVER_ANSWER)
_DROPPED = Answer(0, "connection dropped", behaviour=Behaviour.DROP_CONNECTION)
_LOST = Answer(0, "accepted, then connection dropped", behaviour=Behaviour.DROP_CONNECTION, accepts=True)
_THROTTLED = Answer(429, "-40007", "Rate Limit Exceeded")
_UNAVAILABLE = Answer(503, "-90001", "System Unavailable, please try again later.")
_INTERNAL = Answer(500, "10000", "System Unavailable, Please try again later.")
_DEAD = Answer(400, "11000", "Invalid value for parameter phone_number.")

STAND_IN = StandIn(
    build=Telesign,
    magic=(
        MagicAddress("+1999400", _DEAD),
        _row("+1999401", 401, "-30000", "Invalid Customer ID"),
        _row("+1999402", 400, "10030", "Insufficient funds in prepaid wallet."),
        _row("+1999403", 403, "10011", "This product is not enabled for this CustomerID."),
        _row("+1999413", 400, "11009", "Invalid value for parameter message."),
        _row("+1999222", 200, "222", "SMS not supported"),
        _row("+1999230", 400, "10032", "Message blocked by TeleSign"),
        _row("+1999033", 403, "10033", "19990330000 has not been verified for this trial account."),
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
    view=lambda payload: {"channel": "sms", "from": payload.get("sender_id"), "text": payload.get("message")},
    webhook_key=lambda given: str(given.get("apiKey") or ""),
)
