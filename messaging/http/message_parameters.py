"""The parameters of messages, and what `SendRequest` they make."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from messaging import file_links
from messaging.attachments import FileReference
from messaging.channel import Channel, Lane, OnUnknown
from messaging.clock import clock
from messaging.content import LONGEST_COLLAPSE_BYTES, LONGEST_CONTENT, LONGEST_SUBJECT, LONGEST_TITLE, LONGEST_WORD
from messaging.errors import InvalidArgumentError, MessagingError, NotFoundError
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.operations import Call
from messaging.http.parameters import Parameter, Refused
from messaging.ids import is_valid_id
from messaging.store import files

_FILE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,35}:[A-Za-z0-9][A-Za-z0-9._-]{0,35}$"
_MOST_ATTACHMENTS = 100


def _file(value: Any) -> str:  # noqa: ANN401  from a wire
    bucket, colon, file = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and is_valid_id(bucket) and is_valid_id(file)):
        raise Refused("Value must be a file: <BUCKET_ID>:<FILE_ID>")
    return f"{bucket}:{file}"


_AUDIENCE = ("topics", "users", "targets")
_COMMON = (
    p.one_of("onUnknown", tuple(OnUnknown), help="What to do when it is unknown whether a request was taken."),
    p.one_of("lane", tuple(Lane), help="`high` never waits behind `bulk`; by default small audiences are high."),
    p.future("expiresAt", help="What is not sent by then is not sent at all; in 72 hours by default."),
)
_RAW = p.words("addresses", most=1000, longest=4096)


def _audience(*, default: tuple[str, ...] | None) -> tuple[Parameter, ...]:
    return tuple(p.uids(name, default=default) for name in _AUDIENCE)


def _email(*, new: bool) -> tuple[Parameter, ...]:
    empty: tuple[str, ...] | None = () if new else None
    return (
        p.text("subject", longest=LONGEST_SUBJECT, required=new),
        p.text("content", longest=LONGEST_CONTENT, required=new),
        p.uids("cc", default=empty, help="Email targets that get a copy, shown to all."),
        p.uids("bcc", default=empty, help="Email targets that get a copy, shown to nobody."),
        p.array(
            "attachments",
            _file,
            {"type": "string", "pattern": _FILE},
            most=_MOST_ATTACHMENTS,
            default=empty,
            help="Stored files, each `bucketId:fileId`.",
        ),
        p.boolean("html", help="Whether the content is HTML; by default its markup decides."),
        p.text("text", longest=LONGEST_CONTENT, help="Text part beside HTML; made from the markup by default."),
        p.email("replyToEmail", empty=True),
        p.text("replyToName", longest=128, shortest=0),
        p.emails("emails", default=empty, help="Raw addresses; each becomes a target without a user."),
    )


_PUSH: tuple[Parameter, ...] = (
    p.text("title", longest=LONGEST_TITLE),
    p.text("body", longest=LONGEST_CONTENT),
    p.mapping("data"),
    p.text("action", longest=LONGEST_WORD),
    Parameter(
        name="image",
        check=_file,
        schema={"type": "string", "pattern": _FILE},
        help="A stored PNG or JPEG, `bucketId:fileId`.",
    ),
    p.text("icon", longest=LONGEST_WORD),
    p.text("sound", longest=LONGEST_WORD),
    p.text("color", longest=LONGEST_WORD),
    p.text("tag", longest=LONGEST_WORD),
    p.integer("badge", least=-1, most=2**31 - 1, help="Number on the app's icon; -1 leaves it."),
    p.boolean("contentAvailable"),
    p.boolean("critical"),
    p.one_of("priority", ("normal", "high")),
    p.text("channelId", shortest=0, longest=LONGEST_WORD, help="Android notification channel."),
    p.text("collapseId", longest=LONGEST_COLLAPSE_BYTES, help="A newer push with the same id replaces the older."),
    _RAW,
)


def parameters(channel: Channel, *, new: bool) -> tuple[Parameter, ...]:
    """Those of a new message of the channel, or of a change to one."""
    empty: tuple[str, ...] | None = () if new else None
    match channel:
        case Channel.EMAIL:
            own = _email(new=new)
        case Channel.PUSH:
            own = _PUSH
        case Channel.SMS:
            own = (p.text("content", longest=LONGEST_CONTENT, required=new), _RAW)
    return (
        p.custom_id("messageId") if new else p.uid("messageId", required=True),
        *_audience(default=empty),
        *own,
        p.boolean("draft", default=False if new else None),
        p.future("scheduledAt"),
        *_COMMON,
    )


_CONTENT: Mapping[Channel, Mapping[str, str]] = {
    Channel.EMAIL: {
        "subject": "subject",
        "content": "content",
        "html": "html",
        "text": "text",
        "replyToEmail": "reply_to_email",
        "replyToName": "reply_to_name",
    },
    Channel.SMS: {"content": "content"},
    Channel.PUSH: {
        "title": "title",
        "body": "body",
        "data": "data",
        "action": "action",
        "icon": "icon",
        "sound": "sound",
        "color": "color",
        "tag": "tag",
        "badge": "badge",
        "contentAvailable": "content_available",
        "critical": "critical",
        "priority": "priority",
        "channelId": "channel_id",
        "collapseId": "collapse_id",
    },
}
"""Wire name → name of the content's argument."""


def content_arguments(call: Call, channel: Channel) -> dict[str, Any]:
    """What the call says about the content, as `parse_content` takes it."""
    return {stored: call[name] for name, stored in _CONTENT[channel].items() if call.is_given(name)}


def attachments(call: Call) -> tuple[FileReference, ...]:
    """The stored files an email names; raises `NotFoundError` for one that is not there."""
    return tuple(files.reference(call.connection, call.project_id, each) for each in call["attachments"] or ())


def image_url(call: Call, reference: str) -> str:
    """An address under which a device can read the image; raises `InvalidArgumentError` where it can't be one."""
    bucket, _, file = reference.partition(":")
    files.image_reference(call.connection, call.project_id, reference)
    begins_at = call["scheduledAt"] or clock.now()
    expires_at = begins_at + file_links.LIFETIME
    return file_links.image_url(call.settings, call.vault, call.caller.project, bucket, file, expires_at=expires_at)


def not_addressed(channel: Channel, error: MessagingError) -> ApiError | None:
    """The answer for a target that is not there or not of the channel: one type for both, as Appwrite has it."""
    of_target = isinstance(error, NotFoundError) and error.kind == "target"
    of_type = isinstance(error, InvalidArgumentError) and error.argument in {"targets", "cc", "bcc"}
    if not (of_target or of_type):
        return None
    return ApiError(HTTPStatus.BAD_REQUEST, f"message_target_not_{channel}", str(error))
