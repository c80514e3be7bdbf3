"""A received mail as its reader would see it."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any, cast


def read_mail(content: bytes) -> dict[str, Any]:
    """Headers (in order, as pairs), `message_id`, `subject`, `text`, `html` and attachments with name and size.

    A mail that breaks the rules is read as far as it goes; `defects` says where it didn't.
    """
    message = email.message_from_bytes(content, policy=email.policy.default)
    headers = [[name, str(value)] for name, value in message.items()]
    defects = [type(defect).__name__ for part in message.walk() for defect in part.defects]
    attachments = [
        {
            "filename": part.get_filename(),
            "type": part.get_content_type(),
            "bytes": len(cast("bytes", part.get_payload(decode=True) or b"")),
        }
        for part in message.iter_attachments()
    ]
    return {
        "message_id": _header(message, "Message-ID"),
        "from": _header(message, "From"),
        "to": _header(message, "To"),
        "cc": _header(message, "Cc"),
        "reply_to": _header(message, "Reply-To"),
        "subject": _header(message, "Subject"),
        "text": _body(message, "plain"),
        "html": _body(message, "html"),
        "attachments": attachments,
        "headers": headers,
        "defects": defects,
    }


def _header(message: EmailMessage, name: str) -> str | None:
    value = message[name]
    return None if value is None else str(value).strip()


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return None
    data = cast("bytes", part.get_payload(decode=True) or b"")
    try:
        return data.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a charset nobody knows
        return data.decode("latin-1")
