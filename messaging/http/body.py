"""Read a request's JSON body: bounded in bytes, and an object."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from messaging.http.errors import ApiError

LARGEST_JSON_BYTES = 6 * 1024 * 1024
"""Room for 100,000 ids; a body that says or shows more is refused unread."""
MOST_PARTS = 400_000
"""Commas, brackets and braces in a JSON body. Six megabytes of `[],[],…` would be 200 MB of Python lists."""


async def read_bytes(request: Request, *, most: int) -> bytes:
    """The body; raises `ApiError` 413 as soon as it is longer than `most` bytes."""
    said = request.headers.get("content-length")
    if said is not None and said.isascii() and said.isdigit() and int(said) > most:
        raise too_large(most)
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large(most)
            pieces.append(piece)
    except ClientDisconnect:
        raise ApiError(HTTPStatus.BAD_REQUEST, "general_bad_request", "The request ended in its middle.") from None
    return b"".join(pieces)


async def read_json(request: Request) -> dict[str, Any]:
    """The body as an object; an empty body is an empty object. Raises `ApiError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await read_bytes(request, most=LARGEST_JSON_BYTES)
    if not raw.strip():
        return {}
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "general_bad_request",
            f"The body is '{kind or 'of no content type'}'; send JSON with the content type application/json.",
        )
    return parse_object(raw)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; raises `ApiError` for anything else."""
    if sum(raw.count(part) for part in (b",", b"[", b"{")) > MOST_PARTS:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "general_body_too_large",
            f"The body has more than {MOST_PARTS:,} commas, brackets and braces. Send it in several requests.",
        )
    try:
        value = strict_loads(raw)
    except RecursionError:  # json gives up after about a thousand levels
        raise _bad("is nested too deeply") from None
    except ValueError:  # UnicodeDecodeError is one
        raise _bad("is not valid JSON") from None
    if not isinstance(value, dict):
        raise _bad("is not a JSON object")
    return value


def strict_loads(raw: bytes | str) -> Any:  # noqa: ANN401  JSON
    """`raw` as JSON that can be stored and sent again; raises ValueError or RecursionError."""
    return json.loads(raw, parse_constant=_no_constant, parse_float=_finite)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON (RFC 8259 §6)


def _finite(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise ValueError(digits)  # 1e400 would be infinite, which can't be written as JSON
    return found


def _bad(problem: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "general_bad_request", f"The body {problem}.")


def too_large(most: int) -> ApiError:
    """The error for a body that is longer than `most` bytes."""
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "general_body_too_large", f"The body is larger than {most:,} bytes."
    )
