"""SendGrid's mail object: its rules, and what one personalization's readers get."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_CATEGORIES = 10
MAX_CUSTOM_ARGS_BYTES = 10_000
RESERVED_HEADERS = frozenset(
    [
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    ]
)
_ADDRESS = re.compile(r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"_]+\.[^@\s<>,;\".]+")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One entry of SendGrid's `errors`."""

    field: str | None
    message: str


def check_mail(mail: object) -> list[FieldError]:
    """What SendGrid objects to; empty for a mail it takes. One objection refuses the whole request."""
    if not isinstance(mail, dict):
        return [FieldError(None, "Bad Request")]
    return [*_check_envelope(mail), *_check_content(mail), *_check_personalizations(mail)]


def content_of(mail: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What the readers of one personalization get: subject and parts with substitutions, headers, attachments."""
    personalization = mail["personalizations"][number]
    replacements = personalization.get("substitutions") or {}
    parts = {part["type"]: _substitute(part["value"], replacements) for part in mail.get("content") or ()}
    subject = personalization.get("subject") or mail.get("subject") or ""
    return {
        "from": personalization.get("from") or mail["from"],
        "reply_to": mail.get("reply_to") or mail.get("reply_to_list"),
        "to": personalization["to"],
        "cc": personalization.get("cc") or [],
        "bcc": personalization.get("bcc") or [],
        "subject": _substitute(subject, replacements),
        "text": parts.get("text/plain"),
        "html": parts.get("text/html"),
        "template_id": mail.get("template_id"),
        "dynamic_template_data": personalization.get("dynamic_template_data"),
        "headers": {**(mail.get("headers") or {}), **(personalization.get("headers") or {})},
        "custom_args": {**(mail.get("custom_args") or {}), **(personalization.get("custom_args") or {})},
        "categories": mail.get("categories") or [],
        "attachments": [
            {
                "filename": attachment["filename"],
                "type": attachment.get("type"),
                "bytes": len(base64.b64decode(attachment["content"])),
            }
            for attachment in mail.get("attachments") or ()
        ],
    }


def _substitute(text: str, replacements: Mapping[str, str]) -> str:
    for mark, replacement in replacements.items():
        text = text.replace(mark, replacement)
    return text


def _is_address(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("email"), str) and bool(_ADDRESS.fullmatch(value["email"]))


def _check_envelope(mail: Mapping[str, Any]) -> Iterator[FieldError]:
    if not isinstance(mail.get("from"), dict):
        yield FieldError("from", "The from object must be provided for every email send.")
    elif not _is_address(mail["from"]):
        yield FieldError("from.email", "The from email does not contain a valid address.")
    if mail.get("reply_to") is not None and not _is_address(mail["reply_to"]):
        yield FieldError("reply_to.email", "The reply_to email does not contain a valid address.")
    if len(mail.get("categories") or ()) > MAX_CATEGORIES:
        yield FieldError("categories", f"No more than {MAX_CATEGORIES} categories are allowed.")
    yield from _check_headers("headers", mail.get("headers"))
    yield from _check_custom_args("custom_args", mail.get("custom_args"))


def _check_content(mail: Mapping[str, Any]) -> Iterator[FieldError]:
    content = mail.get("content") or []
    if not content and not mail.get("template_id"):
        yield FieldError("content", "Unless a valid template_id is provided, the content parameter is required.")
    types = []
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            yield FieldError(f"content.{number}.type", "The content type is required.")
            continue
        types.append(part["type"])
        if not isinstance(part.get("value"), str) or not part["value"]:
            yield FieldError(
                f"content.{number}.value", "The content value must be a string at least one character in length."
            )
    if "text/plain" in types[1:]:
        yield FieldError("content", "If present, text/plain must be first, followed by text/html.")
    for number, attachment in enumerate(mail.get("attachments") or ()):
        if not isinstance(attachment, dict) or not attachment.get("filename"):
            yield FieldError(f"attachments.{number}.filename", "The attachment filename is required.")
        elif not _is_base64(attachment.get("content")):
            yield FieldError(f"attachments.{number}.content", "The attachment content must be base64 encoded.")


def _check_personalizations(mail: Mapping[str, Any]) -> Iterator[FieldError]:
    personalizations = mail.get("personalizations")
    if not isinstance(personalizations, list) or not personalizations:
        yield FieldError("personalizations", "The personalizations field must have at least one personalization.")
        return
    if len(personalizations) > MAX_PERSONALIZATIONS:
        yield FieldError("personalizations", f"No more than {MAX_PERSONALIZATIONS} personalizations are allowed.")
    seen: set[str] = set()
    total = 0
    for number, personalization in enumerate(personalizations):
        where = f"personalizations.{number}"
        if not isinstance(personalization, dict) or not personalization.get("to"):
            yield FieldError(f"{where}.to", "The to array is required for all personalization objects.")
            continue
        for role in ("to", "cc", "bcc"):
            for position, person in enumerate(personalization.get(role) or ()):
                total += 1
                yield from _check_person(f"{where}.{role}.{position}.email", person, seen)
        if not mail.get("template_id") and not personalization.get("subject") and not mail.get("subject"):
            yield FieldError("subject", "The subject is required, unless a template has one.")
        yield from _check_headers(f"{where}.headers", personalization.get("headers"))
        yield from _check_custom_args(f"{where}.custom_args", personalization.get("custom_args"))
    if total > MAX_RECIPIENTS:
        yield FieldError("personalizations", f"No more than {MAX_RECIPIENTS} recipients are allowed.")


def _check_person(where: str, person: object, seen: set[str]) -> Iterator[FieldError]:
    if not isinstance(person, dict) or not _is_address(person):
        yield FieldError(where, "Does not contain a valid address.")
        return
    email = person["email"].lower()
    if email in seen:
        yield FieldError(where, "Each email address in the personalization block should be unique.")
    seen.add(email)


def _check_headers(where: str, headers: object) -> Iterator[FieldError]:
    if headers is None:
        return
    if not isinstance(headers, dict):
        yield FieldError(where, "The headers must be an object.")
        return
    for name, value in headers.items():
        if name.lower() in RESERVED_HEADERS:
            yield FieldError(f"{where}.{name}", f"The header {name} is reserved and can't be overridden.")
        if not isinstance(value, str):
            yield FieldError(f"{where}.{name}", "The header value must be a string.")


def _check_custom_args(where: str, custom_args: object) -> Iterator[FieldError]:
    if custom_args is None:
        return
    if not isinstance(custom_args, dict) or not all(isinstance(value, str) for value in custom_args.values()):
        yield FieldError(where, "The custom_args must be an object of strings.")
    elif sum(len(name) + len(value) for name, value in custom_args.items()) > MAX_CUSTOM_ARGS_BYTES:
        yield FieldError(where, f"The custom_args may not exceed {MAX_CUSTOM_ARGS_BYTES} bytes.")


def _is_base64(content: object) -> bool:
    if not isinstance(content, str):
        return False
    try:
        base64.b64decode(content, validate=True)
    except binascii.Error:
        return False
    return True
