"""A push message as FCM v1 takes it: one request body, open at the place of the token.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

import datetime as dt
import json

from firebase_admin import messaging as fcm

from messaging.errors import ContentError
from messaging.message import Push
from workers.providers.base import Outgoing

PAYLOAD_LIMIT_BYTES = 4096
LONGEST_TTL = dt.timedelta(weeks=4)
APNS_COLLAPSE_ID_LIMIT_BYTES = 64

_RESERVED = ("google.", "gcm.notification.")
_RESERVED_WORDS = frozenset({"from", "message_type"})


class PreparedFcm:
    """One message, rendered; remembers whether FCM has ever accepted it."""

    __slots__ = ("accepted", "head", "tail")

    def __init__(self, head: bytes, tail: bytes) -> None:
        self.head = head
        """The body up to the token."""
        self.tail = tail
        self.accepted = False
        """Whether this payload was accepted for some token, so that INVALID_ARGUMENT can only mean the token."""

    def body(self, token: str) -> bytes:
        """The request body for one registration token."""
        return self.head + json.dumps(token).encode() + self.tail


def render(outgoing: Outgoing, *, now: dt.datetime) -> PreparedFcm:
    """The request all recipients share; raises `ContentError` for what FCM would refuse."""
    push = outgoing.content
    if not isinstance(push, Push):
        msg = f"FCM sends push messages only, not {push.channel}."
        raise ContentError(msg)
    _check_data(push)
    ttl = min(max(outgoing.expires_at - now, dt.timedelta(0)), LONGEST_TTL)
    ttl = dt.timedelta(seconds=int(ttl.total_seconds()))
    # A message needs one addressee to be encoded; the token takes the place of this one.
    message = fcm.Message(
        topic="to-be-replaced",
        data=dict(push.data) or None,
        notification=fcm.Notification(title=push.title, body=push.body, image=push.image) if _shown(push) else None,
        android=_android(push, ttl),
        apns=_apns(push, outgoing.expires_at),
        webpush=fcm.WebpushConfig(headers={"TTL": str(int(ttl.total_seconds())), "Urgency": _urgency(push)}),
    )
    try:
        encoded = json.loads(str(message))
    except (ValueError, TypeError) as error:
        raise ContentError(f"FCM cannot take the message: {error}", "INVALID_ARGUMENT") from error
    del encoded["topic"]
    counted = {key: encoded[key] for key in ("notification", "data") if key in encoded}
    size = len(_compact(counted))
    if size > PAYLOAD_LIMIT_BYTES:
        msg = f"Notification and data have {size} bytes; FCM takes {PAYLOAD_LIMIT_BYTES}. Shorten the body or the data."
        raise ContentError(msg, "payload too large")
    return PreparedFcm(b'{"message":' + _compact(encoded)[:-1] + b',"token":', b"}}")


def _shown(push: Push) -> bool:
    return push.title is not None or push.body is not None


def _check_data(push: Push) -> None:
    for key in push.data:
        if key in _RESERVED_WORDS or key.startswith(_RESERVED):
            msg = f"The data key '{key}' is reserved by FCM; give that entry another name."
            raise ContentError(msg, "INVALID_ARGUMENT")


def _android(push: Push, ttl: dt.timedelta) -> fcm.AndroidConfig:
    notification = None
    if _shown(push):  # else there is nothing to present, and the app gets the data alone
        notification = fcm.AndroidNotification(
            icon=push.icon,
            color=push.color,
            sound=push.sound,
            tag=push.tag,
            click_action=push.action,
            channel_id=push.channel_id,
            image=push.image,
            notification_count=push.badge,
        )
    return fcm.AndroidConfig(collapse_key=push.collapse_id, priority=push.priority, ttl=ttl, notification=notification)


def _apns(push: Push, expires_at: dt.datetime) -> fcm.APNSConfig:
    seen = _shown(push) or push.sound is not None or push.badge is not None or push.critical
    headers = {
        "apns-priority": "10" if push.priority == "high" and seen else "5",
        "apns-expiration": str(max(0, int(expires_at.timestamp()))),
        "apns-push-type": "alert" if seen else "background",
    }
    if push.collapse_id is not None:
        if len(push.collapse_id.encode()) > APNS_COLLAPSE_ID_LIMIT_BYTES:
            msg = f"The collapse id is longer than {APNS_COLLAPSE_ID_LIMIT_BYTES} bytes, the most Apple devices take."
            raise ContentError(msg, "INVALID_ARGUMENT")
        headers["apns-collapse-id"] = push.collapse_id
    sound: object = push.sound
    if push.critical:
        sound = fcm.CriticalSound(push.sound or "default", critical=True, volume=1.0)
    aps = fcm.Aps(
        badge=push.badge,
        sound=sound,
        category=push.action,
        thread_id=push.tag,
        content_available=True if push.content_available or not seen else None,
        mutable_content=True if push.image is not None else None,
    )
    options = fcm.APNSFCMOptions(image=push.image) if push.image is not None else None
    return fcm.APNSConfig(headers=headers, payload=fcm.APNSPayload(aps), fcm_options=options)


def _urgency(push: Push) -> str:
    return "high" if push.priority == "high" else "normal"


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
