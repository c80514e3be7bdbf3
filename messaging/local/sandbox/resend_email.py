"""Resend's email object: its rules, and what its reader gets."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from messaging.local.sandbox.answers import Answer

MAX_TO = 50
BAD_ADDRESS = (
    "Invalid `to` field. The email address needs to follow the"
    " `email@example.com` or `Name <email@example.com>` format."
)

_SPEC = r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"_]+\.[^@\s<>,;\".]+"
_MAILBOX = re.compile(rf"{_SPEC}|[^<>\",;:@\\\r\n]* ?<{_SPEC}>")
"""Names are neither quoted nor hold what would need quotes."""
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ENCODED = re.compile(r"=\?[^?]+\?[bqBQ]\?")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an email can't be created."""

    name: str
    message: str
    status: int = 422

    def answer(self) -> Answer:
        """The refusal of a request for it."""
        return Answer(self.status, self.name, self.message)


def check_email(email: object, *, batch: bool) -> Problem | None:
    """The first thing Resend objects to, or None."""
    if not isinstance(email, dict):
        return Problem("validation_error", "An email must be an object.")
    return next(_problems(email, batch=batch), None)


def address_of(to: object) -> str:
    """The first address of a `to`, without its name; an empty text where there is none."""
    first = to[0] if isinstance(to, list) and to else to
    return str(first or "").rpartition("<")[2].rstrip(">")


def content_of(email: object) -> dict[str, Any]:
    """What the reader gets, as far as it can be read."""
    found = email if isinstance(email, dict) else {}
    to = found.get("to")
    tags, headers, attachments = found.get("tags"), found.get("headers"), found.get("attachments")
    return {
        "from": found.get("from"),
        "to": to if isinstance(to, list) else [to],
        "reply_to": found.get("reply_to"),
        "subject": found.get("subject"),
        "text": found.get("text"),
        "html": found.get("html"),
        "headers": headers if isinstance(headers, dict) else {},
        "tags": {str(tag.get("name")): str(tag.get("value")) for tag in tags or () if isinstance(tag, dict)},
        "attachments": [
            {
                "filename": each.get("filename"),
                "type": each.get("content_type"),
                "bytes": len(_decoded(each.get("content")) or b""),
            }
            for each in attachments or ()
            if isinstance(each, dict)
        ],
    }


def _problems(email: Mapping[str, Any], *, batch: bool) -> Iterator[Problem]:
    for name in ("from", "to", "subject"):
        if not email.get(name):
            yield Problem("missing_required_field", f"Missing `{name}` field.")
    if not any(email.get(name) for name in ("html", "text", "template")):
        yield Problem("missing_required_field", "Missing `html` or `text` field.")
    yield from _about_people(email)
    for name in ("attachments", "scheduled_at"):
        if batch and name in email:
            yield Problem("validation_error", f"The `{name}` field is not supported in a batch.")
    yield from _about_parts(email)


def _about_parts(email: Mapping[str, Any]) -> Iterator[Problem]:
    for tag in email.get("tags") or ():
        if not all(_TAG.fullmatch(str(tag.get(part) or "")) for part in ("name", "value")):
            text = "Tags should only contain ASCII letters, numbers, underscores, or dashes."
            yield Problem("validation_error", text)
    headers = email.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        yield Problem("validation_error", "Invalid `headers` field.")
    for attachment in email.get("attachments") or ():
        if not attachment.get("path") and (
            not attachment.get("filename") or _decoded(attachment.get("content")) is None
        ):
            yield Problem("invalid_attachment", "Attachment must have either a `content` or `path`.")


def _about_people(email: Mapping[str, Any]) -> Iterator[Problem]:
    sender, to = str(email.get("from")), email.get("to")
    if _ENCODED.search(sender):
        yield Problem("security_error", "The email payload contain invalid characters", 451)
    if not _MAILBOX.fullmatch(sender):
        yield Problem("validation_error", BAD_ADDRESS.replace("`to`", "`from`"))
    people = to if isinstance(to, list) else [to]
    if len(people) > MAX_TO or not all(_MAILBOX.fullmatch(str(each)) for each in people):
        yield Problem("validation_error", BAD_ADDRESS)
    replies = email.get("reply_to") or []
    if not all(_MAILBOX.fullmatch(str(each)) for each in (replies if isinstance(replies, list) else [replies])):
        yield Problem("validation_error", BAD_ADDRESS.replace("`to`", "`reply_to`"))


def _decoded(content: object) -> bytes | None:
    try:
        return base64.b64decode(content, validate=True) if isinstance(content, str) else None
    except binascii.Error:
        return None
