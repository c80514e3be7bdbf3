"""`messaging status`, `deliveries`, `cancel`, `pause`, `resume`, `retry`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from messaging.cli import completion
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json, Limit, MessageId
from messaging.cli.output import note, print_fields, print_json, print_table, progress_bar
from messaging.errors import MessagingError
from messaging.status import DeliveryStatus, MessageState

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging
    from messaging.store.messages import MessageView


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (status, deliveries, cancel, pause, resume, retry):
        app.command()(command)


def status(
    message_id: Annotated[
        str | None,
        typer.Argument(
            help="Id of the message; the newest ones when left out.",
            show_default=False,
            autocompletion=completion.messages,
        ),
    ] = None,
    *,
    limit: Limit = 25,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show where a message stands."""
    with connect(data_dir) as messaging:
        if message_id is not None:
            show_message(messaging.get(message_id), json=json)
            return
        found = messaging.list(limit=limit)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "CHANNEL", "STATE", "SETTLED", "TOTAL", "CREATED"),
        ((m.id, m.channel, m.state, m.settled, m.total, m.created_at) for m in found),
        empty="No messages. Send one with `messaging send`.",
    )


def deliveries(
    message_id: MessageId,
    *,
    status: Annotated[DeliveryStatus | None, typer.Option("--status", help="In this status only.")] = None,
    limit: Limit = 100,
    after: Annotated[
        int | None, typer.Option("--after", help="Go on after this cursor of the page before.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show what became of every recipient of a message."""
    with connect(data_dir) as messaging:
        found = messaging.deliveries(message_id, status, limit=limit, after=after)
    if json:
        print_json(found)
        return
    print_table(
        ("ADDRESS", "STATUS", "ATTEMPTS", "PROVIDER", "CODE", "REASON", "SINCE"),
        (
            (d.identifier or d.target_id, d.status, d.attempts, d.provider_id, d.error_code, d.error, d.updated_at)
            for d in found
        ),
        empty="No deliveries (yet, or in that status).",
    )
    if len(found) == limit:
        note(f"There may be more: --after {found[-1].cursor}")


def cancel(message_id: MessageId, *, data_dir: DataDir = None) -> None:
    """Stop a message; what is with the provider already can't be recalled."""
    with connect(data_dir) as messaging:
        messaging.cancel(message_id)
        noted(messaging, "message.cancel", message_id)
    note(f"Message {message_id} is cancelled.")


def pause(message_id: MessageId, *, data_dir: DataDir = None) -> None:
    """Send no more of a message until it is resumed."""
    with connect(data_dir) as messaging:
        messaging.pause(message_id)
        noted(messaging, "message.pause", message_id)
    note(f"Message {message_id} is paused. Go on with `messaging resume {message_id}`.")


def resume(message_id: MessageId, *, data_dir: DataDir = None) -> None:
    """Go on with a paused message."""
    with connect(data_dir) as messaging:
        messaging.resume(message_id)
        noted(messaging, "message.resume", message_id)
    note(f"Message {message_id} goes on.")


def retry(
    message_id: MessageId,
    *,
    code: Annotated[
        list[str] | None, typer.Option("--code", help="Only what failed with this error code; may be repeated.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send again what failed, and nothing else."""
    with connect(data_dir) as messaging:
        retried = messaging.retry_failed(message_id, codes=code or ())
        noted(messaging, "message.retry", message_id, codes=code or [], deliveries=retried.deliveries)
    if json:
        print_json({"deliveries": retried.deliveries, "unserved": retried.unserved})
        return
    note(f"{retried.deliveries:,} deliveries of message {message_id} are sent again.")
    if retried.unserved:
        note(
            f"{retried.unserved:,} stay failed: the account they went over is gone or disabled, and no other may take"
            " over. Add one, or enable one."
        )


def show_message(message: MessageView, *, json: bool, short: bool = False) -> None:
    """Print a message: JSON, the id alone (`short`), or where it stands."""
    if json:
        print_json(message)
    elif short:
        print(message.id)
    else:
        print_fields(
            {
                "id": message.id,
                "channel": message.channel,
                "state": message.state,
                "lane": message.lane,
                "created": message.created_at,
                **({"scheduled": message.scheduled_at} if message.scheduled_at else {}),
                **({"finished": message.finished_at} if message.finished_at else {}),
                "total": message.total if message.expanded else f"{message.total:,} so far",
                **{str(state): total for state, total in message.totals.items() if total},
                **({"may be doubled": message.doubtful} if message.doubtful else {}),
                **({"waits for": message.waiting_for} if message.waiting_for else {}),
                **({"because": message.failure} if message.failure else {}),
            }
        )


def wait_for(messaging: Messaging, message_id: str, timeout_s: float) -> MessageView:
    """The message once it is finished, with a progress bar meanwhile.

    Raises `TimeoutError`.
    """
    progress, task = progress_bar(message_id)
    started = time.monotonic()

    def moved(message: MessageView) -> None:
        elapsed_s = time.monotonic() - started
        progress.update(
            task,
            description=f"{message.id} {message.state}",
            total=message.total if message.expanded else message.estimate,
            completed=message.settled,
            rate=f"{message.settled / elapsed_s:,.0f}/s" if elapsed_s > 1 and message.settled else "",
        )

    with progress:
        return messaging.wait(message_id, timeout_s, moved)


def refuse_failed(message: MessageView) -> None:
    """Raise `MessagingError` with the reason where the message failed or was cancelled."""
    if message.state in {MessageState.FAILED, MessageState.CANCELLED}:
        raise MessagingError(
            f"Message '{message.id}' is {message.state}: {message.failure or 'no delivery was accepted.'}"
            f" See `messaging deliveries {message.id}`."
        )
