"""The command line before it reaches anything."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from messaging.cli.audience import NamedAudience, parse_audience
from messaging.cli.times import parse_time
from messaging.errors import InvalidArgumentError
from messaging.store.bulk_rows import BulkRow
from messaging.store.csv_rows import read_rows

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)


def run(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, away from our own settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
    return subprocess.run(
        [sys.executable, "-m", "messaging.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env={**clean, **env},
    )


def test_help_lists_every_command_without_importing_the_database(tmp_path: Path) -> None:
    """`messaging --help` lists the commands, and imports neither SQLAlchemy nor Celery."""
    said = run("--help", cwd=tmp_path)
    assert said.returncode == 0
    for command in ("up", "api", "sandbox", "migrate", "provider", "user", "target", "topic", "subscribe", "send"):
        assert f"\n  {command} " in said.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, messaging.cli.main; print(*{m.split('.')[0] for m in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not {"sqlalchemy", "celery", "kombu", "psycopg", "httpx", "uvicorn"} & set(loaded.stdout.split())


def test_without_a_stack_one_line_says_what_to_do(tmp_path: Path) -> None:
    """Where no stack runs, one line on stderr names the thing, the reason and the next step; the exit code is 1."""
    said = run("user", "list", cwd=tmp_path)
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.count("\n") == 1
    assert "No stack runs in data" in said.stderr
    assert "messaging up" in said.stderr


def test_wrong_usage_exits_with_two(tmp_path: Path) -> None:
    """Wrong usage exits with 2."""
    assert run("user", "lst", cwd=tmp_path).returncode == 2
    assert run("send", "sms", "hello", cwd=tmp_path).returncode == 2
    assert run("target", "add", "fax", "1", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("send", "push", "--to", "topic:news"), "title, body and data"),
        (("send", "push", "--to", "topic:", "--title", "x"), "names nobody"),
        (("send", "sms", "x", "--to", "user:a", "--at", "tomorrow"), "is no time"),
        (("send", "email", "--to", "user:a", "--subject", "a\nb", "--content", "x"), "line break"),
        (("send", "email", "--to", "user:a", "--subject", "a"), "--content-file"),
        (("send", "email", "--to", "u", "--subject", "a", "--content", "x", "--attach", "none.pdf"), "none.pdf"),
        (("provider", "add", "pigeon"), "no provider kind 'pigeon'"),
        (("provider", "add", "smtp", "--set", "port=many"), "whole number"),
        (("provider", "add", "smtp", "--rate", "-1"), "a number above 0"),
        (("provider", "add", "smtp", "--set-env", "host=NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE"),
        (("subscribe", "news"), "name targets"),
        (("subscribe", "news", "--csv", "none.csv"), "none.csv"),
    ],
)
def test_bad_input_is_one_line_and_no_traceback(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    """Bad input is answered with one line that says what is wrong, before anything is reached."""
    said = run(*arguments, cwd=tmp_path)
    assert said.returncode == 1
    assert says in said.stderr
    assert said.stderr.count("\n") == 1


def test_recipients_are_told_apart_by_their_prefix() -> None:
    """topic:, user: and target: name ids; everything else is an address, colons included."""
    assert parse_audience(["topic:news", "user:ada", "target:t", "ada@example.com", "tok:APA91"]) == NamedAudience(
        topics=("news",), users=("ada",), targets=("t",), addresses=("ada@example.com", "tok:APA91")
    )


@pytest.mark.parametrize(
    ("value", "ahead"), [("+90s", 90), ("+15m", 900), ("+2h", 7200), ("+1d", 86400), ("-2h", -7200)]
)
def test_a_time_may_be_relative(value: str, ahead: int) -> None:
    """+15m is a quarter of an hour from now, -2h two hours ago."""
    assert parse_time(value, argument="--at", now=NOW) == NOW + timedelta(seconds=ahead)


def test_a_time_without_zone_is_local() -> None:
    """A time without a zone is the local one; one with a zone is taken at its word."""
    assert parse_time("2026-11-24T09:00+02:00", argument="--at").utcoffset() == timedelta(hours=2)
    assert parse_time("2026-11-24T09:00", argument="--at").tzinfo is not None


def test_a_csv_file_names_its_channel_by_its_column() -> None:
    """The column that holds the address says which channel the file is for."""
    channel, rows = read_rows(
        ["\ufeffuser_id,Email,name\r\n", "ada,ada@example.com,Ada\r\n", "\r\n", ",b@example.com,\r\n"]
    )
    assert channel == "email"
    assert list(rows) == [
        BulkRow(line=2, address="ada@example.com", user_id="ada", name="Ada"),
        BulkRow(line=4, address="b@example.com"),
    ]


def test_a_csv_row_that_cannot_be_read_carries_its_problem() -> None:
    """A row with too few columns is reported with its line, and the rest is read."""
    _, rows = read_rows(["phone,name\n", "+4930123456\n", "+4930123457,Bob\n"])
    assert [(row.line, row.problem is None) for row in rows] == [(2, False), (3, True)]


@pytest.mark.parametrize("header", ["", "name\n", "email,phone\n", "email,shoe_size\n", "email,email\n"])
def test_a_csv_header_that_says_something_else_is_refused(header: str) -> None:
    """A header without exactly one address column, or with an unknown one, is refused."""
    with pytest.raises(InvalidArgumentError, match="csv"):
        read_rows([header] if header else [])
