"""What the FCM stand-in takes and refuses, held against Google's schema."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from messaging.local.sandbox.fcm_message import REQUEST, InvalidArgumentError, label_of, parse_message, recipient_of


def body(**message: object) -> bytes:
    """A request with this message."""
    return json.dumps({"message": message}).encode()


def test_the_fields_are_those_of_googles_schema(shared_dir: Path) -> None:
    """No field of the v1 contract is missing here, and none is made up."""
    contract = json.loads((shared_dir / "contracts/fcm_v1_messages_send.openapi.json").read_text())
    schemas = contract["components"]["schemas"]

    def compare(where: str, ours: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
        theirs = {name: part for name, part in schema.get("properties", {}).items() if name == name.lower()}
        assert set(ours) == set(theirs), where
        for name, part in theirs.items():
            reference = part.get("$ref", "").rpartition("/")[2]
            if isinstance(ours[name], Mapping):
                compare(f"{where}.{name}", ours[name], schemas[reference])

    compare("", REQUEST, schemas["SendMessageRequest"])


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        (b"not json", ""),
        (b"[]", ""),
        (b'{"message": []}', "message"),
        (body(notification={"title": "a"}), "message"),
        (body(token="t", topic="u"), "message"),
        (body(token="t", data={"n": 1}), "message.data"),
        (body(token="t", data={"google.x": "1"}), "message.data"),
        (body(token="t", titel="a"), "message"),
        (body(token="t", notification={"title": 7}), "message.notification.title"),
        (body(token="t", android={"ttl": "5"}), "message.android.ttl"),
        (body(token="t", android={"notification": {"notification_count": True}}), "message.android.notification"),
        (body(token="t", data={"k": "x" * 4096}), "message"),
    ],
)
def test_a_broken_message_is_refused_by_field(request_body: bytes, field: str) -> None:
    """FCM's INVALID_ARGUMENT names where the message is wrong."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_message(request_body)
    assert caught.value.field.startswith(field)


def test_both_spellings_are_taken() -> None:
    """Names in camelCase and in snake_case are the same fields."""
    message, validate_only = parse_message(
        json.dumps(
            {
                "validateOnly": True,
                "message": {"token": "t", "fcmOptions": {"analyticsLabel": "m1"}, "android": {"collapseKey": "c"}},
            }
        ).encode()
    )
    assert validate_only
    assert (recipient_of(message), label_of(message)) == ("t", "m1")
