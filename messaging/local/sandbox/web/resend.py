"""Resend, as far as a sender can see it: `POST /emails`, `POST /emails/batch` and `GET /domains`."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from messaging.local.sandbox.answers import SILENT_MAILBOXES, Answer, Trouble, row, verdict
from messaging.local.sandbox.exchange import Behaviour, Reply, Request
from messaging.local.sandbox.magic import Judge, find_magic
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.resend_email import BAD_ADDRESS, Problem, address_of, check_email, content_of
from messaging.local.sandbox.stand_in import StandIn, email_view
from messaging.local.sandbox.webhooks import Post, Webhooks, events_for

KIND = "resend"
REFUSED_KEY = "re_refused"
"""The API key that is always wrong."""
SENDING_KEY_PREFIX = "re_sending"
"""Keys that begin so may send, and nothing else."""
MAX_BATCH = 100
MAX_REQUEST_BYTES = 40 << 20

_PATHS = {"/emails": "POST", "/emails/batch": "POST", "/domains": "GET"}
_JSON = (b"content-type", b"application/json")
_LIMIT = 5

_TYPES = {
    "accepted": "email.sent",
    "delivered": "email.delivered",
    "deferred": "email.delivery_delayed",
    "bounced_hard": "email.bounced",
    "bounced_soft": "email.bounced",
    "rejected": "email.failed",
    "complained": "email.complained",
    "suppressed": "email.suppressed",
    "opened": "email.opened",
    "clicked": "email.clicked",
}
"""By our words for events; Resend has none for an opt-out of single emails."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A request with an idempotency key, and what was answered."""

    digest: bytes
    reply: Reply


class Resend(Provider):
    """Answers email creations as Resend's pages say, and records each recipient.

    Keys start with `re_`. A request that is told again with its idempotency key is answered again and sends nothing.
    Source: resend.com/docs/api-reference/emails.
    """

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(judge, record, webhooks, clock=clock)
        self._told: dict[str, _Told] = {}

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        path = request.path.partition("?")[0]
        refusal = _check_access(request, path)
        if refusal is not None:
            return self._refuse(refusal)
        if path == "/domains":
            listed = {"id": str(uuid.uuid4()), "name": "example.org", "status": "verified", "region": "eu-west-1"}
            return self._reply(200, {"object": "list", "has_more": False, "data": [listed]})
        key = request.headers.get(b"idempotency-key")
        if key is None:
            return self._create(request, path)
        told, digest = self._told.get(key.decode("latin-1")), hashlib.sha256(request.body).digest()
        if told is not None and told.digest == digest:
            return told.reply
        if told is not None:
            text = "This idempotency key has been used on a request with another payload."
            return self._refuse(Answer(409, "invalid_idempotent_request", text))
        reply = self._create(request, path)
        if reply.status == 200:  # noqa: PLR2004  errors are not kept
            self._told[key.decode("latin-1")] = _Told(digest, _to_repeat(request, reply))
        return reply

    def _create(self, request: Request, path: str) -> Reply:
        try:
            document = json.loads(request.body)
        except ValueError:
            return self._refuse(Answer(400, "validation_error", "The body is no valid JSON."))
        batch = path == "/emails/batch"
        emails = document if batch else [document]
        if not isinstance(emails, list) or not 1 <= len(emails) <= MAX_BATCH:
            return self._refuse(Answer(422, "validation_error", f"A batch has 1 to {MAX_BATCH} emails."))
        permissive = batch and request.headers.get(b"x-batch-validation") == b"permissive"
        problems = {place: found for place, email in enumerate(emails) if (found := check_email(email, batch=batch))}
        answer = self._judge_all(emails, problems)
        if problems and not permissive:
            answer = answer or next(iter(problems.values())).answer()
        return self._note(emails, problems, answer, batch=batch, permissive=permissive)

    def _judge_all(self, emails: list[Any], problems: dict[int, Problem]) -> Answer | None:
        """The answer for the request; addresses that are dead become problems of their email."""
        found: Answer | None = None
        for place, email in enumerate(emails):
            if place in problems:
                continue
            address = address_of(email["to"])
            is_magic = find_magic(KIND, address) is not None
            answer = self._judge.judge(address)
            if answer is not None and answer.text == BAD_ADDRESS:
                problems[place] = Problem("validation_error", BAD_ADDRESS)
            elif answer is not None and found is None and (is_magic or place == 0):
                found = answer
        return found

    def _note(
        self,
        emails: list[Any],
        problems: Mapping[int, Problem],
        answer: Answer | None,
        *,
        batch: bool,
        permissive: bool,
    ) -> Reply:
        """Record every email, and answer."""
        ids: list[dict[str, str]] = []
        posts: list[Post] = []
        for place, email in enumerate(emails):
            bad = problems.get(place)
            own = answer or (None if bad is None else bad.answer())
            email_id = str(uuid.uuid4())
            content = content_of(email)
            self._record.append(
                KIND,
                address_of(content["to"]),
                **verdict(own, 200),
                provider_id=email_id,
                tag=content["tags"].get("delivery"),
                payload=json.dumps(content),
                about=json.dumps({"emails": len(emails)}),
            )
            if bad is None and (own is None or own.accepts):
                ids.append({"id": email_id})
                posts += self._receipts(email_id, content)
        self._webhooks.post(posts)
        if answer is not None and answer.status:
            return self._refuse(answer)
        if not batch:
            body: dict[str, Any] = ids[0] if ids else {}
        else:
            errors = [{"index": place, "message": bad.message} for place, bad in sorted(problems.items())]
            body = {"data": ids} | ({"errors": errors} if permissive else {})
        if answer is not None:
            return self._reply(200 if answer.accepts else 0, body, answer.behaviour)
        return self._reply(200, body)

    def _receipts(self, email_id: str, content: Mapping[str, Any]) -> list[Post]:
        hook = self._webhooks.of(KIND)
        if hook is None:
            return []
        address = address_of(content["to"])
        suppressed = address.partition("@")[0].partition("+")[0].lower() == "suppressed"
        words = ("suppressed",) if suppressed else events_for(address)
        posts = []
        for word in (word for word in words if word in _TYPES):
            now = self._clock()
            event = {"type": _TYPES[word], "created_at": _iso(now), "data": _data(word, email_id, content, now)}
            body = json.dumps(event).encode()
            event_id = f"msg_{secrets.token_urlsafe(16)}"
            headers = {"content-type": "application/json", **sign(hook.key, event_id, int(now), body)}
            posts.append(Post(url=hook.url, body=body, headers=headers))
        return posts

    def _refuse(self, answer: Answer) -> Reply:
        body = {"statusCode": answer.status, "name": answer.code, "message": answer.text}
        return self._reply(answer.status, body)

    def _reply(self, status: int, body: Mapping[str, Any], behaviour: Behaviour = Behaviour.ANSWER) -> Reply:
        wait_s = self._judge.retry_after_s if self._judge.retry_after_s is not None else 1.0
        limited = status == 429  # noqa: PLR2004  the status of a rate limit
        headers = [
            _JSON,
            (b"ratelimit-limit", b"%d" % _LIMIT),
            (b"ratelimit-remaining", b"0" if limited else b"%d" % (_LIMIT - 1)),
            (b"ratelimit-reset", b"%d" % max(1, round(wait_s))),
        ]
        if limited:
            headers.append((b"retry-after", b"%d" % max(1, round(wait_s))))
        return Reply(status, tuple(headers), json.dumps(body).encode(), behaviour, self._judge.delay_s)


def _to_repeat(request: Request, reply: Reply) -> Reply:
    """What a repetition is told: the answer, also where it was lost on its way, unless magic loses it for good."""
    document = json.loads(request.body)
    addresses = [address_of(email["to"]) for email in (document if isinstance(document, list) else [document])]
    return reply if any(find_magic(KIND, each) for each in addresses) else replace(reply, behaviour=Behaviour.ANSWER)


def sign(key: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a signed webhook; `key` begins whsec_."""
    secret = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.digest(secret, f"{event_id}.{timestamp}.".encode() + body, "sha256")
    return {
        "svix-id": event_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _data(word: str, email_id: str, content: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The `data` of an event."""
    headers = [{"name": name, "value": value} for name, value in content["headers"].items()]
    shared = {
        "email_id": email_id,
        "created_at": _iso(now),
        "from": content["from"],
        "to": content["to"],
        "subject": content["subject"],
        "tags": content["tags"],
        **({"headers": headers} if headers else {}),
    }
    diagnosis = {
        "bounced_hard": ("Permanent", "General", "smtp; 550 5.1.1 user unknown"),
        "bounced_soft": ("Transient", "MailboxFull", "smtp; 452 4.2.2 mailbox full"),
    }
    if word in diagnosis:
        kind, sub_type, code = diagnosis[word]
        bounce = {"type": kind, "subType": sub_type, "message": "The email bounced.", "diagnosticCode": [code]}
        return shared | {"bounce": bounce}
    if word == "suppressed":
        suppressed = {"reason": "previous_bounce", "type": "OnAccountSuppressionList", "diagnosticCode": []}
        return shared | {"suppressed": suppressed | {"message": "The address is on the suppression list."}}
    if word == "rejected":
        return shared | {"failed": {"reason": "domain_not_verified"}}
    if word == "clicked":
        click = {"ipAddress": "192.0.2.1", "link": "https://example.org/", "timestamp": _iso(now), "userAgent": "x"}
        return shared | {"click": click}
    return shared


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_access(request: Request, path: str) -> Answer | None:
    if path not in _PATHS:
        return Answer(404, "not_found", "The requested endpoint does not exist.")
    if request.method != _PATHS[path]:
        return Answer(405, "method_not_allowed", "This endpoint does not support the HTTP method.")
    return _check_key(request, path) or _check_size(request)


def _check_key(request: Request, path: str) -> Answer | None:
    scheme, _, key = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not key:
        return Answer(401, "missing_api_key", "Missing API key in the authorization header.")
    if not key.startswith("re_") or key == REFUSED_KEY:
        return Answer(403, "invalid_api_key", "API key is invalid.")
    if path == "/domains" and key.startswith(SENDING_KEY_PREFIX):
        return Answer(401, "restricted_api_key", "This API key is restricted to only send emails.")
    return None


def _check_size(request: Request) -> Answer | None:
    if len(request.body) > MAX_REQUEST_BYTES:
        return Answer(413, "validation_error", "The request is too large.")
    idempotency_key = request.headers.get(b"idempotency-key")
    if idempotency_key is not None and not re.fullmatch(rb"[!-~]{1,256}", idempotency_key):
        return Answer(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
    return None


_TOO_MANY = "Too many requests. You can only make 5 requests per second."
_INTERNAL = "An unexpected error occurred."
_TESTING = "You can only send testing emails to your own email address."

MAGIC = (
    row("invalid", 422, "validation_error", BAD_ADDRESS),
    row("missing-field", 422, "missing_required_field", "Missing `subject` field."),
    row("bad-parameter", 422, "invalid_parameter", "The parameter must be a valid UUID."),
    row("bad-attachment", 422, "invalid_attachment", "Attachment must have either a `content` or `path`."),
    row("bad-sender", 422, "invalid_from_address", "Invalid `from` field."),
    row("bad-key", 403, "invalid_api_key", "API key is invalid."),
    row("testing-only", 403, "validation_error", _TESTING),
    row("held-back", 451, "security_error", "We may have found a security issue with the request."),
    row("busy-once", 409, "concurrent_idempotent_requests", "Same key, first one still running.", once=True),
    row("rate-limit-once", 429, "rate_limit_exceeded", _TOO_MANY, once=True),
    row("rate-limit", 429, "rate_limit_exceeded", _TOO_MANY),
    row("daily-quota", 429, "daily_quota_exceeded", "You have reached your daily email sending quota."),
    row("monthly-quota", 429, "monthly_quota_exceeded", "You have reached your monthly email sending quota."),
    row("server-error-once", 500, "application_error", _INTERNAL, once=True),
    row("server-error", 500, "application_error", _INTERNAL),
    row("bad-gateway", 502, "", ""),
    row("unavailable-once", 503, "", "", once=True),
    row("unavailable", 503, "", ""),
    *SILENT_MAILBOXES,
)


def _fields() -> dict[str, Any]:
    return {
        "apiKey": f"re_{secrets.token_urlsafe(24)}",
        "webhookKey": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
        "fromEmail": "news@example.org",
        "fromName": "News",
    }


def _view(payload: Mapping[str, Any]) -> dict[str, Any]:
    return email_view(payload) | {"to": ", ".join(payload["to"])}


STAND_IN = StandIn(
    build=Resend,
    magic=MAGIC,
    faults=Trouble(
        throttled=Answer(429, "rate_limit_exceeded", _TOO_MANY),
        internal=Answer(500, "application_error", _INTERNAL),
        unavailable=Answer(503, "", ""),
        dead=Answer(422, "validation_error", BAD_ADDRESS),
    ).faults(),
    fields=_fields,
    view=_view,
    webhook_key=lambda fields: str(fields["webhookKey"]),
)
