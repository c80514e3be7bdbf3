"""A push message as a service worker reads it: JSON, and the headers that go with it."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from messaging.errors import ContentError
from messaging.message import Push
from workers.providers.base import Outgoing
from workers.providers.webpush_crypto import PLAINTEXT_LIMIT_BYTES

LONGEST_TTL = timedelta(weeks=4)
"""What push services keep at most; Google's refuses more."""
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_ADDRESS = re.compile(r"https?://|/")


@dataclass(frozen=True)
class Prepared:
    """One message, rendered."""

    payload: bytes
    headers: dict[str, str]
    expires_at: datetime

    def ttl_s(self, now: datetime) -> int:
        """Seconds a push service shall keep it from now on."""
        return int(min(max(self.expires_at - now, timedelta(0)), LONGEST_TTL).total_seconds())


def render(outgoing: Outgoing) -> Prepared:
    """What all recipients share; raises `ContentError` for what no browser would get.

    `id` is the message's: the same when a message comes twice, so that a service worker can tell.
    """
    push = outgoing.content
    if not isinstance(push, Push):
        raise ContentError(f"Web Push can't send a {outgoing.content.channel} message", "wrong_channel")
    fields = {
        "id": outgoing.message_id,
        "title": push.title,
        "body": push.body,
        "icon": push.icon,
        "image": push.image,
        "tag": push.tag,
        "badge": push.badge,
        "action": push.action,
        "url": push.action if push.action and _ADDRESS.match(push.action) else None,
        "sound": push.sound,
        "color": push.color,
        "channelId": push.channel_id,
        "contentAvailable": push.content_available or None,
        "critical": push.critical or None,
        "data": dict(push.data) or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        payload = json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ContentError("the message holds half a character (a lone surrogate): remove it") from None
    if len(payload) > PLAINTEXT_LIMIT_BYTES:
        raise ContentError(
            f"the message takes {len(payload)} bytes; Web Push takes {PLAINTEXT_LIMIT_BYTES}. Shorten body or data.",
            "413",
        )
    headers = {"urgency": "high" if push.priority == "high" else "normal"}
    if push.collapse_id:
        headers["topic"] = topic(push.collapse_id)
    return Prepared(payload, headers, outgoing.expires_at)


def topic(collapse_id: str) -> str:
    """The Topic header for a collapse id: itself where it fits (RFC 8030 §5.4), else a digest of it."""
    if _TOPIC.fullmatch(collapse_id):
        return collapse_id
    return urlsafe_b64encode(sha256(collapse_id.encode("utf-8", "surrogatepass")).digest())[:32].decode("ascii")
