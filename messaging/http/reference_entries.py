"""What the reference page shows of an operation, made from its declaration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from messaging.http import openapi
from messaging.http.operations import Access, Operation


@dataclass(frozen=True, kw_only=True)
class Field:
    """A row of a table: a parameter of a request, or a field of an answer."""

    name: str
    place: str
    kind: str
    required: bool
    help: str
    model: str = ""
    """Name of the model it holds, if it holds one."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An operation as the page shows it."""

    name: str
    method: str
    path: str
    summary: str
    description: Sequence[str]
    """Paragraphs."""
    needs: str
    fields: Sequence[Field]
    request: str
    status: int
    model: str
    answer: str
    errors: Sequence[tuple[int, str]]

    def matches(self, words: Sequence[str]) -> bool:
        """Whether each word stands somewhere in it."""
        told = f"{self.method} {self.path} {self.name} {self.summary} {' '.join(one.name for one in self.fields)}"
        return all(word in told.lower() for word in words)


def entry(operation: Operation) -> Entry:
    """The operation as the page shows it."""
    described = openapi.described(operation)
    return Entry(
        name=operation.name,
        method=operation.method,
        path=operation.path,
        summary=described["summary"],
        description=described.get("description", "").split("\n\n"),
        needs=_needs(operation),
        fields=_request_fields(operation, described),
        request=curl(operation),
        status=int(operation.status),
        model=operation.model or "",
        answer=operation.raw or ("" if operation.model else "no body"),
        errors=[(code, openapi.REASONS[code]) for code in openapi.statuses(operation)],
    )


def _needs(operation: Operation) -> str:
    key = "an API key"
    if operation.scopes:
        key += f" with the scope {' or '.join(operation.scopes)}"
    return {
        Access.PUBLIC: "nothing",
        Access.ANYONE: "a project",
        Access.KEY: key,
        Access.SESSION: "a signed-in user",
        Access.EITHER: f"{key}, or a signed-in user",
    }[operation.access]


def _request_fields(operation: Operation, described: Mapping[str, Any]) -> list[Field]:
    own = [one for one in described["parameters"] if one["in"] != "header"]
    found = [
        _field(one["name"], one["in"], one["schema"], required=one["required"], help_=one.get("description", ""))
        for one in own
    ]
    for media_type, content in (openapi.request_body(operation) or {"content": {}})["content"].items():
        if "properties" not in content["schema"]:
            help_ = f"Instead of the fields: a file, with the content type {media_type}."
            found.append(_field(media_type, "body", content["schema"], required=False, help_=help_))
            continue
        needed = content["schema"].get("required", ())
        found += [
            _field(name, "body", schema, required=name in needed, help_=schema.get("description", ""))
            for name, schema in content["schema"]["properties"].items()
        ]
    found += [
        _field(one["name"], "header", one["schema"], required=one["required"], help_=one["description"])
        for one in described["parameters"]
        if one["in"] == "header"
    ]
    return found


def model_fields(schema: Mapping[str, Any]) -> list[Field]:
    """The fields of a model."""
    needed = schema.get("required", ())
    return [
        _field(name, "answer", field, required=name in needed, help_=field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]


def _field(name: str, place: str, schema: Mapping[str, Any], *, required: bool, help_: str) -> Field:
    inner = schema.get("$ref") or schema.get("items", {}).get("$ref", "")
    return Field(
        name=name, place=place, kind=kind(schema), required=required, help=help_, model=inner.rpartition("/")[2]
    )


def kind(schema: Mapping[str, Any]) -> str:
    """What a schema takes, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    kinds = schema.get("type", "anything")
    names = [kinds] if isinstance(kinds, str) else [str(each) for each in kinds if each != "null"]
    names = ["list of " + kind(schema["items"]) if name == "array" and "items" in schema else name for name in names]
    words = [" or ".join(names)]
    if "enum" in schema:
        words.append(": " + ", ".join(str(each) for each in schema["enum"] if each is not None))
    if "maxLength" in schema:
        words.append(f", at most {schema['maxLength']:,} characters")
    if "maximum" in schema:
        words.append(f", {schema.get('minimum', 0):,} to {schema['maximum']:,}")
    if isinstance(kinds, list) and "null" in kinds:
        words.append(" or null")
    if schema.get("default") not in (None, "", []):
        words.append(f"; {json.dumps(schema['default'])} if not given")
    return "".join(words)


def curl(operation: Operation) -> str:
    """A request as one would type it, with the address and secrets in shell variables."""
    path = operation.path
    asked = {}
    for one in openapi.described(operation)["parameters"]:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", str(one["example"]))
        elif one["in"] == "query" and one["required"]:
            asked[one["name"]] = one["example"]
    path += f"?{urlencode(asked)}" if asked else ""
    lines = [f'curl -X {operation.method} "$ENDPOINT{path}"']
    if operation.access is not Access.PUBLIC:
        lines.append('-H "X-Appwrite-Project: $PROJECT"')
    if operation.access in {Access.KEY, Access.EITHER}:
        lines.append('-H "X-Appwrite-Key: $API_KEY"')
    elif operation.access is Access.SESSION:
        lines.append('-H "X-Appwrite-Session: $SESSION"')
    body = openapi.request_body(operation)
    if body is not None and operation.multipart:
        lines += [f"-F {shlex.quote(f'{name}={value}')}" for name, value in openapi.example_body(operation).items()]
        lines.append("-F file=@picture.png")
    elif body is not None:
        said = json.dumps(openapi.example_body(operation), ensure_ascii=False)
        lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(said)}"]
    return " \\\n  ".join(lines)
