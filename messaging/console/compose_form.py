"""The form a message is written in: what was typed, as a request to send it, and a message as what would be typed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from messaging import file_links
from messaging.attachments import FileReference
from messaging.channel import Channel, Lane, OnUnknown
from messaging.clock import clock
from messaging.console.visit import Visit
from messaging.content import parse_content
from messaging.errors import InvalidArgumentError, MessagingError, NotFoundError
from messaging.ids import is_valid_id
from messaging.message import Content, Email, Push, Sms
from messaging.send_request import SendRequest
from messaging.store import files
from messaging.store.messages import MessageView

Typed = Mapping[str, str]
"""Field of the form → what stands in it."""

LISTS = ("topics", "users", "targets", "addresses", "cc", "bcc")
"""Fields with one entry a line."""
_TEXTS: Mapping[Channel, Sequence[str]] = {
    Channel.PUSH: (
        "title",
        "body",
        "action",
        "image",
        "icon",
        "sound",
        "color",
        "tag",
        "channel_id",
        "collapse_id",
        "priority",
        "push_type",
    ),
    Channel.EMAIL: ("subject", "content", "text", "reply_to_email", "reply_to_name"),
    Channel.SMS: ("content",),
}
_FLAGS = ("content_available", "critical")
_ENTRIES = re.compile(r"[,;]+")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}:[A-Za-z0-9][A-Za-z0-9._-]{0,35}", re.ASCII)
_LONGEST_HOURS = 24 * 366
_NOTHING: Mapping[Channel, Content] = {
    Channel.PUSH: Push(title="-"),
    Channel.EMAIL: Email(subject="-", content="-"),
    Channel.SMS: Sms(content="-"),
}
_FIELD_OF_KIND = {
    "topic": "topics",
    "user": "users",
    "target": "targets",
    "bucket": "attachments",
    "file": "attachments",
}


def typed(visit: Visit) -> dict[str, str]:
    """What stands in the form that was sent; line ends as everywhere but in HTML's forms."""
    said = {name: value.replace("\r\n", "\n") for name, value in visit.form.items() if name != "csrf"}
    for name in LISTS:  # one field of several lines, or several fields (check boxes)
        if name in visit.lists:
            said[name] = "\n".join(visit.lists[name])
    return said


def entries(said: Typed, name: str) -> list[str]:
    """The entries of a field of several lines, each once."""
    found = [
        entry.strip()
        for line in said.get(name, "").splitlines()
        # a browser's push address is JSON, commas and all
        for entry in ([line] if line.lstrip().startswith("{") else _ENTRIES.split(line))
    ]
    return list(dict.fromkeys(entry for entry in found if entry))


def content_of(channel: Channel, said: Typed) -> Content:
    """The content that was typed, without its files; raises `InvalidArgumentError` or `ContentError`."""
    given: dict[str, Any] = {name: said.get(name) or None for name in _TEXTS[channel]}
    if channel is Channel.PUSH:
        given |= {name: said.get(name) == "yes" for name in _FLAGS}
        given |= {"data": _json(said, "data"), "badge": _whole("badge", said.get("badge", ""))}
        if _FILE.fullmatch(given["image"] or ""):
            given["image"] = None  # a file of ours: its address is made when it is sent
    if channel is Channel.EMAIL:
        given |= {"headers": _json(said, "headers"), "html": {"yes": True, "no": False}.get(said.get("html", ""))}
    return parse_content(channel, given)


def audience_of(channel: Channel, said: Typed) -> SendRequest:
    """Who the form names, with no content to speak of."""
    lists: dict[str, Any] = {name: entries(said, name) for name in LISTS}
    if channel is not Channel.EMAIL:
        lists |= {"cc": [], "bcc": []}
    return SendRequest(content=_NOTHING[channel], draft=True, **lists)


def request_of(visit: Visit, connection: Connection, channel: Channel, said: Typed, *, draft: bool) -> SendRequest:
    """What the form asks for; files are held until the transaction ends. Raises `MessagingError`."""
    content = content_of(channel, said)
    at = _time(said) if said.get("when") == "at" else None
    image = None
    if isinstance(content, Push) and _FILE.fullmatch(said.get("image", "")):
        image = said["image"]
        content = replace(content, image=_image_url(visit, connection, image, at))
    if isinstance(content, Email):
        named = entries(said, "attachments")
        attachments = tuple(_attachment(visit, connection, each) for each in named)
        content = replace(content, attachments=attachments)
    hours = _whole("expires", said.get("expires", ""))
    if hours is not None and not 0 < hours <= _LONGEST_HOURS:
        raise InvalidArgumentError("expires", f"is 1 to {_LONGEST_HOURS:,} hours")
    return replace(
        audience_of(channel, said),
        content=content,
        draft=draft,
        scheduled_at=at,
        expires_at=None if hours is None else (at or clock.now()) + timedelta(hours=hours),
        lane=Lane(said["lane"]) if said.get("lane") in set(Lane) else None,
        on_unknown=OnUnknown(said["on_unknown"]) if said.get("on_unknown") in set(OnUnknown) else None,
        image=image,
    )


def _attachment(visit: Visit, connection: Connection, named: str) -> FileReference:
    """A stored file: `bucket:file`, or `:file` for one that came along with the message this one is a copy of."""
    bucket, _, file = named.partition(":")
    if not bucket and is_valid_id(file):
        return FileReference(file_id=file)
    return files.reference(connection, visit.project_number, named)


def _image_url(visit: Visit, connection: Connection, named: str, at: datetime | None) -> str:
    bucket, _, file = named.partition(":")
    files.image_reference(connection, visit.project_number, named)
    ends = (at or clock.now()) + file_links.LIFETIME
    context = visit.desk.context
    return file_links.image_url(context.settings, context.vault, visit.project or "", bucket, file, ends)


def _time(said: Typed) -> datetime:
    try:
        at = datetime.fromisoformat(said.get("at", "").strip())
    except ValueError:
        raise InvalidArgumentError("at", "is a day and a time, such as 2026-12-24 09:30") from None
    return at.replace(tzinfo=UTC) if at.utcoffset() is None else at.astimezone(UTC)


def _whole(name: str, value: str) -> int | None:
    if not value.strip():
        return None
    try:
        return int(value)
    except ValueError:
        raise InvalidArgumentError(name, "is a whole number") from None


def _json(said: Typed, name: str) -> dict[str, Any]:
    written = said.get(name, "").strip()
    if not written:
        return {}
    try:
        found = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(name, f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidArgumentError(name, 'is an object: {"name": "value"}')
    return found


def field_of(error: MessagingError) -> str:
    """The field of the form that an error is about; empty for the whole."""
    if isinstance(error, NotFoundError):
        return _FIELD_OF_KIND.get(error.kind, "")
    if isinstance(error, InvalidArgumentError):
        name = re.split(r"[.\[]", error.argument)[0]
        return {"scheduled_at": "at", "expires_at": "expires"}.get(name, name)
    return ""


def said_of(error: MessagingError) -> str:
    """What is wrong, to be read beside its field."""
    return error.problem if isinstance(error, InvalidArgumentError) else str(error)


def typed_of(message: MessageView) -> dict[str, str]:
    """What would have to be typed to get that message; without its time, which may have passed."""
    content, named = message.content, message.audience
    said = {name: str(content.get(name) or "") for name in _TEXTS[message.channel]}
    said |= {name: "\n".join(named.get(name, ())) for name in LISTS}
    if message.channel is Channel.PUSH:
        said |= {name: "yes" for name in _FLAGS if content.get(name)}
        said["badge"] = "" if content.get("badge") is None else str(content["badge"])
        said["data"] = _written(content.get("data"))
        said["image"] = named.get("image") or said["image"]
    if message.channel is Channel.EMAIL:
        said["headers"] = _written(content.get("headers"))
        html = content.get("html")
        said["html"] = "" if html is None else "yes" if html else "no"
        stored = content.get("attachments", ())
        said["attachments"] = "\n".join(f"{each.get('bucketId', '')}:{each['fileId']}" for each in stored)
    said["on_unknown"] = str(message.on_unknown)
    said["lane"] = named.get("lane", "")
    return said


def _written(mapping: Mapping[str, Any] | None) -> str:
    return json.dumps(dict(mapping), ensure_ascii=False, indent=1) if mapping else ""
