"""What PostgreSQL does for a delivery: the statements of the road alone, no Celery and no provider.

    python -m benchmarks.ledger [--targets 100000] [--runs 5] [--campaigns 10]

Fan-out, lease, claim, record and release in windows of 250, as over APNs (which names no message of its own) and as
over FCM (which does, and the ledger keeps the name). Processor time is the whole server's: backends, log writer,
checkpoints, vacuum. The ledger is empty before each run; afterwards campaigns of half the size follow each other, and
it must not swell.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis
from sqlalchemy import Connection, Engine, text

from benchmarks.figures import Figure, publish
from benchmarks.processes import cpu_s
from benchmarks.push_audience import KINDS, prepare, topic
from benchmarks.push_road import BODY, TITLE, settings
from benchmarks.stack import SECRET, Servers, servers
from messaging.message import Push
from messaging.producer import accept
from messaging.publish import Publisher
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.status import DeliveryStatus
from messaging.store import batches, ledger
from messaging.store.batches import BatchRef
from messaging.store.engine import open_engine
from messaging.vault import Vault
from workers import fanout

GOAL_US = 15.0
GOAL_BYTES, GOAL_INDEX_BYTES = 350.0, 100.0
_SWELLS = 1.05
_WINDOW = 250
_COMMITS = 1_000
_SHOWN = {"apns": "APNs", "fcm": "FCM"}
_STATISTICS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",  # of the outer statement; a function's own plans are kept
}
_LABELS = (
    ("INSERT INTO deliveries", "fan-out, a page"),
    (r"claim_window", "claim"),
    (r"record_accepted", "record"),
    (r"UPDATE batches b SET state = \S+, claim", "lease"),
    (r"rows\.sending", "release"),
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one delivery."""

    fanout_us: float
    deliver_us: float
    wal_bytes: float
    table_bytes: float
    index_bytes: float
    hot: float
    """Share of the updates that touched no index."""
    commit_us: float
    """The yardstick: the server's time for one row updated and committed."""

    @property
    def us(self) -> float:
        """The server's processor time."""
        return self.fanout_us + self.deliver_us

    @property
    def disk_bytes(self) -> float:
        """Table and indexes."""
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True)
class Statement:
    """A statement's share of a delivery, as pg_stat_statements counts it: wall time, without what its commit takes."""

    label: str
    calls: int
    plan_us: float
    execute_us: float
    wal_bytes: float


@dataclass(frozen=True)
class Swollen:
    """The ledger after a campaign."""

    deliveries: int
    bytes_each: float
    dead_each: float
    """Row versions, for each delivery, that nobody can see any more and a vacuum has to remove."""


class Counted(NamedTuple):
    """Of the ledger's rows, as pg_stat_user_tables has it."""

    updated: int
    hot: int
    """Updates that touched no index."""
    dead: int


class Bench:
    """A server with an audience, and one engine on it."""

    def __init__(self, found: Servers) -> None:
        self._pid = found.pids["postgres"]
        self._broker_url = found.broker_url
        self._settings: Settings = settings(found)
        self._engine: Engine = open_engine(self._settings, role="benchmark")
        self._publisher = Publisher(self._settings)
        with self._engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION pg_stat_statements"))
            connection.execute(text("CREATE TABLE yardstick (id int PRIMARY KEY, at timestamptz) WITH (fillfactor=50)"))
            connection.execute(text("INSERT INTO yardstick SELECT i, now() FROM generate_series(1, 1000) AS i"))

    def close(self) -> None:
        """Let go of the servers."""
        self._publisher.close()
        self._engine.dispose()

    def empty(self) -> None:
        """No messages, no batches, no ledger: new files for each, and nothing counted yet."""
        with self._engine.begin() as connection:
            connection.execute(text("TRUNCATE deliveries, batches, messages CASCADE"))
        self._counted()  # what is counted and not yet told would come after the reset
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_stat_reset(), pg_stat_statements_reset()"))

    def commits_us(self) -> float:
        """The server's time for one row updated and committed, by key, from the same client."""
        spent = cpu_s(self._pid)
        for number in range(_COMMITS):
            with self._engine.begin() as connection:
                connection.execute(text("UPDATE yardstick SET at = now() WHERE id = :id"), {"id": number % 1000 + 1})
        return (cpu_s(self._pid) - spent) / _COMMITS * 1e6

    def fan_out(self, name: str) -> int:
        """Accept a message to the topic and expand it; its id."""
        with self._engine.begin() as connection:
            project = connection.execute(text("SELECT id FROM projects")).scalar_one()
            request = SendRequest(content=Push(title=TITLE, body=BODY), topics=(name,))
            message = accept(connection, Vault(SECRET), self._settings, project, request).message_id
        assert message is not None
        while "complete" not in fanout.expand(self._engine, self._settings, self._publisher, message):
            pass
        with redis.Redis.from_url(self._broker_url) as broker:
            broker.flushall()
        return message

    def deliver(self, message: int, kind: str) -> int:
        """Lease, claim, record as accepted and release every batch of the message, as a worker does; deliveries."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                text("SELECT month, id FROM batches WHERE message_id = :message ORDER BY id"), {"message": message}
            )
            refs = [BatchRef(row.month, row.id) for row in rows]
        return sum(self._deliver(ref, kind) for ref in refs)

    def _deliver(self, ref: BatchRef, kind: str) -> int:
        lease_s, delivered = self._settings.lease_s, 0
        with self._engine.begin() as connection:
            owned = batches.lease(connection, ref, lease_s=lease_s)
        assert owned is not None
        after, exhausted = owned.first_target - 1, False
        while not exhausted:
            with self._engine.begin() as connection:
                window = ledger.claim(connection, owned, after=after, window=_WINDOW, bulk=True, lease_s=lease_s)
            assert window is not None
            after, exhausted = window.cursor, window.exhausted
            verdicts = [
                ledger.Verdict(
                    claimed.target_id, DeliveryStatus.ACCEPTED, provider_message_id=_name(kind, claimed.target_id)
                )
                for claimed in window.claimed
            ]
            with self._engine.begin() as connection:
                delivered += ledger.record(connection, owned, verdicts, lease_s=lease_s)
        with self._engine.begin() as connection:
            batches.release(connection, owned)
        return delivered

    def cost(self, kind: str, targets: int) -> Cost:
        """One campaign on an empty ledger."""
        commit_us = self.commits_us()
        self.empty()
        updates = self._counted()
        written, began = self._written(), cpu_s(self._pid)
        message = self.fan_out(kind)
        expanded = cpu_s(self._pid)
        delivered = self.deliver(message, kind)
        ended, written = cpu_s(self._pid), self._written() - written
        if delivered != targets:
            raise RuntimeError(f"{delivered} of {targets} deliveries were recorded.")
        after = self._counted()
        table, index = self._sizes()
        return Cost(
            fanout_us=(expanded - began) / targets * 1e6,
            deliver_us=(ended - expanded) / targets * 1e6,
            wal_bytes=written / targets,
            table_bytes=table / targets,
            index_bytes=index / targets,
            hot=(after.hot - updates.hot) / (after.updated - updates.updated),
            commit_us=commit_us,
        )

    def statements(self, targets: int) -> list[Statement]:
        """Every statement since the ledger was emptied, those of a kind together, the dearest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                text("""SELECT query, calls, total_plan_time, total_exec_time, wal_bytes::float8 AS wal_bytes
                          FROM pg_stat_statements WHERE toplevel AND query !~ 'yardstick|pg_stat|TRUNCATE'""")
            ).all()
        found: dict[str, Statement] = {}
        for row in rows:
            label = next((label for pattern, label in _LABELS if re.search(pattern, row.query)), "all others")
            had = found.get(label, Statement(label, 0, 0.0, 0.0, 0.0))
            found[label] = Statement(
                label,
                had.calls + row.calls,
                had.plan_us + row.total_plan_time / targets * 1e3,
                had.execute_us + row.total_exec_time / targets * 1e3,
                had.wal_bytes + row.wal_bytes / targets,
            )
        return sorted(found.values(), key=lambda each: -(each.plan_us + each.execute_us))

    def swollen(self, deliveries: int) -> Swollen:
        """How large the ledger is for so many deliveries, and how much of it is dead."""
        return Swollen(deliveries, sum(self._sizes()) / deliveries, self._counted().dead / deliveries)

    def _written(self) -> int:
        """Bytes of the write-ahead log so far."""
        with self._engine.begin() as connection:
            return int(connection.execute(text("SELECT pg_current_wal_insert_lsn() - '0/0'")).scalar_one())

    def _counted(self) -> Counted:
        """What PostgreSQL has counted of the ledger's rows so far."""
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_stat_force_next_flush()"))
        with self._engine.begin() as connection:
            row = connection.execute(
                text("""SELECT sum(n_tup_upd)::bigint AS updated, sum(n_tup_hot_upd)::bigint AS hot,
                               sum(n_dead_tup)::bigint AS dead
                          FROM pg_stat_user_tables JOIN pg_partition_tree('deliveries') USING (relid)""")
            ).one()
        return Counted(int(row.updated), int(row.hot), int(row.dead))

    def _sizes(self) -> tuple[int, int]:
        """Bytes of the ledger's tables, and of its indexes; batches and the maps of free space included."""
        with self._engine.begin() as connection:
            return _sum(connection, "pg_table_size"), _sum(connection, "pg_indexes_size")


def _sum(connection: Connection, size: str) -> int:
    trees = "SELECT relid FROM pg_partition_tree('deliveries') UNION SELECT relid FROM pg_partition_tree('batches')"
    return int(connection.execute(text(f"SELECT sum({size}(relid))::bigint FROM ({trees}) AS tree")).scalar_one())


def _name(kind: str, target: int) -> str | None:
    """What the ledger keeps of the provider's name of a message, as long as FCM's are."""
    return f"0:{1_700_000_000_000_000 + target}%31bd1c9631bd1c96" if kind == "fcm" else None


def of_kind(kind: str, costs: Sequence[Cost], statements: Sequence[Statement]) -> list[Figure]:
    """The lines about deliveries over one kind of provider."""

    def middle(of: Callable[[Cost], float]) -> float:
        return statistics.median(of(cost) for cost in costs)

    name = f"ledger, as over {_SHOWN[kind]}"
    expand, deliver, commit = (
        middle(lambda c: c.fanout_us),
        middle(lambda c: c.deliver_us),
        middle(lambda c: c.commit_us),
    )
    us, disk, index = middle(lambda c: c.us), middle(lambda c: c.disk_bytes), middle(lambda c: c.index_bytes)
    return [
        Figure(
            f"{name}, PostgreSQL's CPU a delivery",
            us,
            "us",
            goal=f"at most {GOAL_US:g}",
            met=us <= GOAL_US,
            beside=f"fan-out {expand:.1f}, claim to release {deliver:.1f}; one row updated and committed {commit:.0f}",
            ratio=middle(lambda c: c.us / c.commit_us),
        ),
        Figure(
            f"{name}, its statements a delivery, planned and executed",
            sum(each.plan_us + each.execute_us for each in statements),
            "us",
            beside=", ".join(f"{each.label} {each.plan_us + each.execute_us:.1f}" for each in statements),
        ),
        Figure(
            f"{name}, disk a delivery",
            disk,
            "bytes",
            goal=f"at most {GOAL_BYTES:g}",
            met=disk <= GOAL_BYTES,
            beside=f"table {middle(lambda c: c.table_bytes):.0f}, indexes {index:.0f}",
        ),
        Figure(
            f"{name}, indexes a delivery",
            index,
            "bytes",
            goal=f"at most {GOAL_INDEX_BYTES:g}",
            met=index <= GOAL_INDEX_BYTES,
        ),
        Figure(f"{name}, written ahead a delivery", middle(lambda c: c.wal_bytes), "bytes"),
        Figure(f"{name}, updates that touch no index", middle(lambda c: c.hot) * 100, "%"),
    ]


def of_growth(grown: Sequence[Swollen]) -> list[Figure]:
    """Whether the ledger swells: the last campaign beside the second, after which files have their usual slack."""
    second, last = grown[min(1, len(grown) - 1)], grown[-1]
    early = max(each.dead_each for each in grown[:2])  # a vacuum may come right after the first
    size = last.bytes_each / second.bytes_each
    return [
        Figure(
            f"ledger, disk a delivery after {len(grown)} campaigns over that after two",
            size,
            "times",
            goal=f"at most {_SWELLS:g}",
            met=size <= _SWELLS,
            beside=f"{second.bytes_each:.0f} bytes, then {last.bytes_each:.0f}",
        ),
        Figure(
            f"ledger, dead rows for each delivery after {len(grown)} campaigns",
            last.dead_each,
            "rows",
            goal="no more than early on",
            met=last.dead_each <= early * _SWELLS,
            beside=f"after the first two {early:.3f}",
        ),
    ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--campaigns", type=int, default=10)
    arguments = parser.parse_args()
    half = max(1, arguments.targets // 2)
    found_figures: list[Figure] = []
    by_statement: dict[str, list[tuple[str, int, float, float, float]]] = {}
    with servers(_STATISTICS) as found:
        for kind in KINDS:
            prepare(found, kind, arguments.targets)
            topic(found, kind, kind, arguments.targets)
        topic(found, "half", "apns", half)
        bench = Bench(found)
        for kind in KINDS:
            costs = []
            for number in range(arguments.runs):
                started = time.perf_counter()
                cost = bench.cost(kind, arguments.targets)
                costs.append(cost)
                print(
                    f"{_SHOWN[kind]} {number + 1}: {cost.fanout_us:.1f} + {cost.deliver_us:.1f} us,"
                    f" {cost.wal_bytes:.0f} bytes written ahead, {cost.table_bytes:.0f} + {cost.index_bytes:.0f} kept,"
                    f" {cost.hot:.1%} HOT, {time.perf_counter() - started:.1f} s",
                    flush=True,
                )
            statements = bench.statements(arguments.targets)
            by_statement[kind] = [(s.label, s.calls, s.plan_us, s.execute_us, s.wal_bytes) for s in statements]
            for s in statements:
                print(
                    f"  {s.label:<40} {s.calls:>6} calls, {s.plan_us:6.2f} us planned, {s.execute_us:6.2f} us executed,"
                    f" {s.wal_bytes:6.1f} bytes"
                )
            found_figures += of_kind(kind, costs, statements)
        bench.empty()
        grown = []
        for number in range(arguments.campaigns):
            bench.deliver(bench.fan_out("half"), "apns")
            grown.append(bench.swollen((number + 1) * half))
            print(f"after {number + 1}: {grown[-1].bytes_each:.0f} bytes, {grown[-1].dead_each:.3f} dead", flush=True)
        bench.close()
    publish(
        "ledger",
        [*found_figures, *of_growth(grown)],
        statements=by_statement,
        bytes_each_by_campaign=[each.bytes_each for each in grown],
        dead_each_by_campaign=[each.dead_each for each in grown],
    )


if __name__ == "__main__":
    main()
