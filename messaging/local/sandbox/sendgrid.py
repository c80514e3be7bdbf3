"""SendGrid, as far as a sender can see it: `POST /v3/mail/send`, `GET /v3/scopes` and the event webhook."""

import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from messaging.local.sandbox.answers import Answer, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge, find_magic
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.sendgrid_mail import FieldError, check_mail, content_of
from messaging.local.sandbox.sendgrid_receipts import Told, posts
from messaging.local.sandbox.webhooks import WebhookRefusedError, Webhooks

MAX_REQUEST_BYTES = 30 << 20
KEY_PREFIX = "SG."
_BAD_KEY = "The provided authorization grant is invalid, expired, or revoked"
_JSON = (b"content-type", b"application/json")
_ROLES = ("to", "cc", "bcc")
_BAD_ADDRESS = "invalid"


@dataclass(frozen=True, slots=True)
class _Recipient:
    personalization: int
    role: str
    position: int
    email: str

    @property
    def field(self) -> str:
        return f"personalizations.{self.personalization}.{self.role}.{self.position}.email"


class SendGrid(Provider):
    """Answers mail sends as SendGrid's pages say, records each recipient, and reports to the registered webhook.

    Keys start with `SG.`; those that start with `SG.revoked`, `SG.no-credits` or `SG.forbidden` are refused so.
    The webhook is registered with the private key (PEM, P-256) it signs with.
    Source: twilio.com/docs/sendgrid/api-reference/mail-send.
    """

    def __init__(
        self, judge: Judge, record: Record, webhooks: Webhooks, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(judge, record, webhooks, clock=clock)
        self._run = secrets.token_urlsafe(9)
        self._numbers = itertools.count(1)

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        key = _key(request)
        if request.path == "/v3/scopes" and request.method == "GET":
            return self._show_scopes(key)
        refusal = _check_access(request, key) or _check_form(request)
        if refusal is not None:
            return self._refuse(refusal)
        try:
            mail = json.loads(request.body)
        except ValueError:
            return self._refuse(Answer(400, "", "Bad Request"))
        errors = check_mail(mail)
        return self._refuse(Answer(400, "", ""), errors) if errors else self._take(mail)

    def _show_scopes(self, key: str) -> Reply:
        """What the key may do; no mail, and none recorded."""
        trouble = self._judge.fault("scopes")
        if key.startswith("SG.revoked") or not key.startswith(KEY_PREFIX):
            return self._refuse(Answer(401, "", _BAD_KEY))
        if trouble is not None and not trouble.status:
            return self._silence(trouble)
        if trouble is not None and trouble.status >= HTTPStatus.TOO_MANY_REQUESTS:
            return self._refuse(trouble)
        scopes = ["user.profile.read", *([] if key.startswith("SG.forbidden") else ["mail.send"])]
        return self._reply(200, (_JSON,), json.dumps({"scopes": scopes}).encode())

    def _take(self, mail: Mapping[str, Any]) -> Reply:
        """The reply to a mail that keeps the rules: by its recipients and the faults in force."""
        recipients = list(_recipients(mail))
        answer, errors = self._judge_all(recipients)
        if bool((mail.get("mail_settings") or {}).get("sandbox_mode", {}).get("enable")):
            return self._reply(200)
        message_id = f"{self._run}{next(self._numbers):08x}"
        self._note(mail, recipients, answer, errors, message_id)
        if errors:
            return self._refuse(Answer(400, _BAD_ADDRESS, ""), errors)
        if answer is None:
            return self._reply(202, ((b"x-message-id", message_id.encode()),))
        if not answer.status:
            return self._silence(answer)
        return self._refuse(answer)

    def _judge_all(self, recipients: list[_Recipient]) -> tuple[Answer | None, list[FieldError]]:
        """The answer for the request, and the addresses that refuse it. Rates other than `dead` count requests."""
        errors: list[FieldError] = []
        found: Answer | None = None
        for number, recipient in enumerate(recipients):
            is_magic = find_magic("sendgrid", recipient.email) is not None
            answer = self._judge.judge(recipient.email)
            if answer is not None and answer.code == _BAD_ADDRESS:
                errors.append(FieldError(recipient.field, answer.text))
            elif answer is not None and found is None and (is_magic or number == 0):
                found = answer
        return found, errors

    def _note(
        self,
        mail: Mapping[str, Any],
        recipients: list[_Recipient],
        answer: Answer | None,
        errors: list[FieldError],
        message_id: str,
    ) -> None:
        if errors:
            answer = Answer(400, errors[0].field or "")
        contents: dict[int, tuple[str, str | None]] = {}
        told: list[Told] = []
        for recipient in recipients:
            number = recipient.personalization
            content = content_of(mail, number)
            if number not in contents:
                tag = content["custom_args"].get("delivery")
                contents[number] = json.dumps(content), None if tag is None else str(tag)
            payload, mark = contents[number]
            self._record.append(
                "sendgrid",
                recipient.email,
                **verdict(answer, 202),
                provider_id=message_id,
                tag=mark,
                payload=payload,
                about=json.dumps({"role": recipient.role, "personalization": number}),
            )
            told.append(
                Told(recipient.email, message_id, content["headers"].get("Message-ID", ""), content["custom_args"])
            )
        if answer is None or answer.accepts:
            self._report(told)

    def _report(self, told: list[Told]) -> None:
        hook = self._webhooks.of("sendgrid")
        if hook is None:
            return
        try:
            self._webhooks.post(posts(hook, told, now_s=int(self._clock())))
        except WebhookRefusedError as error:
            self._webhooks.last_error = str(error)

    def _refuse(self, answer: Answer, errors: list[FieldError] | None = None) -> Reply:
        found = errors or [FieldError(None, answer.text)]
        body = {"errors": [{"message": error.message, "field": error.field, "help": None} for error in found]}
        return self._reply(answer.status, (_JSON,), json.dumps(body).encode())

    def _reply(self, status: int, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b"") -> Reply:
        wait_s = self._judge.retry_after_s if self._judge.retry_after_s is not None else 60.0
        remaining = b"0" if status == 429 else b"599"  # noqa: PLR2004  # the status of a rate limit
        limits = (
            (b"x-ratelimit-limit", b"600"),
            (b"x-ratelimit-remaining", remaining),
            (b"x-ratelimit-reset", b"%d" % (self._clock() + wait_s)),
        )
        return Reply(status, (*headers, *limits), body, delay_s=self._judge.delay_s)


def _key(request: Request) -> str:
    """The key of the request; empty where there is none."""
    scheme, _, key = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key if scheme.lower() == "bearer" else ""


def _check_access(request: Request, key: str) -> Answer | None:
    if request.path != "/v3/mail/send":
        return Answer(404, "", "not found")
    if request.method != "POST":
        return Answer(405, "", "method not allowed")
    if not key.startswith(KEY_PREFIX) or key.startswith("SG.revoked"):
        return Answer(401, "", _BAD_KEY)
    if key.startswith("SG.no-credits"):
        return Answer(401, "", "Maximum credits exceeded")
    if key.startswith("SG.forbidden"):
        return Answer(403, "", "access forbidden")
    return None


def _check_form(request: Request) -> Answer | None:
    if not request.headers.get(b"content-type", b"").startswith(b"application/json"):
        return Answer(415, "", "Content-Type should be application/json.")
    if len(request.body) > MAX_REQUEST_BYTES:
        return Answer(413, "", "Total size of the email is larger than 30MB.")
    return None


def _recipients(mail: Mapping[str, Any]) -> Iterator[_Recipient]:
    for number, personalization in enumerate(mail["personalizations"]):
        for role in _ROLES:
            for position, person in enumerate(personalization.get(role) or ()):
                yield _Recipient(number, role, position, str(person["email"]))
