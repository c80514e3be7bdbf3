"""Content from a producer's arguments: checked here, once, for every way in.

Names are the snake_case spelling of the HTTP parameters. Every error names the argument.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from messaging.attachments import FileReference, parse_attachments
from messaging.channel import Channel
from messaging.content_fields import Arguments, no_line_break
from messaging.errors import ContentError, InvalidArgumentError
from messaging.message import Attachment, Content, Email, Push, Sms

LONGEST_SUBJECT = 998
"""RFC 5322 §2.1.1: a line has at most 998 characters."""
LONGEST_CONTENT = 64_230
LONGEST_TITLE = 256
LONGEST_WORD = 256
LONGEST_NAME = 128
LARGEST_HEADERS_BYTES = 16_384
"""Of an email's own headers, names and values: what mail servers commonly take with room for ours."""
LONGEST_COLLAPSE_BYTES = 64
"""apns-collapse-id: developer.apple.com, "Sending notification requests to APNs"."""
LARGEST_PUSH_BYTES = 4096
LARGEST_VOIP_BYTES = 5120
"""The same page: 5 KB for VoIP, 4 KB for everything else; FCM takes 4,096 bytes too."""

PUSH_TYPES = frozenset(
    {
        "alert",
        "background",
        "complication",
        "controls",
        "fileprovider",
        "liveactivity",
        "location",
        "mdm",
        "pushtotalk",
        "voip",
        "widgets",
    }
)

_HEADER_NAME = re.compile(r"[!-9;-~]+", re.ASCII)  # RFC 5322 §3.6.8 ftext
_OUR_HEADERS = frozenset(
    {
        "bcc",
        "cc",
        "content-disposition",
        "content-id",
        "content-transfer-encoding",
        "content-type",
        "date",
        "dkim-signature",
        "from",
        "message-id",
        "mime-version",
        "received",
        "reply-to",
        "resent-bcc",
        "resent-cc",
        "resent-from",
        "resent-to",
        "return-path",
        "sender",
        "subject",
        "to",
        "x-sg-eid",
        "x-sg-id",
    }
)
_TAG = re.compile(
    r"<(?:!doctype\s+html|/?(?:html|head|body|p|br|hr|div|span|table|tr|td|th|a|b|i|u|em|strong|small|h[1-6]|ul|ol|li"
    r"|img|pre|code|blockquote|center|font|section|article|header|footer|style|button)(?:\s[^<>]*)?/?)>",
    re.IGNORECASE,
)


def parse_content(channel: Channel, arguments: Mapping[str, Any]) -> Content:
    """The content that `arguments` describe for a channel.

    None means "not given". Raises `InvalidArgumentError` naming the argument (unknown, wrong type, too
    long, missing), or `ContentError` where the whole can't be sent (a push above 4,096 bytes).
    A stored attachment (`{"file_id"}`) comes back as a `FileReference`, without its bytes.
    """
    return _PARSERS[channel](Arguments(arguments))


def check_content(content: Content) -> Content:
    """`content` after the checks of `parse_content`; raises what that raises."""
    given = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
    return parse_content(content.channel, given)


def argument_names(channel: Channel) -> frozenset[str]:
    """The names `parse_content` takes for a channel."""
    return _NAMES[channel]


def looks_like_html(content: str) -> bool:
    """Whether `content` has markup that a mail reader would show."""
    return _TAG.search(content) is not None


def content_to_json(content: Content) -> dict[str, Any]:
    """`content` as stored with the message: what is set. Attachments are files; their ids are added beside it."""
    return {
        field.name: _plain(value)
        for field in dataclasses.fields(content)
        if field.name != "attachments" and (value := getattr(content, field.name)) != field.default and value != {}
    }


def stored_attachment_ids(stored: Mapping[str, Any]) -> list[str]:
    """Ids of the files that a stored content refers to; `bucket:file` for those in a bucket."""
    return [
        f"{entry['bucketId']}:{entry['fileId']}" if entry.get("bucketId") else entry["fileId"]
        for entry in stored.get("attachments", ())
    ]


def content_from_json(channel: Channel, stored: Mapping[str, Any], attachments: Sequence[Attachment] = ()) -> Content:
    """The content that `content_to_json` stored, with the files loaded for it."""
    values = {name: value for name, value in stored.items() if name != "attachments"}
    if channel is Channel.PUSH:
        return Push(**values)
    if channel is Channel.EMAIL:
        return Email(**values, attachments=tuple(attachments))
    return Sms(**values)


def _push(arguments: Arguments) -> Push:
    arguments.only(_NAMES[Channel.PUSH])
    badge = arguments.integer("badge")
    if badge is not None and badge < -1:
        raise InvalidArgumentError("badge", "a badge is 0 or more; -1 leaves it as it is")
    priority = arguments.text("priority") or "high"
    if priority not in {"normal", "high"}:
        raise InvalidArgumentError("priority", "is 'normal' or 'high'")
    push_type = arguments.text("push_type")
    if push_type is not None and push_type not in PUSH_TYPES:
        raise InvalidArgumentError("push_type", f"is one of {', '.join(sorted(PUSH_TYPES))}")
    collapse_id = arguments.text("collapse_id")
    if collapse_id is not None and len(collapse_id.encode()) > LONGEST_COLLAPSE_BYTES:
        raise InvalidArgumentError("collapse_id", f"has at most {LONGEST_COLLAPSE_BYTES} bytes")
    image = arguments.text("image", longest=2048)
    if image is not None and not image.startswith("https://"):
        raise InvalidArgumentError("image", "is an address that begins with https://")
    push = Push(
        title=arguments.text("title", longest=LONGEST_TITLE),
        body=arguments.text("body", longest=LONGEST_CONTENT),
        data=arguments.data("data"),
        action=arguments.text("action", longest=LONGEST_WORD),
        image=image,
        icon=arguments.text("icon", longest=LONGEST_WORD),
        sound=arguments.text("sound", longest=LONGEST_WORD),
        color=arguments.text("color", longest=LONGEST_WORD),
        tag=arguments.text("tag", longest=LONGEST_WORD),
        badge=None if badge == -1 else badge,
        content_available=arguments.flag("content_available") or False,
        critical=arguments.flag("critical") or False,
        priority="normal" if priority == "normal" else "high",
        channel_id=arguments.text("channel_id", longest=LONGEST_WORD),
        collapse_id=collapse_id,
        push_type=push_type,
    )
    if push.title is None and push.body is None and not push.data:
        raise InvalidArgumentError("title", "a push has at least one of title, body and data")
    _refuse_large(push)
    return push


def _refuse_large(push: Push) -> None:
    alert = {name: value for name, value in (("title", push.title), ("body", push.body)) if value is not None}
    payload = json.dumps({"aps": {"alert": alert}, **push.data}, ensure_ascii=False, separators=(",", ":"))
    size = len(payload.encode())
    limit = LARGEST_VOIP_BYTES if push.push_type == "voip" else LARGEST_PUSH_BYTES
    if size > limit:
        raise ContentError(
            f"The push has {size:,} bytes of title, body and data; APNs and FCM take {limit:,}."
            " Shorten it, or send an id and let the app fetch the rest.",
            "PayloadTooLarge",
        )


def _email(arguments: Arguments) -> Email:
    arguments.only(_NAMES[Channel.EMAIL])
    subject = arguments.required_text("subject", longest=LONGEST_SUBJECT)
    content = arguments.required_text("content", longest=LONGEST_CONTENT)
    html = arguments.flag("html")
    reply_to = arguments.text("reply_to_email")
    if reply_to is not None:
        from messaging.address import normalise_email  # noqa: PLC0415  email-validator is slow to import

        reply_to = normalise_email(reply_to, argument="reply_to_email")
    reply_to_name = arguments.text("reply_to_name", longest=LONGEST_NAME)
    return Email(
        subject=no_line_break("subject", subject),
        content=content,
        html=looks_like_html(content) if html is None else html,
        text=arguments.text("text", longest=LONGEST_CONTENT),
        attachments=parse_attachments(arguments.raw("attachments")),
        reply_to_email=reply_to,
        reply_to_name=None if reply_to_name is None else no_line_break("reply_to_name", reply_to_name),
        headers=_headers(arguments.mapping("headers")),
    )


def _headers(given: Mapping[Any, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidArgumentError("headers", "a header's name is printable ASCII without space and colon")
        if name.casefold() in _OUR_HEADERS:
            raise InvalidArgumentError(f"headers.{name}", "is written by the system and can't be set")
        if not isinstance(value, str):
            raise InvalidArgumentError(f"headers.{name}", f"is text, not {type(value).__name__}")
        headers[name] = no_line_break(f"headers.{name}", value)
    if sum(len(f"{name}: {value}".encode(errors="replace")) for name, value in headers.items()) > LARGEST_HEADERS_BYTES:
        raise InvalidArgumentError("headers", f"have at most {LARGEST_HEADERS_BYTES:,} bytes together")
    return headers


def _sms(arguments: Arguments) -> Sms:
    arguments.only(_NAMES[Channel.SMS])
    return Sms(content=arguments.required_text("content", longest=LONGEST_CONTENT))


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    return dict(value) if isinstance(value, Mapping) else value


_NAMES: Mapping[Channel, frozenset[str]] = {
    channel: frozenset(field.name for field in dataclasses.fields(kind))
    for channel, kind in ((Channel.PUSH, Push), (Channel.EMAIL, Email), (Channel.SMS, Sms))
}
_PARSERS: Mapping[Channel, Callable[[Arguments], Content]] = {
    Channel.PUSH: _push,
    Channel.EMAIL: _email,
    Channel.SMS: _sms,
}

__all__ = [
    "FileReference",
    "argument_names",
    "check_content",
    "content_from_json",
    "content_to_json",
    "looks_like_html",
    "parse_content",
    "stored_attachment_ids",
]
