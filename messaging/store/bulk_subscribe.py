"""Subscribe many at once: rows go through COPY into a temporary table, then set-based statements do the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.store import bulk_statements as sql
from messaging.store import topics
from messaging.store.bulk_rows import BulkRow, Incoming, Providers, checked
from messaging.vault import Vault

CHUNK_ROWS = 10_000
REJECTED_KEPT = 10_000
"""So many rejected rows are reported with their reason; all are counted."""


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What became of the rows: `created + existing + rejected_total` is their number."""

    created: int
    existing: int
    """Rows whose target was subscribed already, or named again."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """(line, reason) of the first 10,000 rejected rows."""
    rejected_total: int = 0
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self.created + self.existing + self.rejected_total

    @property
    def rows_per_s(self) -> float:
        """Rows a second, reading and checking included."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class BulkProgress:
    """How far a bulk subscription is."""

    rows: int
    last_line: int
    rejected: int


def bulk_subscribe(
    connection: Connection,
    vault: Vault,
    project_id: int,
    topic_id: int,
    rows: Iterable[BulkRow],
    *,
    channel: Channel | None,
    progress: Callable[[BulkProgress], None] | None = None,
    commit: bool = False,
) -> BulkResult:
    """Subscribe the target of every row to the topic of that number; users and targets are made where missing.

    `channel` is that of raw addresses; rows that name a target take the target's. A push token that
    belongs to another user moves to the row's user; an email address or phone number of another user is
    rejected. A row that can't be used is counted with its reason and stops nothing. With `commit` every
    chunk of 10,000 rows is committed, so that a million rows hold no long transaction: a bulk subscription
    that was interrupted can simply be repeated.
    """
    started = time.perf_counter()
    providers = _providers(connection, project_id)
    created = existing = total_rejected = read = 0
    rejected: list[tuple[int, str]] = []
    work = _Work(connection, project_id, topic_id, channel, commit)
    for chunk in _stored(work, (_check(chunk, vault, channel, providers) for chunk in _chunks(rows))):
        created += chunk.created
        existing += len(chunk.good) - chunk.created - len(chunk.refused)
        bad = sorted([*chunk.bad, *chunk.refused])
        total_rejected += len(bad)
        read += len(chunk.good) + len(chunk.bad)
        rejected += bad[: REJECTED_KEPT - len(rejected)]
        if progress is not None:
            progress(BulkProgress(rows=read, last_line=chunk.last_line, rejected=total_rejected))
    return BulkResult(
        created=created,
        existing=existing,
        rejected=rejected,
        rejected_total=total_rejected,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    good: list[Incoming]
    bad: list[tuple[int, str]]
    last_line: int
    created: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    connection: Connection
    project_id: int
    topic_id: int
    channel: Channel | None
    commit: bool


def _stored(work: _Work, chunks: Iterable[_Chunk]) -> Iterator[_Chunk]:
    # while the database works on a chunk, this thread checks the next one
    with ThreadPoolExecutor(1, thread_name_prefix="bulk subscribe") as pool:
        pending: Future[_Chunk] | None = None
        for chunk in chunks:
            if pending is not None:
                yield pending.result()
            pending = pool.submit(_store, work, chunk)
        if pending is not None:
            yield pending.result()


def _check(chunk: list[BulkRow], vault: Vault, channel: Channel | None, providers: Providers) -> _Chunk:
    good: list[Incoming] = []
    bad: list[tuple[int, str]] = []
    for row in chunk:
        try:
            good.append(checked(row, vault, channel, providers))
        except InvalidArgumentError as error:
            bad.append((row.line, str(error)))
    return _Chunk(good=good, bad=bad, last_line=chunk[-1].line)


def _chunks(rows: Iterable[BulkRow]) -> Iterator[list[BulkRow]]:
    chunk: list[BulkRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) >= CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _store(work: _Work, chunk: _Chunk) -> _Chunk:
    if not chunk.good:
        return chunk
    connection = work.connection
    parameters: dict[str, Any] = {"project": work.project_id, "topic": work.topic_id, "channel": work.channel}
    topics.hold(connection, work.topic_id)
    connection.execute(text(sql.TEMPORARY))
    connection.execute(text("TRUNCATE incoming"))
    _copy(connection, work.project_id, chunk.good)
    for statement in _statements(work.channel, chunk.good):
        connection.execute(text(statement), parameters)
    created = connection.execute(text(sql.SUBSCRIBE), parameters).scalar_one()
    refused = [(row.line, row.problem) for row in connection.execute(text(sql.REFUSED))]
    if work.commit:
        connection.commit()
    return replace(chunk, created=created, refused=refused)


def _statements(channel: Channel | None, rows: list[Incoming]) -> Iterator[str]:
    if any(row.target_id is not None for row in rows):
        yield sql.FIND_NAMED_TARGETS
        yield sql.REFUSE_MISSING_TARGETS
    if channel is None:
        return
    column = {Channel.EMAIL: "email", Channel.SMS: "phone"}.get(channel)
    with_users = any(row.user_id is not None for row in rows)
    yield sql.FIND_TARGETS
    if with_users:
        yield sql.FIND_USERS
        if column is not None:
            yield sql.REFUSE_ANOTHER_USERS
        yield sql.new_users(column)
        yield sql.FIND_USERS
    yield sql.NEW_TARGETS
    yield sql.FIND_TARGETS
    if with_users:
        if column is not None:
            yield sql.REFUSE_ANOTHER_USERS
        yield sql.MARK_MOVES
        yield sql.LEAVE_TOPICS
        yield sql.MOVE_TARGETS


def _copy(connection: Connection, project_id: int, good: list[Incoming]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(sql.COPY) as copy:
        for row in good:
            copy.write_row((*row, project_id))


def _providers(connection: Connection, project_id: int) -> Providers:
    rows = connection.execute(
        text("SELECT id, public_id, kind, channel FROM providers WHERE project_id = :project"), {"project": project_id}
    )
    return {row.public_id: (row.id, row.kind, Channel(row.channel)) for row in rows}
