"""A push message as APNs takes it: the payload and the headers all its recipients share.

Sources: "Generating a remote notification" and "Sending notification requests to APNs",
https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from messaging.errors import ContentError
from messaging.message import Push
from workers.providers.base import Outgoing
from workers.providers.http2_headers import NO_FIELDS, Fields

TOPIC_SUFFIXES: Mapping[str, str] = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "location": ".location-query",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "liveactivity": ".push-type.liveactivity",
    "mdm": "",
}
"""apns-push-type -> what the topic has after the bundle id."""

PAYLOAD_LIMIT_BYTES = 4096
VOIP_PAYLOAD_LIMIT_BYTES = 5120
COLLAPSE_ID_LIMIT_BYTES = 64


class PreparedApns:
    """One message, rendered."""

    __slots__ = ("_authorized", "body", "headers")

    def __init__(self, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        """`headers` without `authorization` and `apns-id`."""
        self.headers = headers
        self.body = body
        self._authorized = "", NO_FIELDS

    def fields(self, token: str) -> Fields:
        """The headers that all its requests with that provider token share."""
        if self._authorized[0] != token:
            self._authorized = token, Fields(("authorization", f"bearer {token}"), *self.headers)
        return self._authorized[1]


def render(outgoing: Outgoing, bundle_id: str) -> PreparedApns:
    """The request all recipients share; raises `ContentError` with Apple's code for what it would refuse.

    `icon`, `color` and `channel_id` say how Android shows a notification and have no meaning here.
    `image` becomes the custom key ``image`` with ``mutable-content``, for the app's service extension.
    """
    push = outgoing.content
    if not isinstance(push, Push):
        msg = f"APNs sends push messages only, not {push.channel}."
        raise ContentError(msg)
    push_type = _push_type(push)
    headers = [
        ("apns-topic", _topic(bundle_id, push_type)),
        ("apns-push-type", push_type),
        ("apns-priority", "10" if push.priority == "high" and push_type != "background" else "5"),
        ("apns-expiration", str(max(0, int(outgoing.expires_at.timestamp())))),
    ]
    if push.collapse_id is not None:
        headers.append(("apns-collapse-id", _collapse_id(push.collapse_id)))
    return PreparedApns(tuple(headers), _body(push, push_type))


def _shown(push: Push) -> bool:
    return push.title is not None or push.body is not None


def _push_type(push: Push) -> str:
    if push.push_type is None:
        seen = _shown(push) or push.sound is not None or push.badge is not None or push.critical
        return "alert" if seen else "background"
    if push.push_type not in TOPIC_SUFFIXES:
        msg = f"The push type '{push.push_type}' does not exist; use one of {', '.join(sorted(TOPIC_SUFFIXES))}."
        raise ContentError(msg, "InvalidPushType")
    if push.push_type == "background" and (_shown(push) or push.sound or push.badge is not None or push.critical):
        msg = "A background push shows nothing: leave out title, body, sound, badge and critical, or the push type."
        raise ContentError(msg, "InvalidPushType")
    return push.push_type


def _topic(bundle_id: str, push_type: str) -> str:
    suffix = TOPIC_SUFFIXES[push_type]
    return bundle_id if suffix and bundle_id.endswith(suffix) else bundle_id + suffix


def _collapse_id(value: str) -> str:
    if not 0 < len(value.encode()) <= COLLAPSE_ID_LIMIT_BYTES:
        msg = f"The collapse id has {len(value.encode())} bytes; APNs takes 1 to {COLLAPSE_ID_LIMIT_BYTES}."
        raise ContentError(msg, "BadCollapseId")
    if not (value.isascii() and value.isprintable()):
        msg = "The collapse id holds characters a header cannot carry; use printable ASCII."
        raise ContentError(msg, "BadCollapseId")
    return value


def _body(push: Push, push_type: str) -> bytes:
    if "aps" in push.data:
        msg = "The data key 'aps' is Apple's own; give that entry another name."
        raise ContentError(msg)
    aps = _aps(push)
    if push.content_available or push_type == "background":
        aps["content-available"] = 1
    payload: dict[str, object] = {"aps": aps, **push.data}
    if push.image is not None:
        aps["mutable-content"] = 1
        payload.setdefault("image", push.image)
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    limit = VOIP_PAYLOAD_LIMIT_BYTES if push_type == "voip" else PAYLOAD_LIMIT_BYTES
    if len(body) > limit:
        msg = f"The payload has {len(body)} bytes; APNs takes {limit} for this push type. Shorten the body or the data."
        raise ContentError(msg, "PayloadTooLarge")
    return body


def _aps(push: Push) -> dict[str, object]:
    aps: dict[str, object] = {}
    alert = {key: value for key, value in (("title", push.title), ("body", push.body)) if value is not None}
    if alert:
        aps["alert"] = alert
    if push.badge is not None:
        aps["badge"] = push.badge
    if push.critical:
        aps["sound"] = {"critical": 1, "name": push.sound or "default", "volume": 1.0}
    elif push.sound is not None:
        aps["sound"] = push.sound
    if push.action is not None:
        aps["category"] = push.action
    if push.tag is not None:
        aps["thread-id"] = push.tag
    return aps
