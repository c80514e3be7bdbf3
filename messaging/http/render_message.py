"""A message as the SDKs read it: Appwrite's fields, and ours beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from messaging.channel import Channel
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.status import WIRE_STATUS, DeliveryStatus
from messaging.store import message_lists
from messaging.store.messages import MessageView

_S = DeliveryStatus


def rendered_message(connection: Connection, message: MessageView) -> dict[str, Any]:
    """The message. `status` is one of the five words the SDKs know; `state` says it exactly."""
    named = message.audience
    return {
        "$id": message.id,
        "$createdAt": timestamp(message.created_at),
        "$updatedAt": timestamp(message.updated_at),
        "providerType": str(message.channel),
        "topics": named.get("topics", []),
        "users": named.get("users", []),
        "targets": named.get("targets", []),
        "scheduledAt": optional_timestamp(message.scheduled_at),
        # Appwrite sets no time where nothing could be tried: no provider, nobody to send to
        "deliveredAt": optional_timestamp(message.finished_at if message.month is not None else None),
        "deliveryErrors": _errors(connection, message),
        "deliveredTotal": sum(message.totals.get(status, 0) for status in (_S.ACCEPTED, _S.DELIVERED)),
        "data": _data(message),
        "status": WIRE_STATUS[message.state],
        "state": str(message.state),
        "failure": message.failure,
        "total": message.total,
        "totals": {str(status): by for status, by in message.totals.items()},
        "doubtful": message.doubtful,
        "expanded": message.expanded,
        "estimate": message.estimate,
        "waitingFor": message.waiting_for,
        "lane": str(message.lane),
        "onUnknown": str(message.on_unknown),
        "expiresAt": timestamp(message.expires_at),
        "startedAt": optional_timestamp(message.started_at),
        "finishedAt": optional_timestamp(message.finished_at),
    }


def _errors(connection: Connection, message: MessageView) -> list[str]:
    """Up to 100 sentences, worded as Appwrite's."""
    errors = [message.failure] if message.failure else []
    for wrong in message_lists.wrong(connection, message):
        reason = wrong.reason or str(wrong.status)
        if wrong.status is not _S.FAILED:
            reason = f"{wrong.status}: {reason}"
        whom = f"target {wrong.identifier}" if wrong.identifier else "a target that was deleted"
        errors.append(f"Failed sending to {whom} with error: {reason}")
    return errors[: message_lists.MOST_ERRORS]


def _data(message: MessageView) -> dict[str, Any]:
    content, named = message.content, message.audience
    match message.channel:
        case Channel.EMAIL:
            return _email(content, named)
        case Channel.SMS:
            return {"content": content.get("content", ""), **_some(named, "addresses")}
        case Channel.PUSH:
            return _push(content, named)


def _email(content: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    attachments: Sequence[Mapping[str, str]] = content.get("attachments", ())
    return {
        "subject": content.get("subject", ""),
        "content": content.get("content", ""),
        "html": bool(content.get("html", False)),
        "cc": named.get("cc", []),
        "bcc": named.get("bcc", []),
        "attachments": [
            {"bucketId": each.get("bucketId", ""), "fileId": each["fileId"], "filename": each.get("filename", "")}
            for each in attachments
        ],
        "replyToEmail": content.get("reply_to_email", ""),
        "replyToName": content.get("reply_to_name", ""),
        "emails": named.get("addresses", []),
        **_some(content, "text"),
    }


_PUSH = {
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
    "channelId": "channel_id",
    "collapseId": "collapse_id",
}


def _push(content: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is set, as Appwrite answers."""
    data = {name: content[stored] for name, stored in _PUSH.items() if content.get(stored) is not None}
    data["priority"] = content.get("priority", "high")
    image = content.get("image")
    if image is not None:
        bucket, _, file = str(named.get("image", "")).partition(":")
        # the address itself carries a signed token: whoever may read the message may see the image
        data["image"] = {"bucketId": bucket, "fileId": file, "url": image}
    return data | _some(named, "addresses")


def _some(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: values[name]} if values.get(name) else {}
