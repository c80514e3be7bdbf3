"""The command line against a real database and broker."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.cli import Cli, cli, read
from tests.integration.road import SECRET, Road

__all__ = ["cli"]  # a fixture, found by its name


def test_people_and_topics_from_the_command_line(cli: Cli) -> None:
    """Users, targets and topics are added, listed, shown and deleted; JSON says the same as tables."""
    assert cli("user", "add", "ada", "--email", "ada@example.com", "--name", "Ada [x]").out == "ada\n"
    assert read(cli("user", "list", "--json"))[0]["email"] == "ada@example.com"
    assert "Ada [x]" in cli("user", "list").out
    shown = read(cli("user", "show", "ada", "--json"))
    target = shown["targets"][0]["id"]
    assert cli("topic", "add", "news").out == "news\n"
    assert read(cli("subscribe", "news", target, "--json")) == {"created": 1, "existing": 0}
    assert read(cli("topic", "show", "news", "--json"))["totals"] == {"push": 0, "email": 1, "sms": 0}
    assert read(cli("unsubscribe", "news", target, "--json")) == {"unsubscribed": 1}
    token = cli("target", "add", "push", "tok", "--user", "ada", "--id", "phone").out.strip()
    assert token == "phone"
    assert [each["id"] for each in read(cli("target", "list", "--channel", "push", "--json"))] == ["phone"]
    for kind, name in (("target", "phone"), ("topic", "news"), ("user", "ada")):
        assert cli(kind, "delete", name).code == 0
    gone = cli("user", "show", "ada")
    assert (gone.code, gone.err.count("\n")) == (3, 1)
    assert "No user with the id 'ada'" in gone.err


def test_a_table_has_one_row_a_line_when_piped(cli: Cli) -> None:
    """A piped table is not folded to a terminal's width."""
    token = "x" * 300
    cli("target", "add", "push", token)
    assert any(token in line for line in cli("target", "list").out.splitlines())


def test_a_provider_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """A provider's values come from options, files and the environment; secrets are never shown."""
    (tmp_path / "key.p8").write_text("very-secret-key")
    added = cli(
        "provider", "add", "apns", "--id", "ios", "--set-file", "authKey=key.p8", "--set", "authKeyId=KEY4567890",
        "--set-env", "teamId=TEAM", "--json", TEAM="TEAM567890",
    )  # fmt: skip
    provider = read(added)
    assert (provider["enabled"], provider["missing"]) == (False, ["bundleId"])
    assert "bundleId missing" in added.err
    assert cli("provider", "enable", "ios").code == 1
    cli("provider", "update", "ios", "--set", "bundleId=com.example", "--set", "sandbox=true")
    assert cli("provider", "enable", "ios").code == 0
    shown = cli("provider", "show", "ios")
    assert "authKey    (set)" in shown.out
    assert "very-secret-key" not in shown.out + cli("provider", "show", "ios", "--json").out
    assert read(cli("provider", "list", "--json"))[0]["options"] == {"sandbox": True}
    assert {kind["name"] for kind in read(cli("provider", "kinds", "--json"))} >= {"apns", "fcm", "smtp"}
    cli("provider", "disable", "ios")
    assert cli("provider", "delete", "ios").code == 0


def test_limits_from_the_command_line(cli: Cli) -> None:
    """What is named changes, the rest stays; 0 lifts a limit."""
    options = ("--rate", "50", "--rate-per-minute", "1000", "--concurrency", "5", "--warm-up", "--weight", "3")
    added = read(cli("provider", "add", "sendgrid", "--id", "mail", *options, "--json"))
    assert added["limits"] == {"per_second": 50, "per_minute": 1000, "concurrency": 5, "warm_up": True}
    assert added["weight"] == 3
    shown = cli("provider", "show", "mail").out
    assert "50 a second, 1,000 a minute, 5 at once, warms up" in shown
    changed = read(cli("provider", "update", "mail", "--rate", "0.5", "--concurrency", "0", "--no-warm-up", "--json"))
    assert changed["limits"] == {"per_second": 0.5, "per_minute": 1000, "concurrency": None, "warm_up": False}
    assert changed["weight"] == 3
    assert "0.5 a second, 1,000 a minute" in cli("provider", "list").out
    kept = read(cli("provider", "update", "mail", "--name", "Letters", "--weight", "0", "--json"))
    assert (kept["limits"], kept["weight"]) == (changed["limits"], 0)
    cli("provider", "add", "twilio", "--id", "texts")
    assert "limits    those of its kind" in cli("provider", "show", "texts").out
    refused = cli("provider", "update", "texts", "--warm-up")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "only email accounts are warmed up" in refused.err


def test_a_csv_file_is_subscribed_with_a_report(cli: Cli, tmp_path: Path) -> None:
    """A file's bad lines are reported with the reason; --strict turns them into a failure; - is stdin."""
    cli("topic", "add", "news")
    lines = "email,user_id\nada@example.com,ada\nnobody,b\nb@example.com,\n"
    (tmp_path / "people.csv").write_text(lines)
    done = cli("subscribe", "news", "--csv", "people.csv")
    assert done.code == 0
    assert "2 subscribed, 0 had been already, 1 rejected" in done.err
    assert "line 3: Invalid `address`: 'nobody'" in done.err
    strict = cli("subscribe", "news", "--csv", "-", "--strict", "--json", said=lines)
    assert strict.code == 1
    report = json.loads(strict.out)
    assert (report["created"], report["existing"], report["rejected_total"]) == (0, 2, 1)
    (tmp_path / "latin.csv").write_bytes(b"email\nm\xfcller@example.com\n")
    assert "UTF-8" in cli("subscribe", "news", "--csv", "latin.csv").err
    assert "No topic with the id 'none'" in cli("subscribe", "none", "--csv", "people.csv").err


def test_a_message_is_sent_watched_and_stopped(cli: Cli, road: Road) -> None:
    """A message is sent to names and addresses, its state and deliveries shown, and it can be held and stopped."""
    road.add_provider("ios", "apns")
    cli("user", "add", "ada")
    cli("target", "add", "push", "tok", "--user", "ada")
    message_id = cli("send", "push", "--to", "user:ada", "--to", "other", "--title", "Hi", "--data", "n=1").out.strip()
    shown = read(cli("status", message_id, "--json"))
    assert (shown["state"], shown["total"], shown["content"]["data"]) == ("processing", 2, {"n": "1"})
    assert len(read(cli("deliveries", message_id, "--status", "queued", "--json"))) == 2
    assert message_id in cli("status").out
    assert cli("pause", message_id).code == 0
    assert cli("resume", message_id).code == 0
    assert cli("cancel", message_id).code == 0
    again = cli("pause", message_id)
    assert again.code == 1
    assert "is cancelled" in again.err
    later = read(cli("send", "push", "--to", "tok", "--title", "Hi", "--at", "+1d", "--json"))
    assert later["state"] == "scheduled"


def test_a_message_that_fails_is_a_failed_command(cli: Cli) -> None:
    """A message that can't go out prints itself, says why on stderr, and exits with 1."""
    done = cli("send", "sms", "code 1", "--to", "+4930123456", "--wait", "--json")
    assert done.code == 1
    assert json.loads(done.out)["state"] == "failed"
    assert "No enabled sms provider found" in done.err


def test_wait_follows_a_message_to_its_end(cli: Cli, road: Road) -> None:
    """--wait returns when every delivery is settled, or says at the deadline how far it is."""
    road.add_provider("ios", "apns")
    late = cli("send", "push", "--to", "tok", "--title", "Hi", "--id", "m1", "--wait", "--timeout", "0.3")
    assert late.code == 1
    assert "0 of 1 settled" in late.err
    road.deliver()
    road.sweep()
    assert "accepted  1" in cli("status", "m1").out


def test_tail_prints_what_settles(cli: Cli, road: Road) -> None:
    """`tail` prints a line for each delivery and message as it settles, and nothing that stood still."""
    road.add_provider("ios", "apns")
    cli("send", "push", "--to", "still", "--title", "Hi", "--draft", "--id", "draft")
    with subprocess.Popen(
        [sys.executable, "-m", "messaging.cli.main", "tail", "--seconds", "150", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "MESSAGING_DATABASE_URL": road.settings.database_url.get_secret_value(),
            "MESSAGING_BROKER_URL": road.settings.broker_url.get_secret_value(),
            "MESSAGING_SECRET_KEY": SECRET,
        },
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert following.stderr.readline().startswith("Following")
        cli("send", "push", "--to", "tok", "--title", "Hi", "--id", "m1")
        assert json.loads(following.stdout.readline())["message"] == "m1"
        road.deliver()
        road.sweep()
        lines: list[dict[str, Any]] = []
        while not lines or lines[-1].get("state") != "sent":
            lines.append(json.loads(following.stdout.readline()))
        following.terminate()
    assert [line["status"] for line in lines if "delivery" in line] == ["accepted"]
    assert lines[-1]["state"] == "sent"
    assert all(line["message"] == "m1" for line in lines)


def test_suppression_from_the_command_line(cli: Cli) -> None:
    """An address is suppressed, found and freed; `show` exits with 1 where it is not on the list."""
    assert cli("suppress", "add", "email", "a@example.com", "--bulk").code == 0
    assert read(cli("suppress", "show", "email", "a@EXAMPLE.com", "--json"))["scope"] == "bulk"
    assert len(read(cli("suppress", "list", "--json"))) == 1
    cli("suppress", "remove", "email", "a@example.com")
    assert cli("suppress", "show", "email", "a@example.com").code == 1


def test_what_is_away_is_one_line(cli: Cli, road: Road) -> None:
    """A database that is away, or has no tables, is named in one line with the next step; `migrate` makes them."""
    away = cli("user", "list", MESSAGING_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (away.code, away.err.count("\n")) == (1, 1)
    assert "Can't reach the database" in away.err
    assert cli("migrate").err == "The database is up to date.\n"
    assert road.project_id


def test_output_may_be_cut_short(cli: Cli, road: Road) -> None:
    """A reader that goes away (`| head`) is no error."""
    road.add_push_targets(2000)
    command = f"{shlex.quote(sys.executable)} -m messaging.cli.main target list --limit 2000 | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        env={
            **os.environ,
            "MESSAGING_DATABASE_URL": road.settings.database_url.get_secret_value(),
            "MESSAGING_BROKER_URL": "memory://",
            "MESSAGING_SECRET_KEY": SECRET,
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert cli("target", "list").code == 0
