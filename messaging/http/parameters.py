"""Parameters: what an operation takes, checked and described by the same object.

A parameter has a JSON schema (it goes into our OpenAPI document) and a check that accepts exactly what the
schema does. Values come from a JSON body or, for paths and queries, as text.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from messaging.clock import clock
from messaging.ids import is_valid_id, new_id

UNIQUE = "unique()"
DEEPEST = 32
"""Levels an object may be nested."""
_ID = "[A-Za-z0-9][A-Za-z0-9._-]{0,35}"
ID_TEXT = (
    "UID must contain at most 36 chars. Valid chars are a-z, A-Z, 0-9, period, hyphen, and underscore."
    " Can't start with a special char"
)


class Refused(ValueError):  # noqa: N818  it is the check's word, not an error that leaves this package
    """A value that a parameter does not take, with the reason as the SDKs' users know it."""


Check = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter. `check` returns the value to use, or raises `Refused`."""

    name: str
    check: Check
    schema: Mapping[str, Any]
    required: bool = False
    default: Any = None
    help: str = ""

    def described(self, *, in_body: bool = True) -> dict[str, Any]:
        """Its JSON schema; in a body, an optional one may be null, which means "not given"."""
        schema = dict(self.schema)
        if self.help:
            schema["description"] = self.help
        if not self.required:
            if in_body and "type" in schema:
                kinds = schema["type"]
                schema["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
                if "enum" in schema:
                    schema["enum"] = [*schema["enum"], None]
            if self.default is not None:
                schema["default"] = list(self.default) if isinstance(self.default, tuple) else self.default
            if schema.get("type") == "string" and isinstance(self.default, bool):
                schema["default"] = str(self.default).lower()  # a flag in a query string is text
        return schema


def _text(value: Any, shortest: int, longest: int | None) -> str:  # noqa: ANN401  from a wire
    if not isinstance(value, str):
        raise Refused("Value must be a valid string")
    if len(value) < shortest:
        raise Refused(f"Value must be a valid string and at least {shortest} chars")
    if longest is not None and len(value) > longest:
        raise Refused(f"Value must be a valid string and no longer than {longest} chars")
    if "\0" in value:
        raise Refused("Value must not contain the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused("Value must not contain half a surrogate pair") from None
    return value


def text(
    name: str,
    *,
    longest: int | None = None,
    shortest: int = 1,
    required: bool = False,
    default: str | None = None,
    help: str = "",  # noqa: A002
) -> Parameter:
    """A text; an empty one is refused unless `shortest` is 0."""
    schema: dict[str, Any] = {"type": "string"}
    if shortest:
        schema["minLength"] = shortest
    if longest is not None:
        schema["maxLength"] = longest
    return Parameter(
        name=name,
        check=lambda value: _text(value, shortest, longest),
        schema=schema,
        required=required,
        default=default,
        help=help,
    )


def email(name: str, *, required: bool = False, empty: bool = False, help: str = "") -> Parameter:  # noqa: A002
    """An email address, normalised; `empty` also takes an empty text."""

    def check(value: Any) -> str:  # noqa: ANN401
        given = _text(value, 0, 320)
        if empty and not given:
            return given
        from messaging.address import normalise_email  # noqa: PLC0415  email-validator is slow to import

        try:
            return normalise_email(given, argument=name)
        except ValueError:
            raise Refused("Value must be a valid email address") from None

    return Parameter(name=name, check=check, schema={"type": "string", "maxLength": 320}, required=required, help=help)


def phone(name: str, *, required: bool = False, help: str = "") -> Parameter:  # noqa: A002
    """A phone number in E.164."""

    def check(value: Any) -> str:  # noqa: ANN401
        from messaging.address import normalise  # noqa: PLC0415  phonenumbers is slow to import
        from messaging.channel import Channel  # noqa: PLC0415

        try:
            return normalise(Channel.SMS, _text(value, 1, 64), argument=name)
        except Refused:
            raise
        except ValueError:
            raise Refused("Phone number must start with a '+' can have a maximum of fifteen digits") from None

    return Parameter(name=name, check=check, schema={"type": "string", "maxLength": 64}, required=required, help=help)


def boolean(name: str, *, default: bool | None = None, required: bool = False, help: str = "") -> Parameter:  # noqa: A002
    """True or false."""

    def check(value: Any) -> bool:  # noqa: ANN401
        if not isinstance(value, bool):
            raise Refused("Value must be a valid boolean")
        return value

    return Parameter(name=name, check=check, schema={"type": "boolean"}, required=required, default=default, help=help)


def integer(
    name: str,
    *,
    least: int,
    most: int,
    default: int | None = None,
    required: bool = False,
    help: str = "",  # noqa: A002
) -> Parameter:
    """A whole number in a range."""

    def check(value: Any) -> int:  # noqa: ANN401
        if isinstance(value, float) and value.is_integer() and math.isfinite(value):
            value = int(value)  # JSON has one kind of number: 5.0 is 5
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refused(f"Value must be a valid range between {least:,} and {most:,}")
        return value

    return Parameter(
        name=name,
        check=check,
        schema={"type": "integer", "minimum": least, "maximum": most},
        required=required,
        default=default,
        help=help,
    )


def one_of(
    name: str,
    values: tuple[str, ...],
    *,
    default: str | None = None,
    required: bool = False,
    help: str = "",  # noqa: A002
) -> Parameter:
    """One of a few words."""

    def check(value: Any) -> str:  # noqa: ANN401
        if not isinstance(value, str) or value not in values:
            raise Refused(f"Value must be one of ({', '.join(values)})")
        return value

    return Parameter(
        name=name,
        check=check,
        schema={"type": "string", "enum": list(values)},
        required=required,
        default=default,
        help=help,
    )


def mapping(name: str, *, required: bool = False, help: str = "") -> Parameter:  # noqa: A002
    """A JSON object."""

    def check(value: Any) -> dict[str, Any]:  # noqa: ANN401
        if not isinstance(value, dict):
            raise Refused("Value must be a valid object")
        _storable(value)
        return value

    return Parameter(name=name, check=check, schema={"type": "object"}, required=required, help=help)


def _storable(value: Any, depth: int = 0) -> None:  # noqa: ANN401
    """Every text in it fits PostgreSQL and UTF-8, and it is not nested without end."""
    if depth > DEEPEST:
        raise Refused(f"Value must be nested at most {DEEPEST} levels deep")
    if isinstance(value, str):
        _text(value, 0, None)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _text(key, 0, None)
            _storable(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _storable(inner, depth + 1)


def custom_id(name: str, *, help: str = "") -> Parameter:  # noqa: A002
    """The id of something new: chosen by the caller, or `unique()` for one of ours."""

    def check(value: Any) -> str:  # noqa: ANN401
        if value == UNIQUE:
            return new_id()
        if not isinstance(value, str) or not is_valid_id(value):
            raise Refused(ID_TEXT)
        return value

    return Parameter(
        name=name,
        check=check,
        schema={"type": "string", "pattern": rf"^(unique\(\)|{_ID})$"},
        required=True,
        help=help or "Your own id, or `unique()`.",
    )


def uid(name: str, *, required: bool = False, help: str = "") -> Parameter:  # noqa: A002
    """The id of something that exists."""
    return Parameter(
        name=name,
        check=_uid,
        schema={"type": "string", "pattern": f"^{_ID}$"},
        required=required,
        help=help,
    )


def _uid(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not is_valid_id(value):
        raise Refused(ID_TEXT)
    return value


MOST_IDS = 100_000
"""Ids in one list; a larger audience is a topic."""


def array(
    name: str,
    item: Check,
    item_schema: Mapping[str, Any],
    *,
    most: int = MOST_IDS,
    default: tuple[Any, ...] | None = None,
    required: bool = False,
    help: str = "",  # noqa: A002
) -> Parameter:
    """A list whose items `item` checks."""

    def check(value: Any) -> list[Any]:  # noqa: ANN401
        if not isinstance(value, list):
            raise Refused("Value must a valid array")
        if len(value) > most:
            raise Refused(f"Value must a valid array no longer than {most:,} items")
        try:
            return [item(each) for each in value]
        except Refused as refused:
            raise Refused(f"Value must a valid array and {refused}") from None

    return Parameter(
        name=name,
        check=check,
        schema={"type": "array", "items": dict(item_schema), "maxItems": most},
        required=required,
        default=default,
        help=help,
    )


def uids(name: str, *, default: tuple[str, ...] | None = (), most: int = MOST_IDS, help: str = "") -> Parameter:  # noqa: A002
    """A list of ids."""
    return array(name, _uid, {"type": "string", "pattern": f"^{_ID}$"}, default=default, most=most, help=help)


def words(
    name: str, *, most: int, longest: int = 256, default: tuple[str, ...] | None = None, required: bool = False
) -> Parameter:
    """A list of short texts."""
    return array(
        name,
        lambda value: _text(value, 1, longest),
        {"type": "string", "minLength": 1, "maxLength": longest},
        most=most,
        default=default,
        required=required,
    )


def emails(name: str, *, default: tuple[str, ...] | None = (), help: str = "") -> Parameter:  # noqa: A002
    """A list of raw email addresses."""
    one = email(name)
    return array(name, one.check, one.schema, default=default, help=help)


def future(name: str, *, help: str = "") -> Parameter:  # noqa: A002
    """A time that has not come, in any ISO 8601 spelling; without a zone it is UTC."""

    def check(value: Any) -> dt.datetime:  # noqa: ANN401
        now = clock.now()
        problem = f"Value must be valid date in the future and between {now:%Y-%m-%d %H:%M} and 9999-12-31 23:59."
        if not isinstance(value, str):
            raise Refused(problem)
        try:
            at = dt.datetime.fromisoformat(value)
            at = at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)
        except (ValueError, OverflowError):
            raise Refused(problem) from None
        if at <= now:
            raise Refused(problem)
        return at

    return Parameter(name=name, check=check, schema={"type": "string"}, help=help or "ISO 8601, in the future.")


def flag_in_query(name: str, *, default: bool, help: str = "") -> Parameter:  # noqa: A002
    """True or false in a query string."""

    def check(value: Any) -> bool:  # noqa: ANN401
        if value in {"true", "1"}:
            return True
        if value in {"false", "0"}:
            return False
        raise Refused("Value must be a valid boolean")

    return Parameter(
        name=name,
        check=check,
        schema={"type": "string", "enum": ["true", "false", "1", "0"]},
        default=default,
        help=help,
    )


@dataclass(frozen=True)
class Values:
    """The checked values of a call by name; what was not given has its default."""

    given: Mapping[str, Any] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    """Parameters the caller gave a value for."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  its parameter's check made it
        return self.given[name]
