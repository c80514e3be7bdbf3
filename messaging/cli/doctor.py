"""`messaging doctor`: what is wrong with this installation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import typer

from messaging.cli.connection import DEFAULT_DATA_DIR
from messaging.cli.options import DataDir, Json
from messaging.cli.output import note, print_json, shown

if TYPE_CHECKING:
    from messaging.doctor.finding import Finding

_STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red", "skipped": "dim"}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(doctor)


def doctor(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Say what is wrong with this installation, and what to do; exits with 1 if anything is broken."""
    from messaging.doctor.examine import examine

    with _waiting():
        found = examine(data_dir, default=DEFAULT_DATA_DIR)
    broken = sum(each.state == "broken" for each in found)
    if json:
        print_json({"broken": broken, "checks": found})
    else:
        _draw(found)
        warnings = sum(each.state == "warning" for each in found)
        note(f"{len(found)} checks: {broken} broken, {warnings} to look at.")
    if broken:
        raise typer.Exit(1)


def _waiting() -> AbstractContextManager[object]:
    """Listening for workers takes some seconds: a sign of life on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.status("Looking…") if console.is_terminal else nullcontext()


def _draw(found: list[Finding]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("CHECK", "STATE", "FOUND", "WHAT TO DO"):
        table.add_column(column, overflow="fold")
    for each in found:
        state = Text(each.state, _STYLES[each.state])
        table.add_row(each.check, state, Text(shown(each.found)), Text(shown(each.advice)))
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)
