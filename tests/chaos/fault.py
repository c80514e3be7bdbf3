"""One entry of the fault table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.field import Field
from tests.chaos.oracle import Verdict


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong, and how it is brought about."""

    number: str
    """Its number in the table, F1 to F18, with a letter where one number has several."""
    title: str
    run: Callable[[Field], Verdict]
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings it needs; one with any gets a stack of its own."""
