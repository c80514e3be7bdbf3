"""A draft or a scheduled message is changed: what is given is replaced, the rest stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging import Email, InvalidArgumentError, Messaging, Push
from messaging.channel import Lane
from messaging.client.session import Session
from messaging.errors import StateConflictError
from tests.integration.cli import Cli, cli
from tests.integration.road import Road

__all__ = ["cli"]


@pytest.fixture
def client(road: Road) -> Messaging:
    """The Python client of an empty project."""
    session = Session(road.settings, engine=road.engine, vault=road.vault, publish=lambda _: None)
    return Messaging(session=session)


def tomorrow() -> datetime:
    """To the second."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def test_what_is_not_named_stays(client: Messaging) -> None:
    """Content, recipients, lane and expiry of a draft, which stays one."""
    expires_at = tomorrow()
    client.send(
        Push(title="Hello", body="There", data={"n": "1"}),
        addresses=["a", "b"], lane=Lane.BULK, expires_at=expires_at, id="m1", draft=True,
    )  # fmt: skip
    changed = client.messages.change("m1", content={"title": "Good evening"})
    assert (changed.state, changed.lane, changed.expires_at) == ("draft", Lane.BULK, expires_at)
    assert changed.content == {"title": "Good evening", "body": "There", "data": {"n": "1"}}
    assert changed.audience["addresses"] == ["a", "b"]


def test_recipients_are_replaced(client: Messaging) -> None:
    """As a whole, kind by kind."""
    client.users.create("ada", email="ada@example.com")
    client.send(Email(subject="Hello", content="There"), addresses=["a@example.com"], id="m1", draft=True)
    changed = client.messages.change("m1", users=["ada"], addresses=[])
    assert changed.audience["users"] == ["ada"]
    assert "addresses" not in changed.audience


def test_other_content_is_html_if_it_looks_like_it(client: Messaging) -> None:
    """Unless somebody says whether it is."""
    client.send(Email(subject="Hello", content="<p>There</p>"), addresses=["a@example.com"], id="m1", draft=True)
    assert client.get("m1").content["html"] is True
    assert client.messages.change("m1", content={"content": "There"}).content["html"] is False
    told = client.messages.change("m1", content={"content": "There & then", "html": True})
    assert told.content["html"] is True
    assert client.messages.change("m1", content={"subject": "Hi"}).content["html"] is True


def test_a_draft_is_scheduled_and_a_scheduled_message_moved(client: Messaging) -> None:
    """A change of something else leaves the time as it is."""
    client.send(Push(title="Hello"), addresses=["a"], id="m1", draft=True)
    at = tomorrow()
    scheduled = client.messages.change("m1", scheduled_at=at)
    assert (scheduled.state, scheduled.scheduled_at) == ("scheduled", at)
    assert client.messages.change("m1", content={"title": "Hi"}).scheduled_at == at
    moved = client.messages.change("m1", scheduled_at=at + timedelta(hours=1))
    assert (moved.state, moved.scheduled_at) == ("scheduled", at + timedelta(hours=1))


def test_what_cannot_be_sent_changes_nothing(client: Messaging) -> None:
    """A time that has passed, content of another channel, and what has begun."""
    client.send(Push(title="Hello"), addresses=["a"], id="m1", draft=True)
    with pytest.raises(InvalidArgumentError, match="has passed"):
        client.messages.change("m1", scheduled_at=tomorrow() - timedelta(days=2))
    with pytest.raises(InvalidArgumentError, match="subject"):
        client.messages.change("m1", content={"subject": "Hello"})
    assert (client.get("m1").state, client.get("m1").content) == ("draft", {"title": "Hello"})
    client.messages.release("m1")
    with pytest.raises(StateConflictError, match="can't be changed any more"):
        client.messages.change("m1", content={"title": "Hi"})


def test_a_draft_is_changed_on_the_command_line(cli: Cli, client: Messaging) -> None:
    """Text, recipients, time and lane; bad input is told by its name."""
    assert cli("send", "sms", "Hello", "--to", "+4930123456", "--id", "m1", "--draft").code == 0
    options = ("--content", "Good evening", "--to", "+4930123457", "--at", "+1h", "--lane", "bulk")
    done = cli("message", "update", "m1", *options, "--json").json()
    assert (done["state"], done["lane"], done["content"]) == ("scheduled", "bulk", {"content": "Good evening"})
    assert client.get("m1").audience["addresses"] == ["+4930123457"]
    refused = cli("message", "update", "m1", "--title", "Hello")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "title" in refused.err
    assert "say what is to be another" in cli("message", "update", "m1").err
    assert cli("message", "update", "none", "--content", "Hello").code == 3
