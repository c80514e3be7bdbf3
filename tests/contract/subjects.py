"""The adapters the contract holds for: those below, and one module of `kinds/` for each of the others."""

from __future__ import annotations

import hashlib
import pkgutil
import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from messaging.local.sandbox import sendgrid_receipts, twilio_receipts
from messaging.local.sandbox.credentials import (
    apns_credentials,
    fcm_credentials,
    sendgrid_credentials,
    sendgrid_webhook_keys,
    smtp_credentials,
    twilio_credentials,
)
from messaging.local.sandbox.smtp import REFUSED_PASSWORD
from messaging.local.sandbox.twilio import REFUSED_TOKEN
from messaging.local.sandbox.webhooks import Webhook
from messaging.message import Email, Push, Sms
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract import kinds
from tests.contract.servers import Answer, Place, answering_http2, scripted_smtp
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer
from tests.integration.http2_peer import Certificate


def _hex() -> str:
    return secrets.token_hex(28)


def _short() -> str:
    return secrets.token_hex(8)


def _answering_smtp(answer: Answer, _: Certificate) -> AbstractAsyncContextManager[Place]:
    return scripted_smtp(dot=answer.line)


def _misspelled(credentials: dict[str, Any]) -> dict[str, Any]:
    """A service account nobody knows."""
    file = dict(credentials["serviceAccountJSON"]) | {"client_email": "nobody@sandbox.iam.gserviceaccount.com"}
    return {"serviceAccountJSON": file}


def _sendgrid_receipt(_: Mapping[str, object]) -> Genuine:
    private, public = sendgrid_webhook_keys()
    hook, now = Webhook(RECEIPTS_URL, private), datetime.now(UTC)

    def inbound(body: bytes) -> Inbound:
        post = sendgrid_receipts.signed(hook, body, now_s=int(now.timestamp()))
        return Inbound(method="POST", url=post.url, headers=post.headers, body=post.body, received_at=now)

    copy = sendgrid_receipts.Told("opened@example.com", "abc", "<t@example.org>", {"delivery": "tag"})
    first = sendgrid_receipts.posts(hook, [copy, copy], now_s=int(now.timestamp()))[0]
    request = inbound(first.body)
    signature = request.headers["x-twilio-email-event-webhook-signature"]
    return Genuine(inbound=request, fields={"webhookKey": public}, signature=signature, with_body=inbound)


def _twilio_receipt(fields: Mapping[str, object]) -> Genuine:
    url = f"{RECEIPTS_URL}?delivery=tag"
    form = {"To": "+15005550010", "From": "+15005550006", "StatusCallback": url}
    sid, token = str(fields["accountSid"]), str(fields["authToken"])
    (post,) = twilio_receipts.posts(form, account=sid, auth_token=token, sid=f"SM{_short()}", answers_to=None)
    now = datetime.now(UTC)
    request = Inbound(method="POST", url=post.url, headers=post.headers, body=post.body, received_at=now)

    def json_of(body: bytes) -> Inbound:
        signed = f"{url}&bodySHA256={hashlib.sha256(body).hexdigest()}"
        headers = {"content-type": "application/json", "x-twilio-signature": twilio_receipts.sign(token, signed, {})}
        return replace(request, url=signed, headers=headers, body=body)

    return Genuine(inbound=request, signature=request.headers["x-twilio-signature"], with_body=json_of)


_PUSH = Push(title="Hello", body="there", data={"order": "1"})
_EMAIL = Email(subject="Hello", content="there")
_SENDER = {"fromEmail": "news@example.org", "fromName": "News"}

_APNS_MAGIC = {
    Magic.DEAD: "dead0410", Magic.SILENT: "dead0000", Magic.DROPPED: "dead0003", Magic.LOST: "dead0005",
    Magic.NOT_NOW: "dead0503",
}  # fmt: skip
_FCM_MAGIC = {
    Magic.DEAD: "magic-unregistered", Magic.SILENT: "magic-timeout", Magic.DROPPED: "magic-drop",
    Magic.LOST: "magic-lost-connection", Magic.NOT_NOW: "magic-internal",
}  # fmt: skip
_SENDGRID_MAGIC = {
    Magic.DEAD: "invalid", Magic.SILENT: "timeout", Magic.DROPPED: "reset", Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "unavailable",
}  # fmt: skip
_SMTP_MAGIC = {
    Magic.DEAD: "unknown-user", Magic.SILENT: "timeout-data", Magic.DROPPED: "drop-data", Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "busy",
}  # fmt: skip
_TWILIO_MAGIC = {
    Magic.DEAD: "+15005550001", Magic.SILENT: "+1999000", Magic.DROPPED: "+1999001", Magic.LOST: "+1999004",
    Magic.NOT_NOW: "+1999503",
}  # fmt: skip

_SUBJECTS: tuple[Subject, ...] = (
    Subject(
        kind="apns",
        content=_PUSH,
        unsendable=(Push(title="x" * 5000), _EMAIL, Push(title="x", data={"aps": "mine"})),
        fresh=lambda: f"ab{_hex()}",
        magic=lambda case: f"{_APNS_MAGIC[case]}{_hex()}",
        endpoint=lambda addresses: addresses.apns,
        credentials=lambda addresses: apns_credentials(addresses.control),
        wrong=lambda addresses: apns_credentials(addresses.control) | {"teamId": "UNKNOWN000"},
        serve=answering_http2,
        refused_content=json_answer(413, '{"reason": "PayloadTooLarge"}'),
        unreadable=(Answer(204), Answer(299, body=b"<html>"), Answer(cut=True)),
        throttled=Action.RETRY,
        delay_s=None,
    ),
    Subject(
        kind="fcm",
        content=_PUSH,
        unsendable=(Push(title="x" * 5000), _EMAIL, Push(title="x", data={"from": "me"})),
        fresh=lambda: f"token-{_hex()}",
        magic=lambda case: f"{_FCM_MAGIC[case]}-{_hex()}",
        endpoint=lambda addresses: addresses.fcm,
        credentials=lambda addresses: fcm_credentials(addresses.control, addresses.fcm_token),
        wrong=lambda addresses: _misspelled(fcm_credentials(addresses.control, addresses.fcm_token)),
        serve=answering_http2,
        refused_content=json_answer(
            400,
            '{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid value", "details": '
            '[{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []}]}}',
        ),
        unreadable=(Answer(200, body=b"<html>"), Answer(200), Answer(204), json_answer(200, "[]"), Answer(cut=True)),
        throttled=Action.RETRY_AFTER,
        delay_s=(7, 7),
    ),
    Subject(
        kind="sendgrid",
        content=_EMAIL,
        unsendable=(Email(subject="", content="b"), _PUSH, Email(subject="s", content="b", headers={"To": "x"})),
        fresh=lambda: f"u{_short()}@example.com",
        magic=lambda case: f"{_SENDGRID_MAGIC[case]}+{_short()}@example.com",
        endpoint=lambda addresses: addresses.sendgrid,
        credentials=lambda _: sendgrid_credentials(),
        wrong=lambda _: {"apiKey": "SG.revoked.key"},
        serve=by_http1,
        refused_content=json_answer(413, '{"errors": [{"message": "too large", "field": null}]}'),
        unreadable=(Answer(204), Answer(206, body=b"<html>"), Answer(202, {"content-length": "x"}),
                    Answer(202, {"content-encoding": "gzip"}, b"<html>"), Answer(202, cut=True)),
        throttled=Action.RETRY_AFTER,
        delay_s=(5, 7),
        options=_SENDER,
        quota=json_answer(401, '{"errors": [{"message": "Maximum credits exceeded", "field": null}]}'),
        genuine=_sendgrid_receipt,
    ),
    Subject(
        kind="smtp",
        content=_EMAIL,
        unsendable=(
            _PUSH,
            Email(subject="a\r\nb", content="c"),
            Email(subject="s", content="b", headers={"To": "x"}),
        ),
        fresh=lambda: f"u{_short()}@example.com",
        magic=lambda case: f"{_SMTP_MAGIC[case]}+{_short()}@example.com",
        endpoint=lambda addresses: addresses.smtp,
        credentials=smtp_credentials,
        wrong=lambda addresses: smtp_credentials(addresses) | {"password": REFUSED_PASSWORD},
        serve=_answering_smtp,
        refused_content=Answer(line="554 5.6.0 not such a message"),
        unreadable=(Answer(line="nonsense"), Answer(line="250-half an answer\r\nmore"), Answer(line="150 hm")),
        throttled=Action.RETRY,
        delay_s=None,
        scheme="",
        options=_SENDER,
        server_error=Answer(line="421 4.3.2 shutting down"),
    ),
    Subject(
        kind="twilio",
        content=Sms(content="Code: 1234"),
        unsendable=(Sms(content="x" * 1601), _PUSH, Sms(content="")),
        fresh=lambda: f"+4477{secrets.randbelow(10**9):09}",
        magic=lambda case: _TWILIO_MAGIC[case],
        endpoint=lambda addresses: addresses.twilio,
        credentials=lambda _: twilio_credentials(),
        wrong=lambda _: twilio_credentials() | {"authToken": REFUSED_TOKEN},
        serve=by_http1,
        refused_content=json_answer(400, '{"code": 21617, "message": "too long", "status": 400}'),
        unreadable=(Answer(201, body=b"<html>"), Answer(201), json_answer(201, "[]"), json_answer(200, '{"sid": null}'),
                    Answer(201, {"content-encoding": "gzip"}, b"<html>"), Answer(201, cut=True)),
        throttled=Action.RETRY,
        delay_s=(7, 7),
        options={"from": "+15005550006", "statusCallback": "https://example.org/status"},
        quota=json_answer(401, '{"code": 20005, "message": "Account not active", "status": 401}'),
        genuine=_twilio_receipt,
    ),
)  # fmt: skip

SUBJECTS: Mapping[str, Subject] = {
    subject.kind: subject
    for subject in (
        *_SUBJECTS,
        *(import_module(f"{kinds.__name__}.{found.name}").SUBJECT for found in pkgutil.iter_modules(kinds.__path__)),
    )
}
