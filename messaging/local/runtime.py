"""`DIR/runtime.json`: where a running stack can be reached, for scripts and tests."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from messaging.local.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "runtime.json"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Addresses, credentials and process ids of a running stack. `sandbox` is None where there is none."""

    endpoint: str
    project: str
    api_key: str
    console: str
    flower: str
    database_url: str
    broker_url: str
    sandbox: Mapping[str, str] | None
    processes: Mapping[str, int]
    console_email: str | None = None
    console_password: str | None = None
    """Of the operator that the stack made; None where others look after that."""

    def write(self, directory: Path) -> None:
        """Replace the file in `directory`, mode 0600."""
        write_private(directory / FILE_NAME, json.dumps(asdict(self), indent=2) + "\n")


def read_runtime(directory: Path) -> Runtime:
    """What the stack on `directory` wrote. Raises FileNotFoundError while none runs there."""
    return Runtime(**json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))
