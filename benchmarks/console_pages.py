"""How long each page of the console takes on a full ledger.

    python -m benchmarks.console_pages [--deliveries 1000000] [--runs 5] [--plans]

One message has half of the deliveries, eight share most of the rest, and a tenth are messages to one recipient each, so
that there are many messages too. One delivery in 25 failed, for one of three reasons, some are tried again. Times are
those of the whole request in the process that serves it, without a network: sign-in, page and template. `--plans`
prints every slow statement. No page is to take more than 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from sqlalchemy import Connection, Engine, event, text

from benchmarks.push_audience import prepare, topic
from benchmarks.stack import SECRET, Servers, servers
from messaging.console.app import create_app
from messaging.console.guard import csrf_token
from messaging.ids import delivery_tag
from messaging.settings import Settings
from messaging.store import operators
from messaging.store.engine import open_engine

GOAL_MS = 200.0
_BATCH = 500
_PASSWORD = "password password"  # noqa: S105  of an operator that lives as long as the benchmark

_MESSAGES = """
INSERT INTO messages (id, project_id, public_id, channel, lane, state, content, on_unknown, expires_at, month, expanded,
                      started_at, finished_at, created_at)
SELECT i, (SELECT id FROM projects WHERE public_id = 'default'), :name || i, 'push', :lane, :state,
       jsonb_build_object('title', 'Message number ' || i, 'body', repeat('Words that somebody wrote. ', 20)), 'retry',
       now() + interval '3 days', date_trunc('month', now() AT TIME ZONE 'UTC')::date, true, now(),
       CASE WHEN :state <> 2 THEN now() END, now()
  FROM generate_series(CAST(:first AS bigint), :last) i
"""
_DELIVERIES = """
INSERT INTO deliveries
  (month, message_id, target_id, batch_id, status, attempts, error_code, error, accepted_at, due_at)
SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date, m.id, t.id, (m.id * 10000 + (t.id - :target) / :batch),
       s.status, 1, CASE s.status WHEN 5 THEN (ARRAY['Unregistered', 'BadDeviceToken', 'PayloadTooLarge'])[1 + t.id % 3]
                                  WHEN 2 THEN 'ServiceUnavailable' END,
       CASE WHEN s.status = 5 THEN 'The provider said no.' END, CASE WHEN s.status = 3 THEN now() END,
       CASE WHEN s.status = 2 THEN now() + interval '5 minutes' END
  FROM generate_series(CAST(:first AS bigint), :last) m(id)
  CROSS JOIN LATERAL (
    SELECT id FROM targets WHERE id >= CAST(:target AS bigint) + (m.id * :step) % 10000 ORDER BY id LIMIT :each) t
  CROSS JOIN LATERAL (
    SELECT (CASE WHEN t.id % 25 = 0 THEN 5 WHEN t.id % 997 = 0 AND :open THEN 2 ELSE 3 END)::smallint AS status) s
 ORDER BY m.id, t.id
"""
_BATCHES = """
INSERT INTO batches (month, id, message_id, provider_id, channel, lane, state, claim, first_target, last_target, total,
                     accepted, failed)
SELECT d.month, d.batch_id, d.message_id, (SELECT id FROM providers LIMIT 1), 'push', 'bulk',
       CASE WHEN count(*) FILTER (WHERE d.status = 2) > 0 THEN 0 ELSE 2 END, 1, min(d.target_id), max(d.target_id),
       count(*), count(*) FILTER (WHERE d.status = 3), count(*) FILTER (WHERE d.status = 5)
  FROM deliveries d GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that is timed."""

    what: str
    path: str
    form: dict[str, str] | None = None


def fill(found: Servers, deliveries: int) -> None:
    """A ledger of so many."""
    large, middle, singles = deliveries // 2, deliveries // 20, deliveries // 10
    prepare(found, "apns", large + 10_000)
    topic(found, "everybody", "apns", large)
    engine = open_engine(_settings(found), role="benchmark")
    with engine.begin() as connection:
        first_target = connection.execute(text("SELECT min(id) FROM targets")).scalar_one()
        given = {"target": first_target, "batch": _BATCH}
        for name, first, count, each, state in (
            ("single-", 1, singles, 1, 4),
            ("campaign-", singles + 1, 8, middle, 5),
            ("large-", singles + 9, 1, large, 2),
        ):
            span = {"first": first, "last": first + count - 1}
            lane = "high" if each == 1 else "bulk"
            connection.execute(text(_MESSAGES), span | {"name": name, "state": state, "lane": lane})
            is_open, step = state == 2, 7 if each == 1 else 0  # being sent
            more = {"each": each, "open": is_open, "step": step}
            connection.execute(text(_DELIVERIES), span | given | more)
        connection.execute(text(_BATCHES))
        connection.execute(text("SELECT setval(pg_get_serial_sequence('messages', 'id'), max(id)) FROM messages"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def pages(connection: Connection) -> Iterator[Asked]:
    """What is looked at."""
    large = connection.execute(text("SELECT max(id) FROM messages")).scalar_one()
    single = connection.execute(text("SELECT public_id FROM messages ORDER BY id LIMIT 1")).scalar_one()
    month, batch, target = connection.execute(
        text(
            "SELECT month, batch_id, target_id FROM deliveries WHERE message_id = :id ORDER BY 3 OFFSET 100000 LIMIT 1"
        ),
        {"id": large},
    ).one()
    home, message = "/p/default", f"/p/default/messages/large-{large}"
    yield Asked("overview", home)
    yield Asked("messages", f"{home}/messages")
    yield Asked("messages, failed", f"{home}/messages?state=failed")
    yield Asked("messages, scheduled", f"{home}/messages?state=scheduled")
    yield Asked("messages, a rare word", f"{home}/messages?q=Message+number+77+")
    yield Asked("messages, an old id", f"{home}/messages?q={single}")
    yield Asked("messages, far back", f"{home}/messages?before=5000")
    yield Asked("who got what: address to target", f"{home}/received", {"to": "apns77"})
    yield Asked("who got what, often", f"{home}/received?targets=apns1000")
    yield Asked("who got what, nothing", f"{home}/received?targets=apns{500_000 + 9_999}")
    yield Asked("message of half of all", message)
    yield Asked("  its progress", f"{message}/progress?state=processing")
    yield Asked("  failed recipients", f"{message}?status=failed")
    yield Asked("  retrying recipients", f"{message}?status=retrying")
    yield Asked("  queued recipients (none)", f"{message}?status=queued")
    yield Asked("  unknown recipients (none)", f"{message}?status=unknown")
    yield Asked("  recipients, far on", f"{message}?after={batch}.{target}")
    yield Asked("  one recipient", f"{message}/recipients/{delivery_tag(month, large, target)}")
    yield Asked("  find a recipient", f"{message}/find", {"to": "apns77"})
    yield Asked("compose", f"{home}/compose/push?topic=everybody")
    yield Asked("preview to half of all", f"{home}/compose/push/preview", {"topics": "everybody", "title": "Hello"})
    for name in ("topics", "topics/everybody", "users", "targets", "suppressions", "providers", "keys", "audit"):
        yield Asked(name, f"{home}/{name}")


async def timed(found: Servers, engine: Engine, runs: int) -> list[tuple[Asked, list[float], int]]:
    """(page, milliseconds of each run, status), after one run that is not counted."""
    with engine.begin() as connection:
        operators.create(connection, email="bench@example.com", password=_PASSWORD, role="admin")
        signed_in = operators.sign_in(connection, email="bench@example.com", password=_PASSWORD)
        asked = list(pages(connection))
    assert signed_in is not None
    secret = signed_in[1]
    measured = []
    transport = httpx.ASGITransport(create_app(_settings(found)))
    cookies = {"heliograph_console": secret}
    async with httpx.AsyncClient(transport=transport, base_url="http://bench", cookies=cookies, timeout=60) as client:
        for page in asked:
            times, status = [], 0
            for _ in range(runs + 1):
                started = time.perf_counter()
                if page.form is None:
                    answer = await client.get(f"/console{page.path}")
                else:
                    form = page.form | {"csrf": csrf_token(secret)}
                    answer = await client.post(f"/console{page.path}", data=form)
                times.append((time.perf_counter() - started) * 1000)
                status = answer.status_code
            measured.append((page, times[1:], status))
    return measured


def _settings(found: Servers) -> Settings:
    return Settings.load({}, database_url=found.database_url, broker_url=found.broker_url, secret_key=SECRET)


def _say_slow_statements(engine: type[Engine]) -> None:
    """Print every statement that takes more than a fifth of a page's time."""

    def before(connection: Connection, *_: object) -> None:
        connection.info["started"] = time.perf_counter()

    def after(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        took_ms = (time.perf_counter() - connection.info["started"]) * 1000
        if took_ms > GOAL_MS / 5:
            print(f"{took_ms:8.1f} ms  {' '.join(statement.split())[:300]}")

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)


def main() -> None:
    """Fill, look, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plans", action="store_true", help="print slow statements")
    chosen = parser.parse_args()
    with servers() as found:
        fill(found, chosen.deliveries)
        engine = open_engine(_settings(found), role="benchmark")
        if chosen.plans:
            _say_slow_statements(Engine)
        measured = asyncio.run(timed(found, engine, chosen.runs))
        engine.dispose()
    print(f"\n{'page':36} {'median ms':>10} {'worst ms':>10}")
    for page, times, status in measured:
        worst = max(times)
        said = "" if status in {200, 303} else f"  answered {status}"
        said += "  too slow" if worst > GOAL_MS else ""
        print(f"{page.what:36} {statistics.median(times):10.1f} {worst:10.1f}{said}")


if __name__ == "__main__":
    main()
