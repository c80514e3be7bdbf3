"""`/v1/openapi.json` and `/v1/docs`: the API described for programs and for people.

The page needs no script and nothing from elsewhere; a script of ours filters while one types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from messaging.http import openapi
from messaging.http.json_text import dumps
from messaging.http.models import MODELS
from messaging.http.operations import Operation
from messaging.http.page_safety import page_policy
from messaging.http.reference_entries import Entry, Field, entry, model_fields

_FILES = {"reference_page.css": "text/css", "reference_page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": page_policy(style="'self'", script="'self'"),
    "Cache-Control": "no-cache",
}
_LONGEST_SEARCH = 100
_TICKED = re.compile("`([^`]+)`")


class Reference:
    """The document and the page, made when first asked for."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    @cached_property
    def document(self) -> bytes:
        """The OpenAPI document as JSON."""
        return dumps(openapi.document(self._operations))

    @cached_property
    def groups(self) -> Mapping[str, Sequence[Entry]]:
        """What the page shows, by tag."""
        found: dict[str, list[Entry]] = {}
        for operation in self._operations:
            found.setdefault(operation.tag, []).append(entry(operation))
        return found

    @cached_property
    def models(self) -> Mapping[str, Sequence[Field]]:
        """The fields of each model."""
        return {name: model_fields(schema) for name, schema in MODELS.items()}

    def page(self, search: str = "") -> str:
        """The page, with the operations that `search` finds."""
        words = search.lower().split()
        groups = {
            tag: found
            for tag, entries in self.groups.items()
            if (found := [one for one in entries if one.matches(words)])
        }
        return _template().render(
            groups=groups,
            tags=openapi.TAGS,
            models=self.models,
            search=search,
            about=MODELS,
            count=sum(len(entries) for entries in groups.values()),
        )


def routes(operations: Sequence[Operation]) -> list[Route]:
    """The document, the page and what belongs to it."""
    reference = Reference(operations)

    async def document(request: Request) -> Response:
        return _answer(request, reference.document, "application/json")

    async def page(request: Request) -> Response:
        search = request.query_params.get("search", "")[:_LONGEST_SEARCH]
        return _answer(request, reference.page(search).encode(errors="replace"), "text/html; charset=utf-8")

    def served(name: str, kind: str) -> Route:
        content = files("messaging.http").joinpath(name).read_bytes()

        async def serve(request: Request) -> Response:
            return _answer(request, content, kind)

        return Route(f"/v1/docs/{name}", serve)

    return [
        Route("/v1/openapi.json", document),
        Route("/v1/docs", page),
        Route("/v1/docs/", page),
        *(served(name, kind) for name, kind in _FILES.items()),
    ]


def _answer(request: Request, content: bytes, kind: str) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={**_HEADERS, "ETag": tag})
    return Response(content, media_type=kind, headers={**_HEADERS, "ETag": tag})


def ticked(said: str) -> Markup:
    """`said`, escaped, with what stands between backticks as code."""
    pieces = _TICKED.split(said)  # every second one stood between backticks
    return Markup().join(Markup("<code>{}</code>").format(one) if n % 2 else one for n, one in enumerate(pieces))


def _template() -> Template:
    environment = Environment(loader=PackageLoader("messaging.http", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["ticked"] = ticked
    return environment.get_template("reference_page.html")
