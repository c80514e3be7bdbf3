"""What requests to Amazon SES hold: one mail of SendEmail, or those of SendBulkEmail. What SES refuses is refused.

Templates are inline ones with simple substitutions. A variable without a value refuses the request; at AWS the mail is
accepted, and an event Rendering Failure follows.
Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html,
https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html,
https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any

from messaging.local.sandbox.answers import Answer
from messaging.local.sandbox.mail import read_mail
from messaging.local.sandbox.sigv4 import Signer

NO_SUCH_SET = "no-such-set"
UNVERIFIED_DOMAIN = "unverified.example"
UNVERIFIED = "Email address is not verified. The following identities failed the check in region"

_MAX_BASE64 = 40 << 20
_MAX_LINE = 1000
_MAX_RECIPIENTS = 50
_MAX_TEMPLATE = 1 << 20
_MAX_DATA = 262_144
_MAX_HEADERS = 15
_LISTS = ("ToAddresses", "CcAddresses", "BccAddresses")
_KNOWN = frozenset(
    [
        "Content",
        "Destination",
        "FromEmailAddress",
        "ReplyToAddresses",
        "EmailTags",
        "ConfigurationSetName",
        "FeedbackForwardingEmailAddress",
        "TenantName",
        "EndpointId",
    ]
)
_KNOWN_IN_BULK = frozenset(
    [
        "BulkEmailEntries",
        "DefaultContent",
        "DefaultEmailTags",
        "FromEmailAddress",
        "ReplyToAddresses",
        "ConfigurationSetName",
        "FeedbackForwardingEmailAddress",
        "TenantName",
        "EndpointId",
    ]
)
_KNOWN_IN_TEMPLATE = frozenset(["TemplateContent", "TemplateData", "Headers", "Attachments"])
_KNOWN_IN_ENTRY = frozenset(["Destination", "ReplacementTags", "ReplacementEmailContent", "ReplacementHeaders"])
_KNOWN_IN_FILE = frozenset(
    ["RawContent", "FileName", "ContentType", "ContentDisposition", "ContentTransferEncoding", "ContentDescription"]
)
_DISALLOWED = frozenset(
    [
        "bcc",
        "cc",
        "content-disposition",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "reply-to",
        "return-path",
        "subject",
        "to",
    ]
)
_HEADER_NAME = re.compile(r"[!-9;-@A-~]{1,126}")
_HEADER_VALUE = re.compile(r"[ -~]{1,995}")
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f]{1,200}\.\w+")
_VARIABLE = re.compile(r"\{\{\{?([^{}]*)\}?\}\}")
_VARIABLE_NAME = re.compile(r"\s*(\w+)\s*")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ADDRESS = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")


class RefusedError(Exception):
    """SES's name for what is wrong with a request, and its words."""

    def __init__(self, name: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.answer = Answer(status, name, text)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail that keeps the rules."""

    signer: Signer
    recipients: Sequence[tuple[str, str]]
    """List of Destination and address."""
    content: Mapping[str, Any]
    tags: Mapping[str, str]
    configuration_set: str | None
    refusal: Answer | None = None
    """Why the account may not send it."""


def read_one(body: bytes, signer: Signer) -> Mail:
    """The mail of SendEmail; raises RefusedError for what SES would not take."""
    document = _known(_parsed(body), _KNOWN, "the request")
    content = read_mail(_raw(document))
    return Mail(
        signer=signer,
        recipients=_recipients(document.get("Destination")),
        content=content,
        tags=_tags(document.get("EmailTags")),
        configuration_set=document.get("ConfigurationSetName"),
        refusal=_refusal(document, str(content["from"] or ""), signer),
    )


def read_bulk(body: bytes, signer: Signer) -> Sequence[Mail]:
    """The mails of SendBulkEmail, one for each entry; raises RefusedError for what SES would not take at all."""
    document = _known(_parsed(body), _KNOWN_IN_BULK, "the request")
    template = _known(_object(_object(document, "DefaultContent"), "Template"), _KNOWN_IN_TEMPLATE, "Template")
    files = template.get("Attachments") or []
    slim = document | {"DefaultContent": {"Template": {**template, "Attachments": []}}}
    if len(json.dumps(slim, ensure_ascii=False).encode()) > _MAX_TEMPLATE or len(body) > _MAX_BASE64:
        raise RefusedError("BadRequestException", "The request is too large.")
    entries = document.get("BulkEmailEntries")
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_RECIPIENTS:
        raise RefusedError("BadRequestException", f"Recipient count must be 1 to {_MAX_RECIPIENTS}.")
    attachments = [_file(file) for file in files]
    shared = _tags(document.get("DefaultEmailTags"))
    refusal = _refusal(document, "", signer)
    mails = []
    for given in entries:
        entry = _known(given, _KNOWN_IN_ENTRY, "an entry")
        mails.append(
            Mail(
                signer=signer,
                recipients=_recipients(entry.get("Destination")),
                content=_content(document, template, entry) | {"attachments": attachments},
                tags={**shared, **_tags(entry.get("ReplacementTags"))},
                configuration_set=document.get("ConfigurationSetName"),
                refusal=refusal,
            )
        )
    return mails


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        raise RefusedError("SerializationException", "") from None


def _known(value: object, names: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() - names:
        raise RefusedError("BadRequestException", f"{what} is no object, or holds what the sandbox doesn't know")
    return value


def _object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _refusal(document: Mapping[str, Any], own: str, signer: Signer) -> Answer | None:
    """Why the account may not send this; `own` is the mail's From, which FromEmailAddress replaces."""
    if document.get("ConfigurationSetName") == NO_SUCH_SET:
        return Answer(404, "NotFoundException", f"Configuration set <{NO_SUCH_SET}> does not exist.")
    sender = parseaddr(str(document.get("FromEmailAddress") or own))[1]
    if not sender:
        raise RefusedError("BadRequestException", "Missing required header 'From'.")
    if sender.endswith(f"@{UNVERIFIED_DOMAIN}"):
        return Answer(400, "MessageRejected", f"{UNVERIFIED} {signer.region.upper()}: {sender}")
    return None


def _content(document: Mapping[str, Any], template: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The mail of an entry, as `read_mail` tells it."""
    parts = _known(template.get("TemplateContent"), frozenset(["Subject", "Text", "Html"]), "TemplateContent")
    if not parts.get("Subject") or not (parts.get("Text") or parts.get("Html")):
        raise RefusedError("BadRequestException", "a template has a Subject, and Text or Html")
    replacement = _object(_object(entry, "ReplacementEmailContent"), "ReplacementTemplate")
    data = _data(template.get("TemplateData")) | _data(replacement.get("ReplacementTemplateData"))
    subject, text, html = (
        None if parts.get(n) is None else _rendered(parts[n], data) for n in ("Subject", "Text", "Html")
    )
    lists = _object(entry, "Destination")
    named = {
        "From": document.get("FromEmailAddress"),
        "To": ", ".join(lists.get("ToAddresses") or ()) or None,
        "Cc": ", ".join(lists.get("CcAddresses") or ()) or None,
        "Reply-To": ", ".join(document.get("ReplyToAddresses") or ()) or None,
    }
    shown = {name: None if value is None else _decoded(str(value)) for name, value in named.items()}
    own = _headers(template.get("Headers")) | _headers(entry.get("ReplacementHeaders"))
    lines = {**shown, "Subject": subject, **dict(own.values())}
    return {
        "message_id": None,  # SES's own
        "from": shown["From"],
        "to": shown["To"],
        "cc": shown["Cc"],
        "reply_to": shown["Reply-To"],
        "subject": subject,
        "text": text,
        "html": html,
        "headers": [[name, value] for name, value in lines.items() if value is not None],
        "defects": [],
    }


def _data(text: object) -> dict[str, Any]:
    if text is None:
        return {}
    if not isinstance(text, str) or len(text) > _MAX_DATA:
        raise RefusedError("BadRequestException", f"TemplateData is a text of at most {_MAX_DATA} characters")
    values = _parsed(text.encode())
    if not isinstance(values, dict):
        raise RefusedError("BadRequestException", "TemplateData is no JSON object")
    return values


def _rendered(text: str, data: Mapping[str, Any]) -> str:
    def value_of(found: re.Match[str]) -> str:
        name = _VARIABLE_NAME.fullmatch(found[1])
        if name is None:
            raise RefusedError("BadRequestException", "inline templates take simple substitutions only")
        if name[1] not in data:
            raise RefusedError("BadRequestException", f"Attribute '{name[1]}' is not present in the rendering data.")
        return str(data[name[1]])

    return _VARIABLE.sub(value_of, text)


def _headers(lines: object) -> dict[str, tuple[str, str]]:
    """Name and value by the name in lower case."""
    found: dict[str, tuple[str, str]] = {}
    for line in lines if isinstance(lines, list) else ():
        name, value = str(line.get("Name")), str(line.get("Value"))
        if name.lower() in found or name.lower() in _DISALLOWED or not _HEADER_NAME.fullmatch(name):
            raise RefusedError("BadRequestException", f"the header {name} is not allowed here, or occurs twice")
        if not _HEADER_VALUE.fullmatch(value):
            raise RefusedError("BadRequestException", f"the header {name} is empty, too long or not ASCII")
        found[name.lower()] = (name, value)
    if len(found) > _MAX_HEADERS:
        raise RefusedError("BadRequestException", f"more than {_MAX_HEADERS} headers")
    return found


def _file(given: object) -> Mapping[str, Any]:
    file = _known(given, _KNOWN_IN_FILE, "an attachment")
    name, kind = str(file.get("FileName") or ""), str(file.get("ContentType") or "application/octet-stream")
    try:
        content = base64.b64decode(str(file.get("RawContent") or ""), validate=True)
    except binascii.Error:
        raise RefusedError("SerializationException", "") from None
    if not _FILE_NAME.fullmatch(name) or len(kind) > 78 or "/" not in kind:  # noqa: PLR2004  (API_Attachment)
        raise RefusedError("BadRequestException", "an attachment's name has an extension, and its type a slash")
    return {"filename": name, "type": kind, "bytes": len(content)}


def _decoded(value: str) -> str:
    if not value.isascii():
        raise RefusedError("BadRequestException", "Local address contains non-ASCII characters")
    return str(make_header(decode_header(value)))


def _raw(document: Mapping[str, Any]) -> bytes:
    content = document.get("Content")
    raw = content.get("Raw") if isinstance(content, dict) else None
    data = raw.get("Data") if isinstance(raw, dict) else None
    if not isinstance(data, str) or not data:
        raise RefusedError("BadRequestException", "the sandbox takes raw messages only: give Content.Raw.Data")
    if len(data) > _MAX_BASE64:
        raise RefusedError("BadRequestException", f"Message length is more than {_MAX_BASE64} bytes long.")
    try:
        message = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise RefusedError("SerializationException", "") from None
    head, blank, _ = message.partition(b"\r\n\r\n")
    if not blank or not head.isascii():
        raise RefusedError("BadRequestException", "the headers must be ASCII and end with a blank line")
    if any(len(line) > _MAX_LINE - 2 for line in message.split(b"\r\n")):
        raise RefusedError("BadRequestException", f"a line is longer than {_MAX_LINE} characters")
    return message


def _recipients(destination: object) -> Sequence[tuple[str, str]]:
    lists = destination if isinstance(destination, dict) else {}
    found = [(name, _spec(str(address))) for name in _LISTS for address in lists.get(name) or ()]
    if lists.keys() - set(_LISTS) or not 0 < len(found) <= _MAX_RECIPIENTS:
        raise RefusedError("BadRequestException", f"Recipient count must be 1 to {_MAX_RECIPIENTS}.")
    for _, address in found:
        if not _ADDRESS.fullmatch(address):
            raise RefusedError("BadRequestException", "Local address contains control or whitespace")
    return found


def _spec(address: str) -> str:
    """The address alone, of `Name <address>` too."""
    return parseaddr(address)[1] if address.endswith(">") else address


def _tags(tags: object) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for tag in tags if isinstance(tags, list) else ():
        name, value = str(tag.get("Name")), str(tag.get("Value"))
        if not _TAG.fullmatch(name) or not _TAG.fullmatch(value):
            raise RefusedError("BadRequestException", f"Invalid tag <{name}>: use letters, digits, _ and -.")
        found[name] = value
    return found
