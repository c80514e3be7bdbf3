"""Takes GOAWAY frames out of a received byte stream.

h2 closes its side at the first GOAWAY and refuses every frame after it; RFC 9113 section 6.8 has
the server still answer the streams up to `last_stream_id`. So h2 never sees a GOAWAY: it is read
here, and the connection decides what it means for which stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from h2.errors import ErrorCodes

_HEADER = 9
_GOAWAY = 7
_FIELDS = 8
_STREAM_ID = 0x7FFFFFFF
_LARGEST = _HEADER + 16_384  # a larger frame is an error, which h2 raises


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server will look at no stream above `last_stream_id`."""

    last_stream_id: int
    error_code: int
    debug: bytes
    fault: str = ""
    """Why it is none, where it is malformed: nothing it says is believed."""

    @property
    def notice(self) -> str:
        """The frame in words, with the reason APNs puts into its debug data as JSON."""
        said = _reason_in(self.debug) if self.debug else ""
        return f"GOAWAY {error_name(self.error_code)}{f' ({said})' if said else ''}"


def error_name(code: int) -> str:
    """The name of an HTTP/2 error code (RFC 9113 section 7), or its number."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return str(code)


def _reason_in(debug: bytes) -> str:
    try:
        return str(json.loads(debug)["reason"])[:100]
    except (ValueError, KeyError, TypeError):
        return debug[:100].decode("ascii", "replace")


class GoAwaySplitter:
    """Cuts a stream of bytes at frame borders, passes all but GOAWAY through, holds back no whole frame."""

    def __init__(self) -> None:
        self._skip = 0
        self._partial = b""

    def feed(self, data: bytes) -> list[bytes | GoAway]:
        """The bytes and GOAWAYs that `data` completes, in order."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        size = len(data)
        at = self._skip
        start = 0
        out: list[bytes | GoAway] = []
        while at + _HEADER <= size:
            end = at + _HEADER + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
            if data[at + 3] == _GOAWAY and end - at <= _LARGEST:
                if at > start:
                    out.append(data[start:at])
                if end > size:
                    self._partial = data[at:]
                    self._skip = 0
                    return out
                stream_id = int.from_bytes(data[at + 5 : at + _HEADER], "big") & _STREAM_ID
                out.append(_parse(data[at + _HEADER : end], stream_id))
                start = end
            at = end
        if at >= size:  # the last frame goes on in the next piece, or ended exactly here
            if start < size:
                out.append(data[start:] if start else data)
            self._skip = at - size
        else:
            if at > start:
                out.append(data[start:at])
            self._partial = data[at:]
            self._skip = 0
        return out


def _parse(payload: bytes, stream_id: int) -> GoAway:
    """The frame; on a stream, or shorter than its fields, it is an error of the connection (RFC 9113, 6.8 and 4.2)."""
    fault = ""
    if stream_id:
        fault = f"GOAWAY on stream {stream_id}"
    elif len(payload) < _FIELDS:
        fault = f"GOAWAY of {len(payload)} bytes"
    return GoAway(
        fault=fault,
        last_stream_id=int.from_bytes(payload[:4], "big") & _STREAM_ID,
        error_code=int.from_bytes(payload[4:8], "big"),
        debug=payload[8:],
    )
