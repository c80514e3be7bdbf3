"""`messaging send push|email|sms`."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from messaging.channel import Channel, Lane
from messaging.cli import completion
from messaging.cli.audience import parse_audience
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.message import refuse_failed, show_message, wait_for
from messaging.cli.options import DataDir, Json, Word
from messaging.cli.times import parse_time
from messaging.errors import InvalidArgumentError
from messaging.message import Attachment
from messaging.status import MessageState

app = typer.Typer(no_args_is_help=True)

To = Annotated[
    list[str],
    typer.Option(
        "--to",
        metavar="WHO",
        help="topic:ID, user:ID, target:ID, or an address. Repeatable.",
        autocompletion=completion.recipients,
    ),
]
At = Annotated[str | None, typer.Option("--at", help="When: 2026-11-24T09:00, or +15m.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is finished; exits with 1 if it failed.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")]
MessageId = Annotated[str | None, typer.Option("--id", help="Id; made up when left out.", show_default=False)]
LaneName = Annotated[
    Lane | None, typer.Option("--lane", help="high or bulk; follows from the audience.", show_default=False)
]
Draft = Annotated[bool, typer.Option("--draft", help="Create it, don't send it.")]
Pairs = list[str] | None


_ACTIONS = {MessageState.DRAFT: "message.draft", MessageState.SCHEDULED: "message.schedule"}


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What the three commands have in common."""

    to: Sequence[str]
    at: str | None
    wait: bool
    timeout_s: float
    message_id: str | None
    lane: Lane | None
    draft: bool
    data_dir: Path | None
    json: bool


@app.command()
def push(  # noqa: PLR0913  the parts of a push, all by keyword
    *,
    to: To,
    title: Word = None,
    body: Word = None,
    data: Annotated[Pairs, typer.Option("--data", metavar="NAME=VALUE", show_default=False)] = None,
    action: Word = None,
    image: Word = None,
    icon: Word = None,
    sound: Word = None,
    color: Word = None,
    tag: Word = None,
    badge: Annotated[int | None, typer.Option(show_default=False)] = None,
    collapse_id: Word = None,
    channel_id: Word = None,
    priority: Annotated[str, typer.Option(help="normal or high.")] = "high",
    content_available: Annotated[bool, typer.Option("--content-available")] = False,
    critical: Annotated[bool, typer.Option("--critical")] = False,
    at: At = None,
    wait: Wait = False,
    timeout: Timeout = 300,
    message_id: MessageId = None,
    lane: LaneName = None,
    draft: Draft = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send a push notification."""
    order = _Order(
        to=to, at=at, wait=wait, timeout_s=timeout, message_id=message_id, lane=lane, draft=draft,
        data_dir=data_dir, json=json,
    )  # fmt: skip
    _send(
        Channel.PUSH,
        {
            "title": title, "body": body, "data": _pairs("--data", data), "action": action, "image": image,
            "icon": icon, "sound": sound, "color": color, "tag": tag, "badge": badge, "collapse_id": collapse_id,
            "channel_id": channel_id, "priority": priority, "content_available": content_available,
            "critical": critical,
        },
        order,
    )  # fmt: skip


@app.command()
def email(  # noqa: PLR0913  the parts of an email, all by keyword
    *,
    to: To,
    subject: Annotated[str, typer.Option("--subject")],
    content: Word = None,
    content_file: Annotated[Path | None, typer.Option("--content-file", show_default=False)] = None,
    html: Annotated[bool | None, typer.Option("--html/--text", help="Seen from the content.")] = None,
    attach: Annotated[list[Path] | None, typer.Option("--attach", metavar="FILE", show_default=False)] = None,
    cc: Annotated[Pairs, typer.Option("--cc", help="Target id or address.", show_default=False)] = None,
    bcc: Annotated[Pairs, typer.Option("--bcc", help="Target id or address.", show_default=False)] = None,
    reply_to: Word = None,
    header: Annotated[Pairs, typer.Option("--header", metavar="NAME=VALUE", show_default=False)] = None,
    at: At = None,
    wait: Wait = False,
    timeout: Timeout = 300,
    message_id: MessageId = None,
    lane: LaneName = None,
    draft: Draft = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send an email."""
    if (content is None) == (content_file is None):
        raise InvalidArgumentError("--content", "give the text, or a file with --content-file")
    order = _Order(
        to=to, at=at, wait=wait, timeout_s=timeout, message_id=message_id, lane=lane, draft=draft,
        data_dir=data_dir, json=json,
    )  # fmt: skip
    _send(
        Channel.EMAIL,
        {
            "subject": subject,
            "content": content if content_file is None else content_file.read_text(encoding="utf-8"),
            "html": html,
            "attachments": [_attachment(file) for file in attach or ()],
            "reply_to_email": reply_to,
            "headers": _pairs("--header", header),
        },
        order,
        cc=tuple(cc or ()),
        bcc=tuple(bcc or ()),
    )


@app.command()
def sms(
    content: Annotated[str, typer.Argument(help="The text.")],
    *,
    to: To,
    at: At = None,
    wait: Wait = False,
    timeout: Timeout = 300,
    message_id: MessageId = None,
    lane: LaneName = None,
    draft: Draft = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send an SMS."""
    order = _Order(
        to=to, at=at, wait=wait, timeout_s=timeout, message_id=message_id, lane=lane, draft=draft,
        data_dir=data_dir, json=json,
    )  # fmt: skip
    _send(Channel.SMS, {"content": content}, order)


def _send(
    channel: Channel, arguments: dict[str, Any], order: _Order, *, cc: Sequence[str] = (), bcc: Sequence[str] = ()
) -> None:
    from messaging.content import parse_content

    content = parse_content(channel, arguments)
    audience = parse_audience(order.to)
    at = None if order.at is None else parse_time(order.at, argument="--at")
    with connect(order.data_dir) as messaging:
        if order.at is not None and order.at.lstrip().startswith("+"):  # from now, by the clock that will compare it
            at = parse_time(order.at, argument="--at", now=messaging.now())
        message = messaging.send(
            content,
            users=audience.users,
            targets=audience.targets,
            topics=audience.topics,
            addresses=audience.addresses,
            cc=cc,
            bcc=bcc,
            scheduled_at=at,
            lane=order.lane,
            id=order.message_id,
            draft=order.draft,
        )
        noted(messaging, _ACTIONS.get(message.state, "message.send"), message.id)
        if order.wait and not order.draft:
            message = wait_for(messaging, message.id, order.timeout_s)
    show_message(message, json=order.json, short=not order.wait)
    refuse_failed(message)


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidArgumentError(option, f"'{pair}' is no NAME=VALUE")
        pairs[name] = value
    return pairs


def _attachment(file: Path) -> Attachment:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return Attachment(filename=file.name, content_type=kind, content=file.read_bytes())
