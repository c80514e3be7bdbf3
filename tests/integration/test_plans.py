"""The statements of the road use the index on an empty and a full partition, whatever statistics once said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.integration.road import Road

_SCAN = re.compile(r"Seq Scan on (deliveries\w*|subscribers|targets)")
_LOOKUP = re.compile(
    r"(?:Index Scan|Index Only Scan|Bitmap Index Scan)[^\n]* on deliveries\w*[^\n]*\n\s+Index Cond: ([^\n]*)"
)


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_no_statement_of_the_road_reads_a_whole_table(road: Road, *, full: bool) -> None:
    """Lease, claim, record and release look up rows by target, and not a whole message."""
    ids = road.add_push_targets(20_000 if full else 300, provider=road.add_provider("apns", "apns"))
    if full:
        # a month's first message was this one's first batch, and somebody analysed
        road.execute(
            "INSERT INTO deliveries (month, message_id, target_id, batch_id)"
            " SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date, i.message, t.id, 1"
            "   FROM generate_series(1, 3) i (message), (SELECT id FROM targets ORDER BY id LIMIT 100) t"
        )
        road.execute("ANALYZE deliveries")
        road.execute("TRUNCATE deliveries")
        road.execute(
            "INSERT INTO deliveries (month, message_id, target_id, batch_id)"
            " SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date, 999999, i, 999999"
            "   FROM generate_series(1, 60000) i"
        )
    road.add_topic("news", ids)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    with explained(road) as plans:
        road.deliver(road.batches()[0])
    of_the_ledger = [plan for plan in plans if " deliveries" in plan]
    assert len(of_the_ledger) >= 4  # look for what is due, claim, record, release
    for plan in of_the_ledger:
        assert not _SCAN.search(plan), plan
        lookups = _LOOKUP.findall(plan)
        assert lookups, plan
        assert all("target_id" in condition for condition in lookups), plan


@contextmanager
def explained(road: Road) -> Iterator[list[str]]:
    """Every statement that runs meanwhile with its plan, those inside of functions too (auto_explain says them)."""
    plans: list[str] = []

    def explain(driver: Any, *_: object) -> None:
        driver.execute("LOAD 'auto_explain'")
        for name, value in (("log_min_duration", "0"), ("log_nested_statements", "on")):
            driver.execute(f"SET auto_explain.{name} = {value}")
        driver.execute("SET client_min_messages = log")
        driver.commit()
        driver.add_notice_handler(note)

    def note(notice: Any) -> None:
        if " plan:\n" in notice.message_primary:  # the server also tells of a statement that took long
            plans.append(notice.message_primary)

    road.engine.dispose()
    event.listen(road.engine, "connect", explain)
    try:
        yield plans
    finally:
        event.remove(road.engine, "connect", explain)
        road.engine.dispose()


def test_updates_of_a_delivery_touch_no_index(road: Road) -> None:
    """Every update of a ledger row is heap-only: no index holds a column that changes."""
    with road.engine.begin() as connection:
        indexed = connection.execute(
            text("""SELECT DISTINCT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
                     WHERE c.relname LIKE 'deliveries%'""")
        ).scalars()
        assert set(indexed) == {"month", "message_id", "target_id"}
    ids = road.add_push_targets(2000, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.deliver()
    with road.engine.begin() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with road.engine.begin() as connection:
        row = connection.execute(
            text("""SELECT sum(n_tup_upd) AS updated, sum(n_tup_hot_upd) AS hot FROM pg_stat_user_tables
                     WHERE relname LIKE 'deliveries_%'""")
        ).one()
    assert row.updated >= 4000
    assert row.hot / row.updated > 0.7


def test_a_sweep_does_not_read_what_is_finished(road: Road) -> None:
    """Its cost is that of what is active, not of everything ever sent."""
    ids = road.add_push_targets(1, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    sent = road.send(topics=["news"])
    road.deliver()
    road.sweep()
    road.execute(
        "INSERT INTO messages (project_id, public_id, channel, lane, state, content, on_unknown, expires_at, month,"
        " expanded, finished_at) SELECT project_id, 'm' || i, channel, lane, state, content, on_unknown, expires_at,"
        " month, true, now() FROM messages, generate_series(1, 20000) i WHERE public_id = :id",
        id=sent.public_id,
    )
    road.execute(
        "INSERT INTO batches (month, message_id, channel, lane, state, first_target, last_target, total)"
        " SELECT month, id, channel, lane, 2, 1, 1, 0 FROM messages"
    )
    road.execute("ANALYZE messages, batches")
    plans: list[tuple[str, str]] = []

    def explain(conn, cursor, statement, parameters, context, executemany) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ARG001
        with conn.connection.cursor() as own:
            own.execute("EXPLAIN " + statement, parameters)
            plans.append((statement, "\n".join(row[0] for row in own.fetchall())))

    event.listen(road.engine, "before_cursor_execute", explain)
    road.sweep()
    event.remove(road.engine, "before_cursor_execute", explain)
    assert len(plans) >= 8
    with road.engine.begin() as connection:
        full = connection.execute(text("SELECT tableoid::regclass::text FROM batches LIMIT 1")).scalar_one()
    for statement, plan in plans:
        assert not re.search(rf"Seq Scan on (messages|{full}) ", plan), f"{statement}\n{plan}"
