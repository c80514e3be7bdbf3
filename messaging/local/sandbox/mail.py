"""A received mail as its reader would see it."""

import email
import re
from email.header import decode_header, make_header
from email.message import Message
from typing import Any, cast

_FOLDED = re.compile(r"\r?\n(?=[ \t])")


def read_mail(content: bytes) -> dict[str, Any]:
    """Headers (in order, as pairs), `message_id`, `subject`, `text`, `html` and attachments with name and size.

    A mail that breaks the rules is read as far as it goes; `defects` says where it didn't.
    """
    # the policy of old: the newer one parses every address, at five times the cost
    message = email.message_from_bytes(content)
    parts = [part for part in message.walk() if not part.is_multipart()]
    attached = [part for part in parts if _is_attached(part)]
    return {
        "message_id": _header(message, "Message-ID"),
        "from": _header(message, "From"),
        "to": _header(message, "To"),
        "cc": _header(message, "Cc"),
        "reply_to": _header(message, "Reply-To"),
        "subject": _header(message, "Subject"),
        "text": _body(parts, "text/plain"),
        "html": _body(parts, "text/html"),
        "attachments": [
            {
                "filename": part.get_filename(),
                "type": part.get_content_type(),
                "bytes": len(cast("bytes", part.get_payload(decode=True) or b"")),
            }
            for part in attached
        ],
        "headers": [[name, _decoded(str(value))] for name, value in message.items()],
        "defects": [type(defect).__name__ for part in message.walk() for defect in part.defects],
    }


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _decoded(value: str) -> str:
    """A header's value, unfolded (RFC 5322 §2.2.3) and decoded (RFC 2047)."""
    unfolded = _FOLDED.sub("", value)
    if "=?" not in unfolded:
        return unfolded
    try:
        return str(make_header(decode_header(unfolded)))
    except (ValueError, LookupError):  # a charset nobody knows
        return unfolded


def _header(message: Message, name: str) -> str | None:
    value = message[name]
    return None if value is None else _decoded(str(value)).strip()


def _body(parts: list[Message], kind: str) -> str | None:
    part = next((part for part in parts if part.get_content_type() == kind and not _is_attached(part)), None)
    if part is None:
        return None
    data = cast("bytes", part.get_payload(decode=True) or b"")
    try:
        return data.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a charset nobody knows
        return data.decode("latin-1")
