"""Amazon SES: SigV4, 50 recipients a request; a message as MIME for one, or where SES refuses them together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.x509 import load_pem_x509_certificate

from messaging.local.sandbox.ses_events import event
from messaging.local.sandbox.sns import Sns
from messaging.local.sandbox.web.ses import REFUSED_KEY
from messaging.local.sandbox.webhooks import Webhooks
from messaging.message import Email, Push
from messaging.receipt import Inbound
from tests.contract.servers import Answer
from tests.contract.subject import RECEIPTS_URL, Genuine, json_answer, posted, unreadable, web_subject
from workers.providers import ses_sns

_SNS = Sns(Webhooks())


def _told(text: str) -> Inbound:
    """A notification with this text, signed; its certificate is known already, as after the first of a process."""
    post = _SNS.signed(RECEIPTS_URL, "eu-central-1", "Notification", text)
    url = json.loads(post.body)["SigningCertURL"]
    ses_sns._certificates[url] = load_pem_x509_certificate(_SNS.certificate)
    return posted(post.body, post.headers)


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


SUBJECT = web_subject(
    "ses",
    dead="invalid",
    not_now="unavailable",
    wrong={"accessKey": REFUSED_KEY},
    unsendable=(
        Push(title="Hello"),
        Email(subject="a\r\nb", content="c"),
        Email(subject="s", content="b", headers={"To": "x"}),
        Email(subject="s", content=""),
    ),
    refused_content=Answer(
        400, {"x-amzn-errortype": "MessageRejected:"}, b'{"message": "Message content was rejected."}'
    ),
    unreadable=unreadable(200, json_answer(200, '{"MessageId": null}')),
    delay_s=None,
    genuine=_genuine,
)
