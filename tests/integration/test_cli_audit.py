"""What commands change is in the audit log, as what the console changes is."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
import typer

from messaging.cli.main import app
from messaging.outcome import Action, Outcome
from messaging.store import audit, provider_stops, providers, quarantine
from messaging.store.lists import Wanted
from messaging.wire import TaskName
from tests.integration.checked import Checked, working
from tests.integration.cli import Cli, cli
from tests.integration.road import Road

__all__ = ["cli"]

PASSWORD = "password password"
NUMBER = "+4930123456"

LOOKS_ONLY = {
    *("up", "api", "sandbox", "migrate", "doctor", "health"),
    *("overview", "status", "deliveries", "tail", "inbox", "audit"),
    *("provider kinds", "provider list", "provider show", "provider log", "provider pace"),
    *("user list", "user show", "target list", "target show"),
    *("topic list", "topic show", "topic subscribers", "topic growth"),
    *("preview audience", "preview sms"),
    *("message list", "message show", "message recipients", "message recipient", "message watch"),
    *("quarantine list", "secrets status", "suppress list", "suppress find", "suppress show"),
    *("project list", "operator list", "key list"),
}
"""Commands that change nothing of what operators answer for."""

ALSO_CALLED = {
    *("cancel", "pause", "resume", "retry"),  # as `message cancel` and so on
    *("topic import", "user delete", "suppress remove", "send push", "send email"),
}
"""Commands that do what another of them does, by the same lines."""

OF_ANOTHER_DATABASE = {"secrets rotate", "secrets finish"}
"""They change the key of everything: `test_vault_keys.py` has a database for them."""

OF_PEOPLE = {
    *("user add", "user update", "user block", "user unblock", "user erase"),
    *("target add", "target update", "target delete"),
    *("topic add", "topic update", "topic delete", "subscribe", "unsubscribe"),
    *("suppress add", "suppress lift", "suppress import"),
}
OF_PROVIDERS = {
    f"provider {word}" for word in ("add", "update", "enable", "disable", "delete", "check", "start", "receipts")
}
OF_MESSAGES = {"send sms"} | {
    f"message {word}" for word in ("update", "send", "pause", "resume", "retry", "export", "cancel", "delete")
}
OF_THE_INSTALLATION = {
    *("project add", "key create", "key revoke", "quarantine replay"),
    *(f"operator {word}" for word in ("add", "set-password", "set-role", "disable", "enable", "delete")),
}


def commands(group: typer.Typer, before: str = "") -> set[str]:
    """The words of every command."""
    found = set()
    for command in group.registered_commands:
        assert command.callback is not None
        found.add(f"{before}{command.name or command.callback.__name__.rstrip('_').replace('_', '-')}")
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found |= commands(inner.typer_instance, f"{before}{inner.name} ")
    return found


class Log:
    """Runs commands, and says what each wrote into the log."""

    def __init__(self, cli: Cli, road: Road) -> None:
        self._cli = cli
        self._road = road
        self._seen = 0
        self.ran: set[str] = set()

    def __call__(self, command: str, *arguments: str, said: str = "") -> list[tuple[str, str, dict[str, object]]]:
        """Action, subject and details of what a command wrote into the log."""
        done = self._cli(*command.split(), *arguments, said=said)
        assert done.code == 0, done.err
        self.ran.add(command)
        with self._road.engine.begin() as connection:
            written = [each for each in audit.listed(connection) if each.number > self._seen]
        self._seen = max([self._seen, *(each.number for each in written)])
        for each in written:
            assert each.operator.startswith("command line (ada@")
            assert each.project == (None if command.startswith("operator ") else "default")
        return [(each.action, each.subject, dict(each.details)) for each in written]


@pytest.fixture
def log(cli: Cli, road: Road, monkeypatch: pytest.MonkeyPatch) -> Log:
    """An empty log of what is run here."""
    road.execute("TRUNCATE operators, audit_log CASCADE")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    return Log(cli, road)


def test_no_command_is_forgotten() -> None:
    """Each looks only, or a test below says what it leaves in the log."""
    assert commands(app) == LOOKS_ONLY | ALSO_CALLED | OF_ANOTHER_DATABASE | OF_PEOPLE | OF_PROVIDERS | OF_MESSAGES | (
        OF_THE_INSTALLATION
    )


def test_what_is_done_to_people_is_in_the_log(log: Log, tmp_path: Path) -> None:
    """Users, targets, topics, suppressions; never by an address."""
    (tmp_path / "people.csv").write_text("phone\n+4930123457\nnobody\n")
    (tmp_path / "bounces.csv").write_text("email\nx@example.com\n")
    assert log("user add", "u1", "--email", "u1@example.com") == [("user.create", "u1", {})]
    assert log("user update", "u1", "--name", "Ada") == [("user.update", "u1", {})]
    assert log("user block", "u1") == [("user.block", "u1", {"blocked": True})]
    assert log("user unblock", "u1") == [("user.block", "u1", {"blocked": False})]
    assert log("target add", "sms", NUMBER, "--id", "t1") == [("target.create", "t1", {})]
    assert log("target update", "t1", "--name", "phone") == [("target.update", "t1", {})]
    assert log("topic add", "news") == [("topic.create", "news", {})]
    assert log("topic update", "news", "--name", "News") == [("topic.update", "news", {})]
    assert log("subscribe", "news", "t1") == [("topic.subscribe", "news", {"targets": ["t1"], "added": 1})]
    imported = {"rows": 2, "added": 1, "rejected": 1}
    assert log("subscribe", "news", "--csv", "people.csv") == [("topic.import", "news", imported)]
    assert log("unsubscribe", "news", "t1") == [("topic.unsubscribe", "news", {"targets": ["t1"], "gone": 1})]
    assert log("topic delete", "news") == [("topic.delete", "news", {})]
    assert log("target delete", "t1") == [("target.delete", "t1", {})]
    ((action, entry, details),) = log("suppress add", "email", "a@example.com", "--bulk")
    assert (action, details) == ("suppression.add", {"channel": "email", "scope": "bulk"})
    assert log("suppress lift", entry) == [("suppression.lift", entry, {})]
    assert log("suppress lift", "email", "a@example.com") == []  # it was not on the list
    counts = {"rows": 1, "added": 1, "invalid": 0}
    assert log("suppress import", "bounces.csv") == [("suppression.import", "", counts)]
    assert log("user erase", "u1@example.com") == [("user.erase", "u1", {})]
    assert log.ran == OF_PEOPLE


def test_what_is_done_to_providers_is_in_the_log(log: Log, road: Road) -> None:
    """With the names of what changed and never the values."""
    ((action, made, details),) = log("provider add", "twilio", "--id", "texts", "--set", "authToken=hush-hush")
    assert (action, made, details) == ("provider.create", "texts", {"kind": "twilio", "enabled": False})
    account = ("--set", "accountSid=AC1", "--set", "from=+4930901820")
    assert log("provider update", "texts", *account) == [("provider.update", "texts", {"changed": "accountSid, from"})]
    assert log("provider enable", "texts") == [("provider.enable", "texts", {})]
    road.others["texts"] = Checked()
    with working(road):
        ((action, _, details),) = log("provider check", "texts")
    assert (action, sorted(details), details["sends"]) == ("provider.check", ["check", "sends"], False)
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "texts")
        provider_stops.stop_for(connection, number, "the key was revoked", action=Action.STOP_PROVIDER)
    assert log("provider start", "texts") == [("provider.start", "texts", {})]
    assert log("provider receipts", "texts") == []
    assert log("provider receipts", "texts", "--retry") == [("provider.retry_receipts", "texts", {"receipts": 0})]
    assert log("provider disable", "texts") == [("provider.disable", "texts", {})]
    assert log("provider delete", "texts") == [("provider.delete", "texts", {})]
    assert log.ran == OF_PROVIDERS


def test_what_is_done_to_messages_is_in_the_log(log: Log, road: Road) -> None:
    """What was sent, changed, stopped, and taken out of the house."""
    assert log("send sms", "hi", "--to", NUMBER, "--id", "m1", "--draft") == [("message.draft", "m1", {})]
    assert log("message update", "m1", "--content", "ho", "--to", "+4930123458") == [
        ("message.update", "m1", {"changed": "content, recipients"})
    ]
    assert log("message send", "m1", "--at", "+1h") == [("message.schedule", "m1", {})]
    assert log("message pause", "m1") == [("message.pause", "m1", {})]
    assert log("message resume", "m1") == [("message.resume", "m1", {})]
    assert log("message export", "m1", "m1.csv") == [("message.export", "m1", {"status": "all"})]
    assert log("message cancel", "m1") == [("message.cancel", "m1", {})]
    assert log("message delete", "m1") == [("message.delete", "m1", {})]
    assert log("send sms", "hi", "--to", NUMBER, "--id", "m2", "--at", "+1h") == [("message.schedule", "m2", {})]
    road.add_provider("texts")
    road.provider.answer = lambda _: Outcome(Action.REJECT_MESSAGE, "30007", "filtered")
    assert log("send sms", "hi", "--to", NUMBER, "--id", "m3") == [("message.send", "m3", {})]
    road.deliver()
    road.sweep()
    assert log("message retry", "m3") == [("message.retry", "m3", {"codes": [], "deliveries": 1})]
    assert log.ran == OF_MESSAGES


def test_what_is_done_to_the_installation_is_in_the_log(log: Log, road: Road) -> None:
    """Operators, projects, keys, the quarantine."""
    with road.engine.begin() as connection:
        quarantine.put_aside_task(
            connection, road.vault, road.project_id, task_id="task-1", task_name=TaskName.SEND_SMS, said={}, deaths=3
        )
    ((action, operator, _),) = log("operator add", "ada@example.com", "--password-stdin", said=PASSWORD)
    assert action == "operator.create"
    log("operator add", "bob@example.com", "--password-stdin", said=PASSWORD)
    assert log("operator set-password", "bob@example.com", "--password-stdin", said=PASSWORD)[0][0] == (
        "operator.password"
    )
    for change in ("set-role", "disable", "enable"):
        role = ("admin",) if change == "set-role" else ()
        assert log(f"operator {change}", "bob@example.com", *role)[0][0] == "operator.change"
    assert log("operator delete", operator)[0][:2] == ("operator.delete", operator)
    assert log("project add", "shop") == [("project.create", "shop", {})]
    ((action, key, details),) = log("key create", "server", "--scope", "messages.write")
    assert (action, details) == ("key.create", {"scopes": ["messages.write"], "expires": None})
    assert log("key revoke", key) == [("key.revoke", key, {})]
    with road.engine.begin() as connection:
        (entry,) = quarantine.listed(connection, road.project_id, Wanted(limit=1)).entries
    assert log("quarantine replay", entry.id)[0][:2] == ("quarantine.replay", entry.id)
    assert log.ran == OF_THE_INSTALLATION
