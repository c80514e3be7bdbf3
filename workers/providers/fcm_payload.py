"""A push message as FCM v1 takes it: one request body, open at the place of the token.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets

from firebase_admin import messaging as fcm

from messaging.errors import ContentError
from messaging.message import Push
from workers.providers.base import Outgoing

PAYLOAD_LIMIT_BYTES = 4096
LONGEST_TTL = dt.timedelta(weeks=4)
_LONGEST_TTL_S = LONGEST_TTL.total_seconds()
_HARMLESS = re.compile(r"[A-Za-z0-9:_-]+", re.ASCII).fullmatch
APNS_COLLAPSE_ID_LIMIT_BYTES = 64

_LEFT = f"<{secrets.token_hex(16)}>"
"""Stands where the seconds left are written: nobody's text holds it."""

_RESERVED = ("google.", "gcm.notification.")
_RESERVED_WORDS = frozenset({"from", "message_type"})


class PreparedFcm:
    """One message, rendered but for what each request has of its own; remembers whether FCM has ever accepted it."""

    __slots__ = ("_ends_s", "_parts", "_rendered", "accepted")

    def __init__(self, *parts: bytes, expires_at: dt.datetime) -> None:
        self._parts = parts
        """The body up to the token, split where the seconds left are written."""
        self._rendered = (-1, b"")
        self._ends_s = expires_at.timestamp()
        self.accepted = False
        """Whether this payload was accepted for some token, so that INVALID_ARGUMENT can only mean the token."""

    def body(self, token: str, now_s: float) -> bytes:
        """The request body for one registration token, sent now: what is left of the time to live goes with it."""
        left_s = int(min(max(self._ends_s - now_s, 0.0), _LONGEST_TTL_S))
        if self._rendered[0] != left_s:
            self._rendered = left_s, str(left_s).encode().join(self._parts)
        # to encode what is nearly always harmless costs more than to see that it is
        quoted = f'"{token}"' if _HARMLESS(token) else json.dumps(token)
        return self._rendered[1] + quoted.encode() + b"}}"


def render(outgoing: Outgoing) -> PreparedFcm:
    """The request all recipients share; raises `ContentError` for what FCM would refuse."""
    push = outgoing.content
    if not isinstance(push, Push):
        msg = f"FCM sends push messages only, not {push.channel}."
        raise ContentError(msg)
    _check_data(push)
    # A message needs one addressee to be encoded; the token takes the place of this one.
    message = fcm.Message(
        topic="to-be-replaced",
        data=dict(push.data) or None,
        notification=fcm.Notification(title=push.title, body=push.body, image=push.image) if _shown(push) else None,
        android=_android(push),
        apns=_apns(push, outgoing.expires_at),
        webpush=fcm.WebpushConfig(headers={"TTL": _LEFT, "Urgency": _urgency(push)}),
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
    encoded["android"]["ttl"] = f"{_LEFT}s"
    body = b'{"message":' + _compact(encoded)[:-1] + b',"token":'
    return PreparedFcm(*body.split(_LEFT.encode()), expires_at=outgoing.expires_at)


def _shown(push: Push) -> bool:
    return push.title is not None or push.body is not None


def _check_data(push: Push) -> None:
    for key in push.data:
        if key in _RESERVED_WORDS or key.startswith(_RESERVED):
            msg = f"The data key '{key}' is reserved by FCM; give that entry another name."
            raise ContentError(msg, "INVALID_ARGUMENT")


def _android(push: Push) -> fcm.AndroidConfig:
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
    return fcm.AndroidConfig(collapse_key=push.collapse_id, priority=push.priority, notification=notification)


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
