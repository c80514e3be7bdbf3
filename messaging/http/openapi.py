"""Our OpenAPI 3.1 document, made from the declared operations: what they check is what it says."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from messaging.http.answer_fields import reference
from messaging.http.errors import API_VERSION
from messaging.http.examples import TELLING, example
from messaging.http.idempotency import LONGEST_KEY
from messaging.http.models import MODELS
from messaging.http.operations import Access, Operation
from messaging.http.parameters import Parameter
from messaging.http.queries import LONGEST_QUERY, MOST_QUERIES, SHAPE

JSON = "application/json"
FORM = "multipart/form-data"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_ABOUT = f"""\
Send push messages, email and SMS to users, targets and topics, now or later, and see what became of each recipient.

The contract is that of Appwrite Messaging {API_VERSION}: the official Appwrite SDKs drive this API unchanged. Set their
endpoint to the address of this server, ending in `/v1`.

A text never holds the character NUL or half a surrogate pair. A field that is not described is ignored. In a body,
`null` means "not given".
"""

TAGS: Mapping[str, str] = {
    "messaging": "Messages, providers, topics and their subscribers.",
    "users": "The people messages are sent to, and what they can be reached at; for servers.",
    "account": "The signed-in user's own account, sessions and push targets.",
    "storage": "Files for attachments and pictures.",
    "ping": "Whether an SDK's endpoint and project are right.",
    "health": "Whether the system could do its work now.",
}

_PROJECT: dict[str, list[str]] = {"Project": []}

_SECURITY: Mapping[str, Mapping[str, str]] = {
    "Project": {"type": "apiKey", "in": "header", "name": "X-Appwrite-Project", "description": "Id of the project."},
    "Key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Appwrite-Key",
        "description": "Secret of an API key, for servers. A key without scopes has all of them.",
    },
    "Session": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Appwrite-Session",
        "description": "Secret of a user's session. Browsers send the cookie `a_session_<project>` instead.",
    },
    "JWT": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Appwrite-JWT",
        "description": "A short-lived token that speaks for a user.",
    },
}

REASONS: Mapping[int, str] = {
    400: "A value is missing or refused; `message` names it.",
    401: "No project, no session, or an API key without the scope.",
    403: "The caller may not do this.",
    404: "It, or the project, does not exist.",
    409: "The id is taken, or the idempotency key was used for another request.",
    413: "The body is too large.",
    416: "The file has no such range.",
    429: "Too many requests; `Retry-After` or `X-RateLimit-Reset` say when to come back.",
    501: "This server does not offer that.",
    503: "The database does not answer. Nothing was changed.",
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document; raises KeyError for an operation whose model nobody has described."""
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = described(operation)
        tags[operation.tag] = None
    if "/health" not in paths:
        paths["/health"] = {"get": _HEALTH}
        tags["health"] = None
    return {
        "openapi": "3.1.0",
        "info": {"title": "Heliograph", "version": version("heliograph"), "description": _ABOUT},
        "servers": [{"url": "/v1"}],
        "tags": [{"name": tag, "description": TAGS[tag]} for tag in tags],
        "paths": paths,
        "components": {"schemas": {**MODELS, "query": SHAPE}, "securitySchemes": _SECURITY},
    }


def described(operation: Operation) -> dict[str, Any]:
    """The operation object; raises KeyError for a model that nobody has described."""
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary.removesuffix("."),
        "tags": [operation.tag],
        "security": security(operation),
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    more = inspect.cleandoc(operation.work.__doc__ or "").partition("\n\n")[2]
    if more:
        found["description"] = more
    body = request_body(operation)
    if body is not None:
        found["requestBody"] = body
    return found


def security(operation: Operation) -> list[dict[str, list[str]]]:
    """Ways to be allowed in: one of these. A key needs one of the scopes."""
    if operation.access is Access.PUBLIC:
        return []
    if operation.access is Access.ANYONE:
        return [_PROJECT]
    ways: list[dict[str, list[str]]] = []
    if operation.access in {Access.KEY, Access.EITHER}:
        ways += [{**_PROJECT, "Key": [scope]} for scope in operation.scopes] or [{**_PROJECT, "Key": []}]
    if operation.access in {Access.SESSION, Access.EITHER}:
        ways += [{**_PROJECT, "Session": []}, {**_PROJECT, "JWT": []}]
    return ways


def takes_body(operation: Operation) -> bool:
    """Whether what is not in the path goes into a body."""
    return operation.multipart or operation.method in _WITH_BODY


def takes_key(operation: Operation) -> bool:
    """Whether a repeated request can be marked as such."""
    return operation.method == "POST" and operation.keyed and operation.access is not Access.PUBLIC


def takes_range(operation: Operation) -> bool:
    """Whether a part of the answer can be asked for."""
    return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE in operation.errors


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [
        _placed(one, "path" if one.name in operation.places else "query")
        for one in operation.parameters
        if one.name in operation.places or not takes_body(operation)
    ]
    if operation.listed:
        found.append(_QUERIES)
    if takes_key(operation):
        found.append(_IDEMPOTENCY_KEY)
    if takes_range(operation):
        found.append(_RANGE)
    return found


def _placed(parameter: Parameter, place: str) -> dict[str, Any]:
    schema = parameter.described(in_body=False)
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": place,
        "required": place == "path" or parameter.required,
        "schema": schema,
    }
    said = schema.pop("description", "")
    if said:
        found["description"] = said
    if found["required"]:
        found["example"] = example(parameter.name, schema)
    return found


def request_body(operation: Operation) -> dict[str, Any] | None:
    """What goes into the body; None where there is nothing to send."""
    inside = [one for one in operation.parameters if one.name not in operation.places]
    if not takes_body(operation) or not (inside or operation.multipart):
        return None
    properties = {one.name: one.described() for one in inside}
    required = [one.name for one in inside if one.required]
    if operation.multipart:
        properties["file"] = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
        required.append("file")
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    content: dict[str, Any] = {"schema": schema}
    if not operation.multipart:
        content["example"] = example_body(operation)
    files = {media_type: {"schema": {"type": "string"}} for media_type in operation.files}
    return {"required": bool(required), "content": {FORM if operation.multipart else JSON: content, **files}}


def example_body(operation: Operation) -> dict[str, Any]:
    """A body as somebody would write it: what is required, and what one would hardly leave out."""
    inside = [one for one in operation.parameters if one.name not in operation.places]
    if operation.method == "POST":
        chosen = [one for one in inside if one.required or one.name in TELLING]
    else:
        chosen = [one for one in inside if one.required] or inside[:2]
    return {one.name: example(one.name, one.schema) for one in chosen}


def _responses(operation: Operation) -> dict[str, Any]:
    status = int(operation.status)
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if operation.raw is not None:
        answer["content"] = {operation.raw: {"schema": {}}}
    elif operation.model is not None:
        if operation.model not in MODELS:
            raise KeyError(
                f"{operation.name} answers with '{operation.model}': describe it in messaging/http/models.py"
            )
        answer["content"] = {JSON: {"schema": reference(operation.model)}}
    headers = {"Idempotent-Replayed": _REPLAYED} if takes_key(operation) else {}
    if operation.limits:
        headers |= _RATE_LIMITS
    if headers:
        answer["headers"] = headers
    found = {str(status): answer}
    if takes_range(operation):
        found["206"] = answer | {"description": "The part of it that `Range` asked for"}
    return found | {str(code): _error(code) for code in statuses(operation)}


def statuses(operation: Operation) -> list[int]:
    """Statuses of the errors it may answer with."""
    found = {400, 503}
    if operation.access is not Access.PUBLIC:
        found |= {401, 404}
    if operation.access not in {Access.PUBLIC, Access.KEY}:
        found.add(403)  # a blocked user, or two ways to sign in at once
    if operation.limits:
        found.add(429)
    if takes_body(operation):
        found |= {409, 413}
    return sorted(found | set(operation.errors))


def _error(code: int) -> dict[str, Any]:
    return {"description": REASONS[code], "content": {JSON: {"schema": reference("error")}}}


_REPLAYED = {
    "description": "`true` when this is the answer of an earlier request under the same key.",
    "schema": {"type": "string", "const": "true"},
}
_RATE_LIMITS = {
    "X-RateLimit-Limit": {
        "description": "Calls of this kind in one window; API keys have no limit.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Remaining": {"description": "How many are left.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "When the window ends, as a Unix time.", "schema": {"type": "integer"}},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A text of your own. The same request under it gets the first answer and does nothing again.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_KEY,
        "pattern": "^[ -~\u00a1-\u00ac\u00ae-\u00ff]+$",
    },
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "Bytes to begin and end with, e.g. `bytes=0-1023`; what is not understood is ignored.",
    "schema": {"type": "string"},
}
_QUERIES = {
    "name": "queries[]",
    "in": "query",
    "required": False,
    "description": (
        "Filters, order and page, each a JSON text as the SDKs' `Query` writes it; `queries[0]`, `queries[1]`, … do as"
        " well. Without a `limit` a page has 25."
    ),
    "schema": {
        "type": "array",
        "maxItems": MOST_QUERIES,
        "items": {
            "type": "string",
            "maxLength": LONGEST_QUERY,
            "contentMediaType": JSON,
            "contentSchema": reference("query"),
        },
    },
    "example": ['{"method":"limit","values":[10]}'],
}
_HEALTH = {
    "operationId": "healthGet",
    "summary": "Whether the system could do its work now",
    "tags": ["health"],
    "security": [],
    "parameters": [],
    "responses": {
        "200": {"description": "It could.", "content": {JSON: {"schema": reference("healthStatus")}}},
        "503": {"description": "Something is away.", "content": {JSON: {"schema": reference("healthStatus")}}},
    },
}
