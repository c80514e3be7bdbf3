"""Reading typed values out of a producer's arguments, with an error that names the argument."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from messaging.errors import InvalidArgumentError


class Arguments:
    """Arguments by name; None means "not given"."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def only(self, names: Collection[str]) -> None:
        """Raise `InvalidArgumentError` for the first name that is not among `names`."""
        for name in self._given:
            if name not in names:
                raise InvalidArgumentError(
                    str(name), f"there is no such argument; there are {', '.join(sorted(names))}"
                )

    def raw(self, name: str) -> Any:  # noqa: ANN401  the caller looks at it
        """The value as it came, or None."""
        return self._given.get(name)

    def text(self, name: str, *, longest: int | None = None) -> str | None:
        """A text, or None where it was not given or is empty."""
        value = self._given.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise InvalidArgumentError(name, f"is text, not {type(value).__name__}")
        if longest is not None and len(value) > longest:
            raise InvalidArgumentError(name, f"has at most {longest:,} characters, not {len(value):,}")
        return storable(name, value)

    def required_text(self, name: str, *, longest: int) -> str:
        """A text that must be given."""
        value = self.text(name, longest=longest)
        if value is None:
            raise InvalidArgumentError(name, "is missing or empty")
        return value

    def flag(self, name: str) -> bool | None:
        """True, False, or None where it was not given."""
        value = self._given.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise InvalidArgumentError(name, f"is true or false, not {type(value).__name__}")

    def integer(self, name: str) -> int | None:
        """A whole number of 32 bits, or None where it was not given."""
        value = self._given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidArgumentError(name, f"is a whole number, not {type(value).__name__}")
        if abs(value) >= 1 << 31:
            raise InvalidArgumentError(name, "is out of range")
        return value

    def mapping(self, name: str) -> Mapping[Any, Any]:
        """An object, empty where it was not given."""
        value = self._given.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise InvalidArgumentError(name, f"is an object, not {type(value).__name__}")
        return value

    def data(self, name: str) -> dict[str, str]:
        """Texts by name, as push payloads carry them: what is no text is written as JSON (FCM takes texts only)."""
        data: dict[str, str] = {}
        for key, value in self.mapping(name).items():
            if not isinstance(key, str) or not key:
                raise InvalidArgumentError(name, "its names are texts that are not empty")
            storable(name, key)
            if isinstance(value, str):
                data[key] = storable(f"{name}.{key}", value)
                continue
            try:
                data[key] = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            except (TypeError, ValueError):
                raise InvalidArgumentError(f"{name}.{key}", "can't be written as JSON") from None
        return data


def storable(name: str, value: str) -> str:
    """`value`, or `InvalidArgumentError` where PostgreSQL or UTF-8 can't hold it (NUL, a lone surrogate)."""
    if "\0" in value:
        raise InvalidArgumentError(name, "contains the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(name, "contains half a surrogate pair, which is no character") from None
    return value


def no_line_break(name: str, value: str) -> str:
    """`value`, or `InvalidArgumentError`: a line break in a header would begin another header (RFC 5322 §2.2)."""
    if any(character in value for character in "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
        raise InvalidArgumentError(name, "contains a line break")
    return value
