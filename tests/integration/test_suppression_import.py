"""Whole lists of addresses on the suppression list: out of rows, and out of a file with the Python client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from messaging import Messaging
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.store import suppressions
from messaging.store.suppression_import import CHUNK_ROWS, ImportProgress, ImportResult, import_rows
from messaging.store.suppression_rows import SuppressionRow, read_rows
from messaging.store.suppressions import Scope
from tests.integration.road import SECRET, Road

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH


@pytest.fixture
def client(road: Road, postgres_url: str) -> Iterator[Messaging]:
    """The Python client of an empty project."""
    assert road.project_id
    with Messaging.connect(database_url=postgres_url, secret_key=SECRET, broker_url="memory://") as opened:
        yield opened


def row(line: int, address: str, channel: str = "email", **said: str) -> SuppressionRow:
    """One row."""
    return SuppressionRow(line=line, address=address, channel=channel, **said)


def run(road: Road, rows: Iterable[SuppressionRow], *, scope: Scope = Scope.EVERYTHING) -> ImportResult:
    """Import, committed."""
    with road.engine.connect() as connection:
        return import_rows(connection, road.vault, road.project_id, rows, scope=scope, commit=True)


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    """(added, raised, already, invalid)."""
    return result.added, result.raised, result.already, result.invalid_total


def entry(road: Road, address: str, channel: Channel = EMAIL) -> tuple[Scope, str] | None:
    """(scope, reason) of an address, or None."""
    with road.engine.begin() as connection:
        found = suppressions.find(connection, road.vault, road.project_id, channel=channel, address=address)
    return None if found is None else (found.scope, found.reason)


def times(road: Road) -> list[datetime]:
    """Since when each entry reaches so far."""
    with road.engine.begin() as connection:
        return [each.created_at for each in suppressions.page(connection, road.project_id)]


def test_rows_are_listed_under_their_channel_scope_and_reason(road: Road) -> None:
    """What a row does not say is taken from the import."""
    done = run(
        road,
        [
            row(2, "ada@example.com", scope="bulk", reason="unsubscribed"),
            row(3, "+49 30 123456", "sms", reason="complained"),
            row(4, "token", "push"),
        ],
    )
    assert (counts(done), done.rows) == ((3, 0, 0, 0), 3)
    assert entry(road, "ada@EXAMPLE.com") == (Scope.BULK, "unsubscribed")
    assert entry(road, "+4930123456", SMS) == (Scope.EVERYTHING, "complained")
    assert entry(road, "token", PUSH) == (Scope.EVERYTHING, "imported")
    assert entry(road, "token@example.com") is None


def test_an_import_can_be_repeated_and_never_reaches_less_far(road: Road) -> None:
    """The same again changes nothing; everything widens bulk, bulk narrows nothing; reasons stay with their entry."""
    rows = [row(2, "a@example.com", scope="bulk", reason="first"), row(3, "b@example.com", reason="first")]
    assert counts(run(road, rows)) == (2, 0, 0, 0)
    before = times(road)
    assert counts(run(road, [row(1, "a@example.com", scope="bulk", reason="again"), *rows])) == (0, 0, 3, 0)
    assert times(road) == before
    other = [row(2, "a@example.com", reason="second"), row(3, "b@example.com", scope="bulk", reason="second")]
    assert counts(run(road, other)) == (0, 1, 1, 0)
    assert entry(road, "a@example.com") == (Scope.EVERYTHING, "second")
    assert entry(road, "b@example.com") == (Scope.EVERYTHING, "first")


def test_an_address_named_twice_counts_once_as_far_as_it_reaches(road: Road) -> None:
    """In one statement, which could not meet a row twice."""
    rows = [row(2, "a@example.com", scope="bulk"), row(3, "a@example.com"), row(4, "A@example.com", scope="bulk")]
    assert counts(run(road, rows)) == (1, 0, 2, 0)
    assert entry(road, "a@example.com") == (Scope.EVERYTHING, "imported")


def test_rows_that_cannot_be_used_are_reported_and_stop_nothing(road: Road) -> None:
    """Each with its line and the reason."""
    done = run(
        road,
        [
            row(2, "nobody"),
            row(3, "a@example.com"),
            row(4, "030", "sms"),
            row(5, ""),
            row(6, "b@example.com", "pigeon"),
            row(7, "b@example.com", ""),
            row(8, "b@example.com", scope="all"),
            row(9, "b@example.com", reason="x" * 201),
            row(10, "b@example.com", reason="a\0b"),
            row(11, "half\ud800", "push"),
            SuppressionRow(line=12, problem="it has 1 columns"),
        ],
    )
    assert counts(done) == (1, 0, 0, 10)
    assert [line for line, _ in done.invalid] == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert "push, email, sms" in done.invalid[3][1]
    assert entry(road, "b@example.com") is None


def test_many_rows_are_written_chunk_by_chunk(road: Road) -> None:
    """All are counted, the first hundred that are invalid are named, and an address of two chunks counts once."""
    seen: list[ImportProgress] = []

    def rows() -> Iterator[SuppressionRow]:
        for number in range(2 * CHUNK_ROWS + 5):
            yield row(number, f"p{number % CHUNK_ROWS}@example.com" if number % 100 else "nobody")

    with road.engine.connect() as connection:
        done = import_rows(connection, road.vault, road.project_id, rows(), progress=seen.append)
        connection.rollback()
    assert counts(done) == (9900, 0, 9904, 201)
    assert done.rows == 2 * CHUNK_ROWS + 5
    assert [line for line, _ in done.invalid] == list(range(0, 10_000, 100))
    assert [(step.rows, step.invalid) for step in seen] == [(10_000, 100), (20_000, 200), (20_005, 201)]
    assert entry(road, "p1@example.com") is None  # nothing was committed before its time


def test_projects_have_lists_of_their_own(road: Road) -> None:
    """An address that one project suppressed is written to by another."""
    with road.engine.begin() as connection:
        other = connection.execute(
            text("INSERT INTO projects (public_id, name) VALUES ('other', 'Other') RETURNING id")
        ).scalar_one()
        assert import_rows(connection, road.vault, other, [row(2, "a@example.com")]).added == 1
    assert entry(road, "a@example.com") is None
    assert counts(run(road, [row(2, "a@example.com")])) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("header", "channel"),
    [
        ("email", EMAIL),
        ("\ufeffEmail,Scope,reason", EMAIL),
        ("phone", SMS),
        ("token", PUSH),
        ("address,channel", PUSH),
        ("providerType, address,scope", PUSH),
    ],
)
def test_a_header_says_what_the_columns_hold(header: str, channel: Channel) -> None:
    """In any order and case."""
    cells = {"address": "an address", "channel": "push", "providertype": "push", "scope": "bulk", "reason": "r"}
    names = [name.strip().lstrip("\ufeff").casefold() for name in header.split(",")]
    (found,) = read_rows([header + "\r\n", ",".join(cells.get(name, "an address") for name in names)])
    assert (found.line, found.address, found.channel, found.problem) == (2, "an address", channel, None)
    assert found.scope == ("bulk" if "scope" in names else "")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "scope",
        "address",
        "channel",
        "email,phone",
        "email,channel",
        "address,channel,providerType",
        "email,email",
        "email,colour",
        "x" * 200_000,
    ],
)
def test_another_header_is_refused(header: str) -> None:
    """With what it must say."""
    with pytest.raises(InvalidArgumentError, match="csv") as refused:
        list(read_rows([header] if header else []))
    assert len(str(refused.value)) < 500


def test_lines_are_those_of_the_file(road: Road) -> None:
    """Also after a cell that takes two; empty ones are no rows."""
    lines = [
        "email,reason\n",
        '"a@example.com","two\n',
        'lines"\n',
        "\n",
        "nobody,x\n",
        "b@example.com\n",
        "x" * 200_000,
    ]
    done = run(road, read_rows(lines))
    assert (done.added, [line for line, _ in done.invalid]) == (1, [5, 6, 7])
    assert entry(road, "a@example.com") == (Scope.EVERYTHING, "two\nlines")


def test_the_client_imports_a_file_or_lines(client: Messaging, road: Road, tmp_path: Path) -> None:
    """With the scope and reason of rows that say none, and a report on the way."""
    file = tmp_path / "optouts.csv"
    file.write_text("\ufeffemail,scope\na@example.com,\nb@example.com,everything\n", encoding="utf-8")
    seen: list[ImportProgress] = []
    done = client.suppressions.import_csv(file, scope="bulk", reason="unsubscribed", progress=seen.append)
    assert (counts(done), [step.rows for step in seen]) == ((2, 0, 0, 0), [2])
    assert entry(road, "a@example.com") == (Scope.BULK, "unsubscribed")
    assert entry(road, "b@example.com") == (Scope.EVERYTHING, "unsubscribed")
    assert counts(client.suppressions.import_csv(str(file))) == (0, 1, 1, 0)
    assert client.suppressions.import_csv(["phone", "+4930123456"]).added == 1
    file.write_bytes(b"email\nm\xfcller@example.com\n")
    with pytest.raises(InvalidArgumentError, match="UTF-8"):
        client.suppressions.import_csv(file)
    with pytest.raises(InvalidArgumentError, match="scope"):
        client.suppressions.import_csv(["email"], scope="all")
    with pytest.raises(InvalidArgumentError, match="reason"):
        client.suppressions.import_csv(["email"], reason="x" * 201)


def test_the_client_lists_and_lifts_entries(client: Messaging) -> None:
    """By channel, scope and the beginning of the reason, newest first; an entry is lifted by its id."""
    first = client.suppressions.add("email", "a@example.com", scope="bulk", reason="unsubscribed link")
    second = client.suppressions.add("sms", "+4930123456")
    assert (second.reason, second.id[:2]) == ("by hand", "s-")
    assert [each.id for each in client.suppressions.list()] == [second.id, first.id]
    assert client.suppressions.list(limit=1, offset=1) == [first]
    assert client.suppressions.list(channel="sms") == [second]
    assert client.suppressions.list(scope="bulk") == [first]
    assert client.suppressions.list(reason="unsubscribed") == [first]
    assert client.suppressions.list(reason="link") == []
    client.suppressions.lift(first.id)
    assert client.suppressions.find("email", "a@example.com") is None
    for gone in (first.id, "e" + second.id[1:], "nothing"):
        with pytest.raises(NotFoundError, match="suppression"):
            client.suppressions.lift(gone)
    assert client.suppressions.list() == [second]
