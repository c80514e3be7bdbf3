"""What FCM v1 takes: the fields of a Message, both spellings, and the sizes."""

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_PAYLOAD_BYTES = 4096
MAX_TOPIC_PAYLOAD_BYTES = 2048
TARGETS = ("fid", "token", "topic", "condition")

_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_RESERVED = re.compile(r"from|message_type|google\..*|gcm\.notification\..*")
_DURATION = re.compile(r"\d{1,12}(\.\d{1,9})?s")

_OPTIONS = {"analytics_label": str}
_LIGHT = {"color": dict, "light_on_duration": str, "light_off_duration": str}
_ANDROID_NOTIFICATION: dict[str, Any] = {
    **dict.fromkeys(
        [
            "title",
            "body",
            "icon",
            "color",
            "sound",
            "tag",
            "click_action",
            "body_loc_key",
            "title_loc_key",
            "channel_id",
            "ticker",
            "event_time",
            "notification_priority",
            "visibility",
            "image",
        ],
        str,
    ),
    **dict.fromkeys(
        [
            "sticky",
            "local_only",
            "default_sound",
            "default_vibrate_timings",
            "default_light_settings",
        ],
        bool,
    ),
    **dict.fromkeys(["body_loc_args", "title_loc_args", "vibrate_timings"], list),
    "notification_count": int,
    "light_settings": _LIGHT,
}
_ANDROID_COMMON: dict[str, Any] = {
    **dict.fromkeys(["collapse_key", "ttl", "restricted_package_name"], str),
    **dict.fromkeys(["direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"], bool),
    "data": "strings",
    "fcm_options": _OPTIONS,
}
_REMOTE_NOTIFICATION = {
    "notification": {**_ANDROID_NOTIFICATION, "id": int},
    "mutable_content": bool,
    "use_as_v1_data_message": bool,
}
MESSAGE: Mapping[str, Any] = {
    "name": str,
    **dict.fromkeys(TARGETS, str),
    "data": "strings",
    "notification": dict.fromkeys(["title", "body", "image"], str),
    "android": {
        **_ANDROID_COMMON,
        "priority": str,
        "notification": {**_ANDROID_NOTIFICATION, "proxy": str, "bypass_proxy_notification": bool},
    },
    "android_v2": {**_ANDROID_COMMON, "remote_notification": _REMOTE_NOTIFICATION, "background_sync": {}},
    "apns": {
        "headers": "strings",
        "payload": dict,
        "live_activity_token": str,
        "fcm_options": {"analytics_label": str, "image": str},
    },
    "webpush": {
        "headers": "strings",
        "data": "strings",
        "notification": dict,
        "fcm_options": {"analytics_label": str, "link": str},
    },
    "fcm_options": _OPTIONS,
}
"""Fields and types, snake_case (camelCase is taken, too). Source: FCM v1 discovery document, rev 20261023."""
REQUEST: Mapping[str, Any] = {"message": MESSAGE, "validate_only": bool}


class InvalidArgumentError(Exception):
    """FCM refuses the request: `field` (a path such as `message.data`) and why."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"Invalid value at '{field}': {description}" if field else description)
        self.field = field
        self.description = description


def parse_message(body: bytes) -> tuple[dict[str, Any], bool]:
    """The message (keys as sent) and whether it is only to be validated; raises InvalidArgumentError."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise InvalidArgumentError("", f"Invalid JSON payload received. {error}") from error
    if not isinstance(request, dict):
        raise InvalidArgumentError("", "Invalid JSON payload received. Expected an object")
    _check_fields("", request, REQUEST)
    message: dict[str, Any] = request.get("message") or {}
    targets = [name for name in TARGETS if message.get(name)]
    if len(targets) != 1:
        said = f"Exactly one of {', '.join(TARGETS)} has to be set" if targets else "Recipient is not set."
        raise InvalidArgumentError("message", said)
    if "android" in message and ("android_v2" in message or "androidV2" in message):
        raise InvalidArgumentError("message.android_v2", "android and android_v2 exclude each other")
    for key in message.get("data") or {}:
        if _RESERVED.fullmatch(key):
            raise InvalidArgumentError("message.data", f"Invalid data payload key: {key}")
    ttl = (message.get("android") or {}).get("ttl")
    if ttl is not None and not _DURATION.fullmatch(ttl):
        raise InvalidArgumentError("message.android.ttl", "Illegal duration format; duration must end with 's'")
    limit = MAX_PAYLOAD_BYTES if targets[0] in {"token", "fid"} else MAX_TOPIC_PAYLOAD_BYTES
    if _payload_bytes(message) > limit:
        raise InvalidArgumentError("message", f"Message is too big: payloads may have {limit} bytes")
    return message, bool(request.get("validate_only", request.get("validateOnly", False)))


def recipient_of(message: Mapping[str, Any]) -> str:
    """The token or installation id, or `/topics/…`, or the condition."""
    if message.get("topic"):
        return f"/topics/{message['topic']}"
    return str(message.get("token") or message.get("fid") or message.get("condition") or "")


def label_of(message: Mapping[str, Any]) -> str | None:
    """The caller's own tag: `fcm_options.analytics_label`, the one field FCM leaves to the sender."""
    options = message.get("fcm_options") or message.get("fcmOptions") or {}
    label = options.get("analytics_label") or options.get("analyticsLabel")
    return str(label) if label else None


def _check_fields(path: str, value: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    for key, item in value.items():
        name = key if key in fields else _CAMEL.sub(lambda match: "_" + match[1].lower(), key)
        where = f"{path}.{name}" if path else name
        if name not in fields:
            raise InvalidArgumentError(path, f'Unknown name "{key}": Cannot find field.')
        if item is not None:
            _check_value(where, item, fields[name])


def _check_value(where: str, item: object, kind: Any) -> None:  # noqa: ANN401  # a type, a table, or "strings"
    if isinstance(kind, Mapping):
        if not isinstance(item, dict):
            raise InvalidArgumentError(where, "Expected an object")
        _check_fields(where, item, kind)
    elif kind == "strings":
        if not isinstance(item, dict) or not all(isinstance(text, str) for text in item.values()):
            raise InvalidArgumentError(where, "Expected a map of strings to strings")
    elif not isinstance(item, kind) or (kind is int and isinstance(item, bool)):
        raise InvalidArgumentError(where, f"Expected {kind.__name__}, got {type(item).__name__}")


def _payload_bytes(message: Mapping[str, Any]) -> int:
    """Size of notification and data, which the limit is about."""
    size = 0
    for part in (message.get("notification"), message.get("data")):
        if part:
            size += sum(len(key.encode()) + len(str(text).encode()) for key, text in part.items())
    return size
