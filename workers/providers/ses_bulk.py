"""SendBulkEmail of Amazon SES: up to 50 recipients a request, a copy for each.

It takes templates only. The message stands in an inline one word for word and without variables: what holds `{{`,
which a template would read as one, goes as MIME. So does what only MIME of ours can carry: Cc, copies that show other
recipients, header lines SES writes itself or that need encoding.
Sources: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html,
https://docs.aws.amazon.com/ses/latest/dg/send-personalized-email-api.html (limits),
https://docs.aws.amazon.com/ses/latest/dg/header-fields.html (headers),
https://docs.aws.amazon.com/ses/latest/dg/attachments.html
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from messaging.channel import Role
from workers.providers.mime import Mailbox, Sender, address_line, plain_text, reply_to_of, unsubscribe_headers

if TYPE_CHECKING:
    from messaging.message import Attachment, Email
    from workers.providers.base import Outgoing, Recipient

PATH = "/v2/email/outbound-bulk-emails"
MOST = 50
"""Entries a request may have."""
TAG_NAME = "delivery"

_TEMPLATE_BYTES = 1_000_000
"""Of a request with an inline template, its text and HTML included; attachments count to the message's 40 MB."""
_ENTRY_BYTES = 2500
"""An entry takes no more, by the limits below and that of an unsubscribe address."""
_ADDRESS_CHARACTERS = 320
_HEADERS = 15
_UNSUBSCRIBING = 2
"""Header lines an entry may bring; kept free, for nothing says that the 15 are counted apart."""
_NOT_HERE = frozenset(
    {
        "bcc", "cc", "content-disposition", "content-type", "date", "from", "message-id", "mime-version", "reply-to",
        "return-path", "subject", "to",
    }
)  # fmt: skip
_OF_MIME = ("content-", "x-ses-")
"""Lines that describe a body, or that SES heeds in MIME."""
_HEADER_NAME = re.compile(r"[!-9;-@A-~]{1,126}\Z")
_HEADER_VALUE = re.compile(r"[ -~]{1,995}\Z")
_FILE_NAME = re.compile(r"[\w .()+-]{1,200}\.\w{1,20}\Z", re.ASCII)
_FILE_TYPE = re.compile(r"(?!message/|multipart/)[\w.+-]+/[\w.+-]+\Z", re.ASCII | re.IGNORECASE)
_FILE_TYPE_CHARACTERS = 78
_VARIABLE = "{{"


def shared_part(outgoing: Outgoing, sender: Sender, configuration_set: str = "") -> bytes | None:
    """The JSON of a request after its entries; None for a message that has to go as MIME.

    The message is one that `render` took.
    """
    email = cast("Email", outgoing.content)
    content = {
        "Subject": re.sub(r"[ \t]+", " ", email.subject).strip(" "),
        "Text": plain_text(email),
        "Html": email.content if email.html else "",
    }
    if outgoing.visible_cc or not content["Subject"] or not _is_plain(content.values()) or not _fit(email.headers):
        return None
    if not all(map(_fits, email.attachments)):
        return None
    template: dict[str, object] = {
        "TemplateContent": {name: value for name, value in content.items() if value},
        "TemplateData": "{}",
    }
    if email.headers:
        template["Headers"] = _headers(email.headers)
    request: dict[str, object] = {"FromEmailAddress": _in_one_line(sender.name, sender.mailbox)}
    if reply_to := reply_to_of(email, sender):
        request["ReplyToAddresses"] = [_in_one_line(*reply_to)]
    if configuration_set:
        request["ConfigurationSetName"] = configuration_set
    request["DefaultContent"] = {"Template": template}
    if len(json.dumps(request, ensure_ascii=False).encode()) + MOST * _ENTRY_BYTES > _TEMPLATE_BYTES:
        return None
    if email.attachments:
        template["Attachments"] = [_attachment(attachment) for attachment in email.attachments]
    return json.dumps(request, ensure_ascii=False).encode()[1:]


def entry(recipient: Recipient, to: Mailbox, header_names: Sequence[str]) -> bytes | None:
    """One recipient's part as JSON; None for a copy that has to go as MIME.

    `header_names` are the message's own headers, which those written here would replace. Raises `ContentError` for a
    name that can't stand in a header.
    """
    if recipient.role is not Role.TO:
        return None
    address = _in_one_line(recipient.name or "", to)
    headers = unsubscribe_headers(recipient, header_names)
    if len(address) > _ADDRESS_CHARACTERS or not _fit(headers):
        return None
    found: dict[str, object] = {
        "Destination": {"ToAddresses": [address]},
        "ReplacementTags": [{"Name": TAG_NAME, "Value": recipient.tag}],
    }
    if headers:
        found["ReplacementHeaders"] = _headers(headers)
    return json.dumps(found).encode("ascii")


def body(entries: Sequence[bytes], shared: bytes) -> bytes:
    """The JSON of SendBulkEmail."""
    return b'{"BulkEmailEntries": [' + b", ".join(entries) + b"], " + shared


def _is_plain(texts: Iterable[str]) -> bool:
    return not any(_VARIABLE in text for text in texts)


def _fit(headers: Mapping[str, str]) -> bool:
    """Whether these header lines may stand here as they are."""
    names = {name.lower() for name in headers}
    return (
        len(names) == len(headers) <= _HEADERS - _UNSUBSCRIBING
        and not names & _NOT_HERE
        and not any(name.startswith(_OF_MIME) for name in names)
        and all(map(_HEADER_NAME.match, headers))
        and all(map(_HEADER_VALUE.match, headers.values()))
        and _is_plain(headers.values())
        and not any("=?" in value for value in headers.values())  # would be read as an encoded word
    )


def _fits(attachment: Attachment) -> bool:
    kind = attachment.content_type
    return bool(_FILE_NAME.match(attachment.filename) and _FILE_TYPE.match(kind) and len(kind) <= _FILE_TYPE_CHARACTERS)


def _headers(headers: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in headers.items()]


def _attachment(attachment: Attachment) -> dict[str, str]:
    return {
        "FileName": attachment.filename,
        "ContentType": attachment.content_type,
        "ContentDisposition": "ATTACHMENT",
        "ContentTransferEncoding": "BASE64",
        "RawContent": b64encode(attachment.content).decode("ascii"),
    }


def _in_one_line(name: str, box: Mailbox) -> str:
    """`Name <address>`, non-ASCII words encoded (RFC 2047), unfolded."""
    return address_line("To", [(name, box)]).decode("ascii").removeprefix("To:").replace("\r\n", "").strip()
