"""`messaging project …` and `messaging key …`: the tenants, and the keys that open the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json
from messaging.cli.output import note, plain, print_json, print_table
from messaging.cli.times import parse_time
from messaging.errors import InvalidArgumentError

app = typer.Typer(no_args_is_help=True)
keys = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    project_id: Annotated[str, typer.Argument(help="Id of the project.")],
    *,
    name: Annotated[str | None, typer.Option("--name", help="Name for people; the id by default.")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Add a project: people, topics, providers and messages of its own."""
    with connect(data_dir) as messaging:
        project = messaging.projects.create(project_id, name=name)
        noted(messaging, "project.create", project.id)
    if json:
        print_json(project)
        return
    print(project.id)
    note(f"Name it with `messaging --project {project.id} …`. Its tasks go to the queue messaging.{project.id}.")


@app.command("list")
def list_(*, data_dir: DataDir = None, json: Json = False) -> None:
    """List the projects, oldest first."""
    with connect(data_dir) as messaging:
        found = messaging.projects.list()
    if json:
        print_json(found)
        return
    print_table(("ID", "NAME", "CREATED"), ((p.id, p.name, p.created_at) for p in found), empty="No projects.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Name for people: which service uses it.")],
    *,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may do, e.g. messages.write; repeatable. All, when left out."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="When it ends: 2027-01-01T00:00, or +90d.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create an API key; its secret is printed this once."""
    _check_scopes(scopes or [])
    expires_at = None if expires is None else parse_time(expires, argument="--expires")
    with connect(data_dir) as messaging:
        key, secret = messaging.keys.create(name, scopes=scopes or (), expires_at=expires_at)
        noted(messaging, "key.create", key.id, scopes=scopes or "all", expires=expires_at)
    if json:
        print_json({**_key(key), "secret": secret})
        return
    note(f"Key {key.id} of the project {key.project_id}. Nobody can show the secret again:")
    print(secret)


@keys.command("list")
def list_keys(*, data_dir: DataDir = None, json: Json = False) -> None:
    """List the API keys of the project, without their secrets."""
    with connect(data_dir) as messaging:
        found = messaging.keys.list()
    if json:
        print_json([_key(key) for key in found])
        return
    print_table(
        ("ID", "NAME", "SCOPES", "EXPIRES", "CREATED"),
        ((key.id, key.name, key.scopes or "all", key.expires_at, key.created_at) for key in found),
        empty="No API keys. Create one with `messaging key create`.",
    )


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")], *, data_dir: DataDir = None) -> None:
    """Let an API key open nothing from now on."""
    with connect(data_dir) as messaging:
        messaging.keys.revoke(key_id)
        noted(messaging, "key.revoke", key_id)
    note(f"Key {key_id} is revoked. A process of the API that used it a moment ago forgets it within seconds.")


def _key(key: object) -> dict[str, object]:
    shown: dict[str, object] = plain(key)
    del shown["project"]  # our own number of it
    return shown


def _check_scopes(given: list[str]) -> None:
    if not given:
        return
    from messaging.http.surface import OPERATIONS

    known = sorted({scope for operation in OPERATIONS for scope in operation.scopes})
    for scope in given:
        if scope not in known:
            raise InvalidArgumentError("--scope", f"'{scope}' is none of {', '.join(known)}")
