"""`messaging provider check|start|pace|log|receipts`: what an operator sees of an account, and does for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from messaging.cli import completion
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json, Limit, ProviderId
from messaging.cli.output import note, plain, print_fields, print_json, print_table, shown
from messaging.errors import MessagingError

if TYPE_CHECKING:
    from rich.table import Table

    from messaging.client.messaging import Messaging
    from messaging.store.provider_checks import CheckView

_WAIT_S = 90.0
_MOST = 1000
_COLUMNS = ("STEP", "STATE", "TOOK", "DETAIL")
_STYLES = {"passed": "green", "failed": "red", "waiting": "yellow", "skipped": "dim"}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (check, start, pace, log, receipts):
        app.command()(command)


def check(
    provider_id: ProviderId,
    *,
    send_to: Annotated[
        str | None,
        typer.Option("--send-to", metavar="ADDRESS", help="Send a real test message there.", show_default=False),
    ] = None,
    start: Annotated[  # the name of the option, and of a command of ours
        bool, typer.Option("--start", help="Start a stopped provider whose credentials are good.")
    ] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Ask a provider whether it takes the account; with --send-to, follow a real message to its receipt."""
    with connect(data_dir) as messaging:
        if start and messaging.providers.get(provider_id).stopped_at is not None:
            done = _checked(messaging, provider_id)
            if done.outcome == "passed":
                messaging.providers.start(provider_id)
                noted(messaging, "provider.start", provider_id)
                note(f"Provider {provider_id} is started.")
            if done.outcome != "passed" or send_to is None:
                _report(done, json=json)
                return
        done = _checked(messaging, provider_id, send_to)
        stopped = messaging.providers.get(provider_id).stopped_at is not None
    _report(done, json=json, stopped=stopped)


def start(provider_id: ProviderId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Let a stopped provider work again."""
    with connect(data_dir) as messaging:
        before = messaging.providers.get(provider_id)
        provider = messaging.providers.start(provider_id)
        noted(messaging, "provider.start", provider_id)
    if json:
        print_json(provider)
        return
    note(f"Provider {provider_id} {'works again' if before.stopped_at is not None else 'was not stopped'}.")
    if not provider.enabled:
        note(f"It is disabled: enable it with `messaging provider enable {provider_id}`.")


def pace(
    provider_id: Annotated[
        str | None,
        typer.Argument(
            help="Id of the provider; all of them when left out.",
            show_default=False,
            autocompletion=completion.providers,
        ),
    ] = None,
    *,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show how fast providers may go at this moment, and which wait because one asked for a pause."""
    with connect(data_dir) as messaging:
        named = None if provider_id is None else messaging.providers.get(provider_id)
        accounts = messaging.providers.list(limit=_MOST) if named is None else [named]
        found = messaging.providers.paces(accounts)
    if found is None:
        raise MessagingError(
            "How fast providers go is not known: no Redis paces them, or it does not answer. See `messaging doctor`."
        )
    if json:
        print_json({each: plain(state) for each, state in found.items()})
        return
    print_table(
        ("ID", "A SECOND", "AT ONCE NOW", "SENT TODAY", "PAUSED UNTIL"),
        (
            (
                each,
                "as fast as it goes" if state.rate is None else f"{state.rate:g}",
                None if state.tokens is None else f"{state.tokens:,.0f}",
                state.sent_today,
                state.paused_until,
            )
            for each, state in sorted(found.items())
        ),
        empty="No providers. Add one with `messaging provider add`.",
    )


def log(provider_id: ProviderId, *, limit: Limit = 25, data_dir: DataDir = None, json: Json = False) -> None:
    """Show what happened to a provider, newest first: stopped, paused, started, checked."""
    with connect(data_dir) as messaging:
        found = messaging.providers.log(provider_id, limit=limit)
    if json:
        print_json(found)
        return
    print_table(
        ("WHEN", "WHAT", "WHY"),
        ((entry.at, entry.what, entry.reason) for entry in found),
        empty="Nothing has happened to it.",
    )


def receipts(
    provider_id: ProviderId,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="Look again at those that were put aside.")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show where a provider reports to, and how its receipts fare."""
    with connect(data_dir) as messaging:
        again = messaging.providers.retry_receipts(provider_id) if retry else 0
        if retry:
            noted(messaging, "provider.retry_receipts", provider_id, receipts=again)
        found = messaging.providers.receipts(provider_id)
    if json:
        print_json(found)
        return
    if retry:
        note(f"{again:,} are looked at again.")
    print_fields(
        {
            "url": found.url,
            "applied": found.applied,
            "waiting": found.waiting,
            "refused": found.refused,
            "held": found.held,
            **({"last came": found.last_at} if found.last_at else {}),
            **({"last put aside": found.last_refusal} if found.last_refusal else {}),
        }
    )
    if found.hint is not None:
        note(found.hint)


def _checked(messaging: Messaging, provider_id: str, send_to: str | None = None) -> CheckView:
    begun = messaging.providers.check(provider_id, send_to=send_to)
    noted(messaging, "provider.check", provider_id, check=begun.id, sends=send_to is not None)
    return _watched(messaging, begun)


def _watched(messaging: Messaging, begun: CheckView) -> CheckView:
    """The check once it has ended or has taken too long, drawn meanwhile where stderr is a terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        return messaging.providers.wait_for_check(begun, _WAIT_S)
    with Live(_drawn(begun), console=console, transient=True) as live:
        return messaging.providers.wait_for_check(begun, _WAIT_S, lambda now: live.update(_drawn(now)))


def _drawn(check: CheckView) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for (name, state, took, detail), step in zip(_rows(check), check.steps, strict=True):
        table.add_row(name, Text(state, _STYLES[step.state]), took, Text(detail))
    return table


def _rows(check: CheckView) -> list[tuple[str, str, str, str]]:
    return [
        (
            step.name.replace("_", " "),
            str(step.state),
            "" if step.took_ms is None else f"{step.took_ms:,} ms",
            shown(step.detail),
        )
        for step in check.steps
    ]


def _report(check: CheckView, *, json: bool, stopped: bool = False) -> None:
    """Print how the check ended; exits with 1 unless it passed."""
    if json:
        print_json(check)
    else:
        print_table(_COLUMNS, _rows(check), empty="")
        if check.outcome is None:
            note(
                f"It has not ended after {_WAIT_S:g} s. Look again: GET"
                f" /v1/messaging/providers/{check.provider_id}/checks/{check.id}."
            )
        elif stopped and check.steps[0].state == "passed":
            note(f"The credentials are good. Start it again: `messaging provider start {check.provider_id}`.")
    if check.outcome != "passed":
        raise typer.Exit(1)
