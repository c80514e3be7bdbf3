"""Frames of HTTP/2 as bytes: cutting a received stream at their borders, and the head of one to be sent.

Layout and kinds: RFC 9113 sections 4.1 and 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from h2.exceptions import FrameTooLargeError

LARGEST_BYTES = 16_384
"""Of a payload, as long as we announce nothing else (SETTINGS_MAX_FRAME_SIZE)."""
STREAM_ID = 0x7FFF_FFFF
"""The bits of a stream's number; the one above is reserved."""

_HEAD = struct.Struct(">BHBBL")
_HEAD_BYTES = _HEAD.size


class Kind(IntEnum):
    """Kinds of frames this client looks at itself."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    def whole(self) -> bytes:
        """The frame as it came."""
        return head(len(self.payload), self.kind, self.flags, self.stream_id) + self.payload


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of that length."""
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


class FrameReader:
    """Cuts what is received at the borders of frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes, in order.

        Raises `FrameTooLargeError` at one that is longer than we allow, before it has come.
        """
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while size - at >= _HEAD_BYTES:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(data, at)
            length = high << 16 | low
            if length > LARGEST_BYTES:
                raise FrameTooLargeError(f"a frame of {length} bytes; {LARGEST_BYTES} are allowed")
            end = at + _HEAD_BYTES + length
            if end > size:
                break
            yield Frame(kind, flags, stream_id & STREAM_ID, data[at + _HEAD_BYTES : end])
            at = end
        self._rest = data[at:] if at else data
