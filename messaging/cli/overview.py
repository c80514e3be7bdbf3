"""`messaging overview`: what goes out, what waits, what fails, and how the providers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json
from messaging.cli.output import print_json, print_table
from messaging.doctor.finding import duration

if TYPE_CHECKING:
    from messaging.store.providers import ProviderView


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(overview)


def overview(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show what goes out now, what waits, what failed, and how the providers are."""
    with connect(data_dir) as messaging:
        found = messaging.overview()
    if json:
        print_json(found)
        return
    print_table(
        ("GOING OUT", "CHANNEL", "STATE", "SETTLED", "TOTAL", "WAITS FOR"),
        ((m.id, m.channel, m.state, m.settled, m.total, m.waiting_for) for m in found.active),
        empty="Nothing is going out.",
    )
    if found.scheduled:
        print_table(
            ("SCHEDULED", "CHANNEL", "AT"), ((m.id, m.channel, m.scheduled_at) for m in found.scheduled), empty=""
        )
    if found.due:
        print_table(
            ("DUE", "LANE", "BATCHES", "OLDEST FOR"),
            ((due.channel, due.lane, due.batches, duration(due.oldest_s)) for due in found.due),
            empty="",
        )
    if found.failures:
        print_table(
            ("FAILED", "CODE", "REASON"), ((each.count, each.code, each.reason) for each in found.failures), empty=""
        )
    print_table(
        ("PROVIDER", "KIND", "CHANNEL", "STANDS"),
        ((each.id, each.kind, each.channel, _stands(each)) for each in found.providers),
        empty="No providers. Add one with `messaging provider add`.",
    )


def _stands(provider: ProviderView) -> str:
    if not provider.enabled:
        return "disabled"
    return f"stopped: {provider.stopped_reason}" if provider.stopped_at is not None else "works"
