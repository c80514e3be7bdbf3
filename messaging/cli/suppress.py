"""`messaging suppress …`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from messaging.channel import Channel
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json, Limit
from messaging.cli.output import note, plain, print_json, print_table, progress_bar
from messaging.errors import InvalidArgumentError

if TYPE_CHECKING:
    from messaging.store.suppression_import import ImportProgress, ImportResult

INVALID_SHOWN = 20

app = typer.Typer(no_args_is_help=True)

ChannelName = Annotated[Channel, typer.Argument(help="push, email or sms.")]
Address = Annotated[str, typer.Argument(help="The address as it is written to.")]
Bulk = Annotated[bool, typer.Option("--bulk", help="Newsletters only; a password code still goes out.")]


@app.command()
def add(
    channel: ChannelName,
    address: Address,
    *,
    bulk: Bulk = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever asks later.")] = "by hand",
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Write no more to an address."""
    with connect(data_dir) as messaging:
        entry = messaging.suppressions.add(channel, address, scope=_scope(bulk=bulk), reason=reason)
        noted(messaging, "suppression.add", entry.id, channel=entry.channel, scope=entry.scope)
    if json:
        print_json(entry)
    else:
        note(f"Suppressed: {entry.scope}.")


@app.command("list")
def list_(
    *,
    channel: Annotated[Channel | None, typer.Option("--channel", help="Of this channel only.")] = None,
    scope: Annotated[str | None, typer.Option("--scope", help="everything or bulk only.", show_default=False)] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", help="Whose reason begins so, e.g. complained.", show_default=False),
    ] = None,
    limit: Limit = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Leave out so many, the newest.")] = 0,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List the entries, newest first. Addresses are kept as keyed hashes only."""
    with connect(data_dir) as messaging:
        found = messaging.suppressions.list(channel=channel, scope=scope, reason=reason, limit=limit, offset=offset)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "CHANNEL", "SCOPE", "REASON", "SINCE"),
        ((s.id, s.channel, s.scope, s.reason, s.created_at) for s in found),
        empty="Nothing is suppressed.",
    )


@app.command()
@app.command("show", hidden=True)  # what it was called first
def find(channel: ChannelName, address: Address, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Say whether an address is suppressed; exits with 1 if it is not."""
    with connect(data_dir) as messaging:
        entry = messaging.suppressions.find(channel, address)
    if json:
        print_json(entry)
    elif entry is not None:
        print_table(
            ("ID", "SCOPE", "REASON", "SINCE"), [(entry.id, entry.scope, entry.reason, entry.created_at)], empty=""
        )
    else:
        note("Not suppressed.")
    if entry is None:
        raise typer.Exit(1)


@app.command()
@app.command("remove", hidden=True)  # what it was called first
def lift(
    what: Annotated[str, typer.Argument(metavar="ID|CHANNEL", help="Id of the entry; or push, email or sms.")],
    address: Annotated[
        str | None, typer.Argument(help="After a channel: the address as it is written to.", show_default=False)
    ] = None,
    *,
    data_dir: DataDir = None,
) -> None:
    """Write to an address again, named by itself or by the id of its entry."""
    with connect(data_dir) as messaging:
        if address is None:
            messaging.suppressions.lift(what)
            gone = True
        else:
            gone = messaging.suppressions.remove(what, address)
        if gone:
            noted(messaging, "suppression.lift", what)
    note("Taken off the list." if gone else "It was not on the list.")


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="UTF-8 (- is stdin); its first line names email, phone or token, or address and channel; and any of"
            " scope and reason.",
        ),
    ],
    *,
    bulk: Annotated[bool, typer.Option("--bulk", help="Newsletters only, where a row names no scope.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, where a row gives no reason.")] = "imported",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a line could not be used.")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Write no more to any address of a file."""
    if str(file) != "-" and not file.exists():
        raise InvalidArgumentError("FILE", f"there is no file {file}")
    progress, task = progress_bar("Suppressing")

    def moved(so_far: ImportProgress) -> None:
        elapsed_s = progress.tasks[0].elapsed or 0
        rate = f"{so_far.rows / elapsed_s:,.0f} rows/s" if elapsed_s else ""
        invalid = f", {so_far.invalid:,} invalid" if so_far.invalid else ""
        progress.update(task, completed=so_far.rows, rate=rate + invalid)

    with connect(data_dir) as messaging, progress:
        result = messaging.suppressions.import_csv(
            sys.stdin if str(file) == "-" else file, scope=_scope(bulk=bulk), reason=reason, progress=moved
        )
        noted(messaging, "suppression.import", rows=result.rows, added=result.added, invalid=result.invalid_total)
    _report(result, json=json)
    if strict and result.invalid_total:
        raise typer.Exit(1)


def _report(result: ImportResult, *, json: bool) -> None:
    if json:
        print_json({**plain(result), "rows": result.rows, "rows_per_s": round(result.rows_per_s)})
        return
    print_table(
        ("ROWS", "ADDED", "RAISED", "ALREADY", "INVALID", "SECONDS", "ROWS/S"),
        [
            (
                result.rows,
                result.added,
                result.raised,
                result.already,
                result.invalid_total,
                f"{result.seconds:.1f}",
                round(result.rows_per_s),
            )
        ],
        empty="",
    )
    for line, why in result.invalid[:INVALID_SHOWN]:
        note(f"  line {line}: {why}")
    hidden = result.invalid_total - min(len(result.invalid), INVALID_SHOWN)
    if hidden > 0:
        note(f"  and {hidden:,} more; --json lists the first 100.")


def _scope(*, bulk: bool) -> str:
    return "bulk" if bulk else "everything"
