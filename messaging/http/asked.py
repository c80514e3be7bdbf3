"""A request as a worker thread sees it: read, and not yet checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from messaging.http.operations import Upload
from messaging.http.queries import is_query_name
from messaging.http.spool import Spooled


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked, by whom it may be."""

    given: Mapping[str, Any]
    """Values by parameter name, of path, body and query."""
    upload: Upload | None
    body: Spooled | None
    headers: Mapping[str, str]
    """Lower-case names."""
    query: Mapping[str, str]
    queries: Sequence[str]
    cookies: Mapping[str, str]
    address: str
    secure: bool


def asked(request: Request, given: Mapping[str, Any], upload: Upload | None, body: Spooled | None = None) -> Asked:
    """The request, taken apart."""
    has_query = bool(request.scope.get("query_string"))
    return Asked(
        given=given,
        upload=upload,
        body=body,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(request.query_params) if has_query else {},
        queries=[value for name, value in request.query_params.multi_items() if is_query_name(name)]
        if has_query
        else [],
        cookies=request.cookies,
        address=request.client.host if request.client else "",
        secure=request.scope["scheme"] == "https",
    )
