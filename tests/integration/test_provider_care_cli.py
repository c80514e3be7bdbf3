"""`messaging provider check|start|pace|log|receipts` against a real database, with a scripted worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from messaging.outcome import Action, Outcome
from messaging.store import provider_stops, providers, receipts
from messaging.store.receipts import ReceiptState, Settled
from tests.integration.checked import Checked, working
from tests.integration.cli import Cli, Said, command_line
from tests.integration.road import SECRET, Road
from workers.pace import Pace
from workers.pacing import RedisPacer

NUMBER = "+4930901820"


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """An SMS account of an installation that providers can't reach."""
    made = Road(postgres_url, valkey_url)
    made.add_provider("texts")
    made.others["texts"] = Checked()
    yield made
    made.close()


@pytest.fixture
def cli(road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """The command `messaging provider`."""
    return command_line(road, monkeypatch, capsys, tmp_path, "provider")


def read(done: Said) -> Any:
    """What a command said in JSON."""
    assert done.out, done.err
    return json.loads(done.out)


def script(road: Road) -> Checked:
    """What stands for the account."""
    found = road.others["texts"]
    assert isinstance(found, Checked)
    return found


def stop(road: Road) -> None:
    """The account is stopped until somebody acts."""
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "texts")
        provider_stops.stop_for(connection, number, "the key was revoked", action=Action.STOP_PROVIDER)


def test_a_check_that_passes_exits_with_nought(cli: Cli, road: Road) -> None:
    """The table has a line a step; JSON says the same."""
    script(road).says = Outcome(Action.ACCEPTED, reason="Account [Shop] is active")
    with working(road):
        shown = cli("check", "texts", "--send-to", NUMBER)
        said = cli("check", "texts", "--json")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "STEP",
        "credentials",
        "accepted",
        "expanded",
        "handed over",
        "receipt",
    ]
    assert "Account [Shop] is active." in lines[1]
    assert [received.address for received in script(road).received] == [NUMBER]
    assert said.code == 0
    done = read(said)
    assert (done["outcome"], done["message_id"], [step["state"] for step in done["steps"]]) == (
        "passed",
        None,
        ["passed"],
    )


def test_a_check_that_fails_exits_with_one(cli: Cli, road: Road) -> None:
    """And names the step and the reason, in JSON as well."""
    script(road).says = Outcome(Action.STOP_PROVIDER, "20003", "auth token refused: set it anew")
    with working(road):
        shown = cli("check", "texts")
        said = cli("check", "texts", "--send-to", NUMBER, "--json")
    assert shown.code == 1
    assert "failed" in shown.out
    assert "20003: auth token refused: set it anew." in shown.out
    assert said.code == 1
    assert [(step["name"], step["state"]) for step in read(said)["steps"]] == [("credentials", "failed")]
    assert script(road).received == []


def test_a_stopped_account_is_offered_to_be_started(cli: Cli, road: Road) -> None:
    """`--start` does it, and sends after that."""
    stop(road)
    with working(road):
        offered = cli("check", "texts")
        assert offered.code == 0
        assert "messaging provider start texts" in offered.err
        started = cli("check", "texts", "--start", "--send-to", NUMBER, "--json")
    assert started.code == 0, started.err
    assert "texts is started" in started.err
    assert [step["state"] for step in read(started)["steps"]] == ["passed"] * 4 + ["skipped"]
    assert len(script(road).received) == 1


def test_bad_credentials_start_nothing(cli: Cli, road: Road) -> None:
    """However often one asks."""
    stop(road)
    script(road).says = Outcome(Action.STOP_PROVIDER, "20003", "auth token refused")
    with working(road):
        done = cli("check", "texts", "--start", "--send-to", NUMBER)
    assert done.code == 1
    with road.engine.connect() as connection:
        assert providers.get(connection, road.vault, road.project_id, "texts").stopped_at is not None


def test_an_account_is_started_and_its_log_says_so(cli: Cli, road: Road) -> None:
    """What happened to it, newest first."""
    assert "Nothing has happened" in cli("log", "texts").err
    stop(road)
    assert "works again" in cli("start", "texts").err
    assert "was not stopped" in cli("start", "texts").err
    assert [(entry["what"], entry["reason"]) for entry in read(cli("log", "texts", "--json"))] == [
        ("started", "by an operator"),
        ("stopped", "the key was revoked"),
    ]
    assert "the key was revoked" in cli("log", "texts").out
    cli("disable", "texts")
    assert "messaging provider enable texts" in cli("start", "texts").err
    missing = cli("log", "nobody")
    assert (missing.code, missing.err.count("\n")) == (3, 1)


def test_the_pace_of_accounts_is_shown(cli: Cli, road: Road) -> None:
    """What one may send, and until when it waits; without a Redis that paces them, one line says so."""

    async def use(number: int) -> None:
        pacer = RedisPacer(road.settings.broker_url.get_secret_value())
        try:
            await pacer.reserve(number, 40, pace=Pace(per_second=100), high=True)
            await pacer.pause(number, 600)
        finally:
            await pacer.aclose()

    with road.engine.connect() as connection:
        number = providers.find(connection, road.project_id, "texts")
    assert "as fast as it goes" in cli("pace").out
    cli("update", "texts", "--rate", "50")
    assert read(cli("pace", "texts", "--json"))["texts"]["rate"] == 50  # with which it will begin
    asyncio.run(use(number))
    (state,) = read(cli("pace", "texts", "--json")).values()
    assert state["rate"] == 100
    assert datetime.now(UTC) < datetime.fromisoformat(state["paused_until"])
    assert "PAUSED UNTIL" in cli("pace").out
    assert cli("pace", "nobody").code == 3
    away = cli("pace", MESSAGING_BROKER_URL="redis://127.0.0.1:9/0")
    assert (away.code, away.err.count("\n")) == (1, 1)
    assert "no Redis paces them, or it does not answer" in away.err


def test_receipts_are_summed_and_tried_again(cli: Cli, road: Road) -> None:
    """With the address they come to, or what to set."""
    with road.engine.begin() as connection:
        key = providers.get(connection, road.vault, road.project_id, "texts").receipt_key
        assert receipts.keep(connection, key, method="POST", url="https://x/", headers={}, body=b"")
        (kept,) = receipts.take(connection, limit=1, work_s=60)
        receipts.settle(connection, [Settled(kept.id, ReceiptState.REFUSED, reason="The signature is wrong.")])
    unset = cli("receipts", "texts")
    assert "MESSAGING_PUBLIC_URL" in unset.err
    assert "The signature is wrong." in unset.out
    found = read(cli("receipts", "texts", "--json", MESSAGING_PUBLIC_URL="https://push.example.org"))
    assert (found["url"], found["refused"]) == (f"https://push.example.org/v1/receipts/{key}", 1)
    again = cli("receipts", "texts", "--retry")
    assert "1 are looked at again" in again.err
    assert read(cli("receipts", "texts", "--json"))["waiting"] == 1
    assert SECRET not in again.out + again.err
