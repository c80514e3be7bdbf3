"""`messaging operator …` and `messaging audit` against a real database, and the operator that a stack makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from messaging.local.first_operator import EMAIL, console_sign_in
from messaging.store import operators
from tests.integration.cli import Cli, command_line
from tests.integration.road import Road

PASSWORD = "password password"


@pytest.fixture
def cli(road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """The command line, on a database without operators; `said` goes to its stdin."""
    road.execute("TRUNCATE operators, audit_log CASCADE")
    return command_line(road, monkeypatch, capsys, tmp_path)


def test_operators_come_and_go_and_the_log_says_so(cli: Cli, road: Road) -> None:
    """The first is admin and can't be shut out; a password comes from stdin and is shown nowhere."""
    first = cli("operator", "add", "ada@example.com", "--name", "Ada", "--password-stdin", said=f"{PASSWORD}\n")
    assert first.code == 0, first.err
    assert "as admin" in first.err
    second = cli("operator", "add", "bob@example.com", "--password-stdin", "--json", said=PASSWORD)
    assert json.loads(second.out)["role"] == "operator"
    assert "number" not in json.loads(second.out)
    with road.engine.begin() as connection:
        assert operators.sign_in(connection, email="ada@example.com", password=PASSWORD) is not None
    locked = cli("operator", "disable", "ada@example.com")
    assert (locked.code, locked.err.count("\n")) == (1, 1)
    assert "Nobody would be left" in locked.err
    assert cli("operator", "disable", "bob@example.com").code == 0
    listed = cli("operator", "list").out
    assert "ada@example.com" in listed
    assert cli("operator", "delete", "bob@example.com").code == 0
    assert cli("operator", "delete", "bob@example.com").code == 3
    log = json.loads(cli("audit", "--json").out)
    assert [each["action"] for each in log] == [
        "operator.delete", "operator.change", "operator.create", "operator.create",
    ]  # fmt: skip
    assert PASSWORD not in json.dumps(log) + listed


def test_a_short_password_is_refused_and_another_signs_out(cli: Cli, road: Road) -> None:
    """One line says what is wrong; who knew the old password is signed out."""
    short = cli("operator", "add", "ada@example.com", "--password-stdin", said="short")
    assert short.code == 1
    assert "it has 5 characters; 12 to" in short.err
    assert "--password-stdin" in cli("operator", "add", "ada@example.com").err
    cli("operator", "add", "ada@example.com", "--password-stdin", said=PASSWORD)
    with road.engine.begin() as connection:
        signed_in = operators.sign_in(connection, email="ada@example.com", password=PASSWORD)
    assert signed_in is not None
    assert cli("operator", "set-password", "ada@example.com", "--password-stdin", said="another one").code == 1
    assert cli("operator", "set-password", "ada@example.com", "--password-stdin", said="another password").code == 0
    with road.engine.begin() as connection:
        assert operators.of_secret(connection, signed_in[1]) is None
        assert operators.sign_in(connection, email="ada@example.com", password="another password") is not None


def test_the_audit_log_is_narrowed_to_a_project(cli: Cli) -> None:
    """By its own option, or the one before the command."""
    cli("operator", "add", "ada@example.com", "--password-stdin", said=PASSWORD)
    assert "operator.create" in cli("audit").out
    assert "Nothing was done." in cli("audit", "--project", "default").err


def test_a_stack_makes_its_first_operator_once(road: Road, postgres_url: str, tmp_path: Path) -> None:
    """The password is in a file only its owner may read; where others are, nobody is made."""
    road.execute("TRUNCATE operators, audit_log CASCADE")
    made = console_sign_in(tmp_path, database_url=postgres_url)
    assert made is not None
    assert made.is_new
    assert (tmp_path / "console.password").stat().st_mode & 0o777 == 0o600
    assert made.password not in repr(made)
    with road.engine.begin() as connection:
        signed_in = operators.sign_in(connection, email=EMAIL, password=made.password)
    assert signed_in is not None
    assert signed_in[0].role == "admin"
    again = console_sign_in(tmp_path, database_url=postgres_url)
    assert again is not None
    assert (again.password, again.is_new) == (made.password, False)
    with road.engine.begin() as connection:
        found = operators.find(connection, EMAIL)
        operators.change(connection, found, password="changed by somebody")
    assert console_sign_in(tmp_path, database_url=postgres_url) is None
    with road.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM operators")).scalar_one() == 1
