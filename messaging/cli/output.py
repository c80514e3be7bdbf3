"""What commands print: tables for people, JSON for scripts. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

_PIPED_WIDTH = 1000

if TYPE_CHECKING:
    from rich.progress import Progress


def print_json(value: object) -> None:
    """Print `value` (views included) as indented JSON."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: object) -> Any:  # noqa: ANN401  JSON
    """`value` as JSON can hold it: views become objects without their internal fields, times ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = (each.name for each in fields(value) if not each.metadata.get("internal"))
        return {name: plain(getattr(value, name)) for name in shown}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, date):  # a time is one, too
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings, or the sentence `empty` on stderr where there are none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: an address may contain square brackets
        table.add_row(*(Text(shown(cell)) for cell in row))
    if not table.row_count:
        note(empty)
        return
    # piped, a line is one row however long it is
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values of one object."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print(f"{name:<{width}}  {shown(value)}")


def shown(value: object) -> str:
    """A value as a person reads it: local time, yes and no, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return "".join(character if character.isprintable() else "�" for character in str(value))


def note(sentence: str) -> None:
    """A sentence for the person, on stderr."""
    print(sentence, file=sys.stderr)


def progress_bar(description: str) -> tuple[Progress, Any]:
    """A progress bar on stderr (nothing is drawn where that is no terminal) and its task."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    return progress, progress.add_task(description, total=None, rate="")
