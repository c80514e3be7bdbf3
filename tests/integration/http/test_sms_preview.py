"""The preview of a text message over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from messaging.http.models import MODELS
from tests.integration.http.api import Api

PATH = "/messaging/messages/sms/preview"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "Your train leaves at nine.",
            {"encoding": "GSM-7", "parts": 1, "characters": 26, "units": 26, "left": 134, "forcing": []},
        ),
        (
            "Привет, 😀" + "a" * 70,
            {"encoding": "UCS-2", "parts": 2, "characters": 79, "units": 80, "left": 54, "forcing": [*"Привет😀"]},
        ),
    ],
)
def test_a_text_is_told_its_encoding_and_parts(api: Api, content: str, told: dict[str, Any]) -> None:
    """As the model describes it."""
    found = api.ok("POST", PATH, {"content": content})
    assert found == told
    Draft202012Validator(MODELS["smsPreview"]).validate(found)


def test_a_preview_sends_and_keeps_nothing(api: Api) -> None:
    """There are as many messages as before."""
    before = api.ok("GET", "/messaging/messages")["total"]
    api.ok("POST", PATH, {"content": "Hello"})
    assert api.ok("GET", "/messaging/messages")["total"] == before


@pytest.mark.parametrize(
    "body", [{}, {"content": ""}, {"content": 5}, {"content": "\ud800"}, {"content": "x" * 64_231}]
)
def test_what_could_not_be_sent_is_not_previewed(api: Api, body: dict[str, Any]) -> None:
    """In the words of a message that is created."""
    assert api.refused("POST", PATH, body) == (400, "general_argument_invalid")


def test_a_preview_needs_a_key_that_may_read_messages(api: Api) -> None:
    """Writing is not asked for."""
    reads = {"x-appwrite-key": api.new_key("messages.read")}
    other = {"x-appwrite-key": api.new_key("topics.read")}
    assert api.ok("POST", PATH, {"content": "Hello"}, headers=reads)["parts"] == 1
    assert api.refused("POST", PATH, {"content": "Hello"}, headers=other) == (401, "general_unauthorized_scope")
    assert api.refused("POST", PATH, {"content": "Hello"}, key=False) == (401, "general_unauthorized_scope")
