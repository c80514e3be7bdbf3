"""`messaging message …`: messages found, followed, exported and released."""

from __future__ import annotations

import csv as csv_module
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from messaging.channel import Channel, Lane
from messaging.cli import completion, message
from messaging.cli.audience import parse_audience
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.message import refuse_failed, show_message, wait_for
from messaging.cli.options import After, DataDir, Json, Limit, MessageId, Word
from messaging.cli.output import note, plain, print_fields, print_json, print_table, progress_bar
from messaging.cli.times import parse_time
from messaging.errors import InvalidArgumentError
from messaging.status import DeliveryStatus, MessageState

if TYPE_CHECKING:
    from messaging.store.delivery_views import DeliveryView

_COLUMNS = (
    *("target_id", "identifier", "status", "role", "attempts", "doubts", "provider_id", "provider_message_id"),
    *("error_code", "error", "accepted_at", "created_at", "updated_at"),
)
"""Of the exported file: names of the fields of a delivery in JSON."""
_FORMULA = ("=", "@", "\t", "\r")
"""What a spreadsheet would compute. Not + and -: phone numbers begin so."""

app = typer.Typer(no_args_is_help=True)

Status = Annotated[DeliveryStatus | None, typer.Option("--status", help="In this status only.")]
Code = Annotated[str | None, typer.Option("--code", help="With this error code only.", show_default=False)]
Provider = Annotated[str | None, typer.Option("--provider", help="Over this provider only.", show_default=False)]


@app.command("list")
def list_(
    *,
    state: Annotated[MessageState | None, typer.Option("--state", help="In this state only.")] = None,
    channel: Annotated[Channel | None, typer.Option("--channel", help="Of this channel only.")] = None,
    search: Annotated[str | None, typer.Option("--search", help="In id and content.", show_default=False)] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Created then or later: 2026-11-24T09:00, or -2h.", show_default=False)
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Created before.", show_default=False)] = None,
    limit: Limit = 25,
    after: After = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List messages, newest first."""
    begins, ends = (
        None if given is None else parse_time(given, argument=argument)
        for given, argument in ((since, "--since"), (until, "--until"))
    )
    with connect(data_dir) as messaging:
        found = messaging.messages.list(
            state=state, channel=channel, search=search, since=begins, until=ends, limit=limit, after=after
        )
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "CHANNEL", "STATE", "SETTLED", "TOTAL", "CREATED", "SAYS"),
        ((m.id, m.channel, m.state, m.settled, m.total, m.created_at, _says(m.content)) for m in found),
        empty="No such messages.",
    )
    if len(found) == limit:
        note(f"There may be more: --after {found[-1].id}")


@app.command()
def show(message_id: MessageId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Show where a message stands."""
    with connect(data_dir) as messaging:
        show_message(messaging.get(message_id), json=json)


@app.command()
def recipients(
    message_id: MessageId,
    *,
    status: Status = None,
    code: Code = None,
    provider: Provider = None,
    limit: Limit = 100,
    after: After = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show what became of every recipient of a message."""
    with connect(data_dir) as messaging:
        found = messaging.messages.recipients(
            message_id, status=status, code=code, provider=provider, limit=limit, after=after
        )
    if json:
        print_json(found)
        return
    print_table(
        ("TARGET", "ADDRESS", "STATUS", "ATTEMPTS", "PROVIDER", "CODE", "REASON", "SINCE"),
        (
            (d.target_id, d.identifier, d.status, d.attempts, d.provider_id, d.error_code, d.error, d.updated_at)
            for d in found
        ),
        empty="No such recipients.",
    )
    if len(found) == limit:
        note(f"There may be more: --after {found[-1].id}")


@app.command()
def recipient(
    message_id: MessageId,
    target_id: Annotated[str, typer.Argument(help="Id of the target.")],
    *,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show one recipient of a message: attempts, reason, and what the provider told."""
    with connect(data_dir) as messaging:
        found = messaging.messages.recipient(message_id, target_id)
    if json:
        print_json(
            {**plain(found.delivery), "past_attempts": plain(found.past_attempts), "events": plain(found.events)}
        )
        return
    delivery = found.delivery
    print_fields(
        {
            "target": delivery.target_id,
            "address": delivery.identifier,
            "status": delivery.status,
            "attempts": delivery.attempts,
            **({"of unknown outcome": delivery.doubts} if delivery.doubts else {}),
            "provider": delivery.provider_id,
            "provider's id": delivery.provider_message_id,
            **({"code": delivery.error_code} if delivery.error_code else {}),
            **({"reason": delivery.error} if delivery.error else {}),
            "queued": delivery.created_at,
            **({"accepted": delivery.accepted_at} if delivery.accepted_at else {}),
            **({"tried again": delivery.due_at} if delivery.due_at and not delivery.status.is_settled else {}),
            "since": delivery.updated_at,
        }
    )
    if found.past_attempts:
        print_table(
            ("WHEN", "ATTEMPT", "TIMES", "PROVIDER", "CODE", "REASON"),
            ((a.at, a.attempt, a.times, a.provider_id, a.code, a.reason) for a in found.past_attempts),
            empty="",
        )
    print_table(
        ("WHEN", "TOLD", "CODE", "REASON"),
        ((event.at, event.event, event.code, event.reason) for event in found.events),
        empty="The provider told nothing (yet).",
    )


@app.command()
def export(
    message_id: MessageId,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Written anew; - is stdout.")],
    *,
    status: Status = None,
    code: Code = None,
    provider: Provider = None,
    data_dir: DataDir = None,
) -> None:
    """Write the recipients of a message, and what became of each, as CSV."""
    progress, task = progress_bar(f"Exporting {message_id}")
    written = 0
    with ExitStack() as opened:
        messaging = opened.enter_context(connect(data_dir))
        message = messaging.get(message_id)
        found = messaging.messages.all_recipients(message_id, status=status, code=code, provider=provider)
        output: TextIO = sys.stdout
        noted(messaging, "message.export", message.id, status=status or "all")
        if str(file) != "-":
            output = opened.enter_context(file.open("w", encoding="utf-8", newline=""))
        opened.enter_context(progress)
        unfiltered = status is None and code is None and provider is None
        progress.update(task, total=message.total if unfiltered else None)
        rows = csv_module.writer(output)
        rows.writerow(_COLUMNS)
        for written, delivery in enumerate(found, start=1):
            rows.writerow(_row(delivery))
            if written % 1000 == 0:
                progress.update(task, completed=written)
        output.flush()
    note(f"{written:,} recipients written.")


@app.command()
def watch(
    message_id: MessageId,
    *,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")] = 3600,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Follow a message with a progress bar until it is finished; exits with 1 if it failed."""
    with connect(data_dir) as messaging:
        finished = wait_for(messaging, message_id, timeout)
    show_message(finished, json=json)
    refuse_failed(finished)


@app.command()
def send(
    message_id: MessageId,
    *,
    at: Annotated[
        str | None,
        typer.Option("--at", help="When: 2026-11-24T09:00, or +15m; now, when left out.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send a draft or a scheduled message now, or at another time."""
    when = None if at is None else parse_time(at, argument="--at")
    with connect(data_dir) as messaging:
        if at is not None and at.lstrip().startswith("+"):  # from now, by the clock that will compare it
            when = parse_time(at, argument="--at", now=messaging.now())
        released = messaging.messages.release(message_id, at=when)
        noted(messaging, "message.send" if when is None else "message.schedule", message_id)
    show_message(released, json=json)
    refuse_failed(released)


@app.command()
def update(  # noqa: PLR0913  each is an option of the command
    message_id: MessageId,
    *,
    title: Word = None,
    body: Word = None,
    subject: Word = None,
    content: Word = None,
    content_file: Annotated[
        Path | None, typer.Option("--content-file", help="The text is in a file.", show_default=False)
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="WHO",
            help="Others instead: topic:ID, user:ID, target:ID, or an address. Repeatable.",
            show_default=False,
            autocompletion=completion.recipients,
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Another time: 2026-11-24T09:00, or +15m.", show_default=False)
    ] = None,
    lane: Annotated[Lane | None, typer.Option("--lane", help="high or bulk.", show_default=False)] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Change a draft or a scheduled message: what is named is replaced, the rest stays."""
    if content is not None and content_file is not None:
        raise InvalidArgumentError("--content", "give the text, or a file with --content-file")
    if content_file is not None:
        content = content_file.read_text(encoding="utf-8")
    texts = {"title": title, "body": body, "subject": subject, "content": content}
    changes = {name: value for name, value in texts.items() if value is not None}
    if not (changes or to or at or lane):
        raise InvalidArgumentError("MESSAGE_ID", "say what is to be another: a text, --to, --at or --lane")
    named: dict[str, Any] = {} if lane is None else {"lane": lane}
    if to:
        audience = parse_audience(to)
        named |= {name: getattr(audience, name) for name in ("topics", "users", "targets", "addresses")}
    with connect(data_dir) as messaging:
        when = None if at is None else parse_time(at, argument="--at", now=messaging.now())
        changed = messaging.messages.change(message_id, content=changes, scheduled_at=when, **named)
        told = [*changes, *(["recipients"] if to else []), *(["time"] if at else []), *(["lane"] if lane else [])]
        noted(messaging, "message.update", message_id, changed=", ".join(told))
    show_message(changed, json=json)


@app.command()
def delete(message_id: MessageId, *, data_dir: DataDir = None) -> None:
    """Take a message out of every list; one that is going out is cancelled."""
    with connect(data_dir) as messaging:
        messaging.messages.delete(message_id)
        noted(messaging, "message.delete", message_id)
    note(f"Message {message_id} is gone.")


for _also in (message.cancel, message.pause, message.resume, message.retry):
    app.command()(_also)


def _says(content: object) -> str:
    """What a message is about, in a line."""
    if not isinstance(content, dict):
        return ""
    said = " ".join(str(content.get("subject") or content.get("title") or content.get("content") or "").split())
    return said if len(said) <= 40 else said[:39] + "…"  # noqa: PLR2004  a column's width


def _row(delivery: DeliveryView) -> list[str]:
    fields = plain(delivery)
    return [_cell(fields[name]) for name in _COLUMNS]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
