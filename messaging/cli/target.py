"""`messaging target …`."""

from __future__ import annotations

from typing import Annotated

import typer

from messaging.channel import Channel
from messaging.cli import completion
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import After, DataDir, Json, Limit
from messaging.cli.output import note, print_fields, print_json, print_table

app = typer.Typer(no_args_is_help=True)

TargetId = Annotated[str, typer.Argument(help="Id of the target.")]


@app.command()
def add(
    channel: Annotated[Channel, typer.Argument(help="push, email or sms.")],
    identifier: Annotated[str, typer.Argument(help="Device token, email address or phone number.")],
    *,
    user: Annotated[str | None, typer.Option("--user", help="Id of its user.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Id of its provider.")] = None,
    target_id: Annotated[str | None, typer.Option("--id", help="Id; made up when left out.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name for people, e.g. of the device.")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Register an address; one that was registered before moves to this user."""
    with connect(data_dir) as messaging:
        target = messaging.targets.create(
            identifier, channel=channel, user_id=user, provider_id=provider, target_id=target_id, name=name
        )
        noted(messaging, "target.create", target.id)
    if json:
        print_json(target)
    else:
        print(target.id)


@app.command("list")
def list_(
    *,
    user: Annotated[str | None, typer.Option("--user", help="Of this user only.")] = None,
    channel: Annotated[Channel | None, typer.Option("--channel", help="Of this channel only.")] = None,
    limit: Limit = 100,
    after: After = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List targets, oldest first."""
    with connect(data_dir) as messaging:
        found = messaging.targets.list(user_id=user, channel=channel, limit=limit, after=after)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "CHANNEL", "ADDRESS", "USER", "PROVIDER", "EXPIRED"),
        ((t.id, t.channel, t.identifier, t.user_id, t.provider_id, t.expired) for t in found),
        empty="No targets. Add one with `messaging target add`.",
    )


@app.command()
def show(target_id: TargetId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Show a target."""
    with connect(data_dir) as messaging:
        target = messaging.targets.get(target_id)
    if json:
        print_json(target)
        return
    print_fields(
        {
            "id": target.id,
            "channel": target.channel,
            "address": target.identifier,
            "name": target.name,
            "user": target.user_id,
            "provider": target.provider_id,
            "expired": target.expired,
            "created": target.created_at,
        }
    )


@app.command()
def update(
    target_id: TargetId,
    *,
    identifier: Annotated[
        str | None, typer.Option("--address", help="Another address; a dead target lives again.", show_default=False)
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", help="Another provider.", show_default=False, autocompletion=completion.providers),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name for people.", show_default=False)] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Change a target: what is named is replaced, the rest stays."""
    with connect(data_dir) as messaging:
        target = messaging.targets.update(target_id, identifier=identifier, provider_id=provider, name=name)
        noted(messaging, "target.update", target.id)
    if json:
        print_json(target)
    else:
        note(f"Target {target.id} is changed.")


@app.command()
def delete(target_id: TargetId, *, data_dir: DataDir = None) -> None:
    """Remove a target and its subscriptions."""
    with connect(data_dir) as messaging:
        messaging.targets.delete(target_id)
        noted(messaging, "target.delete", target_id)
    note(f"Target {target_id} is gone.")
