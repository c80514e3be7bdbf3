"""Old months go whole; what is active, and what still protects from doubles, stays."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from messaging.ids import delivery_tag, parse_delivery_tag
from messaging.store import partitions
from tests.integration.road import Road
from workers import sweep

OLD = date(2020, 1, 1)


@pytest.fixture
def old(road: Road) -> Road:
    """A finished message in a month of 2020."""
    with road.engine.begin() as connection:
        partitions.ensure_month(connection, OLD)
    road.add_push_targets(1, provider=road.add_provider("apns", "apns"))
    sent = road.send(targets=["t0"])
    road.deliver()
    road.sweep()
    for table, column in (("messages", "id"), ("batches", "message_id"), ("deliveries", "message_id")):
        road.execute(f"UPDATE {table} SET month = :month WHERE {column} = :id", month=OLD, id=sent.message_id)
    road.execute("UPDATE messages SET finished_at = '2020-01-31'")
    return road


def months(road: Road) -> set[str]:
    """The ledger's partitions."""
    with road.engine.begin() as connection:
        rows = connection.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'deliveries'::regclass")
        )
        return set(rows.scalars())


def test_a_month_past_retention_is_dropped_with_its_messages(old: Road) -> None:
    """Partition and messages go together; the months to come are there."""
    assert sweep.keep_house(old.engine, old.settings).months == (OLD,)
    assert "deliveries_2020_01" not in months(old)
    assert len(months(old)) >= 3
    with old.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM messages")).scalar() == 0


def test_a_month_with_an_unfinished_message_stays(old: Road) -> None:
    """Nothing active is ever forgotten."""
    old.execute("UPDATE messages SET finished_at = NULL, state = 3")
    assert sweep.keep_house(old.engine, old.settings).months == ()
    assert "deliveries_2020_01" in months(old)
    old.execute("UPDATE messages SET finished_at = '2020-01-31'")
    sweep.keep_house(old.engine, old.settings)


def test_a_key_is_remembered_thirty_days_past_the_end_even_of_a_deleted_message(old: Road) -> None:
    """A task that comes again in between is still recognised."""
    old.execute(
        "INSERT INTO intake_keys (project_id, key, body_sha256, message_public_id, keep_until) VALUES"
        " (1, 'gone', '', 'no such message', now() + interval '1 day'), (1, 'past', '', 'nor this', now())"
    )
    assert sweep.keep_house(old.engine, old.settings).keys == 1
    with old.engine.begin() as connection:
        assert connection.execute(text("SELECT key FROM intake_keys")).scalars().all() == ["gone"]


def test_a_delivery_tag_leads_back_to_its_month() -> None:
    """Receipts find the partition without an index."""
    tag = delivery_tag(date(2026, 11, 1), 12345, 987654321)
    assert parse_delivery_tag(tag) == (date(2026, 11, 1), 12345, 987654321)
    assert parse_delivery_tag("something else") is None
