"""`messaging suppress …`."""

from __future__ import annotations

from typing import Annotated

import typer

from messaging.channel import Channel
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json, Limit
from messaging.cli.output import note, print_json, print_table

app = typer.Typer(no_args_is_help=True)

ChannelName = Annotated[Channel, typer.Argument(help="push, email or sms.")]
Address = Annotated[str, typer.Argument(help="The address as it is written to.")]


@app.command()
def add(
    channel: ChannelName,
    address: Address,
    *,
    bulk: Annotated[bool, typer.Option("--bulk", help="Newsletters only; a password code still goes out.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever asks later.")] = "",
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Write no more to an address."""
    with connect(data_dir) as messaging:
        entry = messaging.suppressions.add(
            channel, address, scope="bulk" if bulk else "everything", reason=reason or "by hand"
        )
    if json:
        print_json(entry)
    else:
        note(f"Suppressed: {entry.scope}.")


@app.command("list")
def list_(
    *,
    channel: Annotated[Channel | None, typer.Option("--channel", help="Of this channel only.")] = None,
    limit: Limit = 100,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List the entries, newest first. Addresses are kept as keyed hashes only."""
    with connect(data_dir) as messaging:
        found = messaging.suppressions.list(channel=channel, limit=limit)
    if json:
        print_json(found)
        return
    print_table(
        ("CHANNEL", "ADDRESS HASH", "SCOPE", "REASON", "SINCE"),
        ((s.channel, s.address_hash, s.scope, s.reason, s.created_at) for s in found),
        empty="Nothing is suppressed.",
    )


@app.command()
def show(channel: ChannelName, address: Address, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Say whether an address is suppressed; exits with 1 if it is not."""
    with connect(data_dir) as messaging:
        entry = messaging.suppressions.find(channel, address)
    if json:
        print_json(entry)
    elif entry is not None:
        print(f"{entry.scope}  {entry.reason}")
    else:
        note("Not suppressed.")
    if entry is None:
        raise typer.Exit(1)


@app.command()
def remove(channel: ChannelName, address: Address, *, data_dir: DataDir = None) -> None:
    """Write to an address again."""
    with connect(data_dir) as messaging:
        gone = messaging.suppressions.remove(channel, address)
    note("Taken off the list." if gone else "It was not on the list.")
