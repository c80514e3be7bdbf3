"""`GET /ping`: whether the endpoint and the project in an SDK's settings are right."""

from __future__ import annotations

from messaging.http.operations import Access, Answer, Call, Operations

operations = Operations("ping")

TEXT_TYPE = "text/plain; charset=UTF-8"


@operations.add("GET", "/ping", access=Access.ANYONE, raw="text/plain")
def get(_call: Call) -> Answer:
    """Say "Pong!" to anyone who names a project that exists."""
    return Answer(content=b"Pong!", content_type=TEXT_TYPE)
