"""Attachments from a producer's arguments: bytes sent along, or a file stored before."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from messaging.content_fields import no_line_break, storable
from messaging.errors import InvalidArgumentError
from messaging.message import Attachment

LARGEST_TOTAL_BYTES = 25 * 1024 * 1024
LONGEST_FILENAME = 255

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;\s*[\w.-]+=[\w.+-]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class FileReference(Attachment):
    """A file stored before: its name, type and bytes are read from the store when it is sent."""

    filename: str = ""
    content_type: str = ""
    content: bytes = b""
    file_id: str
    bucket_id: str = ""
    """Empty for a file in no bucket, such as one that came along with a message."""

    @classmethod
    def of_stored(cls, stored: Mapping[str, str]) -> Self:
        """As it is kept with a message's content."""
        return cls(file_id=stored["fileId"], bucket_id=stored.get("bucketId", ""), filename=stored.get("filename", ""))


def parse_attachments(given: Any) -> tuple[Attachment, ...]:  # noqa: ANN401  from a wire
    """Attachments out of a list of `{"filename", "content_type", "content_base64"}` or `{"file_id"}`.

    `content_type` is guessed from the name where it is missing. Raises `InvalidArgumentError` naming the
    entry, and where the sum of all is above 25 MB.
    """
    if given is None:
        return ()
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence):
        raise InvalidArgumentError("attachments", f"is a list, not {type(given).__name__}")
    parsed = tuple(_one(entry, f"attachments[{index}]") for index, entry in enumerate(given))
    total = sum(len(attachment.content) for attachment in parsed)
    if total > LARGEST_TOTAL_BYTES:
        raise InvalidArgumentError("attachments", f"have {total:,} bytes together; at most {LARGEST_TOTAL_BYTES:,}")
    return parsed


def _one(entry: object, argument: str) -> Attachment:
    if isinstance(entry, FileReference):
        return entry
    if isinstance(entry, Attachment):
        return _checked(entry.filename, entry.content_type, entry.content, argument)
    if not isinstance(entry, Mapping):
        raise InvalidArgumentError(argument, f"is an object, not {type(entry).__name__}")
    unknown = sorted(entry.keys() - {"filename", "content_type", "content_base64", "file_id"}, key=str)
    if unknown:
        raise InvalidArgumentError(f"{argument}.{unknown[0]}", "there is no such name")
    file_id = entry.get("file_id")
    if file_id is not None:
        if not isinstance(file_id, str) or len(entry) != 1:
            raise InvalidArgumentError(argument, "`file_id` is text and stands alone")
        return FileReference(file_id=file_id)
    encoded = entry.get("content_base64")
    if not isinstance(encoded, str):
        raise InvalidArgumentError(f"{argument}.content_base64", "is the file in Base64")
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(f"{argument}.content_base64", "is no valid Base64") from None
    return _checked(entry.get("filename"), entry.get("content_type"), content, argument)


def _checked(filename: object, content_type: object, content: bytes, argument: str) -> Attachment:
    if not isinstance(filename, str) or not filename or len(filename) > LONGEST_FILENAME:
        raise InvalidArgumentError(f"{argument}.filename", f"is text of 1 to {LONGEST_FILENAME} characters")
    no_line_break(f"{argument}.filename", storable(f"{argument}.filename", filename))
    if content_type is None or content_type == "":
        content_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    if not isinstance(content_type, str) or not _MEDIA_TYPE.fullmatch(content_type):
        raise InvalidArgumentError(f"{argument}.content_type", "is a media type such as application/pdf")
    return Attachment(filename=filename, content_type=content_type, content=content)
