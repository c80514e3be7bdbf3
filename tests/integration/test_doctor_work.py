"""What `messaging doctor` says of work that waits and of accounts, each brought about for real."""

from __future__ import annotations

import json
from typing import Any

from messaging.channel import Channel
from messaging.doctor import providers, work
from messaging.doctor.finding import Finding, State
from messaging.settings import Settings
from tests.conftest import ROOT
from tests.integration.cli import Cli, cli
from tests.integration.road import SECRET, Road

__all__ = ["cli"]


def found(road: Road) -> dict[str, Finding]:
    """Every check of waiting work."""
    return {each.check: each for each in work.examine(road.engine)}


def test_where_nothing_waits_all_is_well(road: Road) -> None:
    """Each of them."""
    assert {each.state for each in found(road).values()} == {State.OK}


def test_work_nobody_does_is_told(road: Road) -> None:
    """A batch that is late, then one that is stuck; not one that is paused or whose account is stopped."""
    road.add_provider("ios", "apns")
    road.send(addresses=["tok"])
    assert found(road)["due batches"].state is State.OK
    road.execute("UPDATE batches SET due_at = now() - interval '5 minutes'")
    assert found(road)["due batches"].state is State.WARNING
    road.execute("UPDATE batches SET due_at = now() - interval '1 hour'")
    late = found(road)["due batches"]
    assert (late.state, "push high: 1" in late.found) == (State.BROKEN, True)
    road.execute("UPDATE messages SET state = 3")
    assert found(road)["due batches"].state is State.OK
    road.execute("UPDATE messages SET state = 2")
    road.execute("UPDATE providers SET stopped_at = now()")
    assert found(road)["due batches"].state is State.OK


def test_a_lease_nobody_took_over_is_broken(road: Road) -> None:
    """Its worker died, and no sweep came by."""
    road.add_provider("ios", "apns")
    road.send(addresses=["tok"])
    road.execute("UPDATE batches SET state = 1, lease_until = now() - interval '5 minutes'")
    assert found(road)["lost leases"].state is State.BROKEN


def test_a_message_nobody_began_is_broken(road: Road) -> None:
    """Its time came some minutes ago."""
    road.add_provider("ios", "apns")
    road.send(addresses=["tok"], draft=True)
    road.execute("UPDATE messages SET state = 1, scheduled_at = now() - interval '5 minutes'")
    assert found(road)["overdue messages"].state is State.BROKEN


def test_what_was_put_aside_is_told(road: Road) -> None:
    """In quarantine, refused, and receipts nobody applied."""
    number = road.add_provider("texts")
    project: dict[str, Any] = {"project": road.project_id}
    road.execute("INSERT INTO quarantine (project_id, kind, reason) VALUES (:project, 'task', 'it died')", **project)
    road.execute("INSERT INTO refusals (task_id, task_name, reason) VALUES ('1', 'messaging.send_push', 'no body')")
    road.execute(
        "INSERT INTO receipts (provider_id, method, url, headers, body, due_at)"
        " VALUES (:provider, 'POST', '/', '{}', '', now() - interval '5 minutes')",
        provider=number,
    )
    seen = found(road)
    assert {name for name, each in seen.items() if each.state is State.WARNING} == {
        "quarantine",
        "refused tasks",
        "receipts",
    }
    assert "no body" in seen["refused tasks"].found
    road.execute("TRUNCATE receipts, refusals, quarantine")


def test_people_nobody_can_write_to_are_told(road: Road) -> None:
    """A channel with targets and no account; an account that is disabled is none."""
    road.add_push_targets(1)
    with road.engine.begin() as connection:
        bare = providers.served(connection, providers.accounts(connection))
    assert (bare.state, "push (default)" in bare.found) == (State.BROKEN, True)
    road.add_provider("ios", "apns")
    with road.engine.begin() as connection:
        accounts = providers.accounts(connection)
        assert providers.served(connection, accounts).state is State.OK
    assert providers.channels(accounts) == {Channel.PUSH}
    road.execute("UPDATE providers SET enabled = false")
    with road.engine.begin() as connection:
        assert providers.served(connection, providers.accounts(connection)).state is State.BROKEN


def test_stopped_accounts_are_told(road: Road) -> None:
    """For a while is a warning; until somebody acts is broken, with the command."""
    road.add_provider("texts")
    road.execute("UPDATE providers SET stopped_at = now(), stopped_reason = 'no credit', stopped_until = now()")
    with road.engine.begin() as connection:
        assert providers.stopped(providers.accounts(connection)).state is State.WARNING
    road.execute("UPDATE providers SET stopped_until = NULL")
    with road.engine.begin() as connection:
        stopped = providers.stopped(providers.accounts(connection))
    assert (stopped.state, "no credit" in stopped.found) == (State.BROKEN, True)
    assert "messaging provider check texts --start" in stopped.advice


def test_a_kind_that_is_gone_is_told(road: Road) -> None:
    """Its package was taken away."""
    road.add_provider("texts")
    road.execute("UPDATE providers SET kind = 'pigeon'")
    with road.engine.begin() as connection:
        assert providers.unusable(providers.accounts(connection)).state is State.BROKEN


def test_an_address_from_outside_is_asked_for_where_it_is_needed(road: Road) -> None:
    """By receipts, and by the unsubscribe links of emails."""
    bare = road.settings
    known = Settings.load(
        {}, database_url="postgresql://x", broker_url="memory://", secret_key=SECRET, public_url="https://example.com"
    )
    assert providers.reached(bare, []).state is State.OK
    road.add_provider("texts")
    with road.engine.begin() as connection:
        accounts = providers.accounts(connection)
    assert "receipts of texts" in providers.reached(bare, accounts).found
    assert providers.reached(known, accounts).state is State.OK


def test_the_command_names_what_is_wrong(cli: Cli, road: Road) -> None:
    """In a table and as JSON, and ends with 1: here no worker runs, and no sweep was ever done."""
    road.add_provider("texts")
    said = cli("doctor", "--json")
    assert said.code == 1
    checks = {each["check"]: each for each in json.loads(said.out)["checks"]}
    assert checks["database"]["state"] == "ok"
    assert checks["broker"]["state"] == "ok"
    assert checks["workers"]["state"] == "broken"
    assert "messaging.sms.high" in checks["workers"]["found"]
    assert "messaging.email" not in checks["workers"]["found"]
    page = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    listed = page.partition("| check | is not ok when |")[2]
    assert [name for name in checks if f" {name}," not in listed and f" {name} |" not in listed] == []
    assert json.loads(said.out)["broken"] == sum(each["state"] == "broken" for each in checks.values())


def test_the_command_says_it_where_nothing_can_be_asked(cli: Cli, monkeypatch: Any) -> None:
    """Settings that can't be read, and servers that are away, are findings, not failures of the command."""
    monkeypatch.setenv("MESSAGING_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("MESSAGING_BROKER_URL", "redis://127.0.0.1:1/0")
    away = cli("doctor")
    assert away.code == 1
    assert "does not answer" in away.out
    assert "WHAT TO DO" in away.out
    monkeypatch.setenv("MESSAGING_BROKER", "redis://")
    typo = cli("doctor")
    assert (typo.code, "MESSAGING_BROKER" in typo.out) == (1, True)
