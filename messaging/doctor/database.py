"""PostgreSQL: whether it is there, keeps what it says, and is up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from messaging.doctor.finding import Finding, broken, duration, ok, warning
from messaging.doctor.questions import Question, answers
from messaging.store.clock import FAR_OFF_S
from messaging.store.engine import AWAY
from messaging.store.migrate import MIGRATIONS
from messaging.store.partitions import PARTITIONED, date_after, partition_name

OLDEST_SERVER = 150_000
"""PostgreSQL 15, as `server_version_num` writes it; older ones are never tried."""
LONGEST_TRANSACTION_S = 600.0
STACK_CONNECTIONS = 190
"""What the processes of one Procfile may open at the busiest: ten of 16 (`workers/wiring.py`), and the API."""
_CROWDED = 0.8
_OLDEST_ROW = 1_000_000_000
"""Of the two thousand million transactions after which PostgreSQL stops to protect itself."""


def reach(engine: Engine) -> Finding:
    """Whether it answers, takes writes, and is new enough."""
    check = "database"
    try:
        with engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT current_setting('server_version') AS version,"
                    " current_setting('server_version_num')::int AS number, pg_is_in_recovery() AS follows"
                )
            ).one()
    except AWAY as error:
        said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
        reason = said.splitlines()[0] if said else type(error).__name__
        return broken(check, f"does not answer: {reason}", "Start it, or correct MESSAGING_DATABASE_URL.")
    if row.follows:
        return broken(
            check,
            f"PostgreSQL {row.version} is a replica and takes no writes",
            "Name the primary in MESSAGING_DATABASE_URL.",
        )
    if row.number < OLDEST_SERVER:
        return broken(check, f"PostgreSQL {row.version} is too old", "Upgrade it to 15 or later; 18 is what is tested.")
    return ok(check, f"PostgreSQL {row.version}")


def examine(engine: Engine) -> Iterator[Finding]:
    """Everything else about it, once it answers."""
    questions: Sequence[Question] = (
        schema,
        partitions,
        connections,
        clock,
        durability,
        autovacuum,
        long_transactions,
    )
    return answers(engine, questions)


def schema(connection: Connection) -> Finding:
    """Whether its tables are those of this version."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return broken("schema", "has no tables", "Run `messaging migrate`.")
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found == head:
        return ok("schema", f"at {found}")
    known = {each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if found not in known:
        return broken(
            "schema",
            f"at {found}, which this version does not know",
            "Use the version that migrated it, or a newer one.",
        )
    return broken("schema", f"at {found}, not {head}", "Run `messaging migrate`.")


def partitions(connection: Connection) -> Finding:
    """Whether this month and the next have their tables."""
    this: date = connection.execute(text("SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date")).scalar_one()
    missing = {
        month: [name for name in (partition_name(table, month) for table in PARTITIONED) if not _is(connection, name)]
        for month in (this, date_after(this))
    }
    names = ", ".join(name for each in missing.values() for name in each)
    advice = "Run `messaging migrate`. Beat and a fanout worker, when they run, see to it every six hours."
    if missing[this]:
        return broken("partitions", f"missing: {names}", advice)
    if names:
        return warning("partitions", f"missing for next month: {names}", advice)
    return ok("partitions", f"there for {this:%Y-%m} and {date_after(this):%Y-%m}")


def connections(connection: Connection, *, needed: int = STACK_CONNECTIONS) -> Finding:
    """Whether it takes as many connections as our processes may open."""
    row = connection.execute(
        text(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
            " AS most, (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,"
            " (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'messaging %') AS ours"
        )
    ).one()
    found = f"{row.used} of {row.most} in use, {row.ours} by us"
    if row.used > row.most * _CROWDED:
        return broken(
            "connections", found, "Raise max_connections, run fewer workers, or put a transaction pooler in between."
        )
    if row.most < needed:
        return warning(
            "connections",
            f"{found}; one stack may open {needed}",
            "Raise max_connections, or put a transaction pooler (PgBouncer) in between.",
        )
    return ok("connections", found)


def clock(connection: Connection, *, now_s: Callable[[], float] = time.time) -> Finding:
    """Whether this machine's clock and the database's agree."""
    before_s = now_s()
    theirs: float = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
    ahead_s = (before_s + now_s()) / 2 - theirs
    if abs(ahead_s) <= FAR_OFF_S:
        return ok("clock", f"{abs(ahead_s) * 1000:.0f} ms from the database's")
    return warning(
        "clock",
        f"this machine is {duration(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} the database",
        "Set both by NTP. The database's clock is the one that counts.",
    )


_KEEPS = ("synchronous_commit", "fsync", "full_page_writes")


def durability(connection: Connection) -> Finding:
    """Whether what is committed survives a crash."""
    off = [name for name in _KEEPS if connection.execute(text(f"SHOW {name}")).scalar() == "off"]
    if off:
        return broken(
            "durability",
            f"{', '.join(off)} {'is' if len(off) == 1 else 'are'} off",
            "Set to on: what was accepted may be lost in a crash, and sent again.",
        )
    return ok("durability", "a commit is on disk")


def autovacuum(connection: Connection) -> Finding:
    """Whether PostgreSQL cleans up after updates, and is in no danger of running out of transaction numbers."""
    row = connection.execute(
        text(
            "SELECT current_setting('autovacuum') AS runs, current_setting('track_counts') AS counts,"
            " (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS age"
        )
    ).one()
    if "off" in {row.runs, row.counts}:
        return broken("autovacuum", "off", "Set autovacuum and track_counts to on: tables only grow without.")
    if row.age > _OLDEST_ROW:
        return broken(
            "autovacuum", f"oldest row {row.age:,} transactions old", "VACUUM FREEZE; end what holds it back."
        )
    return ok("autovacuum", f"on; oldest row {row.age:,} transactions old")


def long_transactions(connection: Connection, *, longest_s: float = LONGEST_TRANSACTION_S) -> Finding:
    """Whether somebody keeps a transaction open, so that nothing can be cleaned up."""
    row = connection.execute(
        text(
            "SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS open_s"
            " FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND datname = current_database() ORDER BY xact_start LIMIT 1"
        )
    ).one_or_none()
    if row is None or row.open_s < longest_s:
        return ok("long transactions", "none")
    return warning(
        "long transactions",
        f"process {row.pid} ({row.application_name or 'unnamed'}) has one open for {duration(row.open_s)}",
        f"End it: SELECT pg_terminate_backend({row.pid}).",
    )


def _is(connection: Connection, name: str) -> bool:
    return connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is not None
