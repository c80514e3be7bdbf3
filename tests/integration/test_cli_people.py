"""Topics, people, projects, keys and the sandbox's inbox from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from messaging.cli import completion
from messaging.store import api_keys
from tests.integration.cli import Cli, cli
from tests.integration.road import Road

__all__ = ["cli"]


def test_a_topic_shows_its_subscribers_and_its_growth(cli: Cli, road: Road) -> None:
    """By day, with what was there before; who joined long ago counts as there from the first day on."""
    road.add_topic("news", road.add_push_targets(5))
    road.execute("UPDATE subscribers SET created_at = now() - interval '40 days' WHERE public_id IN ('s1', 's2')")
    road.execute("UPDATE subscribers SET created_at = now() - interval '2 days' WHERE public_id = 's3'")
    days = cli("topic", "growth", "news", "--days", "3", "--json").json()
    assert [(day["joined"], day["subscribers"]) for day in days] == [(1, 3), (0, 3), (2, 5)]
    assert "█" in cli("topic", "growth", "news").out
    page = cli("topic", "subscribers", "news", "--limit", "2", "--json").json()
    assert [each["target_id"] for each in page] == ["t0", "t1"]
    rest = cli("topic", "subscribers", "news", "--after", page[-1]["id"], "--json").json()
    assert len(rest) == 3
    assert cli("topic", "growth", "none").code == 3


def test_a_topic_is_filled_from_a_file(cli: Cli, tmp_path: Path) -> None:
    """As `subscribe --csv` does it, with the same report."""
    cli("topic", "add", "news")
    (tmp_path / "people.csv").write_text("email,user_id\nada@example.com,ada\nnobody,b\n")
    done = cli("topic", "import", "news", "people.csv", "--strict", "--json")
    assert done.code == 1
    assert (json.loads(done.out)["created"], json.loads(done.out)["rejected_total"]) == (1, 1)
    assert cli("topic", "update", "news", "--name", "News", "--json").json()["name"] == "News"


def test_people_and_addresses_change(cli: Cli) -> None:
    """What is named changes; an empty address takes it away."""
    cli("user", "add", "ada", "--email", "ada@example.com", "--phone", "+4930123456")
    changed = cli("user", "update", "ada", "--name", "Ada", "--phone", "", "--json").json()
    assert (changed["name"], changed["email"], changed["phone"]) == ("Ada", "ada@example.com", None)
    cli("target", "add", "push", "tok", "--id", "phone")
    assert cli("target", "update", "phone", "--address", "other", "--json").json()["identifier"] == "other"
    assert "other" in cli("target", "show", "phone").out
    assert cli("target", "show", "none").code == 3


def test_projects_keep_apart(cli: Cli) -> None:
    """A project is added, named before a command, and sees nothing of another."""
    assert cli("project", "add", "shop", "--name", "Shop").out == "shop\n"
    assert cli("project", "add", "shop").code == 1
    assert [each["id"] for each in cli("project", "list", "--json").json()] == ["default", "shop"]
    cli("--project", "shop", "topic", "add", "offers")
    assert cli("topic", "list", "--json").json() == []
    assert [each["id"] for each in cli("--project", "shop", "topic", "list", "--json").json()] == ["offers"]
    assert cli("--project", "none", "topic", "list").code == 3


def test_an_api_key_is_made_and_revoked(cli: Cli, road: Road) -> None:
    """Its secret is shown once and opens the API until it is revoked; unknown scopes are refused."""
    made = cli("key", "create", "shop server", "--scope", "messages.write", "--expires", "+1d", "--json").json()
    with road.engine.begin() as connection:
        found = api_keys.verify(connection, made["secret"])
    assert found is not None
    assert found.scopes == ("messages.write",)
    listed = cli("key", "list", "--json")
    assert [each["id"] for each in listed.json()] == [made["id"]]
    assert made["secret"] not in listed.out
    assert cli("key", "create", "x", "--scope", "all").code == 1
    assert cli("key", "create", "plain").out.startswith(api_keys.PREFIX)
    assert cli("key", "revoke", made["id"]).code == 0
    with road.engine.begin() as connection:
        assert api_keys.verify(connection, made["secret"]) is None
    assert cli("key", "revoke", made["id"]).code == 3


def test_suppressions_are_paged(cli: Cli) -> None:
    """The newest can be left out."""
    for name in ("a", "b", "c"):
        cli("suppress", "add", "email", f"{name}@example.com", "--reason", name)
    assert [each["reason"] for each in cli("suppress", "list", "--offset", "1", "--json").json()] == ["b", "a"]


def test_without_a_sandbox_the_inbox_says_so(cli: Cli, tmp_path: Path) -> None:
    """Where none runs, and where the one that ran is gone."""
    none = cli("inbox")
    assert none.code == 1
    assert "messaging up --sandbox" in none.err
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "runtime.json").write_text('{"sandbox": {"control": "http://127.0.0.1:9"}}')
    gone = cli("inbox")
    assert gone.code == 1
    assert "does not answer" in gone.err


def test_the_shell_offers_the_ids_there_are(cli: Cli, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics, providers and messages that begin as was typed; recipients of a message by topic."""
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "60")  # else two seconds are set, for every test after this one too
    road.add_provider("texts")
    cli("topic", "add", "news")
    cli("topic", "add", "offers")
    cli("send", "sms", "hi", "--to", "+4930123456", "--id", "m1", "--draft")
    assert completion.topics("n") == [("news", "news")]
    assert completion.providers("") == [("texts", "twilio")]
    assert [name for name, _ in completion.messages("m")] == ["m1"]
    assert [name for name, _ in completion.recipients("topic:o")] == ["topic:offers"]
