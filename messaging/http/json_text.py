"""JSON as we write it: compact, in UTF-8, times as Appwrite spells them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any


def timestamp(at: datetime) -> str:
    """`2026-11-23T09:00:00.000+00:00`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def optional_timestamp(at: datetime | None) -> str | None:
    """The same, or null."""
    return None if at is None else timestamp(at)


def dumps(value: Any) -> bytes:  # noqa: ANN401  JSON
    """`value` as JSON text; half a surrogate pair, which an error may quote from a request, becomes `?`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")
