"""`messaging subscribe` and `unsubscribe`: targets by id, or a whole file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from messaging.channel import Channel
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json, TopicId
from messaging.cli.output import note, plain, print_json, progress_bar
from messaging.errors import InvalidArgumentError

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging
    from messaging.store.bulk_subscribe import BulkProgress, BulkResult

REJECTED_SHOWN = 20
_TARGETS_NOTED = 20
"""In the audit log, of those named."""
HEADER = (
    "UTF-8 (- is stdin); its first line names email, phone, token or target_id, and any of user_id, name, provider."
)
"""What a file of subscribers looks like."""
STRICT = Annotated[bool, typer.Option("--strict", help="Exit with 1 if a line was rejected.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(subscribe)
    app.command()(unsubscribe)


def subscribe(
    topic_id: TopicId,
    target_ids: Annotated[list[str] | None, typer.Argument(metavar="TARGET...", show_default=False)] = None,
    *,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help=HEADER,
            show_default=False,
        ),
    ] = None,
    strict: STRICT = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Subscribe targets to a topic; from a file, users and targets are made where they are missing."""
    if (csv is None) == (not target_ids):
        raise InvalidArgumentError("TARGET", "name targets, or a file with --csv")
    if csv is not None:
        import_file(topic_id, csv, data_dir, strict=strict, json=json)
        return
    with connect(data_dir) as messaging:
        created = messaging.topics.subscribe(topic_id, *(target_ids or ()))
        noted(messaging, "topic.subscribe", topic_id, targets=(target_ids or [])[:_TARGETS_NOTED], added=created)
    if json:
        print_json({"created": created, "existing": len(set(target_ids or ())) - created})
    else:
        note(f"{created:,} subscribed, {len(set(target_ids or ())) - created:,} had been already.")


def unsubscribe(
    topic_id: TopicId,
    target_ids: Annotated[list[str], typer.Argument(metavar="TARGET...")],
    *,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Take targets out of a topic."""
    with connect(data_dir) as messaging:
        gone = messaging.topics.unsubscribe(topic_id, *target_ids)
        noted(messaging, "topic.unsubscribe", topic_id, targets=target_ids[:_TARGETS_NOTED], gone=gone)
    if json:
        print_json({"unsubscribed": gone})
    else:
        note(f"{gone:,} unsubscribed.")


def import_file(topic_id: str, csv: Path, data_dir: Path | None, *, strict: bool, json: bool) -> None:
    """Subscribe everybody in a file (- is stdin) and say what became of it; exits with 1 if `strict` and a line is bad.

    Raises `InvalidArgumentError` for a file that is not UTF-8, or whose header says something else.
    """
    with ExitStack() as open_:
        file: TextIO = sys.stdin if str(csv) == "-" else open_.enter_context(csv.open(encoding="utf-8-sig", newline=""))
        messaging = open_.enter_context(connect(data_dir))
        try:
            channel, result = _subscribe_rows(messaging, topic_id, file)
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(
                "--csv", f"is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8"
            ) from None
    _report(result, channel, json=json)
    if strict and result.rejected_total:
        raise typer.Exit(1)


def _subscribe_rows(messaging: Messaging, topic_id: str, file: TextIO) -> tuple[Channel | None, BulkResult]:
    from messaging.store.csv_rows import read_rows

    channel, rows = read_rows(file)
    progress, task = progress_bar(f"Subscribing to {topic_id}")

    def moved(so_far: BulkProgress) -> None:
        elapsed_s = progress.tasks[0].elapsed or 0
        rate = f"{so_far.rows / elapsed_s:,.0f} rows/s" if elapsed_s else ""
        rejected = f", {so_far.rejected:,} rejected" if so_far.rejected else ""
        progress.update(task, completed=so_far.rows, rate=rate + rejected)

    with progress:
        result = messaging.topics.subscribe_many(topic_id, rows, channel=channel, progress=moved)
    noted(
        messaging, "topic.import", topic_id,
        rows=result.rows, added=result.created, rejected=result.rejected_total,
    )  # fmt: skip
    return channel, result


def _report(result: BulkResult, channel: Channel | None, *, json: bool) -> None:
    if json:
        print_json({**plain(result), "channel": channel, "rows": result.rows, "rows_per_s": round(result.rows_per_s)})
        return
    note(
        f"{result.rows:,} rows in {result.seconds:.1f} s ({result.rows_per_s:,.0f} rows/s):"
        f" {result.created:,} subscribed, {result.existing:,} had been already, {result.rejected_total:,} rejected."
    )
    for line, reason in result.rejected[:REJECTED_SHOWN]:
        note(f"  line {line}: {reason}")
    hidden = result.rejected_total - REJECTED_SHOWN
    if hidden > 0:
        note(f"  and {hidden:,} more; --json lists them.")
