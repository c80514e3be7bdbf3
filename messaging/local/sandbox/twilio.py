"""Twilio, as far as a sender can see it: creating messages, and the account they are sent from."""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from messaging.local.sandbox.answers import Answer, verdict
from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.provider import Provider
from messaging.local.sandbox.replies import json_reply
from messaging.local.sandbox.request_parts import basic_auth
from messaging.local.sandbox.twilio_receipts import posts
from messaging.sms_segments import segments

MAX_BODY_CHARACTERS = 1600
MAX_MEDIA = 10
MAX_VALIDITY_S = 36_000
REFUSED_TOKEN = "f" * 32
"""The auth token that is always wrong."""
SUSPENDED = "AC" + "5" * 32
"""An account that is suspended."""

_PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})(/Messages)?\.json")
_E164 = re.compile(r"\+[1-9]\d{1,14}")
_SENDER = re.compile(r"\+[1-9]\d{1,14}|\d{3,6}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_USER = re.compile(r"(AC|SK)[0-9a-fA-F]{32}")
_FROM_MAGIC = {
    "+15005550001": Answer(400, "21212", "The 'From' number is not a valid phone number or sender ID."),
    "+15005550007": Answer(400, "21606", "The 'From' phone number is not a message-capable Twilio phone number"),
    "+15005550008": Answer(400, "21611", "This 'From' number has exceeded the maximum number of queued messages"),
}  # fmt: skip


class Twilio(Provider):
    """Answers message creations as Twilio's pages say, records each, and reports what became of it.

    Any account sid with any token is an account here, except REFUSED_TOKEN. Reports go to the request's
    StatusCallback; what people answer goes to the registered webhook, or there, too.
    Source: twilio.com/docs/messaging/api/message-resource, twilio.com/docs/api/errors, twilio.com/docs/iam/api/account.
    """

    def __call__(self, request: Request) -> Reply:
        """The reply to one request."""
        path = _PATH.fullmatch(request.path.partition("?")[0])
        if path is None:
            return self._refuse(Answer(404, "20404", f"The requested resource {request.path} was not found"))
        user, token = basic_auth(request)
        refusal = _check_access(request, user, token, path[1], "POST" if path[2] else "GET")
        if refusal is not None:
            return self._refuse(refusal)
        return self._create(request, path[1], token) if path[2] else self._show(path[1])

    def _show(self, account: str) -> Reply:
        """The account itself; no message, and none recorded."""
        trouble = self._judge.fault(account)
        if trouble is not None and not trouble.status:
            return self._silence(trouble)
        if trouble is not None and trouble.status >= HTTPStatus.TOO_MANY_REQUESTS:
            return self._refuse(trouble)
        body = {
            "sid": account,
            "owner_account_sid": account,
            "friendly_name": "Sandbox",
            "status": "suspended" if account == SUSPENDED else "active",
            "type": "Full",
            "uri": f"/2010-04-01/Accounts/{account}.json",
        }
        return self._answer(200, body)

    def _create(self, request: Request, account: str, token: str) -> Reply:
        """The reply to one creation."""
        fields = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        form = {name: values[-1] for name, values in fields.items()}
        to = form.get("To", "")
        media = fields.get("MediaUrl", [])
        answer = _check_form(form, media) or self._judge.judge(to)
        sid = "SM" + secrets.token_hex(16)
        self._record.append(
            "twilio",
            to,
            **verdict(answer, 201),
            provider_id=sid,
            tag=_tag(form),
            payload=json.dumps(form),
            about=json.dumps({"account": account, "media": media}),
        )
        if answer is None or answer.accepts:
            answers_to = self._webhooks.address("twilio")
            self._webhooks.post(posts(form, account=account, auth_token=token, sid=sid, answers_to=answers_to))
        if answer is None:
            return self._answer(201, self._message(account, sid, form, len(media)))
        if not answer.status:
            return self._silence(answer, 201)
        return self._refuse(answer)

    def _message(self, account: str, sid: str, form: Mapping[str, str], media: int) -> dict[str, object]:
        service = form.get("MessagingServiceSid")
        now = format_datetime(datetime.fromtimestamp(self._clock(), UTC))
        scheduled = form.get("ScheduleType") == "fixed"
        uri = f"/2010-04-01/Accounts/{account}/Messages/{sid}"
        return {
            "account_sid": account,
            "api_version": "2010-04-01",
            "body": form.get("Body"),
            "date_created": now,
            "date_sent": None,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": form.get("From"),
            "messaging_service_sid": service,
            "num_media": str(media),
            # Twilio doesn't know the sender, and so not the encoding, of a messaging service yet.
            "num_segments": "0" if service else str(segments(form.get("Body", "")).parts),
            "price": None,
            "price_unit": None if service else "USD",
            "sid": sid,
            "status": "scheduled" if scheduled else "accepted" if service else "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": form.get("To"),
            "uri": f"{uri}.json",
        }

    def _refuse(self, answer: Answer) -> Reply:
        body = {
            "code": int(answer.code),
            "message": answer.text,
            "more_info": f"https://www.twilio.com/docs/errors/{answer.code}",
            "status": answer.status,
        }
        asks = answer.status == HTTPStatus.UNAUTHORIZED
        return self._answer(answer.status, body, *([_CHALLENGE] if asks else []))

    def _answer(self, status: int, body: Mapping[str, object], *headers: tuple[bytes, bytes]) -> Reply:
        used = (b"twilio-concurrent-requests", b"1")
        return json_reply(self._judge, status, body, used, *headers, kind=b"application/json;charset=utf-8")


_CHALLENGE = (b"www-authenticate", b'Basic realm="Twilio API"')


def _check_access(request: Request, user: str, token: str, account: str, method: str) -> Answer | None:
    if request.method != method:
        return Answer(405, "20004", "Method not allowed")
    if not _USER.fullmatch(user) or not token or token == REFUSED_TOKEN:
        return Answer(401, "20003", "Authenticate")
    if user.startswith("AC") and user != account:
        return Answer(404, "20404", f"The requested resource {request.path} was not found")
    if account == SUSPENDED and method == "POST":
        return Answer(401, "20005", "Account not active")
    return None


def _check_form(form: Mapping[str, str], media: list[str]) -> Answer | None:
    return _check_parties(form) or _check_content(form, media) or _check_options(form)


def _check_parties(form: Mapping[str, str]) -> Answer | None:
    to, sender, service = form.get("To", ""), form.get("From", ""), form.get("MessagingServiceSid", "")
    if not to:
        return Answer(400, "21604", "A 'To' phone number is required.")
    if not _E164.fullmatch(to):
        return Answer(400, "21211", f"Invalid 'To' Phone Number: {to}")
    return _check_sender(sender, service)


def _check_sender(sender: str, service: str) -> Answer | None:
    if not sender and not service:
        return Answer(400, "21603", "A 'From' phone number is required.")
    if service and not _SERVICE.fullmatch(service):
        return Answer(400, "21705", "The Messaging Service Sid is invalid.")
    if sender in _FROM_MAGIC:
        return _FROM_MAGIC[sender]
    if sender and not _SENDER.fullmatch(sender):
        return Answer(400, "21212", f"Invalid From Number (caller ID): {sender}")
    return None


def _check_content(form: Mapping[str, str], media: list[str]) -> Answer | None:
    body = form.get("Body", "")
    if not body and not media and not form.get("ContentSid"):
        return Answer(400, "21619", "A text message body or media urls must be specified.")
    if len(body) > MAX_BODY_CHARACTERS:
        return Answer(400, "21617", "The concatenated message body exceeds the 1600 character limit.")
    if len(media) > MAX_MEDIA:
        return Answer(400, "21623", "Number of media files exceeds allowed limit.")
    return None


def _check_options(form: Mapping[str, str]) -> Answer | None:
    validity = form.get("ValidityPeriod")
    if validity is not None and not (validity.isdecimal() and 1 <= int(validity) <= MAX_VALIDITY_S):
        return Answer(400, "21624", "The ValidityPeriod is invalid.")
    callback = form.get("StatusCallback")
    if callback and urlsplit(callback).scheme not in {"http", "https"}:
        return Answer(400, "21609", f"The 'StatusCallback' URL {callback} is not a valid URL.")
    return None


def _tag(form: Mapping[str, str]) -> str | None:
    """The caller's own tag: parameter `delivery` of the StatusCallback, the one field Twilio leaves to the sender."""
    found = parse_qs(urlsplit(form.get("StatusCallback", "")).query).get("delivery")
    return found[0] if found else None
