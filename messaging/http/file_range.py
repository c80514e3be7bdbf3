"""Byte ranges: of a download (`Range`), and of a piece that is sent (`Content-Range`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from messaging.http.errors import ApiError

_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` up to, and without, `end`."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.end - self.start


def wanted_part(header: str | None, size: int) -> Part | None:
    """What a `Range` asks of `size` bytes; None for all of them.

    A header that we can't read, or that asks for several ranges, asks for everything (RFC 9110 §14.2).
    Raises `ApiError` 416 for a range that begins behind the end.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:  # the last so many bytes
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise ApiError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "storage_invalid_range",
            f"The file has {size:,} bytes; the range begins behind them.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Part(start, end)


def sent_part(header: str) -> tuple[Part, int]:
    """What a `Content-Range` says: the part, and the size of the whole; raises `ApiError`."""
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is not None:
        first, last, total = (int(digits) for digits in found.groups())
        if first <= last < total:
            return Part(first, last + 1), total
    raise ApiError(
        HTTPStatus.BAD_REQUEST,
        "storage_invalid_content_range",
        "The header content-range is `bytes FIRST-LAST/TOTAL`, such as `bytes 0-5242879/6000000`.",
    )
