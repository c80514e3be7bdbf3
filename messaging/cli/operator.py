"""`messaging operator …` and `messaging audit`: who may sign in to the console, and what they did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from messaging.cli import connection as chosen
from messaging.cli.audited import who
from messaging.cli.connection import database_url
from messaging.cli.options import DataDir, Json, Limit
from messaging.cli.output import note, print_json, print_table
from messaging.errors import InvalidArgumentError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from messaging.store.operators import OperatorView

app = typer.Typer(no_args_is_help=True)

Operator = Annotated[str, typer.Argument(metavar="OPERATOR", help="Address or id of the operator.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin, and ask nothing.")
]
Role = Annotated[
    str | None,
    typer.Option(
        "--role",
        help="viewer: look; operator: send, and change people; admin: everything. The first is admin, others operator.",
        show_default=False,
    ),
]


def register(main: typer.Typer) -> None:
    """Add these commands."""
    main.add_typer(app, name="operator", help="People who may sign in to the console.")
    main.command()(audit)


@app.command()
def add(
    email: Annotated[str, typer.Argument(help="Address the operator signs in with.")],
    *,
    role: Role = None,
    name: Annotated[str, typer.Option("--name", help="Name for people.", show_default=False)] = "",
    password_stdin: PasswordStdin = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Let somebody sign in to the console; asks for their password."""
    from messaging.store import operators

    password = _password(password_stdin)
    with _database(data_dir) as connection:
        may = role or ("operator" if operators.any_exist(connection) else "admin")
        made = operators.create(connection, email=email, password=password, role=may, name=name)
        _noted(connection, "operator.create", made)
    if json:
        print_json(_plain(made))
        return
    note(f"{made.email} may sign in, as {made.role}.")


@app.command("list")
def list_(*, data_dir: DataDir = None, json: Json = False) -> None:
    """List the operators, oldest first."""
    from messaging.store import operators

    with _database(data_dir) as connection:
        found = operators.listed(connection)
    if json:
        print_json([_plain(each) for each in found])
        return
    print_table(
        ("ID", "EMAIL", "NAME", "ROLE", "MAY SIGN IN", "LAST SIGNED IN"),
        ((each.id, each.email, each.name, each.role, each.enabled, each.seen_at) for each in found),
        empty="No operators. Add one with `messaging operator add`.",
    )


@app.command("set-password")
def set_password(operator: Operator, *, password_stdin: PasswordStdin = False, data_dir: DataDir = None) -> None:
    """Give an operator another password, and sign them out everywhere."""
    from messaging.store import operators

    password = _password(password_stdin)
    with _database(data_dir) as connection:
        found = operators.change(connection, operators.find(connection, operator), password=password)
        _noted(connection, "operator.password", found)
    note(f"{found.email} has another password, and is signed out.")


@app.command("set-role")
def set_role(
    operator: Operator,
    role: Annotated[str, typer.Argument(help="viewer, operator or admin.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Give an operator another role, and sign them out everywhere."""
    _change(operator, data_dir, role=role)


@app.command()
def enable(operator: Operator, *, data_dir: DataDir = None) -> None:
    """Let an operator sign in again."""
    _change(operator, data_dir, enabled=True)


@app.command()
def disable(operator: Operator, *, data_dir: DataDir = None) -> None:
    """Shut an operator out at once; what they did stays in the audit log."""
    _change(operator, data_dir, enabled=False)


@app.command()
def delete(operator: Operator, *, data_dir: DataDir = None) -> None:
    """Remove an operator; what they did stays in the audit log."""
    from messaging.store import operators

    with _database(data_dir) as connection:
        found = operators.find(connection, operator)
        operators.delete(connection, found)
        _noted(connection, "operator.delete", found)
    note(f"{found.email} may not sign in any more.")


def audit(
    *,
    project: Annotated[
        str | None, typer.Option("--project", help="What was done in this project.", show_default=False)
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", help="Go on before this number, the last shown.", show_default=False)
    ] = None,
    limit: Limit = 50,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show what operators did, the newest first."""
    from messaging.store import audit as log

    with _database(data_dir) as connection:
        found = log.listed(connection, project=project or chosen.project.get(), before=before, limit=limit)
    if json:
        print_json(found)
        return
    print_table(
        ("NUMBER", "AT", "WHO", "WHAT", "PROJECT", "TO", "DETAILS"),
        (
            (
                str(each.number),
                each.at,
                each.operator,
                each.action,
                each.project,
                each.subject,
                ", ".join(f"{name}: {value}" for name, value in each.details.items()),
            )
            for each in found
        ),
        empty="Nothing was done.",
    )


def _change(operator: str, data_dir: Path | None, *, role: str | None = None, enabled: bool | None = None) -> None:
    from messaging.store import operators

    with _database(data_dir) as connection:
        found = operators.change(connection, operators.find(connection, operator), role=role, enabled=enabled)
        _noted(connection, "operator.change", found)
    note(f"{found.email} is {found.role}, and may {'' if found.enabled else 'not '}sign in.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidArgumentError("--password-stdin", "there is no terminal to ask on; send the password to stdin")
    said: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return said


def _noted(connection: Connection, action: str, operator: OperatorView) -> None:
    from messaging.store import audit as log

    details = {"role": operator.role, "enabled": operator.enabled}
    log.note(connection, operator=who(), action=action, subject=operator.id, details=details)


def _plain(operator: OperatorView) -> dict[str, object]:
    from messaging.cli.output import plain

    shown: dict[str, object] = plain(operator)
    del shown["number"]  # our own number of it
    return shown


@contextmanager
def _database(data_dir: Path | None) -> Iterator[Connection]:
    """A transaction that commits at the end of the block."""
    from sqlalchemy import NullPool, create_engine

    from messaging.settings import sqlalchemy_url

    engine = create_engine(sqlalchemy_url(database_url(data_dir)), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
