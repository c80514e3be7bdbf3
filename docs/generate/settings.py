"""The page of settings, from `messaging/settings.py`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import NoDecode

from docs.generate.markdown import code, codes, document, head, sentence, table
from messaging.settings import PREFIX, Settings

_WORDS: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "text, secret",
}
_UNITS = {"_s": "seconds", "_ms": "milliseconds", "_days": "days", "_bytes": "bytes"}
_BOUNDS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}

_BEFORE = """\
Settings are read once, when a process starts, from the environment. Times are in seconds where a name ends in `_S`. A
name with this prefix that is none of these is refused, so that a slip of the pen is no silent default.

All that a second machine needs is `MESSAGING_DATABASE_URL`, `MESSAGING_BROKER_URL`, `MESSAGING_SECRET_KEY` and, where
the broker is no Redis, `MESSAGING_REDIS_URL`. `messaging up` brings its own of each that is not set.
"""
_EXAMPLE = """\
```env
MESSAGING_DATABASE_URL=postgresql://messaging:password@db.example.org/messaging?sslmode=verify-full
MESSAGING_BROKER_URL=rediss://:password@redis.example.org:6380/0
MESSAGING_SECRET_KEY=32-random-characters-or-more-1234
MESSAGING_PUBLIC_URL=https://messages.example.org
MESSAGING_PRIVATE_DESTINATIONS=10.20.0.0/16,gateway.house
```
"""
_BESIDE = """\
## Read by the commands that start processes

These belong to the lines of the `Procfile` and to Flower.

| variable | meaning | default |
|---|---|---|
| `PORT` | port of the API | none |
| `INTAKE_CONCURRENCY` | processes that accept tasks of producers | `2` |
| `PUSH_BATCHES` | batches a bulk push process sends at once | `2` |
| `EMAIL_CONCURRENCY`, `SMS_CONCURRENCY` | processes of the bulk worker for email and SMS | `1` |
| `NODE_SUFFIX` | tells the workers of two sets on one machine apart | empty |
| `LOCAL_PORTS` | ports `messaging up` and the sandbox choose from: `20000-20999` | those below outgoing ones |
| `LOG_LEVEL` | how much workers and beat log | `INFO` |
| `FLOWER_PORT`, `FLOWER_BASIC_AUTH` | port and password (`user:password`) of Flower | none |
"""


def page() -> str:
    """The whole page; raises `LookupError` for a setting whose meaning nobody has written down."""
    needed = [name for name, field in Settings.model_fields.items() if field.is_required()]
    rest = [name for name in Settings.model_fields if name not in needed]
    return document(
        head("Settings", "messaging/settings.py"),
        _BEFORE,
        _EXAMPLE,
        "## Needed\n",
        table(("variable", "type", "meaning"), (_row(name)[:2] + _row(name)[3:] for name in needed)),
        "## Optional\n",
        table(("variable", "type", "default", "meaning"), (_row(name) for name in rest)),
        _BESIDE,
    )


def _row(name: str) -> tuple[str, ...]:
    field = Settings.model_fields[name]
    if not field.description:
        raise LookupError(f"Settings.{name} has no description: write one in messaging/settings.py.")
    variable = PREFIX + name.upper()
    if _is_mapping(field.annotation):
        variable += "__<KIND>"
    return code(variable), _type(name, field), _default(field), sentence(inspect.cleandoc(field.description))


def _type(name: str, field: FieldInfo) -> str:
    words = _words(field.annotation, as_json=not any(each is NoDecode for each in field.metadata))
    words += next((f", {unit}" for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    bounds = [
        f"{word} {value:g}"
        for each in field.metadata
        for bound, word in _BOUNDS.items()
        if isinstance(value := getattr(each, bound, None), (int, float))
    ]
    return f"{words} ({' '.join(bounds)})" if bounds else words


def _words(annotation: Any, *, as_json: bool) -> str:  # noqa: ANN401  a type of any form
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        return " or ".join(_words(each, as_json=as_json) for each in get_args(annotation) if each is not type(None))
    if origin is Literal:
        return " or ".join(code(each) for each in get_args(annotation))
    if origin is tuple:
        return 'list, as JSON: `["…"]`' if as_json else "list, by commas"
    if _is_mapping(annotation):
        return "address"
    return _WORDS[annotation]


def _is_mapping(annotation: object) -> bool:
    return isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Mapping)  # type: ignore[arg-type]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or (isinstance(value, (tuple, dict)) and not value):
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, tuple):
        return codes([",".join(value)])
    return code(int(value) if isinstance(value, float) and value.is_integer() else value)
