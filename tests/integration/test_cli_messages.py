"""Messages and their recipients from the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from messaging.outcome import ACCEPTED, Action, Outcome
from tests.integration.cli import Cli, cli
from tests.integration.road import Road
from workers.providers.base import Recipient

__all__ = ["cli"]


def by_address(recipient: Recipient) -> Outcome:
    """A provider that refuses for whom the token ends in an odd digit."""
    return (
        ACCEPTED
        if int(recipient.address[-1], 16) % 2 == 0
        else Outcome(Action.REJECT_MESSAGE, "BadTopic", "not this app")
    )


@pytest.fixture
def sent(cli: Cli, road: Road) -> str:
    """The id of a message to six phones, of which three took it."""
    road.add_provider("ios", "apns")
    road.add_topic("news", road.add_push_targets(6, first=0))
    road.provider.answer = by_address
    cli("send", "push", "--to", "topic:news", "--title", "Hello", "--id", "m1")
    road.deliver()
    road.sweep()
    return "m1"


def test_messages_are_found_by_what_they_are(cli: Cli, sent: str) -> None:
    """By state, channel, time and text, newest first, page by page."""
    cli("send", "push", "--to", "topic:news", "--title", "Later", "--id", "m2", "--draft")
    assert [each["id"] for each in cli("message", "list", "--json").json()] == ["m2", sent]
    assert [each["id"] for each in cli("message", "list", "--state", "draft", "--json").json()] == ["m2"]
    assert cli("message", "list", "--channel", "sms", "--json").json() == []
    assert [each["id"] for each in cli("message", "list", "--search", "hello", "--json").json()] == [sent]
    assert cli("message", "list", "--until", "-1h", "--json").json() == []
    assert len(cli("message", "list", "--since", "-1h", "--json").json()) == 2
    first = cli("message", "list", "--limit", "1")
    assert "m2" in first.out
    assert "--after m2" in first.err
    assert [each["id"] for each in cli("message", "list", "--after", "m2", "--json").json()] == [sent]


def test_recipients_are_found_by_what_became_of_them(cli: Cli, sent: str) -> None:
    """By status, code and provider; one of them with everything that is known."""
    failed = cli("message", "recipients", sent, "--status", "failed", "--json").json()
    assert [each["error_code"] for each in failed] == ["BadTopic"] * 3
    assert len(cli("message", "recipients", sent, "--code", "BadTopic", "--json").json()) == 3
    assert len(cli("message", "recipients", sent, "--provider", "ios", "--json").json()) == 6
    page = cli("message", "recipients", sent, "--limit", "4", "--json").json()
    rest = cli("message", "recipients", sent, "--after", page[-1]["id"], "--json").json()
    assert len(rest) == 2
    one = cli("message", "recipient", sent, failed[0]["target_id"])
    assert "not this app" in one.out
    assert cli("message", "recipient", sent, failed[0]["target_id"], "--json").json()["events"] == []


def test_recipients_are_exported(cli: Cli, sent: str, tmp_path: Path) -> None:
    """All of them or some, as CSV with a heading, to a file or to stdout."""
    done = cli("message", "export", sent, "all.csv")
    assert "6 recipients written" in done.err
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["status"] for row in rows) == ["accepted"] * 3 + ["failed"] * 3
    assert all(row["identifier"] for row in rows)
    piped = cli("message", "export", sent, "-", "--status", "failed").out.splitlines()
    assert len(piped) == 4


def test_an_exported_text_is_no_formula(cli: Cli, road: Road) -> None:
    """What a provider answered is not computed by who opens the file in a spreadsheet."""
    road.add_provider("ios", "apns")
    road.add_topic("news", road.add_push_targets(1))
    road.provider.answer = lambda _: Outcome(Action.REJECT_MESSAGE, "Odd", '=HYPERLINK("https://example.com")')
    cli("send", "push", "--to", "topic:news", "--title", "Hello", "--id", "m1")
    road.deliver()
    assert "'=HYPERLINK" in cli("message", "export", "m1", "-").out


def test_a_message_is_followed_to_its_end(cli: Cli, sent: str) -> None:
    """`watch` ends when the message has, and with 0 unless it failed."""
    done = cli("message", "watch", sent, "--json").json()
    assert (done["state"], done["total"]) == ("partially_sent", 6)
    cli("send", "push", "--to", "nobody", "--title", "x", "--id", "late", "--at", "+1h")
    late = cli("message", "watch", "late", "--timeout", "0.2")
    assert late.code == 1
    assert "is scheduled" in late.err
    cli("message", "cancel", "late")
    assert cli("message", "watch", "late").code == 1


def test_a_draft_is_sent_later_or_now(cli: Cli, road: Road) -> None:
    """As it was written; once it has begun it can't be sent again."""
    road.add_provider("ios", "apns")
    cli("send", "push", "--to", "tok", "--title", "Hello", "--data", "n=1", "--id", "m1", "--draft")
    later = cli("message", "send", "m1", "--at", "+1h", "--json").json()
    assert (later["state"], later["content"]["data"]) == ("scheduled", {"n": "1"})
    now = cli("message", "send", "m1", "--json").json()
    assert (now["state"], now["total"]) == ("processing", 1)
    again = cli("message", "send", "m1")
    assert again.code == 1
    assert "can't be changed any more" in again.err


def test_what_failed_is_sent_again(cli: Cli, road: Road, sent: str) -> None:
    """And only that, as the report says."""
    assert cli("message", "retry", sent, "--json").json() == {"deliveries": 3, "unserved": 0}
    road.provider.answer = lambda _: ACCEPTED
    road.deliver()
    road.sweep()
    assert cli("message", "show", sent, "--json").json()["state"] == "sent"


def test_a_message_is_deleted(cli: Cli, sent: str) -> None:
    """It is in no list any more; what is not there is told by its own exit code."""
    assert cli("message", "delete", sent).code == 0
    gone = cli("message", "show", sent)
    assert (gone.code, gone.err.count("\n")) == (3, 1)
    assert cli("message", "list", "--json").json() == []


def test_an_audience_is_counted_before_it_is_written_to(cli: Cli, sent: str) -> None:
    """Topics, users, targets and addresses; nothing is sent, and no address registered."""
    assert sent
    cli("user", "add", "ada", "--email", "ada@example.com")
    before = cli("target", "list", "--json").json()
    assert cli("preview", "audience", "push", "--to", "topic:news", "--to", "new", "--json").json()["estimate"] == 7
    assert cli("preview", "audience", "email", "--to", "user:ada").out == "1\n"
    assert cli("preview", "audience", "email", "--to", "topic:none").code == 3
    assert cli("target", "list", "--json").json() == before


def test_the_overview_says_what_goes_on(cli: Cli, sent: str) -> None:
    """What is scheduled, what failed and why, and how the providers stand."""
    cli("send", "push", "--to", "topic:news", "--title", "x", "--id", "m2", "--at", "+1h")
    found = cli("overview", "--json").json()
    assert found["active"] == []
    assert [each["id"] for each in found["scheduled"]] == ["m2"]
    assert [(each["code"], each["count"]) for each in found["failures"]] == [("BadTopic", 3)]
    said = cli("overview").out
    assert "ios" in said
    assert "not this app" in said
    assert sent
