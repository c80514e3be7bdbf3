"""Words a caller may give as text: a channel, a lane or a status."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from messaging.errors import InvalidArgumentError

Word = TypeVar("Word", bound=StrEnum)


def word(kind: type[Word], argument: str, value: str) -> Word:
    """The member of `kind` that `value` names; raises `InvalidArgumentError` listing those there are."""
    try:
        return kind(value)
    except ValueError:
        raise InvalidArgumentError(argument, f"'{value}' is none of {', '.join(kind)}") from None


def optional_word(kind: type[Word], argument: str, value: str | None) -> Word | None:
    """The same, None where nothing was given."""
    return None if value is None else word(kind, argument, value)
