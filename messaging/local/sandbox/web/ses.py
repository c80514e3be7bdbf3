"""Amazon SES v2, as far as a sender can see it: SendEmail with a raw message, SendBulkEmail, GetAccount, and events.

Requests are signed (SigV4) with a pair of `fields()`: the secret belongs to the key id. Ids that begin `AKIAREVOKED`
are refused. Events go through SNS; without a configuration set only the older feedback notifications are told, which
carry no tags. In a bulk each entry has its own status; an address no mail can have refuses the whole.
Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html,
https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_BulkEmailEntryResult.html,
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
"""

import base64
import datetime as dt
import hashlib
import itertools
import json
import re
import secrets
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from messaging.local.sandbox.answers import SILENT_MAILBOXES, Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge, find_magic
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.replies import no_reply
from messaging.local.sandbox.ses_events import event
from messaging.local.sandbox.ses_request import UNVERIFIED, Mail, RefusedError, read_bulk, read_one
from messaging.local.sandbox.sigv4 import SignatureRefusedError, Signer, check
from messaging.local.sandbox.sns import Sns, topic_arn
from messaging.local.sandbox.stand_in import StandIn, email_view
from messaging.local.sandbox.webhooks import Webhooks, events_for

PREFIX = "/ses"
REFUSED_KEY = "AKIAREVOKEDSANDBOX00"
REGION = "eu-central-1"

_SIMULATOR = "@simulator.amazonses.com"
_SIMULATED: Mapping[str, Sequence[str]] = {
    "success": ("delivered",),
    "bounce": ("bounced_hard",),
    "ooto": ("delivered", "bounced_soft"),
    "complaint": ("delivered", "complained"),
    "suppressionlist": ("bounced_hard",),
}
"""https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html"""
_STATUSES: Mapping[str, str] = {
    "BadRequestException": "INVALID_PARAMETER",
    "MessageRejected": "MESSAGE_REJECTED",
    "TooManyRequestsException": "ACCOUNT_THROTTLED",
    "ThrottlingException": "ACCOUNT_DAILY_QUOTA_EXCEEDED",
    "AccountSuspendedException": "ACCOUNT_SUSPENDED",
    "SendingPausedException": "ACCOUNT_SENDING_PAUSED",
    "MailFromDomainNotVerifiedException": "MAIL_FROM_DOMAIN_NOT_VERIFIED",
    "NotFoundException": "CONFIGURATION_SET_NOT_FOUND",
    "InternalServiceErrorException": "FAILED",
    "ServiceUnavailable": "TRANSIENT_FAILURE",
}
"""What an entry of a bulk has where a request of its own would get that error; other errors refuse the whole."""
_JSON = (b"content-type", b"application/json")
_PEM = (b"content-type", b"application/x-pem-file")


_TROUBLE = Trouble(
    throttled=Answer(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    internal=Answer(500, "InternalServiceErrorException", "Service encountered an internal error."),
    unavailable=Answer(503, "ServiceUnavailable", "Service is unavailable."),
    dead=Answer(400, "BadRequestException", "Missing final '@domain'"),
)
_ROWS = (
    MagicAddress("invalid", _TROUBLE.dead),
    row("content", 400, "MessageRejected", "Message content was rejected."),
    row("unverified", 400, "MessageRejected", f"{UNVERIFIED} EU-CENTRAL-1: unverified@example.com"),
    row("malformed", 400, "BadRequestException", "Invalid MIME in the raw message."),
    MagicAddress("throttled-once", _TROUBLE.throttled, once=True),
    MagicAddress("throttled", _TROUBLE.throttled),
    row("daily-quota", 400, "ThrottlingException", "Daily message quota exceeded."),
    row("limit", 400, "LimitExceededException", "A resource limit was exceeded."),
    row("suspended", 400, "AccountSuspendedException", "The account is suspended."),
    row("paused", 400, "SendingPausedException", "Email sending is disabled for the account."),
    row("mail-from", 400, "MailFromDomainNotVerifiedException", "The MAIL FROM domain is not verified."),
    row("no-set", 404, "NotFoundException", "Configuration set <no-set> does not exist."),
    row("forbidden", 403, "AccessDeniedException", "User is not authorized to perform ses:SendEmail."),
    row("clock", 403, "InvalidSignatureException", "Signature expired: 20200101T000000Z is now earlier than now."),
    MagicAddress("server-error-once", _TROUBLE.internal, once=True),
    MagicAddress("server-error", _TROUBLE.internal),
    MagicAddress("unavailable-once", _TROUBLE.unavailable, once=True),
    MagicAddress("unavailable", _TROUBLE.unavailable),
    *SILENT_MAILBOXES,
)


class Ses:
    """Answers as SES's pages say, records each recipient, and publishes what becomes of it."""

    def __init__(
        self,
        judge: Judge,
        record: Record,
        webhooks: Webhooks,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._judge = judge
        self._record = record
        self._webhooks = webhooks
        self._now = now
        self._sns = Sns(webhooks)
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._sent = 0

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        path, _, query = request.path.partition("?")
        if request.method == "GET" and (path == "/cert.pem" or path.startswith("/sns/")):
            return self._of_sns(path, query)
        try:
            return self._answer(request, path, check(request, PREFIX, secret_of, self._now()))
        except SignatureRefusedError as error:
            return self._refuse(Answer(403, error.name, str(error)))
        except RefusedError as error:
            return self._refuse(error.answer)

    def _answer(self, request: Request, path: str, signer: Signer) -> Reply:
        match request.method, path:
            case "POST", "/v2/email/outbound-emails":
                return self._take(read_one(request.body, signer))
            case "POST", "/v2/email/outbound-bulk-emails":
                return self._take_bulk(read_bulk(request.body, signer))
            case "GET", "/v2/email/account":
                return self._reply(200, _account(self._sent))
            case _:
                raise RefusedError("UnknownOperationException", "", 404)

    def _of_sns(self, path: str, query: str) -> Reply:
        if path in {"/cert.pem", f"/sns/{self._sns.certificate_name}"}:
            return Reply(200, (_PEM,), self._sns.certificate)
        if path == "/sns/" and self._sns.confirm(query):
            return Reply(200, ((b"content-type", b"text/xml"),), b"<ConfirmSubscriptionResponse/>")
        return Reply(404, (_JSON,), b"{}")

    def _take(self, mail: Mail) -> Reply:
        answers = [mail.refusal, *(self._judge.judge(address) for _, address in mail.recipients)]
        answer = next((one for one in answers if one is not None), None)
        message_id = self._note(mail, answer)
        return self._reply(200, {"MessageId": message_id}) if answer is None else self._negative(answer)

    def _take_bulk(self, mails: Sequence[Mail]) -> Reply:
        whole, answers = self._judge_all(mails)
        ids = [self._note(mail, whole or answer) for mail, answer in zip(mails, answers, strict=True)]
        if whole is not None:
            return self._negative(whole)
        results = [
            {"Status": "SUCCESS", "MessageId": message_id}
            if answer is None
            else {"Status": _STATUSES[answer.code], "Error": answer.text}
            for message_id, answer in zip(ids, answers, strict=True)
        ]
        return self._reply(200, {"BulkEmailEntryResults": results})

    def _judge_all(self, mails: Sequence[Mail]) -> tuple[Answer | None, list[Answer | None]]:
        """The answer for the whole request, and one for each entry. Rates other than `dead` count requests."""
        whole: Answer | None = None
        answers: list[Answer | None] = []
        for number, mail in enumerate(mails):
            own = mail.refusal
            for _, address in mail.recipients:
                is_magic = find_magic("ses", address) is not None
                answer = self._judge.judge(address)
                if answer is None:
                    continue
                if answer.code in _STATUSES and (is_magic or answer == _TROUBLE.dead):
                    own = own or answer
                elif whole is None and (is_magic or number == 0):
                    whole = answer
            answers.append(own)
        return whole, answers

    def _note(self, mail: Mail, answer: Answer | None) -> str:
        """Record a mail that is answered so, and tell what becomes of it; its id."""
        message_id = f"0107{self._run}{next(self._numbers):08x}-{uuid.uuid4()}-000000"
        payload = json.dumps(mail.content)
        for role, address in mail.recipients:
            self._record.append(
                "ses",
                address,
                **verdict(answer, 200),
                provider_id=message_id,
                tag=mail.tags.get("delivery"),
                payload=payload,
                about=json.dumps(
                    {"list": role, "region": mail.signer.region, "configuration_set": mail.configuration_set}
                ),
            )
        if answer is None or answer.accepts:
            self._sent += len(mail.recipients)
            self._publish(mail, message_id)
        return message_id

    def _publish(self, mail: Mail, message_id: str) -> None:
        hook = self._webhooks.of("ses")
        if hook is None:
            return
        for _, address in mail.recipients:
            local, _, domain = address.partition("@")
            simulated = _SIMULATED.get(local.partition("+")[0]) if f"@{domain}" == _SIMULATOR else None
            words = ("accepted", *(simulated if simulated is not None else events_for(address)))
            told = [
                event(
                    word,
                    address=address,
                    message_id=message_id,
                    content=mail.content,
                    tags=mail.tags,
                    configuration_set=mail.configuration_set,
                    now=self._now(),
                )
                for word in words
            ]
            self._sns.publish(hook.url, mail.signer.region, [json.dumps(one) for one in told if one is not None])

    def _negative(self, answer: Answer) -> Reply:
        return self._refuse(answer) if answer.status else no_reply(self._judge, answer)

    def _refuse(self, answer: Answer) -> Reply:
        names = ((b"x-amzn-errortype", f"{answer.code}:http://internal.amazon.com/coral/ses/".encode()),)
        return self._reply(answer.status, {"message": answer.text or None}, names)

    def _reply(self, status: int, body: Mapping[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
        request_id = (b"x-amzn-requestid", str(uuid.uuid4()).encode())
        return Reply(status, (_JSON, request_id, *headers), json.dumps(body).encode(), delay_s=self._judge.delay_s)


def secret_of(key_id: str) -> str | None:
    """The secret that belongs to a key id; None for what is none, or revoked."""
    if not re.fullmatch(r"AKIA[A-Z0-9]{16}", key_id) or key_id.startswith("AKIAREVOKED"):
        return None
    return base64.b64encode(hashlib.sha256(f"sandbox {key_id}".encode()).digest()).decode()[:40]


def fields() -> dict[str, Any]:
    """An account the sandbox takes."""
    key_id = "AKIA" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(16))
    return {
        "accessKey": key_id,
        "secretKey": secret_of(key_id),
        "region": REGION,
        "configurationSet": "sandbox",
        "topicArn": topic_arn(REGION),
        "fromEmail": "news@example.com",
        "fromName": "News",
    }


def _account(sent: int) -> Mapping[str, Any]:
    return {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": "HEALTHY",
        "ProductionAccessEnabled": True,
        "SendingEnabled": True,
        "SendQuota": {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": float(sent)},
    }


STAND_IN = StandIn(build=Ses, magic=_ROWS, faults=_TROUBLE.faults(), fields=fields, view=email_view)
