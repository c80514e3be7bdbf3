"""Content is checked once, for every way in."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.channel import Channel
from messaging.content import (
    FileReference,
    check_content,
    content_from_json,
    content_to_json,
    parse_content,
    stored_attachment_ids,
)
from messaging.errors import ContentError, InvalidArgumentError, MessagingError
from messaging.message import Attachment, Email, Push, Sms

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH


def email(**arguments: Any) -> Email:
    """The email of these arguments."""
    parsed = parse_content(EMAIL, {"subject": "s", "content": "c", **arguments})
    assert isinstance(parsed, Email)
    return parsed


def push(**arguments: Any) -> Push:
    """The push of these arguments."""
    parsed = parse_content(PUSH, {"title": "t", **arguments})
    assert isinstance(parsed, Push)
    return parsed


def test_a_push_carries_every_part() -> None:
    """A push carries everything the HTTP API knows by its snake_case name."""
    arguments = {
        "title": "t",
        "body": "b",
        "data": {"a": "1", "n": 2, "o": {"x": [True, None]}},
        "action": "open",
        "image": "https://example.com/i.png",
        "icon": "i",
        "sound": "s",
        "color": "#fff",
        "tag": "g",
        "badge": 0,
        "content_available": True,
        "critical": True,
        "priority": "normal",
        "channel_id": "c",
        "collapse_id": "d",
    }
    expected = dict(arguments, data={"a": "1", "n": "2", "o": '{"x":[true,null]}'})
    assert parse_content(PUSH, arguments) == Push(**expected)  # type: ignore[arg-type]


def test_badge_minus_one_means_unset() -> None:
    """Badge -1 leaves the number on the icon as it is, 0 clears it."""
    assert push(badge=-1).badge is None
    assert push(badge=0).badge == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("title", 7),
        ("title", "x" * 257),
        ("badge", -2),
        ("badge", True),
        ("badge", "3"),
        ("data", ["a"]),
        ("data", "{}"),
        ("image", "http://example.com/i.png"),
        ("priority", "urgent"),
        ("content_available", 1),
        ("collapse_id", "é" * 33),
        ("push_type", "postcard"),
        ("body", "nul\0"),
        ("body", "half \ud83d"),
        ("titel", "x"),
    ],
)
def test_a_push_argument_that_is_wrong_is_named(argument: str, value: object) -> None:
    """A push argument of the wrong type, length or name is refused by its name."""
    with pytest.raises(InvalidArgumentError) as caught:
        push(**{argument: value})
    assert caught.value.argument == argument


def test_a_push_says_something() -> None:
    """A push without title, body and data is refused."""
    with pytest.raises(InvalidArgumentError, match="title, body and data"):
        parse_content(PUSH, {"title": "", "body": None, "data": {}})


def test_a_push_above_4096_bytes_is_refused_at_once() -> None:
    """A push that no provider takes is refused when it is accepted, not 10,000 times later."""
    push(body="x" * 4000)
    with pytest.raises(ContentError, match="4,096") as caught:
        push(body="x" * 4096)
    assert caught.value.code == "PayloadTooLarge"
    with pytest.raises(ContentError):
        push(data={"a": "ü" * 2050})


@pytest.mark.parametrize(
    ("content", "is_html"),
    [
        ("<h1>Hello</h1>", True),
        ("<!DOCTYPE html><html></html>", True),
        ('Hi<br/>there <a href="https://example.com">x</a>', True),
        ("Plain", False),
        ("1 < 2 and 3 > 2", False),
        ("if a<b then <unknown>", False),
        ("ada <ada@example.com>", False),
    ],
)
def test_markup_goes_out_as_html_unless_told_otherwise(content: str, is_html: bool) -> None:
    """Email content with markup goes out as HTML where `html` is not given; an explicit word is obeyed."""
    assert email(content=content).html is is_html
    assert email(content=content, html=False).html is False
    assert email(content=content, html=True).html is True


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("subject", "a\r\nBcc: x@example.com"),
        ("subject", "a\nb"),
        ("subject", "x" * 999),
        ("subject", ""),
        ("content", "x" * 64_231),
        ("html", "yes"),
        ("reply_to_email", "nobody"),
        ("reply_to_name", "a\nb"),
        ("headers", ["x"]),
        ("attachments", "file"),
    ],
)
def test_an_email_argument_that_is_wrong_is_named(argument: str, value: object) -> None:
    """An email argument that would break a header, a limit or a type is refused by its name."""
    with pytest.raises(InvalidArgumentError) as caught:
        email(**{argument: value})
    assert caught.value.argument == argument


def test_what_is_far_too_large_is_refused_with_its_limit() -> None:
    """Nothing of ten megabytes reaches a worker that would have to render it."""
    large = "x" * 10_000_000
    for arguments in ({"content": large}, {"text": large}, {"subject": large}, {"headers": {"X-Large": large}}):
        with pytest.raises(InvalidArgumentError, match=r"at most|longest|characters"):
            email(**arguments)
    with pytest.raises(InvalidArgumentError):
        parse_content(SMS, {"content": large})
    with pytest.raises((InvalidArgumentError, ContentError)):
        push(data={"key": large})


@pytest.mark.parametrize(
    "headers", [{"X-A": "b\r\nBcc: x@y.example"}, {"X A": "b"}, {"X:": "b"}, {"Bcc": "x@y.example"}, {"X-A": 1}]
)
def test_a_header_cannot_smuggle_another(headers: dict[str, Any]) -> None:
    """A header with a line break, a broken name, or one of our own is refused."""
    with pytest.raises(InvalidArgumentError, match="headers"):
        email(headers=headers)


def test_list_unsubscribe_is_allowed() -> None:
    """List-Unsubscribe and its like are the sender's to set."""
    headers = {"List-Unsubscribe": "<https://example.com/u>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    assert email(headers=headers).headers == headers


def test_attachments_come_in_base64_or_by_id() -> None:
    """An attachment is bytes in Base64, its type guessed from the name, or the id of a stored file."""
    data = base64.b64encode(b"%PDF").decode()
    given = [{"filename": "a.pdf", "content_base64": data}, {"file_id": "f1"}]
    assert email(attachments=given).attachments == (
        Attachment(filename="a.pdf", content_type="application/pdf", content=b"%PDF"),
        FileReference(file_id="f1"),
    )


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"filename": "a", "content_base64": "***"},
        {"filename": "a\nb", "content_base64": ""},
        {"filename": "", "content_base64": ""},
        {"filename": "a", "content_base64": "", "content_type": "no type"},
        {"file_id": "x", "filename": "a"},
        {"path": "/etc/passwd"},
        "a",
    ],
)
def test_a_broken_attachment_is_named(entry: object) -> None:
    """An attachment that can't be read is refused by its place in the list."""
    with pytest.raises(InvalidArgumentError, match=r"attachments\[0\]"):
        email(attachments=[entry])


def test_attachments_have_25_mb_together() -> None:
    """Attachments above 25 MB together are refused."""
    big = Attachment(filename="a", content_type="text/plain", content=b"x" * (13 * 1024 * 1024))
    with pytest.raises(InvalidArgumentError, match="together"):
        email(attachments=[big, big])


def test_an_sms_has_text() -> None:
    """An SMS is its text, which is not empty."""
    assert parse_content(SMS, {"content": "code 1"}) == Sms(content="code 1")
    with pytest.raises(InvalidArgumentError, match="content"):
        parse_content(SMS, {"content": ""})


CONTENTS = (
    Push(title="t", data={"a": "1"}, badge=0, critical=True, priority="normal"),
    Push(data={"k": "v"}, content_available=True),
    Email(subject="s", content="<p>c</p>", html=True, headers={"X-A": "b"}, reply_to_email="a@example.com"),
    Sms(content="c"),
)


@pytest.mark.parametrize("content", CONTENTS)
def test_content_survives_being_stored(content: Push | Email | Sms) -> None:
    """What is stored with the message reads back as it was, through real JSON."""
    stored = json.loads(json.dumps(content_to_json(content)))
    assert content_from_json(content.channel, stored) == content
    assert check_content(content) == content


def test_stored_content_names_its_files() -> None:
    """Stored content refers to files by id; loaded with them it is whole again."""
    file = Attachment(filename="a.txt", content_type="text/plain", content=b"a")
    whole = Email(subject="s", content="c", attachments=(file,))
    stored = {**content_to_json(whole), "attachments": [{"fileId": "f1", "filename": "a.txt"}]}
    assert stored_attachment_ids(stored) == ["f1"]
    assert content_from_json(EMAIL, stored, [file]) == whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["title", "body", "data", "badge", "subject", "content", "headers", "attachments", "html", "x"])


@given(channel=st.sampled_from(Channel), arguments=st.dictionaries(names, json_values, max_size=5))
def test_nothing_a_producer_sends_raises_anything_else(channel: Channel, arguments: dict[str, Any]) -> None:
    """Whatever JSON a producer sends becomes content that PostgreSQL can store, or an error of ours."""
    try:
        content = parse_content(channel, arguments)
    except MessagingError:
        return
    assert "\\u0000" not in json.dumps(content_to_json(content))
    json.dumps(content_to_json(content), ensure_ascii=False).encode()
