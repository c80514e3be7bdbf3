"""Every request to SendGrid follows its own OpenAPI description."""

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from messaging.message import Attachment, Email
from tests.unit.test_sendgrid import captured, recipients

EMAILS = {
    "plain": Email(subject="s", content="b"),
    "html": Email(subject="s", content="<p>b</p>", html=True),
    "markup without words": Email(subject="s", content="<img src='x'>", html=True),
    "everything": Email(
        subject="Ünïcode",
        content="<p>b</p>",
        html=True,
        text="b",
        reply_to_email="r@example.org",
        reply_to_name="R",
        headers={"List-Unsubscribe": "<https://example.org/u>"},
        attachments=(Attachment(filename="ü.pdf", content_type="application/pdf", content=b"%PDF"),),
    ),
}


def validator(shared_dir: Path) -> OAS31Validator:
    """The validator of the body of POST /v3/mail/send; an unknown property anywhere we write one is an error."""
    document: dict[str, Any] = json.loads((shared_dir / "contracts/sendgrid_mail_send.openapi.json").read_text())
    body = document["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"]
    properties = body["properties"]
    closed = [
        body, properties["personalizations"]["items"], properties["content"]["items"],
        properties["attachments"]["items"], document["components"]["schemas"]["MailTo"],
        document["components"]["schemas"]["MailFrom"],
    ]  # fmt: skip
    for schema in closed:
        schema["additionalProperties"] = False
    return OAS31Validator({"components": document["components"], **body})


@pytest.mark.parametrize("name", list(EMAILS))
def test_a_request_follows_the_description(name: str, shared_dir: Path) -> None:
    """Whatever the message holds."""
    (body,) = captured(recipients("ann@example.com", "bob@bücher.example"), EMAILS[name])
    assert not list(validator(shared_dir).iter_errors(body))


def test_the_description_finds_what_is_wrong(shared_dir: Path) -> None:
    """A body with a misspelt property, or an attachment that is not text, doesn't pass."""
    (body,) = captured(recipients("ann@example.com"), EMAILS["everything"])
    assert list(validator(shared_dir).iter_errors(body | {"replyto": {}}))
    assert list(validator(shared_dir).iter_errors(body | {"attachments": [{"content": 1, "filename": "f"}]}))
