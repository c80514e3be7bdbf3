"""Thousands of subscribers at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from sqlalchemy import text

from messaging.channel import Channel
from messaging.store import addresses, providers, subscribers, targets, topics, users
from messaging.store.bulk_rows import BulkRow
from messaging.store.bulk_subscribe import BulkProgress, BulkResult, bulk_subscribe
from tests.integration.road import Road

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH


class Importing:
    """An empty topic to import into."""

    def __init__(self, road: Road) -> None:
        self.road = road
        with road.engine.begin() as connection:
            topics.create(connection, road.project_id, topic_id="news", name="News")
            self.topic = topics.find(connection, road.project_id, "news")
        self.progress: list[BulkProgress] = []

    def run(self, rows: Iterable[BulkRow], channel: Channel | None = EMAIL) -> BulkResult:
        """Import, committed."""
        with self.road.engine.connect() as connection:
            return bulk_subscribe(
                connection,
                self.road.vault,
                self.road.project_id,
                self.topic,
                rows,
                channel=channel,
                progress=self.progress.append,
                commit=True,
            )

    def subscribed(self) -> list[tuple[str | None, str]]:
        """(user, address) of the topic, sorted."""
        with self.road.engine.begin() as connection:
            identifiers = {t.id: t.identifier for t in targets.page(connection, self.road.project_id, limit=100_000)}
            found = subscribers.page(connection, self.road.project_id, "news", limit=100_000)
            return sorted(
                ((s.user_id, identifiers[s.target_id]) for s in found), key=lambda pair: (pair[0] or "", pair[1])
            )


@pytest.fixture
def importing(road: Road) -> Importing:
    """An empty topic to import into."""
    return Importing(road)


def row(line: int, address: str, user: str | None = None, **parts: str) -> BulkRow:
    """One row."""
    return BulkRow(line=line, address=address, user_id=user, **parts)


def test_users_targets_and_subscriptions_come_from_rows(importing: Importing) -> None:
    """Rows make the users, targets and subscriptions that are missing, and only those."""
    rows = [row(2, "Ada@EXAMPLE.com", "ada", name="Ada"), row(3, "b@example.com")]
    first = importing.run(rows)
    assert (first.created, first.existing, first.rejected) == (2, 0, [])
    again = importing.run(rows)
    assert (again.created, again.existing, again.rejected) == (0, 2, [])
    assert importing.subscribed() == [(None, "b@example.com"), ("ada", "Ada@example.com")]
    with importing.road.engine.begin() as connection:
        user = users.get(connection, importing.road.project_id, "ada")
        assert (user.name, user.email) == ("Ada", "Ada@example.com")
        assert topics.get(connection, importing.road.project_id, "news").totals[EMAIL] == 2


def test_bad_rows_are_reported_and_stop_nothing(importing: Importing) -> None:
    """A row that can't be used is reported with its line and the reason; the others are subscribed."""
    result = importing.run(
        [
            row(2, "no address"),
            row(3, "a@example.com"),
            row(4, "b@example.com", "not an id"),
            row(5, "c@example.com", provider_id="none"),
            BulkRow(line=6, problem="it has 1 columns"),
            BulkRow(line=7, target_id="none"),
            BulkRow(line=8),
            row(9, "nul\0@example.com"),
        ]
    )
    assert (result.created, result.existing, result.rejected_total, result.rows) == (1, 0, 7, 8)
    assert [line for line, _ in result.rejected] == [2, 4, 5, 6, 7, 8, 9]
    assert "no provider 'none'" in result.rejected[2][1]


def test_an_email_address_is_not_taken_from_its_user(importing: Importing) -> None:
    """A list can't take an email address from another user, neither an older one nor one of the same list."""
    road = importing.road
    with road.engine.begin() as connection:
        users.create(connection, road.vault, road.project_id, user_id="ada", email="a@example.com")
    result = importing.run(
        [row(2, "a@example.com", "bob"), row(3, "b@example.com", "cleo"), row(4, "b@example.com", "dan")]
    )
    assert (result.created, [line for line, _ in result.rejected]) == (1, [2, 4])
    assert importing.subscribed() == [("cleo", "b@example.com")]
    with road.engine.begin() as connection:
        assert users.get(connection, road.project_id, "ada").email == "a@example.com"


def test_an_address_without_a_user_gets_one(importing: Importing) -> None:
    """An address that was nobody's becomes the row's user's."""
    importing.run([row(2, "a@example.com")])
    importing.run([row(2, "a@example.com", "ada")])
    assert importing.subscribed() == [("ada", "a@example.com")]


def test_a_push_token_moves_to_the_row_s_user(importing: Importing) -> None:
    """A device on the list of another account takes its token along, alive, and leaves its other topics."""
    road = importing.road
    importing.run([row(2, "tok", "ada")], PUSH)
    with road.engine.begin() as connection:
        topics.create(connection, road.project_id, topic_id="other", name="Other")
        (target,) = targets.page(connection, road.project_id)
        subscribers.create(connection, road.project_id, topic_id="other", target_id=target.id)
        connection.execute(text("UPDATE targets SET dead_at = now()"))
    result = importing.run([row(2, "tok", "bob"), row(3, "tok", "cleo")], PUSH)
    assert (result.created, result.existing) == (1, 1)
    with road.engine.begin() as connection:
        (moved,) = targets.page(connection, road.project_id)
        assert (moved.id, moved.user_id, moved.expired) == (target.id, "cleo", False)
        assert topics.get(connection, road.project_id, "other").totals[PUSH] == 0


def test_a_dead_token_on_a_list_stays_dead(importing: Importing) -> None:
    """A list that names a dead address of the same user is no registration: the address stays dead."""
    importing.run([row(2, "tok", "ada")], PUSH)
    importing.road.execute("UPDATE targets SET dead_at = now()")
    importing.run([row(2, "tok", "ada")], PUSH)
    with importing.road.engine.begin() as connection:
        assert targets.page(connection, importing.road.project_id)[0].expired


def test_rows_may_name_targets_and_providers(importing: Importing) -> None:
    """A row may name a target that exists; a token may name its provider, which decides how it is spelt."""
    road = importing.road
    road.add_provider("ios", "apns")
    with road.engine.begin() as connection:
        target = targets.create(connection, road.vault, road.project_id, channel=SMS, identifier="+4930123456")
    assert importing.run([BulkRow(line=2, target_id=target.id)], None).created == 1
    result = importing.run([row(2, "AB" * 32, provider_id="ios"), row(3, "xyz", provider_id="ios")], PUSH)
    assert (result.created, [line for line, _ in result.rejected]) == (1, [3])
    with road.engine.begin() as connection:
        assert topics.get(connection, road.project_id, "news").totals == {PUSH: 1, EMAIL: 0, SMS: 1}
        number = providers.find(connection, road.project_id, "ios")
        assert addresses.owner_of(connection, road.project_id, PUSH, "ab" * 32, provider=number) is not None


@pytest.mark.timeout(600)  # half a minute where nobody else works
def test_an_interrupted_import_can_be_repeated(importing: Importing) -> None:
    """What was committed before an interruption is there, and repeating the list completes it."""

    def rows(*, fail: bool) -> Iterator[BulkRow]:
        for number in range(25_000):
            if fail and number == 24_000:
                raise KeyboardInterrupt
            yield row(number + 2, f"p{number}@example.com", f"u{number}")

    with pytest.raises(KeyboardInterrupt):
        importing.run(rows(fail=True))
    assert len(importing.subscribed()) == 20_000
    result = importing.run(rows(fail=False))
    assert (result.created, result.existing) == (5_000, 20_000)
    assert [each.rows for each in importing.progress[-3:]] == [10_000, 20_000, 25_000]


def rows_read(road: Road) -> int:
    """How many rows of `targets` were read so far, whichever way."""
    with road.engine.connect() as connection:
        # what this session counted is told now, and not when it has been idle for a while
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        connection.commit()
        found: int = connection.execute(
            text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'targets'")
        ).scalar_one()
    return found


@pytest.mark.timeout(600)
def test_a_new_project_s_first_import_stays_fast(importing: Importing) -> None:
    """A project that the statistics have not seen yet imports at the usual speed.

    Where the project is a constant to the planner, it reads the whole project for every row: minutes.
    """
    road = importing.road
    road.add_push_targets(20_000)
    road.execute("ANALYZE targets")
    with road.engine.begin() as connection:
        connection.execute(text("INSERT INTO projects (public_id, name) VALUES ('new', 'new')"))
        road.project_id = connection.execute(text("SELECT id FROM projects WHERE public_id = 'new'")).scalar_one()
        topics.create(connection, road.project_id, topic_id="news", name="News")
        importing.topic = topics.find(connection, road.project_id, "news")
    before = rows_read(road)
    result = importing.run(row(number, f"p{number}@example.com", f"u{number}") for number in range(20_000))
    assert result.created == 20_000
    assert 20_000 <= rows_read(road) - before < 30 * 20_000
    with road.engine.begin() as connection:
        plan = connection.execute(
            text(
                "EXPLAIN SELECT id FROM targets WHERE project_id = (SELECT CAST(:p AS bigint)) AND channel = 'email'"
                " AND coalesce(provider_id, 0) = 0 AND identifier = 'p1@example.com'"
            ),
            {"p": road.project_id},
        ).scalars()
        assert "targets_one_address" in "\n".join(plan)
