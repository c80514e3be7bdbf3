"""`messaging inbox`: what the stand-ins for the providers received, as its readers would see it."""

from __future__ import annotations

import json as json_module
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import typer

from messaging.cli.connection import DEFAULT_DATA_DIR
from messaging.cli.options import Json
from messaging.cli.output import print_json, print_table
from messaging.errors import MessagingError

_TIMEOUT_S = 10
_MOST = 500

Directory = Annotated[Path, typer.Option("--data-dir", help="Data directory of a stack that runs with --sandbox.")]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(inbox)


def inbox(
    *,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="Of this stand-in only, as the column BY names it.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST, help="At most so many.")] = 25,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Leave out so many, the newest.")] = 0,
    data_dir: Directory = DEFAULT_DATA_DIR,
    json: Json = False,
) -> None:
    """Show what the sandbox received, newest first, as phones and mailboxes would show it."""
    found = _ask(_control(data_dir), {"limit": limit, "offset": offset, **({"protocol": protocol} if protocol else {})})
    if json:
        print_json(found)
        return
    print_table(
        ("AT", "BY", "TO", "SAYS"),
        ((_at(each["at"]), each["protocol"], each["recipient"], _says(each)) for each in found),
        empty="Nothing was received (yet).",
    )


def _control(data_dir: Path) -> str:
    file = data_dir / "runtime.json"
    try:
        sandbox = json_module.loads(file.read_text(encoding="utf-8")).get("sandbox")
    except FileNotFoundError:
        sandbox = None
    if not sandbox:
        raise MessagingError(
            f"No sandbox runs in {data_dir}. Start one: `messaging up --sandbox --data-dir {data_dir}`."
        )
    return str(sandbox["control"])


def _ask(control: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
    opener = build_opener(ProxyHandler({}))  # it is on this machine
    try:
        with opener.open(f"{control}/inbox?{urlencode(parameters)}", timeout=_TIMEOUT_S) as answer:
            found: list[dict[str, Any]] = json_module.load(answer)["messages"]
            return found
    except HTTPError as error:
        with error:
            said = json_module.loads(error.read() or b"{}").get("error", error.reason)
        raise MessagingError(f"The sandbox says: {said}.") from None
    except URLError as error:
        raise MessagingError(f"The sandbox at {control} does not answer ({error.reason}). Is the stack up?") from None


def _at(value: object) -> object:
    return datetime.fromtimestamp(value).astimezone() if isinstance(value, (int, float)) else value


def _says(each: dict[str, Any]) -> str:
    """What a person reads first of it."""
    parts = (each.get(name) for name in ("title", "subject", "body", "text"))
    return " ".join(" ".join(str(part) for part in parts if part).split())
