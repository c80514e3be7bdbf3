"""`messaging user …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import After, DataDir, Json, Limit
from messaging.cli.output import note, plain, print_fields, print_json, print_table

app = typer.Typer(no_args_is_help=True)

_LATER = "What else names their addresses (receipts, providers' answers) is erased by a running stack within minutes."

UserId = Annotated[str, typer.Argument(help="Id of the user.")]


@app.command()
def add(
    user_id: Annotated[str | None, typer.Argument(help="Id; made up when left out.", show_default=False)] = None,
    *,
    name: Annotated[str, typer.Option("--name", help="Name for people.")] = "",
    email: Annotated[str | None, typer.Option("--email", help="Becomes an email target.")] = None,
    phone: Annotated[str | None, typer.Option("--phone", help="With country code; becomes an SMS target.")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Add a user, with targets for the addresses."""
    with connect(data_dir) as messaging:
        user = messaging.users.create(user_id, name=name, email=email, phone=phone)
        noted(messaging, "user.create", user.id)
    if json:
        print_json(user)
    else:
        print(user.id)


@app.command("list")
def list_(
    *,
    search: Annotated[str | None, typer.Option("--search", help="In id, name, email and phone.")] = None,
    limit: Limit = 100,
    after: After = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List users, oldest first."""
    with connect(data_dir) as messaging:
        found = messaging.users.list(search=search, limit=limit, after=after)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "NAME", "EMAIL", "PHONE", "CREATED"),
        ((u.id, u.name, u.email, u.phone, u.created_at) for u in found),
        empty="No users. Add one with `messaging user add`.",
    )


@app.command()
def show(user_id: UserId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Show a user and its targets."""
    with connect(data_dir) as messaging:
        user = messaging.users.get(user_id)
        targets = messaging.targets.list(user_id=user_id)
    if json:
        print_json({**plain(user), "targets": plain(targets)})
        return
    print_fields({"id": user.id, "name": user.name, "created": user.created_at})
    print_table(
        ("TARGET", "CHANNEL", "ADDRESS", "PROVIDER", "EXPIRED"),
        ((t.id, t.channel, t.identifier, t.provider_id, t.expired) for t in targets),
        empty="No targets.",
    )


@app.command()
def update(
    user_id: UserId,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Name for people.", show_default=False)] = None,
    email: Annotated[
        str | None, typer.Option("--email", help="Another address; '' takes it away, with its target.")
    ] = None,
    phone: Annotated[
        str | None, typer.Option("--phone", help="Another number; '' takes it away, with its target.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Change a user: what is named is replaced, the rest stays."""
    changes: dict[str, Any] = {
        field: value or None for field, value in (("email", email), ("phone", phone)) if value is not None
    }
    with connect(data_dir) as messaging:
        user = messaging.users.update(user_id, name=name, **changes)
        noted(messaging, "user.update", user.id)
    if json:
        print_json(user)
    else:
        note(f"User {user.id} is changed.")


@app.command()
def block(user_id: UserId, *, data_dir: DataDir = None) -> None:
    """Shut a user out of the HTTP API; messages still reach them."""
    _block(user_id, data_dir, blocked=True)
    note(f"User {user_id} may not sign in any more; messages still reach them.")


@app.command()
def unblock(user_id: UserId, *, data_dir: DataDir = None) -> None:
    """Let a user sign in again."""
    _block(user_id, data_dir, blocked=False)
    note(f"User {user_id} may sign in.")


@app.command()
def delete(user_id: UserId, *, data_dir: DataDir = None) -> None:
    """Erase a user: targets, subscriptions, sessions and every other trace of their addresses."""
    with connect(data_dir) as messaging:
        messaging.users.delete(user_id)
        noted(messaging, "user.erase", user_id)
    note(f"User {user_id} is gone. {_LATER}")


@app.command()
def erase(
    id_or_address: Annotated[str, typer.Argument(help="Id of the user, or their email address or phone number.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Erase whoever has an id or an address; an address of nobody's, too."""
    with connect(data_dir) as messaging:
        gone = messaging.users.erase(id_or_address)
        noted(messaging, "user.erase", ", ".join(gone))  # never what was asked for: it may be the address
    note(f"User {', '.join(gone)} is gone. {_LATER}" if gone else f"The address is gone. {_LATER}")


def _block(user_id: str, data_dir: Path | None, *, blocked: bool) -> None:
    with connect(data_dir) as messaging:
        messaging.users.block(user_id, blocked=blocked)
        noted(messaging, "user.block", user_id, blocked=blocked)
