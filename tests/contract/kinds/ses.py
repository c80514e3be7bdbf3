"""Amazon SES: SigV4, a message as MIME, one recipient a request."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.x509 import load_pem_x509_certificate

from messaging.local.sandbox.ses_events import event
from messaging.local.sandbox.sns import Sns
from messaging.local.sandbox.web.ses import REFUSED_KEY, fields
from messaging.local.sandbox.webhooks import Webhooks
from messaging.message import Email, Push
from messaging.outcome import Action
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, Magic, Subject, by_http1, json_answer
from workers.providers import ses_sns

_MAGIC = {
    Magic.DEAD: "invalid",
    Magic.SILENT: "timeout",
    Magic.DROPPED: "reset",
    Magic.LOST: "lost-answer",
    Magic.NOT_NOW: "unavailable",
}

_SNS = Sns(Webhooks())


def _told(text: str) -> Inbound:
    """A notification with this text, signed; its certificate is known already, as after the first of a process."""
    post = _SNS.signed(RECEIPTS_URL, "eu-central-1", "Notification", text)
    url = json.loads(post.body)["SigningCertURL"]
    ses_sns._certificates[url] = load_pem_x509_certificate(_SNS.certificate)
    return Inbound(method="POST", url=RECEIPTS_URL, headers=post.headers, body=post.body, received_at=datetime.now(UTC))


def _genuine(_: Mapping[str, object]) -> Genuine:
    bounce = event(
        "bounced_hard",
        address="ann@example.com",
        message_id="0107-1",
        content={"from": "news@example.org", "subject": "Hello", "headers": [["Subject", "Hello"]]},
        tags={"delivery": "m1-t1"},
        configuration_set="sandbox",
        now=datetime.now(UTC),
    )
    inbound = _told(json.dumps(bounce))
    return Genuine(
        inbound=inbound,
        signature=json.loads(inbound.body)["Signature"],
        covers_body=False,  # only some of its fields, and the body is JSON around them
        with_body=lambda body: _told(body.decode("latin-1")),
    )


SUBJECT = Subject(
    kind="ses",
    content=Email(subject="Hello", content="there"),
    unsendable=(
        Push(title="Hello"),
        Email(subject="a\r\nb", content="c"),
        Email(subject="s", content="b", headers={"To": "x"}),
        Email(subject="s", content=""),
    ),
    fresh=lambda: f"u{secrets.token_hex(8)}@example.com",
    magic=lambda case: f"{_MAGIC[case]}+{secrets.token_hex(8)}@example.com",
    endpoint=lambda addresses: f"{addresses.web}/ses",
    credentials=lambda _: fields(),
    wrong=lambda _: fields() | {"accessKey": REFUSED_KEY},
    serve=by_http1,
    refused_content=Answer(
        400, {"x-amzn-errortype": "MessageRejected:"}, b'{"message": "Message content was rejected."}'
    ),
    unreadable=(
        Answer(204),
        Answer(200, body=b"<html>"),
        json_answer(200, "[]"),
        json_answer(200, '{"MessageId": null}'),
        Answer(200, {"content-encoding": "gzip"}, b"<html>"),
        Answer(200, cut=True),
    ),
    throttled=Action.RETRY_AFTER,
    delay_s=None,
    genuine=_genuine,
    options={"fromEmail": "news@example.org", "fromName": "News", "configurationSet": "sandbox"},
)
