"""`messaging up`, `api`, `sandbox`, `migrate`: the processes themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from messaging.cli.options import DataDir

Directory = Annotated[Path, typer.Option("--data-dir", help="Where the stack keeps its data.")]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port of the API; a free one by default.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(up)
    app.command()(api)
    app.command()(sandbox)
    app.command()(migrate)


def up(
    *,
    data_dir: Directory = Path("data"),
    port: Port = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="Also start stand-ins for the providers.")
    ] = False,
    flower_events: Annotated[
        bool, typer.Option("--flower-events/--no-flower-events", help="Let Flower see every task as it happens.")
    ] = False,
) -> None:
    """Run the whole stack on this machine until Ctrl-C."""
    from messaging.local.up import Options
    from messaging.local.up import up as run

    raise typer.Exit(run(Options(data_dir=data_dir, port=port, sandbox=sandbox, flower_events=flower_events)))


def api(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve the HTTP API and the console (one process of the stack)."""
    from messaging.console.app import create_app
    from messaging.http.serve import run_api
    from messaging.settings import Settings

    run_api(create_app(Settings.load()), host, port)


def sandbox(
    *,
    data_dir: Directory = Path("data"),
    ports_file: Annotated[
        Path | None, typer.Option("--ports-file", help="JSON object of ports by name.", show_default=False)
    ] = None,
) -> None:
    """Run the stand-ins for the providers alone."""
    from messaging.local.sandbox.server import main

    ports = [] if ports_file is None else ["--ports-file", str(ports_file)]
    raise typer.Exit(main(["--data-dir", str(data_dir), *ports]))


def migrate(*, data_dir: DataDir = None) -> None:
    """Bring the database's schema up to date."""
    from messaging.cli.connection import database_url
    from messaging.cli.output import note
    from messaging.store.migrate import upgrade

    upgrade(database_url(data_dir))
    note("The database is up to date.")
