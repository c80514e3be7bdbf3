"""Amazon SES v2, as far as a sender can see it: SendEmail with a raw message, GetAccount, and events through SNS.

Requests are signed (SigV4) with a pair of `fields()`: the secret belongs to the key id. Ids that begin `AKIAREVOKED`
are refused. Without a configuration set only the older feedback notifications are told, which carry no tags.
Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html,
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
"""

import base64
import binascii
import datetime as dt
import hashlib
import itertools
import json
import re
import secrets
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any

from messaging.local.sandbox.answers import SILENT_MAILBOXES, Answer, MagicAddress, Trouble, row, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.mail import read_mail
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.replies import no_reply
from messaging.local.sandbox.ses_events import event
from messaging.local.sandbox.sigv4 import SignatureRefusedError, Signer, check
from messaging.local.sandbox.sns import Sns, topic_arn
from messaging.local.sandbox.stand_in import StandIn, email_view
from messaging.local.sandbox.webhooks import Webhooks, events_for

PREFIX = "/ses"
REFUSED_KEY = "AKIAREVOKEDSANDBOX00"
NO_SUCH_SET = "no-such-set"
UNVERIFIED_DOMAIN = "unverified.example"
REGION = "eu-central-1"

_MAX_BASE64 = 40 << 20
_MAX_LINE = 1000
_MAX_RECIPIENTS = 50
_LISTS = ("ToAddresses", "CcAddresses", "BccAddresses")
_KNOWN = frozenset(
    [
        "Content",
        "Destination",
        "FromEmailAddress",
        "ReplyToAddresses",
        "EmailTags",
        "ConfigurationSetName",
        "FeedbackForwardingEmailAddress",
        "TenantName",
        "EndpointId",
    ]
)
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ADDRESS = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")
_SIMULATOR = "@simulator.amazonses.com"
_SIMULATED: Mapping[str, Sequence[str]] = {
    "success": ("delivered",),
    "bounce": ("bounced_hard",),
    "ooto": ("delivered", "bounced_soft"),
    "complaint": ("delivered", "complained"),
    "suppressionlist": ("bounced_hard",),
}
"""https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html"""
_JSON = (b"content-type", b"application/json")
_PEM = (b"content-type", b"application/x-pem-file")


_TROUBLE = Trouble(
    throttled=Answer(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    internal=Answer(500, "InternalServiceErrorException", "Service encountered an internal error."),
    unavailable=Answer(503, "ServiceUnavailable", "Service is unavailable."),
    dead=Answer(400, "BadRequestException", "Missing final '@domain'"),
)
_UNVERIFIED = "Email address is not verified. The following identities failed the check in region"

_ROWS = (
    MagicAddress("invalid", _TROUBLE.dead),
    row("content", 400, "MessageRejected", "Message content was rejected."),
    row("unverified", 400, "MessageRejected", f"{_UNVERIFIED} EU-CENTRAL-1: unverified@example.com"),
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


class _RefusedError(Exception):
    """SES's name for what is wrong with a request, and its words."""

    def __init__(self, name: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.answer = Answer(status, name, text)


@dataclass(frozen=True)
class _Mail:
    """A request that keeps the rules."""

    signer: Signer
    recipients: Sequence[tuple[str, str]]
    """List of Destination and address."""
    content: Mapping[str, Any]
    tags: Mapping[str, str]
    configuration_set: str | None


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
        except _RefusedError as error:
            return self._refuse(error.answer)

    def _answer(self, request: Request, path: str, signer: Signer) -> Reply:
        match request.method, path:
            case "POST", "/v2/email/outbound-emails":
                return self._take(_read(request.body, signer))
            case "GET", "/v2/email/account":
                return self._reply(200, _account(self._sent))
            case _:
                raise _RefusedError("UnknownOperationException", "", 404)

    def _of_sns(self, path: str, query: str) -> Reply:
        if path in {"/cert.pem", f"/sns/{self._sns.certificate_name}"}:
            return Reply(200, (_PEM,), self._sns.certificate)
        if path == "/sns/" and self._sns.confirm(query):
            return Reply(200, ((b"content-type", b"text/xml"),), b"<ConfirmSubscriptionResponse/>")
        return Reply(404, (_JSON,), b"{}")

    def _take(self, mail: _Mail) -> Reply:
        answers = [self._judge.judge(address) for _, address in mail.recipients]
        answer = next((one for one in answers if one is not None), None)
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
        if answer is None:
            return self._reply(200, {"MessageId": message_id})
        if not answer.status:
            return no_reply(self._judge, answer)
        return self._refuse(answer)

    def _publish(self, mail: _Mail, message_id: str) -> None:
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


def _read(body: bytes, signer: Signer) -> _Mail:
    """Raises _RefusedError for what SES would not take."""
    try:
        document = json.loads(body)
    except ValueError:
        raise _RefusedError("SerializationException", "") from None
    if not isinstance(document, dict) or document.keys() - _KNOWN:
        raise _RefusedError("BadRequestException", "the request holds what SendEmail doesn't know")
    configuration_set = document.get("ConfigurationSetName")
    if configuration_set == NO_SUCH_SET:
        raise _RefusedError("NotFoundException", f"Configuration set <{NO_SUCH_SET}> does not exist.", 404)
    content = read_mail(_raw(document))
    sender = parseaddr(str(document.get("FromEmailAddress") or content["from"] or ""))[1]
    if not sender:
        raise _RefusedError("BadRequestException", "Missing required header 'From'.")
    if sender.endswith(f"@{UNVERIFIED_DOMAIN}"):
        raise _RefusedError("MessageRejected", f"{_UNVERIFIED} {signer.region.upper()}: {sender}")
    return _Mail(
        signer=signer,
        recipients=_recipients(document.get("Destination")),
        content=content,
        tags=_tags(document.get("EmailTags")),
        configuration_set=configuration_set,
    )


def _raw(document: Mapping[str, Any]) -> bytes:
    content = document.get("Content")
    raw = content.get("Raw") if isinstance(content, dict) else None
    data = raw.get("Data") if isinstance(raw, dict) else None
    if not isinstance(data, str) or not data:
        raise _RefusedError("BadRequestException", "the sandbox takes raw messages only: give Content.Raw.Data")
    if len(data) > _MAX_BASE64:
        raise _RefusedError("BadRequestException", f"Message length is more than {_MAX_BASE64} bytes long.")
    try:
        message = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise _RefusedError("SerializationException", "") from None
    head, blank, _ = message.partition(b"\r\n\r\n")
    if not blank or not head.isascii():
        raise _RefusedError("BadRequestException", "the headers must be ASCII and end with a blank line")
    if any(len(line) > _MAX_LINE - 2 for line in message.split(b"\r\n")):
        raise _RefusedError("BadRequestException", f"a line is longer than {_MAX_LINE} characters")
    return message


def _recipients(destination: object) -> Sequence[tuple[str, str]]:
    lists = destination if isinstance(destination, dict) else {}
    found = [(name, str(address)) for name in _LISTS for address in lists.get(name) or ()]
    if lists.keys() - set(_LISTS) or not 0 < len(found) <= _MAX_RECIPIENTS:
        raise _RefusedError("BadRequestException", f"Recipient count must be 1 to {_MAX_RECIPIENTS}.")
    for _, address in found:
        if not _ADDRESS.fullmatch(address):
            raise _RefusedError("BadRequestException", "Local address contains control or whitespace")
    return found


def _tags(tags: object) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for tag in tags if isinstance(tags, list) else ():
        name, value = str(tag.get("Name")), str(tag.get("Value"))
        if not _TAG.fullmatch(name) or not _TAG.fullmatch(value):
            raise _RefusedError("BadRequestException", f"Invalid tag <{name}>: use letters, digits, _ and -.")
        found[name] = value
    return found


def _account(sent: int) -> Mapping[str, Any]:
    return {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": "HEALTHY",
        "ProductionAccessEnabled": True,
        "SendingEnabled": True,
        "SendQuota": {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": float(sent)},
    }


STAND_IN = StandIn(build=Ses, magic=_ROWS, faults=_TROUBLE.faults(), fields=fields, view=email_view)
