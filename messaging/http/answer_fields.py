"""JSON schemas of the fields that answers are made of; `models.py` puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging.channel import Channel

Schema = dict[str, Any]

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"


def text(what: str, **more: Any) -> Schema:  # noqa: ANN401  keywords of JSON schema
    """A text."""
    return {"type": "string", "description": what, **more}


def number(what: str, **more: Any) -> Schema:  # noqa: ANN401  keywords of JSON schema
    """A whole number, 0 or more unless `more` says otherwise."""
    return {"type": "integer", "minimum": 0, "description": what, **more}


def decimal(what: str, **more: Any) -> Schema:  # noqa: ANN401  keywords of JSON schema
    """A number, also a broken one, 0 or more unless `more` says otherwise."""
    return {"type": "number", "minimum": 0, "description": what, **more}


def flag(what: str) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": what}


def time(what: str) -> Schema:
    """A time as we write it."""
    return text(what, pattern=_TIME, examples=["2026-11-23T09:00:00.000+00:00"])


def time_or_empty(what: str) -> Schema:
    """The same, or an empty text: the SDKs take no null there."""
    return text(what, pattern=f"^$|{_TIME}")


def mapping(what: str, values: Schema | None = None) -> Schema:
    """An object with any fields."""
    found: Schema = {"type": "object", "description": what}
    return found if values is None else {**found, "additionalProperties": values}


def array(what: str, items: Schema | None = None) -> Schema:
    """A list, of texts unless `items` says otherwise."""
    return {"type": "array", "items": items or {"type": "string"}, "description": what}


def word(what: str, words: type[Any]) -> Schema:
    """A member of an enumeration of ours."""
    return text(what, enum=[str(each) for each in words])


def channel(what: str) -> Schema:
    """A channel."""
    return word(what, Channel)


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    found = {**schema, "type": [schema["type"], "null"]}
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found


def null(what: str) -> Schema:
    """Always null."""
    return {"type": "null", "description": what}


def reference(model: str) -> Schema:
    """A `$ref` to that model."""
    return {"$ref": f"#/components/schemas/{model}"}


def model(what: str, fields: Mapping[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object; its fields are always there, apart from the `optional` ones."""
    return {
        "type": "object",
        "description": what,
        "properties": dict(fields),
        "required": [name for name in fields if name not in optional],
    }


def stamped(what: str) -> dict[str, Schema]:
    """The fields every stored object begins with."""
    return {
        "$id": text(f"Id of the {what}."),
        "$createdAt": time("When it was created."),
        "$updatedAt": time("When it was last changed."),
    }


def listing(field: str, of: str) -> Schema:
    """A page of a list."""
    return model(
        f"A page of {field}.",
        {
            "total": number("How many match, counted up to 5,000; 0 where `total=false` was asked for."),
            field: array("Those of this page.", reference(of)),
        },
    )
