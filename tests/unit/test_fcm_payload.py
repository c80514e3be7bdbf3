from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from messaging.errors import ContentError
from messaging.message import Email, Push
from workers.providers.base import Outgoing
from workers.providers.fcm_payload import PreparedFcm, render

NOW = dt.datetime(2029, 12, 31, 23, 0, tzinfo=dt.UTC)
EXPIRES = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

FULL: dict[str, Any] = {
    "title": "Order 17",
    "body": "Ready",
    "data": {"order": "17"},
    "action": "ORDER",
    "image": "https://example.com/a.png",
    "icon": "ic",
    "sound": "bell",
    "color": "#112233",
    "tag": "orders",
    "badge": 2,
    "content_available": True,
    "channel_id": "orders",
    "collapse_id": "order-17",
}


def _render(*, expires_at: dt.datetime = EXPIRES, **push: Any) -> PreparedFcm:
    return render(Outgoing(message_id="m", content=Push(**push), expires_at=expires_at))


def _message(**push: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(_render(**push).body("T", NOW.timestamp()))["message"]
    return message


@pytest.mark.parametrize(
    "push",
    [
        {"title": "a"},
        {"data": {"k": "v"}},
        {"badge": 0},
        {"title": "a", "critical": True},
        {"title": "a", "critical": True, "sound": "x", "priority": "normal"},
        FULL,
    ],
)
def test_requests_are_valid_by_googles_contract(shared_dir: Path, push: dict[str, Any]) -> None:
    """Every shape of push is a SendMessageRequest of the discovery document, with nothing unknown in it."""
    contract = json.loads((shared_dir / "contracts" / "fcm_v1_messages_send.openapi.json").read_text("utf-8"))
    schema = {"$ref": "#/components/schemas/SendMessageRequest", "components": contract["components"]}
    validator = Draft202012Validator(schema)
    validator.validate(json.loads(_render(**push).body('to"ken', NOW.timestamp())))
    assert not validator.is_valid({"message": {"token": 1}})


def test_a_full_push_reaches_each_platform() -> None:
    """One request carries the Android, Apple and web form of the message."""
    message = _message(**FULL)
    assert message["token"] == "T"
    assert message["notification"] == {"title": "Order 17", "body": "Ready", "image": "https://example.com/a.png"}
    assert message["data"] == {"order": "17"}
    android = message["android"]
    assert (android["collapse_key"], android["priority"], android["ttl"]) == ("order-17", "high", "3600s")
    assert android["notification"] == {
        "icon": "ic",
        "color": "#112233",
        "sound": "bell",
        "tag": "orders",
        "click_action": "ORDER",
        "channel_id": "orders",
        "image": "https://example.com/a.png",
        "notification_count": 2,
    }
    assert message["apns"]["headers"] == {
        "apns-priority": "10",
        "apns-expiration": "1893456000",
        "apns-push-type": "alert",
        "apns-collapse-id": "order-17",
    }
    aps = message["apns"]["payload"]["aps"]
    assert (aps["badge"], aps["sound"], aps["category"], aps["thread-id"]) == (2, "bell", "ORDER", "orders")
    assert (aps["content-available"], aps["mutable-content"]) == (1, 1)
    assert message["webpush"]["headers"] == {"TTL": "3600", "Urgency": "high"}


def test_data_alone_goes_to_apple_as_background() -> None:
    """Data without anything to show has apns-priority 5 and content-available, and no notification on Android."""
    message = _message(data={"k": "v"})
    assert message["apns"]["headers"]["apns-priority"] == "5"
    assert message["apns"]["headers"]["apns-push-type"] == "background"
    assert message["apns"]["payload"]["aps"] == {"content-available": 1}
    assert "notification" not in message
    assert "notification" not in message["android"]


@pytest.mark.parametrize(
    ("expires_at", "ttl"),
    [
        (NOW - dt.timedelta(days=1), "0s"),
        (NOW + dt.timedelta(days=60), "2419200s"),
        (NOW + dt.timedelta(seconds=90.7), "90s"),
    ],
)
def test_the_time_to_live_is_within_what_fcm_takes(expires_at: dt.datetime, ttl: str) -> None:
    """From now or never (0 s) to four weeks, in whole seconds."""
    message = json.loads(_render(expires_at=expires_at, title="a").body("T", NOW.timestamp()))["message"]
    assert message["android"]["ttl"] == ttl


def test_the_time_to_live_is_what_is_left_when_it_is_sent_not_when_it_was_rendered() -> None:
    """A retry an hour later may be kept an hour less, by Android's field and by the web's."""
    prepared = _render(title="a", expires_at=NOW + dt.timedelta(hours=3))
    message = json.loads(prepared.body("T", (NOW + dt.timedelta(hours=1)).timestamp()))["message"]
    assert (message["android"]["ttl"], message["webpush"]["headers"]["TTL"]) == ("7200s", "7200")


@given(st.text())
def test_any_token_is_spliced_in_as_a_json_text(token: str) -> None:
    """A token with quotes, controls or lone surrogates cannot break out of its place."""
    message = json.loads(_render(title="a").body(token, NOW.timestamp()))["message"]
    assert message["token"] == token
    assert set(message) == {"token", "notification", "android", "apns", "webpush"}


@pytest.mark.parametrize("key", ["from", "message_type", "google.x", "gcm.notification.y"])
def test_reserved_data_keys_are_refused(key: str) -> None:
    """FCM keeps some names for itself."""
    with pytest.raises(ContentError, match="reserved"):
        _render(data={key: "v"})


@pytest.mark.parametrize("push", [{"title": "a", "color": "red"}, {"title": "a", "collapse_id": "x" * 65}])
def test_what_google_would_refuse_is_refused_before_sending(push: dict[str, Any]) -> None:
    """The encoder's rules and ours raise when the message is prepared, not a million times later."""
    with pytest.raises(ContentError) as caught:
        _render(**push)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_payload_beyond_four_kilobytes_is_refused() -> None:
    """Notification and data together may have 4096 bytes."""
    _render(body="x" * 4000)
    with pytest.raises(ContentError, match="4096"):
        _render(body="x" * 4097)


def test_another_channel_is_refused() -> None:
    """FCM takes no email."""
    outgoing = Outgoing(message_id="m", content=Email(subject="a", content="b"), expires_at=EXPIRES)
    with pytest.raises(ContentError, match="push messages only"):
        render(outgoing)
