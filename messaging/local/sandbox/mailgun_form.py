"""Mailgun's message form: reading it, its rules, and what one recipient's reader gets."""

import email.policy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.utils import getaddresses
from typing import Any
from urllib.parse import parse_qsl

MAX_RECIPIENTS = 1000
MAX_OPTIONS_BYTES = 16_384
MAX_MESSAGE_BYTES = 25 << 20

_OPTION = re.compile(r"[ohvt]:")
_VARIABLE = re.compile(r"%recipient\.([^%\s]+)%")
_WITHIN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?")
_ADDRESS = re.compile(r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"_]+\.[^@\s<>,;\".]+")
_DAY_MIN, _LEAST_MIN = 24 * 60, 5


class FormError(ValueError):
    """The form can't be taken; the text is Mailgun's."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One attached file."""

    filename: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a request."""

    fields: Mapping[str, Sequence[str]]
    uploads: Sequence[Upload] = field(default=())

    def one(self, name: str) -> str:
        """The last value of a field, or an empty text."""
        return (self.fields.get(name) or [""])[-1]

    def recipients(self) -> list[str]:
        """The plain addresses of `to`; raises `FormError` where one is none."""
        pairs = getaddresses(list(self.fields.get("to", ())))
        if not pairs or not all(_ADDRESS.fullmatch(address) for _, address in pairs):
            raise FormError("'to' parameter is not a valid address. please check documentation")
        return list(dict.fromkeys(address for _, address in pairs))  # repeated ones are ignored

    def variables(self) -> Mapping[str, Mapping[str, Any]] | None:
        """`recipient-variables`, or None without them; raises `FormError`."""
        if "recipient-variables" not in self.fields:
            return None
        try:
            found = json.loads(self.one("recipient-variables"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
            raise FormError("'recipient-variables' parameter is not a valid JSON")
        return found


def read_form(content_type: str, body: bytes) -> Form:
    """The fields of a urlencoded or multipart body; raises `FormError`."""
    fields: dict[str, list[str]] = {}
    if content_type.startswith("application/x-www-form-urlencoded"):
        for name, value in parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True):
            fields.setdefault(name, []).append(value)
        return Form(fields)
    if not content_type.startswith("multipart/form-data"):
        raise FormError("unsupported content type")
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = message_from_bytes(head + body, policy=email.policy.HTTP)
    uploads: list[Upload] = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        data = content if isinstance(content, bytes) else b""
        filename = part.get_filename()
        if filename is not None:
            uploads.append(Upload(filename, part.get_content_type(), len(data)))
        else:
            fields.setdefault(name, []).append(data.decode("utf-8", "replace"))
    return Form(fields, uploads)


def check_form(form: Form) -> None:
    """Raise `FormError` for the first thing Mailgun objects to."""
    for problem in _problems(form):
        raise FormError(problem)


def _problems(form: Form) -> Iterator[str]:
    yield from _about_people(form)
    if not form.one("subject"):
        yield "subject parameter is missing"
    if not any(form.one(name) for name in ("text", "html", "amp-html", "template")):
        yield "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"
    form.variables()
    yield from _about_options(form)


def _about_people(form: Form) -> Iterator[str]:
    sender = getaddresses([form.one("from")])
    if not form.one("from"):
        yield "from parameter is missing"
    elif len(sender) != 1 or not _ADDRESS.fullmatch(sender[0][1]):
        yield "'from' parameter is not a valid address. please check documentation"
    if not form.fields.get("to"):
        yield "to parameter is missing"
    if len(form.recipients()) > MAX_RECIPIENTS:
        yield f"Too many recipients, max is {MAX_RECIPIENTS}"


def _about_options(form: Form) -> Iterator[str]:
    options = [(name, value) for name, values in form.fields.items() for value in values if _OPTION.match(name)]
    if sum(len(name) + len(value.encode()) for name, value in options) > MAX_OPTIONS_BYTES:
        yield "Send options (parameters starting with o:, h:, or v:) are limited to 16KB total"
    if any("\r" in value or "\n" in value for name, value in options if name.startswith("h:")):
        yield "header values can't hold line ends"
    if within := form.one("o:deliver-within"):
        found = _WITHIN.fullmatch(within)
        minutes = 0 if found is None else int(found[1] or 0) * 60 + int(found[2] or 0)
        if not _LEAST_MIN <= minutes <= _DAY_MIN:
            yield "o:deliver-within must be between 5m and 24h"


def size_of(form: Form) -> int:
    """Bytes of the message, roughly: its texts, and its files in base64."""
    texts = sum(len(form.one(name).encode()) for name in ("subject", "text", "html"))
    return texts + sum(upload.size * 4 // 3 for upload in form.uploads)


def contents(form: Form) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the reader at each address gets: marks replaced by variables of the address, unknown ones left alone."""
    variables = form.variables()
    shown = ", ".join(form.fields["to"])  # without variables every recipient sees all of them
    named = {parsed[0][1]: value for value in form.fields["to"] if len(parsed := getaddresses([value])) == 1}
    attachments = [
        {"filename": upload.filename, "type": upload.content_type, "bytes": upload.size} for upload in form.uploads
    ]
    for address in form.recipients():
        own = (variables or {}).get(address, {})
        texts = {name: _filled_in(form.one(name), own) for name in form.fields if name not in _NOT_SHOWN}
        content: dict[str, Any] = {name: texts.get(name) for name in ("from", "subject", "text", "html")}
        content["to"] = shown if variables is None else named.get(address, address)
        content["headers"] = {name[2:]: text for name, text in texts.items() if name.startswith("h:")}
        content["variables"] = {name[2:]: text for name, text in texts.items() if name.startswith("v:")}
        content["deliver_within"] = texts.get("o:deliver-within")
        content["attachments"] = attachments
        yield address, content


_NOT_SHOWN = frozenset({"to", "recipient-variables"})


def _filled_in(text: str, variables: Mapping[str, Any]) -> str:
    return _VARIABLE.sub(lambda mark: str(variables.get(mark[1], mark[0])), text)
