from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from messaging.errors import ContentError
from messaging.message import Push, Sms
from workers.providers.apns_payload import TOPIC_SUFFIXES, PreparedApns, render
from workers.providers.base import Outgoing

EXPIRES = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def _render(**push: Any) -> PreparedApns:
    return render(Outgoing(message_id="m", content=Push(**push), expires_at=EXPIRES), "com.example.app")


def _parts(**push: Any) -> tuple[dict[str, str], dict[str, Any]]:
    prepared = _render(**push)
    return dict(prepared.headers), json.loads(prepared.body)


def test_an_alert_has_its_headers_and_payload() -> None:
    """A push with everything becomes headers for delivery and one aps object, with the data beside it."""
    headers, payload = _parts(
        title="Order 17",
        body="Ready",
        data={"order": "17"},
        action="ORDER",
        sound="bell.caf",
        tag="orders",
        badge=0,
        content_available=True,
        collapse_id="order-17",
    )
    assert headers == {
        "apns-topic": "com.example.app",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": "1893456000",
        "apns-collapse-id": "order-17",
    }
    assert payload == {
        "aps": {
            "alert": {"title": "Order 17", "body": "Ready"},
            "badge": 0,
            "sound": "bell.caf",
            "content-available": 1,
            "category": "ORDER",
            "thread-id": "orders",
        },
        "order": "17",
    }


def test_a_push_that_shows_nothing_is_a_background_push() -> None:
    """Data alone goes as background with priority 5, which Apple demands, whatever priority was asked for."""
    headers, payload = _parts(data={"sync": "1"}, priority="high")
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("background", "5")
    assert payload == {"aps": {"content-available": 1}, "sync": "1"}


def test_a_badge_alone_is_an_alert() -> None:
    """A badge is seen, so it must not go as background."""
    headers, payload = _parts(badge=3)
    assert headers["apns-push-type"] == "alert"
    assert payload == {"aps": {"badge": 3}}


def test_normal_priority_is_five() -> None:
    """Priority is a header, not a part of the payload."""
    headers, payload = _parts(title="a", priority="normal")
    assert headers["apns-priority"] == "5"
    assert payload == {"aps": {"alert": {"title": "a"}}}


def test_a_critical_alert_has_a_critical_sound() -> None:
    """Critical alerts carry a sound object, with the default sound where none is named."""
    assert _parts(title="a", critical=True)[1]["aps"]["sound"] == {"critical": 1, "name": "default", "volume": 1.0}


def test_an_image_is_left_to_the_service_extension() -> None:
    """The image's address stands in the payload and mutable-content lets the app fetch it."""
    payload = _parts(title="a", image="https://example.com/a.png")[1]
    assert payload["image"] == "https://example.com/a.png"
    assert payload["aps"]["mutable-content"] == 1


@pytest.mark.parametrize(("push_type", "suffix"), TOPIC_SUFFIXES.items())
def test_each_push_type_has_its_topic(push_type: str, suffix: str) -> None:
    """The topic is the bundle id with the suffix of the push type, once."""
    content = Push(data={"a": "b"}, push_type=push_type)
    outgoing = Outgoing(message_id="m", content=content, expires_at=EXPIRES)
    assert dict(render(outgoing, "com.example.app").headers)["apns-topic"] == f"com.example.app{suffix}"
    assert dict(render(outgoing, f"com.example.app{suffix}").headers)["apns-topic"] == f"com.example.app{suffix}"


@pytest.mark.parametrize(("push_type", "limit"), [("alert", 4096), ("voip", 5120)])
def test_the_payload_limit_is_exact(push_type: str, limit: int) -> None:
    """A payload of the limit passes, one byte more is refused with Apple's code."""
    empty = len(_render(title="", push_type=push_type).body)
    assert len(_render(title="x" * (limit - empty), push_type=push_type).body) == limit
    with pytest.raises(ContentError, match=f"{limit + 1} bytes") as caught:
        _render(title="x" * (limit - empty + 1), push_type=push_type)
    assert caught.value.code == "PayloadTooLarge"


def test_text_counts_in_bytes_not_in_escapes() -> None:
    """Letters beyond ASCII are sent as UTF-8."""
    assert "Ž".encode() in _render(title="Ž").body


@pytest.mark.parametrize(
    ("push", "code"),
    [
        ({"title": "a", "collapse_id": "ž" * 33}, "BadCollapseId"),
        ({"title": "a", "collapse_id": ""}, "BadCollapseId"),
        ({"title": "a", "collapse_id": "a\r\nb"}, "BadCollapseId"),
        ({"title": "a", "push_type": "telepathy"}, "InvalidPushType"),
        ({"title": "a", "push_type": "background"}, "InvalidPushType"),
        ({"title": "a", "data": {"aps": "x"}}, "content_invalid"),
    ],
)
def test_what_apple_would_refuse_is_refused_before_sending(push: dict[str, Any], code: str) -> None:
    """Each has the code Apple would have answered with, where it has one."""
    with pytest.raises(ContentError) as caught:
        _render(**push)
    assert caught.value.code == code


def test_another_channel_is_refused() -> None:
    """APNs takes no SMS."""
    with pytest.raises(ContentError, match="push messages only"):
        render(Outgoing(message_id="m", content=Sms(content="x"), expires_at=EXPIRES), "a")
