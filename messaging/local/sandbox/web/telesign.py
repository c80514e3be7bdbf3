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
from urllib.parse import urlsplit

from messaging.local.sandbox.answers import Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.request_parts import form_of
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


class Telesign(Provider):
    """Answers messages as Telesign's pages say, records each, and calls back."""

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(judge, record, webhooks, clock=clock)
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
        form = form_of(request, keep_blank=False)
        to = f"+{form.get('phone_number', '')}"
        answer = _check_form(form) or self._judge.judge(to)
        reference = secrets.token_hex(16).upper()
        self._record.append(
            "telesign",
            to,
            **verdict(answer, 200),
            provider_id=reference,
            tag=form.get("external_id"),
            payload=json.dumps(form),
            about=json.dumps({"customer": customer}),
        )
        if answer is None or answer.accepts:
            self._call_back(form, to, customer, reference)
        if answer is None:
            return self._json(200, self._body(reference, 290, "Message in progress", form))
        if not answer.status:
            return self._silence(answer)
        return self._refuse(answer, reference)

    def _call_back(self, form: Mapping[str, str], to: str, customer: str, reference: str) -> None:
        url = self._webhooks.address("telesign", form.get("callback_url"))
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
        return self._json(answer.status, body)

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


_TROUBLE = Trouble(
    throttled=Answer(429, "-40007", "Rate Limit Exceeded"),
    internal=Answer(500, "10000", "System Unavailable, Please try again later."),
    unavailable=Answer(503, "-90001", "System Unavailable, please try again later."),
    dead=Answer(400, "11000", "Invalid value for parameter phone_number."),
)

STAND_IN = StandIn(
    build=Telesign,
    magic=(
        MagicAddress("+1999400", _TROUBLE.dead),
        row("+1999401", 401, "-30000", "Invalid Customer ID"),
        row("+1999402", 400, "10030", "Insufficient funds in prepaid wallet."),
        row("+1999403", 403, "10011", "This product is not enabled for this CustomerID."),
        row("+1999413", 400, "11009", "Invalid value for parameter message."),
        row("+1999222", 200, "222", "SMS not supported"),
        row("+1999230", 400, "10032", "Message blocked by TeleSign"),
        row("+1999033", 403, "10033", "19990330000 has not been verified for this trial account."),
        *_TROUBLE.numbers(),
    ),
    faults=_TROUBLE.faults(),
    fields=fields,
    view=lambda payload: {"channel": "sms", "from": payload.get("sender_id"), "text": payload.get("message")},
    webhook_key=lambda given: str(given.get("apiKey") or ""),
)
