"""`messaging preview sms`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from messaging.cli.main import app
from messaging.errors import InvalidArgumentError

runner = CliRunner()


def test_the_table_shows_the_parts_and_who_is_to_blame() -> None:
    """Without a stack: nothing is reached."""
    said = runner.invoke(app, ["preview", "sms", "It\u2019s nine " + "a" * 70])
    assert said.exit_code == 0
    assert said.stdout.splitlines()[1].split()[:4] == ["UCS-2", "80", "2", "54"]
    assert "U+2019 RIGHT SINGLE QUOTATION MARK" in said.stdout


def test_json_says_the_same() -> None:
    """For scripts."""
    said = runner.invoke(app, ["preview", "sms", "Nine €", "--json"])
    assert json.loads(said.stdout) == {
        "encoding": "GSM-7",
        "parts": 1,
        "characters": 6,
        "units": 7,
        "left": 153,
        "forcing": [],
    }


@pytest.mark.parametrize("text", ["", "a\0b", "x" * 70_000])
def test_what_send_refuses_is_refused(text: str) -> None:
    """By the same rules."""
    said = runner.invoke(app, ["preview", "sms", text])
    assert isinstance(said.exception, InvalidArgumentError)
