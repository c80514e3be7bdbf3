"""How a command reaches the system."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging

DEFAULT_DATA_DIR = Path("data")

project: ContextVar[str | None] = ContextVar("project", default=None)
"""The project that `messaging --project` named; None: MESSAGING_PROJECT, or the stack's own."""


def connect(data_dir: Path | None) -> Messaging:
    """The client of the stack in `data_dir`, else of the environment's, else of `./data`; raises `SettingsError`."""
    from messaging.client.messaging import Messaging

    named = project.get()
    if data_dir is None and os.environ.get("MESSAGING_DATABASE_URL"):
        from messaging.settings import Settings

        return Messaging(Settings.load() if named is None else Settings.load(project=named))
    return Messaging.from_runtime(
        data_dir or DEFAULT_DATA_DIR, project=named or os.environ.get("MESSAGING_PROJECT") or None
    )


def database_url(data_dir: Path | None) -> str:
    """The database address, found as `connect` finds it; raises `SettingsError`."""
    url = os.environ.get("MESSAGING_DATABASE_URL")
    if data_dir is None and url:
        return url
    from messaging.client.runtime import read_runtime

    return read_runtime(data_dir or DEFAULT_DATA_DIR).database_url
