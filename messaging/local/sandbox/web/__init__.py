"""Stand-ins that are plain HTTP/1.1 under a path of their own, `/<kind>/…`: one module a kind.

A module defines ``STAND_IN``, a `StandIn`. It is found by its name; nothing else has to be told of it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from messaging.local.sandbox.stand_in import StandIn


def names() -> tuple[str, ...]:
    """The kinds there are, in alphabetical order; imports none of them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def stand_in(name: str) -> StandIn:
    """The stand-in of that kind."""
    return cast("StandIn", import_module(f"{__name__}.{name}").STAND_IN)
