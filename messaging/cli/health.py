"""`messaging health`: a probe for supervisors. 0: the process is well, 1: it is not, with one line on stderr.

It is asked every few seconds, so it imports next to nothing and asks nobody but the process itself.
"""

from __future__ import annotations

import time
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer

from messaging.errors import MessagingError

_TIMEOUT_S = 4.0
_BEATS_S = 30.0
"""Beat writes its file every second."""

_LEAST_S = 10.0
"""A process that is not heard of for less than this may merely have had no turn."""


class Role(StrEnum):
    """Whose health it is."""

    WORKER = "worker"
    BEAT = "beat"
    API = "api"
    FLOWER = "flower"


_PORTS = {Role.API: 8080, Role.FLOWER: 5555}


class UnhealthyError(MessagingError):
    """The process is not well: it should be given no work, or be started again."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(health)


def health(
    *,
    role: Annotated[Role, typer.Option("--role", help="Which kind of process is asked.")] = Role.WORKER,
    file: Annotated[
        Path | None,
        typer.Option("--file", envvar="MESSAGING_READY_FILE", help="The file a worker, or beat, writes."),
    ] = None,
    watchdog_s: Annotated[
        float, typer.Option("--watchdog", envvar="MESSAGING_WATCHDOG_S", help="The worker's own setting.")
    ] = 120.0,
    port: Annotated[int | None, typer.Option("--port", help="Of the API, or of Flower, on this machine.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Only whether the API lives, whatever its servers do.")] = False,
) -> None:
    """Say by the exit code whether a process of this machine is well. For probes of containers and supervisors."""
    match role:
        case Role.WORKER:
            # it is written again eight times within the watchdog's limit, as long as the main process moves
            look_at(file, freshest_s=max(watchdog_s, _LEAST_S) if watchdog_s else None)
        case Role.BEAT:
            look_at(file, freshest_s=_BEATS_S)
        case Role.API:
            ask(port or _PORTS[role], "/health/live" if live else "/health/ready", password_is_fine=False)
        case Role.FLOWER:
            ask(port or _PORTS[role], "/healthcheck", password_is_fine=True)


def look_at(file: Path | None, *, freshest_s: float | None) -> None:
    """Raise `UnhealthyError` unless the file is there, written in the last `freshest_s` seconds (None: ever)."""
    if file is None:
        raise UnhealthyError(
            "No file is named. Set MESSAGING_READY_FILE for the process and for this command, or --file."
        )
    try:
        age_s = time.time() - file.stat().st_mtime
    except OSError:
        raise UnhealthyError(f"It is not ready: there is no {file}. It is starting, stopping, or ended.") from None
    if freshest_s is not None and age_s > freshest_s:
        raise UnhealthyError(f"It stands still: {file} was written {age_s:.0f} s ago. Start the process again.")


def ask(port: int, path: str, *, password_is_fine: bool) -> None:
    """Raise `UnhealthyError` unless the server on this machine answers with success, or asks for a password."""
    import http.client  # of this command alone, and a tenth of what it costs

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(2000).decode(errors="replace")
    except OSError as error:
        raise UnhealthyError(f"Nobody answers at port {port} ({type(error).__name__}).") from None
    except http.client.HTTPException as error:
        raise UnhealthyError(f"What answers at port {port} is no HTTP server ({type(error).__name__}).") from None
    finally:
        connection.close()
    if answer.status == HTTPStatus.UNAUTHORIZED and password_is_fine:
        return
    if answer.status != HTTPStatus.OK:
        raise UnhealthyError(f"{path} at port {port} answers {answer.status}: {body.strip() or answer.reason}")
