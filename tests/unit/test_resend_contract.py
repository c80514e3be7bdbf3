"""Every request to Resend follows its own OpenAPI description, and so does what the sandbox says of its events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from messaging.local.sandbox.web.resend import _TYPES, _data, _iso
from messaging.message import Attachment, Email
from tests.unit.test_resend import captured, emails_of, recipients

EMAILS = {
    "plain": Email(subject="s", content="b"),
    "html": Email(subject="s", content="<p>b</p>", html=True),
    "everything": Email(
        subject="Ünïcode", content="<p>b</p>", html=True, text="b", reply_to_email="r@example.org", reply_to_name="R",
        headers={"X-Campaign": "1"},
    ),
    "file": Email(
        subject="s", content="b", attachments=(Attachment(filename="ü.pdf", content_type="a/b", content=b"%PDF"),)
    ),
}  # fmt: skip


def components(shared_dir: Path) -> dict[str, Any]:
    """The schemas of the description; one of a request knows no other properties."""
    document: dict[str, Any] = json.loads((shared_dir / "contracts/resend_emails.openapi.json").read_text())
    found: dict[str, Any] = document["components"]
    for name in ("SendEmailRequest", "Tag", "Attachment"):
        found["schemas"][name]["additionalProperties"] = False
    return found


def validator(shared_dir: Path, schema: str) -> OAS31Validator:
    """The validator of a schema, by its name."""
    return OAS31Validator({"components": components(shared_dir), "$ref": f"#/components/schemas/{schema}"})


@pytest.mark.parametrize("name", list(EMAILS))
def test_a_request_follows_the_description(name: str, shared_dir: Path) -> None:
    """Whatever the message holds."""
    people = recipients("ann@example.com", "bob@bücher.example", unsubscribe_url="https://example.org/u")
    for request in captured(people, EMAILS[name]):
        for email in emails_of(request):
            assert not list(validator(shared_dir, "SendEmailRequest").iter_errors(email))
        assert len(request.headers["idempotency-key"]) <= 256


def test_the_description_finds_what_is_wrong(shared_dir: Path) -> None:
    """A misspelt property, a missing one, or text that is none, doesn't pass."""
    (request,) = captured(recipients("ann@example.com"))
    (email,) = emails_of(request)
    found = validator(shared_dir, "SendEmailRequest")
    for wrong in (email | {"replyTo": "x"}, email | {"html": 1}, {"to": ["a@example.com"], "subject": "s"}):
        assert list(found.iter_errors(wrong))


@pytest.mark.parametrize("word", list(_TYPES))
def test_the_sandboxs_events_follow_the_description(word: str, shared_dir: Path) -> None:
    """Each type has a schema of its own."""
    kind = _TYPES[word]
    content = {"from": "n@example.org", "to": ["a@example.com"], "subject": "s", "tags": {"delivery": "t"}}
    data = _data(word, "1", content | {"headers": {"X-A": "1"}}, 0.0)
    name = "".join(part.capitalize() for part in kind.replace("_", ".").split(".")) + "Event"
    event = {"type": kind, "created_at": _iso(0.0), "data": data}
    found = validator(shared_dir, name)
    assert not list(found.iter_errors(event))
    assert list(found.iter_errors(event | {"type": "other"}))
