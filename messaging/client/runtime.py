"""Where a running stack is: `runtime.json` and `secret.key` of its data directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from messaging.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a client needs to reach a stack. Secrets don't print."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    project: str
    callback_url: str | None = None
    """Where the stack's stand-ins report to; None where it speaks to real providers."""


def read_runtime(path: str | os.PathLike[str]) -> Runtime:
    """The stack of a data directory (or of its `runtime.json`).

    The secret key is `MESSAGING_SECRET_KEY`, else `secret.key` beside it. Raises `SettingsError` that says
    what is missing.
    """
    file = Path(path)
    if file.is_dir() or file.suffix != ".json":
        file /= "runtime.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"No stack runs in {file.parent}: there is no {file.name}."
            f" Start one with `messaging up --data-dir {file.parent}`, or set MESSAGING_DATABASE_URL,"
            " MESSAGING_BROKER_URL and MESSAGING_SECRET_KEY."
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"Can't read {file}: {error}. Check its owner, or start the stack again.") from None
    secret = os.environ.get("MESSAGING_SECRET_KEY")
    if not secret:
        try:
            secret = (file.parent / "secret.key").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"Can't read the secret key {file.parent / 'secret.key'}: {error.strerror}. Set MESSAGING_SECRET_KEY."
            ) from None
    try:
        return Runtime(
            database_url=found["database_url"],
            broker_url=found["broker_url"],
            secret_key=secret,
            project=found.get("project", "default"),
            callback_url=found["endpoint"].removesuffix("/v1")
            if found.get("sandbox") and "endpoint" in found
            else None,
        )
    except (KeyError, TypeError, AttributeError):
        raise SettingsError(f"{file} names no database_url and broker_url. Start the stack again.") from None
