"""`messaging suppress …` against a real database."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.cli import Cli, cli, read
from tests.integration.road import Road

__all__ = ["cli"]  # a fixture, found by its name


def test_an_address_is_suppressed_found_and_lifted(cli: Cli) -> None:
    """By its address, or by the id that the list shows."""
    added = read(cli("suppress", "add", "email", "a@example.com", "--bulk", "--json"))
    assert (added["scope"], added["reason"], added["channel"]) == ("bulk", "by hand", "email")
    found = cli("suppress", "find", "email", "a@EXAMPLE.com")
    assert found.code == 0
    assert added["id"] in found.out
    assert "by hand" in found.out
    assert cli("suppress", "lift", added["id"]).code == 0
    missing = cli("suppress", "find", "email", "a@example.com")
    assert (missing.code, missing.out, missing.err) == (1, "", "Not suppressed.\n")
    again = cli("suppress", "lift", added["id"])
    assert again.code == 3
    assert "No suppression with the id" in again.err
    cli("suppress", "add", "sms", "+49 30 123456")
    assert cli("suppress", "lift", "sms", "+4930123456").err == "Taken off the list.\n"
    assert cli("suppress", "lift", "sms", "+4930123456").err == "It was not on the list.\n"
    assert "none of push, email, sms" in cli("suppress", "lift", "pigeon", "+4930123456").err


def test_the_list_shows_whom_how_far_why_and_when(cli: Cli) -> None:
    """Narrowed by channel, scope and reason."""
    cli("suppress", "add", "email", "a@example.com", "--bulk", "--reason", "unsubscribed by letter")
    cli("suppress", "add", "sms", "+4930123456", "--reason", "complained [twice]")
    head, newest, oldest = cli("suppress", "list").out.splitlines()
    assert head.split() == ["ID", "CHANNEL", "SCOPE", "REASON", "SINCE"]
    assert newest.split()[1:5] == ["sms", "everything", "complained", "[twice]"]
    assert oldest.split()[1:4] == ["email", "bulk", "unsubscribed"]
    for narrowed in (("--channel", "sms"), ("--scope", "everything"), ("--reason", "complained"), ("--limit", "1")):
        assert [each["channel"] for each in read(cli("suppress", "list", *narrowed, "--json"))] == ["sms"]
    assert "Nothing is suppressed" in cli("suppress", "list", "--channel", "push").err
    assert "none of everything, bulk" in cli("suppress", "list", "--scope", "some").err


def test_a_file_is_imported_with_a_table(cli: Cli, road: Road, tmp_path: Path) -> None:
    """Its bad lines are reported with the reason; --strict turns them into a failure; - is stdin."""
    lines = "email,reason\na@example.com,complained\nnobody,\nb@example.com,\n"
    (tmp_path / "bounces.csv").write_text(lines)
    done = cli("suppress", "import", "bounces.csv", "--bulk")
    assert done.code == 0, done.err
    head, row = done.out.splitlines()
    assert dict(zip(head.split(), row.split(), strict=True)) | {"SECONDS": "", "ROWS/S": ""} == {
        "ROWS": "3", "ADDED": "2", "RAISED": "0", "ALREADY": "0", "INVALID": "1", "SECONDS": "", "ROWS/S": "",
    }  # fmt: skip
    assert "line 3: Invalid `address`: 'nobody'" in done.err
    listed = read(cli("suppress", "list", "--json"))
    assert {(each["scope"], each["reason"]) for each in listed} == {("bulk", "complained"), ("bulk", "imported")}
    strict = cli("suppress", "import", "-", "--strict", "--json", "--reason", "moved house", said=lines)
    assert strict.code == 1
    report = json.loads(strict.out)
    assert [report[name] for name in ("rows", "added", "raised", "already", "invalid_total")] == [3, 0, 2, 0, 1]
    assert report["invalid"][0][0] == 3
    road.execute("DELETE FROM suppressions")
    many = cli("suppress", "import", "-", said="phone\n" + "1\n" * 25)
    assert (many.code, many.err.count("  line ")) == (0, 20)
    assert "and 5 more" in many.err


def test_a_file_that_cannot_be_read_is_one_line(cli: Cli, tmp_path: Path) -> None:
    """And nothing of it is on the list."""
    (tmp_path / "latin.csv").write_bytes(b"email\nm\xfcller@example.com\n")
    (tmp_path / "other.csv").write_text("colour\nred\n")
    for file, says in (("latin.csv", "UTF-8"), ("other.csv", "first line names"), ("none.csv", "none.csv")):
        done = cli("suppress", "import", file)
        assert (done.code, done.out) == (1, "")
        assert says in done.err.splitlines()[-1]
    assert read(cli("suppress", "list", "--json")) == []
