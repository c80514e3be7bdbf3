"""What kind of file some bytes are: by how they begin, and by the name where that says enough."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping

UNKNOWN = "application/octet-stream"
HEAD_BYTES = 16
"""So many bytes of a file's beginning are looked at."""

PUSH_IMAGES = frozenset({"image/png", "image/jpeg"})
"""Kinds that APNs and FCM clients show in a notification."""

_SIGNATURES: Mapping[str, tuple[bytes, ...]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),  # https://www.w3.org/TR/png-3/#5PNG-file-signature
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "application/pdf": (b"%PDF-",),
}
_WEBP = "image/webp"


def kind_of(name: str, head: bytes) -> str:
    """The media type of a file called `name` whose first bytes are `head`.

    A name never makes a picture of what does not begin like one.
    """
    for kind, signatures in _SIGNATURES.items():
        if head.startswith(signatures):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":  # RFC 9649 §2.4
        return _WEBP
    guessed, encoding = mimetypes.guess_type(name, strict=True)
    if guessed is None or encoding is not None or guessed in _SIGNATURES or guessed == _WEBP:
        return UNKNOWN
    return guessed


def extension_of(name: str) -> str:
    """What comes after the last dot, in lower case; empty without one."""
    return name.rpartition(".")[2].lower() if "." in name else ""
