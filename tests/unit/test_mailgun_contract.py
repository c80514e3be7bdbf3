"""Every request to Mailgun follows its own OpenAPI description."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from messaging.local.sandbox.mailgun_form import Form
from messaging.message import Attachment, Email
from tests.unit.provider_cases import recipients
from tests.unit.test_mailgun import NOW, captured, form_of, outgoing

EMAILS = {
    "plain": Email(subject="s", content="b"),
    "html": Email(subject="s", content="<p>b</p>", html=True),
    "everything": Email(
        subject="Ünïcode",
        content="<p>b</p>",
        html=True,
        text="b",
        reply_to_email="r@example.org",
        reply_to_name="R",
        headers={"X-Campaign": "1"},
        attachments=(Attachment(filename="ü.pdf", content_type="application/pdf", content=b"%PDF"),),
    ),
}


def validator(shared_dir: Path) -> OAS31Validator:
    """The validator of the form of POST messages; fields it does not know are errors, h: and v: apart."""
    document: dict[str, Any] = json.loads((shared_dir / "contracts/mailgun_messages.openapi.json").read_text())
    post = document["paths"]["/v3/{domain_name}/messages"]["post"]
    name = post["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    closed = {"additionalProperties": False, "patternProperties": {"^[hv]:.": {"type": "string"}}}
    return OAS31Validator({"components": document["components"], **schema, **closed})


def typed(form: Form, validator: OAS31Validator) -> dict[str, Any]:
    """The form as its description has it: a list where it says array."""
    properties = validator.schema["properties"]
    found: dict[str, Any] = {
        name: list(values) if properties.get(name, {}).get("type") == "array" else values[0]
        for name, values in form.fields.items()
    }
    return found | ({"attachment": [upload.filename for upload in form.uploads]} if form.uploads else {})


@pytest.mark.parametrize("name", list(EMAILS))
def test_a_request_follows_the_description(name: str, shared_dir: Path) -> None:
    """Whatever the message holds; how long it may take as its description says in words."""
    people = recipients("ann@example.com", "bob@bücher.example", unsubscribe_url="https://example.org/u")
    (request,) = captured(people, outgoing(EMAILS[name], NOW + timedelta(minutes=61)))
    form = form_of(request)
    found = validator(shared_dir)
    assert not list(found.iter_errors(typed(form, found)))
    assert re.fullmatch(r"([0-9]+h)?[0-9]+m", form.one("o:deliver-within"))
    assert request.url.path == "/v3/mg.example.org/messages"


def test_the_description_finds_what_is_wrong(shared_dir: Path) -> None:
    """A misspelt field, or one that is missing, doesn't pass."""
    (request,) = captured(recipients("ann@example.com"), EMAILS["everything"])
    found = validator(shared_dir)
    form = typed(form_of(request), found)
    assert list(found.iter_errors(form | {"o:deliver_within": "1h"}))
    assert list(found.iter_errors({name: value for name, value in form.items() if name != "subject"}))
