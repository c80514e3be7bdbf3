"""The contract's operations, as its two OpenAPI documents list them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openapi_schema_validator import OAS30Validator

DOCUMENTS = ("appwrite-server.openapi.json", "appwrite-client.openapi.json")
_METHODS = ("get", "post", "put", "patch", "delete")

Key = tuple[str, str]
"""Method and path template."""


@dataclass(frozen=True, kw_only=True)
class Promised:
    """What one document says of one operation."""

    key: Key
    status: int
    """Of success."""
    schema: Mapping[str, Any] | None
    """Of the answer's body; None where there is none."""
    names: frozenset[str]
    """Every parameter."""
    required: frozenset[str]
    components: Mapping[str, Any]

    def problems(self, body: object) -> list[str]:
        """How a body differs from the schema."""
        return self._found(self.schema or {}, body)

    def error_problems(self, body: object) -> list[str]:
        """How an error's body differs from its schema."""
        return self._found(self.components["schemas"]["error"], body)

    def _found(self, schema: Mapping[str, Any], body: object) -> list[str]:
        validator = OAS30Validator({**schema, "components": self.components})
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]


def promised(folder: Path) -> list[Promised]:
    """Every operation of both documents; one that both have is there twice."""
    return [found for name in DOCUMENTS for found in _operations(json.loads((folder / name).read_text()))]


def _operations(document: Mapping[str, Any]) -> Iterator[Promised]:
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method in _METHODS:
            if method in item:
                yield _operation((method.upper(), path), item[method], shared, document["components"])


def _operation(
    key: Key, operation: Mapping[str, Any], shared: list[Mapping[str, Any]], components: Mapping[str, Any]
) -> Promised:
    (success,) = [status for status in operation["responses"] if status.startswith("2")]
    content = operation["responses"][success].get("content", {})
    parameters = [*shared, *operation.get("parameters", [])]
    (body,) = (
        media["schema"] for media in operation.get("requestBody", {"content": {"": {"schema": {}}}})["content"].values()
    )
    return Promised(
        key=key,
        status=int(success),
        schema=next((media["schema"] for media in content.values()), None),
        names=frozenset(each["name"] for each in parameters) | frozenset(body.get("properties", {})),
        required=frozenset(each["name"] for each in parameters if each.get("required"))
        | frozenset(body.get("required", ())),
        components=components,
    )
