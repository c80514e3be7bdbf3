"""Files only their owner may read, written so that a reader sees the old or the new text, never half of one."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def write_private(path: Path, text: str) -> None:
    """Replace `path` with `text`, mode 0600, in one step that survives a crash."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp creates it 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def kept_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """The secret in `path`; made by `make` and written with mode 0600 where there is none yet."""
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    secret = make()
    write_private(path, secret + "\n")
    return secret
