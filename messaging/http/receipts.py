"""The address providers report to: one per account, with a secret path. Kept as it came, answered at once.

Nothing is verified here: a worker does that, with the account's key, before anything changes. So a key that is set
late or wrongly costs nothing: what came meanwhile is applied once it is right.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from messaging.http.context import Context
from messaging.store import receipts
from messaging.store.batches import RECEIPTS_HINT
from messaging.store.engine import AWAY

PATH = "/v1/receipts"
LARGEST_BYTES = 4 * 1024 * 1024
"""Of one request: the largest batches providers send stay far below."""

_HINT_EVERY_S = 0.2
"""A worker that was told takes all there are; the sweep finds what came after it looked."""

_NOT_KEPT = frozenset({"cookie", "connection", "accept-encoding"})


def routes(context: Context) -> list[Route]:
    """POST and GET /v1/receipts/{key}."""
    return [Route(f"{PATH}/{{key}}", _Door(context), methods=["POST", "GET"])]


class _Door:
    """An ASGI application of one path."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hinted_at = 0.0

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        """Answer one request."""
        request = Request(scope, receive)  # type: ignore[arg-type]  # Starlette's own types, by another name
        response = await self._answer(request)
        await response(scope, receive, send)  # type: ignore[arg-type]

    async def _answer(self, request: Request) -> Response:
        if request.method == "GET" and not request.url.query:  # a provider, or a person, looks whether somebody is in
            return JSONResponse({"status": "pass"})
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        if body is None:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a receipt has {LARGEST_BYTES} bytes at most")
        url, headers = self._url(request), _headers(request.headers)
        key, method = request.path_params["key"], request.method

        def keep() -> bool:
            with self._context.engine.begin() as connection:
                return receipts.keep(connection, key, method=method, url=url, headers=headers, body=body)

        try:
            kept = await self._context.in_thread(keep)
        except AWAY:
            # the provider tells it again; nothing was kept
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the database is away; tell it again")
        if not kept:
            return _refusal(HTTPStatus.NOT_FOUND, "no account reports here: take the address from its provider page")
        self._hint()
        # no body: some providers read one as an answer to a text message somebody sent
        return Response(media_type="text/plain")

    def _url(self, request: Request) -> str:
        """The address as the provider knows it: signatures are made over that."""
        outside = self._context.settings.outside_url
        if outside is None:
            return str(request.url)
        query = request.scope["query_string"].decode("latin-1")
        return f"{outside}{request.url.path}" + (f"?{query}" if query else "")

    def _hint(self) -> None:
        now = time.monotonic()
        if now - self._hinted_at >= _HINT_EVERY_S:
            self._hinted_at = now
            self._context.outbox.leave([RECEIPTS_HINT])


async def _body(request: Request) -> bytes | None:
    """The whole body, or None where there is too much of it."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; several of one name, with commas between them. NUL can't be stored, and is in no header."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        if name not in _NOT_KEPT:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def _refusal(status: HTTPStatus, why: str) -> Response:
    return JSONResponse({"message": why, "code": int(status)}, status)
