"""Mailgun, as far as a sender can see it: `POST /v3/{domain}/messages` and `GET /v4/domains/{domain}`."""

import hashlib
import hmac
import itertools
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from messaging.local.sandbox.answers import SILENT_MAILBOXES, Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge, find_magic
from messaging.local.sandbox.mailgun_form import (
    MAX_MESSAGE_BYTES,
    FormError,
    check_form,
    contents,
    read_form,
    size_of,
)
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.request_parts import basic_auth
from messaging.local.sandbox.stand_in import StandIn, email_view
from messaging.local.sandbox.webhooks import Post, Webhooks, events_for, json_post

KIND = "mailgun"
REFUSED_KEY = "key-" + "f" * 32
"""The API key that is always wrong."""
SENDING_KEY_PREFIX = "sending-"
"""Keys that begin so may send, and nothing else."""
UNVERIFIED_DOMAIN = "unverified.example"
UNKNOWN_DOMAIN = "unknown.example"

_MESSAGES = re.compile(r"/v3/([^/]+)/messages")
_DOMAINS = re.compile(r"/v4/domains/([^/]+)")
_JSON = (b"content-type", b"application/json")
_BAD_ADDRESS = "'to' parameter is not a valid address. please check documentation"
_TOO_MANY = "Domain is not allowed to send: account-requests-per-sec limit exceeded, try again after N seconds"
_TOO_MANY_TODAY = "Domain is not allowed to send: recipient limit exceeded, try again after DATE"
_NOT_VERIFIED = (
    "Domain is not allowed to send: The domain is unverified and requires DNS configuration."
    " Log in to your control panel to view required DNS records."
)
_DEFAULT_WAIT_S = 60

_SUPPRESSED = {
    "suppressed-bounce": ("suppress-bounce", 605, "Not delivering to previously bounced address"),
    "suppressed-unsubscribe": ("suppress-unsubscribe", 606, "Not delivering to unsubscribed address"),
    "suppressed-complaint": ("suppress-complaint", 607, "Not delivering to a user who marked your messages as spam"),
}
"""Local parts Mailgun takes and then doesn't send to: reason, code and description of the event."""

_FAILURES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "bounced_hard": ("permanent", "bounce", {"code": 550, "enhanced-code": "5.1.1", "message": "5.1.1 User unknown"}),
    "bounced_soft": ("permanent", "generic", {"code": 552, "enhanced-code": "5.2.2", "message": "5.2.2 Mailbox full"}),
    "deferred": ("temporary", "generic", {"code": 451, "message": "4.7.1 Try again later", "retry-seconds": 600}),
}
"""Severity, reason and delivery-status of `failed` events."""


class Mailgun(Provider):
    """Answers message creations as Mailgun's pages say, and records each recipient.

    Any key is an account here but REFUSED_KEY, any domain one of its own but the two above.
    Source: documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages.
    """

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(judge, record, webhooks, clock=clock)
        self._numbers = itertools.count(1)

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        path = request.path.partition("?")[0]
        found = _MESSAGES.fullmatch(path) or _DOMAINS.fullmatch(path)
        if found is None:
            html = ((b"content-type", b"text/html"),)
            return Reply(200, html, b"Mailgun Magnificent API", delay_s=self._judge.delay_s)
        domain, sends = unquote(found[1]), found.re is _MESSAGES
        refusal = _check_access(request, domain, sends=sends)
        if refusal is not None:
            return self._refuse(refusal)
        if sends:
            return self._create(request, domain)
        state = "unverified" if domain == UNVERIFIED_DOMAIN else "active"
        return self._reply(200, {"domain": {"name": domain, "state": state, "is_disabled": False}})

    def _create(self, request: Request, domain: str) -> Reply:
        try:
            form = read_form(request.headers.get(b"content-type", b"").decode("latin-1"), request.body)
            check_form(form)
        except FormError as error:
            return self._refuse(Answer(400, "400", str(error)))
        if size_of(form) > MAX_MESSAGE_BYTES:
            return self._refuse(Answer(413, "413", "request size exceeds 52.4MiB"))
        recipients = form.recipients()
        answer = self._judge_all(recipients)
        message_id = f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%d%H%M%S}.{next(self._numbers)}@{domain}"
        posts: list[Post] = []
        for address, content in contents(form):
            self._note(address, answer, content, message_id, len(recipients))
            if answer is None or answer.accepts:
                posts += self._receipts(address, content, message_id)
        self._webhooks.post(posts)
        if answer is None:
            return self._reply(200, {"id": f"<{message_id}>", "message": "Queued. Thank you."})
        if not answer.status:
            return self._silence(answer)
        return self._refuse(answer)

    def _judge_all(self, recipients: list[str]) -> Answer | None:
        """The answer for the request: one address refuses all of it. Rates other than `dead` count requests."""
        found: Answer | None = None
        for number, address in enumerate(recipients):
            is_magic = find_magic(KIND, address) is not None
            answer = self._judge.judge(address)
            if answer is not None and (is_magic or number == 0 or answer.text == _BAD_ADDRESS):
                found = found or answer
                if answer.text == _BAD_ADDRESS:
                    found = answer
        return found

    def _note(
        self, address: str, answer: Answer | None, content: Mapping[str, Any], message_id: str, count: int
    ) -> None:
        self._record.append(
            KIND,
            address,
            **verdict(answer, 200),
            provider_id=f"<{message_id}>",
            tag=content["variables"].get("delivery"),
            payload=json.dumps(content),
            about=json.dumps({"recipients": count}),
        )

    def _receipts(self, address: str, content: Mapping[str, Any], message_id: str) -> list[Post]:
        hook = self._webhooks.of(KIND)
        if hook is None:
            return []
        suppressed = _SUPPRESSED.get(address.partition("@")[0].partition("+")[0].lower())
        words = ("suppressed",) if suppressed else events_for(address)
        posts = []
        for word in words:
            event = self._event(word, suppressed)
            event |= {
                "id": secrets.token_urlsafe(16),
                "timestamp": self._clock(),
                "log-level": "info",
                "recipient": address,
                "message": {"headers": {"message-id": message_id, "to": address, "subject": content["subject"]}},
                "user-variables": content["variables"],
                "tags": [],
            }
            body = {"signature": sign(hook.key, int(self._clock())), "event-data": event}
            posts.append(json_post(hook.url, body))
        return posts

    def _event(self, word: str, suppressed: tuple[str, int, str] | None) -> dict[str, Any]:
        """The fields of an event that are its own."""
        if suppressed is not None:
            reason, code, description = suppressed
            status = {"code": code, "message": "", "description": description}
            return {"event": "failed", "severity": "permanent", "reason": reason, "delivery-status": status}
        if word in _FAILURES:
            severity, reason, details = _FAILURES[word]
            status = {"description": "", "attempt-no": 1, **details}
            return {"event": "failed", "severity": severity, "reason": reason, "delivery-status": status}
        if word == "rejected":
            return {"event": "rejected", "reject": {"reason": "Sandbox subdomains are for test purposes only"}}
        return {"event": word}

    def _refuse(self, answer: Answer) -> Reply:
        if answer.status == 401:  # noqa: PLR2004  Mailgun says this one in plain text
            return Reply(401, ((b"content-type", b"text/plain"),), b"Forbidden", delay_s=self._judge.delay_s)
        return self._reply(answer.status, {"message": self._when(answer)})

    def _when(self, answer: Answer) -> str:
        """The answer's words; a limit ends with the time until which it holds, in one of two forms."""
        wait_s = self._judge.retry_after_s if self._judge.retry_after_s is not None else _DEFAULT_WAIT_S
        until = datetime.fromtimestamp(self._clock() + wait_s, UTC)
        said = answer.text.replace("N seconds", f"{wait_s:g} seconds")
        return said.replace("DATE", f"{until:%a, %d %b %Y %H:%M:%S} UTC")

    def _reply(self, status: int, body: Mapping[str, Any]) -> Reply:
        return Reply(status, (_JSON,), json.dumps(body).encode(), delay_s=self._judge.delay_s)


def sign(key: str, timestamp: int) -> dict[str, str]:
    """The signature block of a webhook."""
    token = secrets.token_hex(25)
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": str(timestamp), "token": token, "signature": signature}


def _check_access(request: Request, domain: str, *, sends: bool) -> Answer | None:
    key = _key(request)
    if not key or key == REFUSED_KEY or (not sends and key.startswith(SENDING_KEY_PREFIX)):
        return Answer(401, "401", "Forbidden")
    if domain == UNKNOWN_DOMAIN:
        return Answer(404, "404", f"Domain not found: {domain}")
    if request.method != ("POST" if sends else "GET"):
        return Answer(405, "405", "Method not allowed")
    if sends and domain == UNVERIFIED_DOMAIN:
        return Answer(400, "400", _NOT_VERIFIED)
    return None


def _key(request: Request) -> str:
    """The password of `api`, or an empty text."""
    user, key = basic_auth(request)
    return key if user == "api" else ""


def _row(prefix: str, status: int, text: str, *, once: bool = False) -> MagicAddress:
    return row(prefix, status, str(status), text, once=once)


MAGIC = (
    _row("invalid", 400, _BAD_ADDRESS),
    _row("bad-parameter", 400, "Only one parameters 'html' or 'template' is allowed."),
    _row("unverified", 400, _NOT_VERIFIED),
    _row("bad-key", 401, "Forbidden"),
    _row("failed", 402, "Request Failed"),
    _row("no-batches", 403, "You're not allowed to send large batches yet"),
    _row("bad-ip", 403, "Rejected: IP 192.0.2.1 can't be used to send the message"),
    _row("no-domain", 404, "Domain not found"),
    _row("too-big", 413, "request size exceeds 52.4MiB"),
    _row("rate-limit-once", 429, _TOO_MANY, once=True),
    _row("rate-limit", 429, _TOO_MANY),
    _row("quota", 429, _TOO_MANY_TODAY),
    _row("server-error-once", 500, "Internal Server Error", once=True),
    _row("server-error", 500, "Internal Server Error"),
    _row("bad-gateway", 502, "Bad Gateway"),
    _row("unavailable-once", 503, "Service Unavailable", once=True),
    _row("unavailable", 503, "Service Unavailable"),
    _row("gateway-timeout", 504, "Gateway Timeout"),
    *SILENT_MAILBOXES,
)


def _fields() -> dict[str, Any]:
    return {
        "apiKey": f"key-{secrets.token_hex(16)}",
        "domain": "mg.example.org",
        "isEuRegion": False,
        "webhookKey": secrets.token_hex(16),
        "fromEmail": "news@mg.example.org",
        "fromName": "News",
    }


STAND_IN = StandIn(
    build=Mailgun,
    magic=MAGIC,
    faults=Trouble(
        throttled=Answer(429, "429", _TOO_MANY),
        internal=Answer(500, "500", "Internal Server Error"),
        unavailable=Answer(503, "503", "Service Unavailable"),
        dead=Answer(400, "400", _BAD_ADDRESS),
    ).faults(),
    fields=_fields,
    view=email_view,
    webhook_key=lambda fields: str(fields["webhookKey"]),
)
