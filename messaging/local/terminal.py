"""What `messaging up` tells people: a line per event, and a table of addresses when all is ready."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from messaging.local.first_operator import ConsoleSignIn
    from messaging.local.runtime import Runtime


class Terminal:
    """Prints, and keeps the same lines in `log`. A terminal that went away stops nothing."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, name: str, text: str) -> None:
        """One line about the part `name`."""
        with suppress(OSError):
            self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] [cyan]{name:<10}[/cyan] {escape(text)}")
        with suppress(OSError), self._log.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {name} {text}\n")

    def table(self, runtime: Runtime, directory: Path, sign_in: ConsoleSignIn | None = None) -> None:
        """The addresses, and where the secrets are: the table is safe to show, but for a password just made."""
        table = Table(title="Ready", show_header=False, title_justify="left")
        table.add_row("API", runtime.endpoint)
        table.add_row("Project", runtime.project)
        table.add_row("Console", runtime.console)
        if sign_in is not None:
            kept = sign_in.password if sign_in.is_new else f"in {directory / 'console.password'}"
            table.add_row("", f"sign in as {sign_in.email}, password {kept}")
        table.add_row("Flower", runtime.flower.partition("//")[0] + "//" + runtime.flower.rpartition("@")[2])
        if runtime.sandbox is not None:
            table.add_row("Sandbox", runtime.sandbox["control"] + "/inbox")
        table.add_row("API key, passwords", str(directory / "runtime.json"))
        table.add_row("Logs", str(directory / "logs"))
        with suppress(OSError):
            self._console.print(table)
            self._console.print("Stop with Ctrl-C.")
            sys.stdout.flush()
