"""Credentials and options of a provider, checked against the catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from messaging.catalog import Field, ProviderKind
from messaging.errors import InvalidArgumentError

_NOTHING: tuple[object, ...] = (None, "", {})
"""What is no value: False and 0 are values."""
_TYPE_WORDS = {str: "text", int: "a whole number", bool: "true or false", dict: "a JSON object"}


def check(entry: ProviderKind, fields: Sequence[Field], given: Mapping[str, Any], argument: str) -> dict[str, Any]:
    """`given` with every value of its catalogue type, without those that are None.

    A JSON object may also be given as its text. Raises `InvalidArgumentError` for a name the kind does
    not have and for a value of another type; the error never repeats a value.
    """
    known = {field.name: field for field in fields}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise InvalidArgumentError(
            f"{argument}.{unknown[0]}",
            f"{entry.title} has no such name; it has {', '.join(known) or 'none'}",
        )
    return {
        name: _typed(known[name], value, f"{argument}.{name}") for name, value in given.items() if value is not None
    }


def split(entry: ProviderKind, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(credentials, options) out of one flat mapping; raises `InvalidArgumentError` for an unknown name."""
    options = {field.name for field in entry.options}
    known = options | {field.name for field in entry.credentials}
    for name in given:
        if name not in known:
            raise InvalidArgumentError(name, f"{entry.title} has no such name; it has {', '.join(sorted(known))}")
    return (
        {name: value for name, value in given.items() if name not in options},
        {name: value for name, value in given.items() if name in options},
    )


def missing(entry: ProviderKind, credentials: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of required values that are not set."""
    return tuple(
        field.name
        for fields, given in ((entry.credentials, credentials), (entry.options, options))
        for field in fields
        if field.required and given.get(field.name) in _NOTHING
    )


def with_defaults(fields: Sequence[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over the catalogue's defaults (those that are not None)."""
    return {field.name: field.default for field in fields if field.default is not None} | dict(given)


def _typed(field: Field, value: object, argument: str) -> object:
    if field.type is dict and isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidArgumentError(argument, "is no valid JSON") from None
    if field.type is int and isinstance(value, bool):
        raise InvalidArgumentError(argument, f"is {_TYPE_WORDS[int]}")
    if not isinstance(value, field.type):
        raise InvalidArgumentError(argument, f"is {_TYPE_WORDS.get(field.type, field.type.__name__)}")
    return value
