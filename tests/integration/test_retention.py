"""Old months go whole; what is active, and what still protects from doubles, stays."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text

from messaging.attachments import FileReference
from messaging.channel import Channel
from messaging.ids import delivery_tag, parse_delivery_tag
from messaging.message import Email
from messaging.store import accounts, buckets, file_uploads, files, partitions, sessions, targets, users
from messaging.store.buckets import BucketSettings
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


def rows_of(road: Road, month: date) -> int:
    """Everything there is about a month, in every table that knows months."""
    with road.engine.begin() as connection:
        tables = connection.execute(
            text("SELECT table_name FROM information_schema.columns WHERE column_name = 'month'")
        ).scalars()
        return sum(
            connection.execute(
                text(f"SELECT count(*) FROM {table} WHERE month = :month"), {"month": month}
            ).scalar_one()
            for table in tables.all()
        )


def test_nothing_of_a_dropped_month_is_left_in_any_table(old: Road) -> None:
    """Events, providers' ids, late evidence and verdicts go with it; what belongs to this month stays."""
    stays = old.send(targets=["t0"])
    old.deliver()
    said = "(month, message_id, target_id"
    for month in (OLD, datetime.now(UTC).date().replace(day=1)):
        old.execute(
            f"INSERT INTO delivery_events {said}, key, provider_id, event) VALUES (:month, 1, 1, '', 1, 'x')",
            month=month,
        )
    old.execute(
        f"INSERT INTO provider_message_ids {said}, provider_id, provider_message_id) VALUES (:month, 1, 1, 1, 'x')",
        month=OLD,
    )
    old.execute(
        f"INSERT INTO past_attempts {said}, provider_id, attempt, code) VALUES (:month, 1, 1, 1, 1, 'x')", month=OLD
    )
    old.execute(f"INSERT INTO evidence {said}, claim, status) VALUES (:month, 1, 1, 1, 1)", month=OLD)
    old.execute(f"INSERT INTO dead_verdicts {said}, provider_id) VALUES (:month, 1, 1, 1)", month=OLD)
    assert rows_of(old, OLD) > 7
    assert sweep.keep_house(old.engine, old.settings).months == (OLD,)
    assert rows_of(old, OLD) == 0
    with old.engine.begin() as connection:
        left = connection.execute(text("SELECT relname FROM pg_class WHERE relname LIKE '%2020_01'")).scalars().all()
        events = connection.execute(text("SELECT count(*) FROM delivery_events")).scalar()
    assert left == []
    assert events == 1
    assert len(old.deliveries(stays)) == 1


def test_receipts_go_after_a_month_and_what_they_said_stays(road: Road) -> None:
    """Raw requests are personal and bulky; their events are with the ledger."""
    road.add_provider("p")
    road.execute(
        "INSERT INTO receipts (provider_id, method, url, headers, body, received_at)"
        " SELECT id, 'POST', age, '{}', '', now() - CAST(age AS interval)"
        "   FROM providers, unnest(ARRAY['29 days', '31 days']) AS age"
    )
    sweep.keep_house(road.engine, road.settings)
    with road.engine.begin() as connection:
        assert connection.execute(text("SELECT url FROM receipts")).scalars().all() == ["29 days"]


def test_an_anonymous_user_goes_with_the_last_session(road: Road) -> None:
    """Whoever is known by anything, can be reached or can come back stays."""
    with road.engine.begin() as connection:
        for name in ("gone", "signed-out", "signed-in", "reachable", "known", "server"):
            users.create(connection, road.vault, road.project_id, user_id=name)
            number = users.find(connection, road.project_id, name)
            if name != "server":
                accounts.mark_anonymous(connection, number)
            if name != "signed-out":
                sessions.create(connection, road.project_id, user=number, provider="anonymous")
        users.update(connection, road.vault, road.project_id, "known", email="ada@example.com")
        users.update(connection, road.vault, road.project_id, "known", email=None)
        targets.create(
            connection, road.vault, road.project_id, channel=Channel.PUSH, identifier="token", user_id="reachable"
        )
        connection.execute(
            text("""UPDATE sessions SET expires_at = now() WHERE user_id NOT IN
                    (SELECT id FROM users WHERE public_id = 'signed-in')""")
        )
    assert sweep.keep_house(road.engine, road.settings).users == 2
    with road.engine.begin() as connection:
        left = connection.execute(text("SELECT public_id FROM users")).scalars().all()
    assert set(left) == {"signed-in", "reachable", "known", "server"}


def test_a_file_sent_along_goes_when_no_message_uses_it_any_more(road: Road) -> None:
    """It stays while a message names it, and files of a bucket stay in any case."""
    with road.engine.begin() as connection:
        for name in ("used", "unused", "young"):
            files.store(connection, road.project_id, name, "text/plain", b"x")
        made = buckets.create(connection, road.project_id, "box", BucketSettings(name="b"))
        file_uploads.store(connection, made, file_uploads.NewFile(id="kept", name="kept.txt"), b"x")
    road.execute("UPDATE files SET created_at = now() - interval '91 days' WHERE name <> 'young'")
    road.add_provider("grid", "sendgrid")
    with road.engine.begin() as connection:
        used = connection.execute(text("SELECT public_id FROM files WHERE name = 'used'")).scalar_one()
    road.send(Email(subject="x", content="x", attachments=(FileReference(file_id=used),)), addresses=["a@example.com"])
    assert sweep.keep_house(road.engine, road.settings).files == 1
    with road.engine.begin() as connection:
        left = connection.execute(text("SELECT name FROM files")).scalars().all()
    assert set(left) == {"used", "young", "kept.txt"}
    road.execute("DELETE FROM messages")
    assert sweep.keep_house(road.engine, road.settings).files == 1


def test_a_delivery_tag_leads_back_to_its_month() -> None:
    """Receipts find the partition without an index."""
    tag = delivery_tag(date(2026, 11, 1), 12345, 987654321)
    assert parse_delivery_tag(tag) == (date(2026, 11, 1), 12345, 987654321)
    assert parse_delivery_tag("something else") is None
