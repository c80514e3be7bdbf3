"""`messaging quarantine list|replay`."""

from __future__ import annotations

from typing import Annotated

import typer

from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json, Limit
from messaging.cli.output import note, print_json, print_table
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError

_MOST = 1000

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(*, limit: Limit = 25, data_dir: DataDir = None, json: Json = False) -> None:
    """Show what ended one worker after the other and was put aside, newest first."""
    with connect(data_dir) as messaging:
        found = messaging.quarantine.list(limit=limit)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "WHAT", "MESSAGE OR TASK", "TARGET", "DELIVERIES", "SINCE", "WHY"),
        (
            (
                entry.id,
                entry.what.replace("_", "-"),
                entry.message_id or entry.task_id,
                entry.target_id,
                entry.deliveries or None,
                entry.at,
                entry.reason,
            )
            for entry in found
        ),
        empty="Nothing is in quarantine.",
    )


@app.command()
def replay(
    entry_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of entries.", show_default=False)
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help=f"Everything there is, up to {_MOST:,} entries.")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Try again what was put aside. What still ends its worker is put aside again."""
    if bool(entry_ids) is all_:
        raise InvalidArgumentError("ID", "name one or more entries of `messaging quarantine list`, or --all")
    done: dict[str, int] = {}
    refused: dict[str, str] = {}
    with connect(data_dir) as messaging:
        for entry_id in entry_ids or [entry.id for entry in messaging.quarantine.list(limit=_MOST)]:
            try:
                done[entry_id] = messaging.quarantine.replay(entry_id)
                noted(messaging, "quarantine.replay", entry_id, deliveries=done[entry_id])
            except (ConflictError, NotFoundError) as error:
                refused[entry_id] = str(error)
    if json:
        print_json({"replayed": done, "refused": refused})
    else:
        note(f"{len(done):,} replayed: {sum(done.values()):,} deliveries are queued again.")
        for entry_id, reason in refused.items():
            note(f"  {entry_id}: {reason}")
    if refused:
        raise typer.Exit(1)
