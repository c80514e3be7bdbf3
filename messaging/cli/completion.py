"""What the shell offers when somebody presses Tab: ids that are few, such as topics and providers.

Nothing is said where the system can't be reached: a shell has no place for an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging

_MOST = 200
_CONNECT_S = "2"


def topics(incomplete: str) -> list[tuple[str, str]]:
    """Ids of topics, with their names."""
    return _asked(incomplete, lambda it: [(topic.id, topic.name) for topic in it.topics.list(limit=_MOST)])


def providers(incomplete: str) -> list[tuple[str, str]]:
    """Ids of providers, with their kinds."""
    return _asked(incomplete, lambda it: [(found.id, found.kind) for found in it.providers.list(limit=_MOST)])


def messages(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest messages, with their states."""
    return _asked(incomplete, lambda it: [(m.id, f"{m.channel} {m.state}") for m in it.list(limit=25)])


def kinds(incomplete: str) -> list[tuple[str, str]]:
    """Kinds of provider, with their titles."""
    from messaging.catalog import KINDS

    return [(kind.name, kind.title) for kind in KINDS.values() if kind.name.startswith(incomplete)]


def recipients(incomplete: str) -> list[tuple[str, str]]:
    """`topic:` and the ids of topics; people and targets are too many."""
    return [(f"topic:{topic}", name) for topic, name in topics(incomplete.removeprefix("topic:"))]


def _asked(incomplete: str, ask: Callable[[Messaging], Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    from messaging.cli.connection import connect

    os.environ.setdefault("PGCONNECT_TIMEOUT", _CONNECT_S)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), connect(None) as messaging:
            return [(name, about) for name, about in ask(messaging) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001  whatever it is, the next command says it
        return []
