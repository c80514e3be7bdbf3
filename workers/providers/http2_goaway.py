"""GOAWAY: the server takes no more requests on a connection.

h2 closes its side at the first GOAWAY and refuses every frame after it; RFC 9113 section 6.8 has
the server still answer the streams up to `last_stream_id`. So h2 never sees a GOAWAY: it is read
here, and the connection decides what it means for which stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from h2.errors import ErrorCodes

from workers.providers.http2_frames import STREAM_ID

_FIELDS = 8


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


def parse(payload: bytes, stream_id: int) -> GoAway:
    """The frame; on a stream, or shorter than its fields, it is an error of the connection (RFC 9113, 6.8 and 4.2)."""
    fault = ""
    if stream_id:
        fault = f"GOAWAY on stream {stream_id}"
    elif len(payload) < _FIELDS:
        fault = f"GOAWAY of {len(payload)} bytes"
    return GoAway(
        fault=fault,
        last_stream_id=int.from_bytes(payload[:4], "big") & STREAM_ID,
        error_code=int.from_bytes(payload[4:8], "big"),
        debug=payload[8:],
    )
