"""Put a whole list of addresses on the suppression list: one statement for each 10,000 rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.store.suppression_rows import Entry, SuppressionRow, checked
from messaging.store.suppressions import Scope, check_reason
from messaging.vault import Vault

CHUNK_ROWS = 10_000
INVALID_KEPT = 100
"""So many invalid rows are reported with their reason; all are counted."""
IMPORTED = "imported"
"""The reason of a row that gives none."""


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What became of the rows: `added + raised + already + invalid_total` is their number."""

    added: int
    raised: int
    """Entries that reached bulk mail only, and now everything."""
    already: int
    """Addresses that were on the list as far as asked, or are named again."""
    invalid: list[tuple[int, str]] = field(default_factory=list)
    """(line, reason) of the first 100 rows that can't be used."""
    invalid_total: int = 0
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self.added + self.raised + self.already + self.invalid_total

    @property
    def rows_per_s(self) -> float:
        """Rows a second, reading and checking included."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class ImportProgress:
    """How far an import is."""

    rows: int
    invalid: int


def import_rows(
    connection: Connection,
    vault: Vault,
    project_id: int,
    rows: Iterable[SuppressionRow],
    *,
    scope: Scope = Scope.EVERYTHING,
    reason: str = IMPORTED,
    progress: Callable[[ImportProgress], None] | None = None,
    commit: bool = False,
) -> ImportResult:
    """Put the address of every row on the list; `scope` and `reason` are those of a row that says none.

    An entry that reaches as far or further stays as it is, with its reason and its time. A row that can't be used is
    counted with its reason and stops nothing. With `commit` every chunk of 10,000 rows is committed: an import that
    was interrupted can simply be repeated.
    """
    started = time.perf_counter()
    check_reason(reason)
    added = raised = already = total_invalid = read = 0
    invalid: list[tuple[int, str]] = []
    for chunk in _chunks(rows):
        good, bad = _check(chunk, vault, scope, reason)
        fresh, widened = _write(connection, project_id, good)
        if commit:
            connection.commit()
        added += fresh
        raised += widened
        already += len(good) - fresh - widened
        total_invalid += len(bad)
        invalid += bad[: INVALID_KEPT - len(invalid)]
        read += len(chunk)
        if progress is not None:
            progress(ImportProgress(rows=read, invalid=total_invalid))
    return ImportResult(
        added=added,
        raised=raised,
        already=already,
        invalid=invalid,
        invalid_total=total_invalid,
        seconds=time.perf_counter() - started,
    )


def _chunks(rows: Iterable[SuppressionRow]) -> Iterator[list[SuppressionRow]]:
    left = iter(rows)
    while chunk := list(islice(left, CHUNK_ROWS)):
        yield chunk


def _check(
    chunk: Iterable[SuppressionRow], vault: Vault, scope: Scope, reason: str
) -> tuple[list[Entry], list[tuple[int, str]]]:
    good: list[Entry] = []
    bad: list[tuple[int, str]] = []
    for row in chunk:
        try:
            good.append(checked(row, vault, scope=scope, reason=reason))
        except InvalidArgumentError as error:
            bad.append((row.line, str(error)))
    return good, bad


# A row that was inserted has no xmax; one that was updated still carries the lock it was updated under.
_WRITE = text("""
WITH written AS (
    INSERT INTO suppressions (project_id, channel, address_hash, scope, reason)
    SELECT :project, e.channel, e.hash, e.scope, e.reason
      FROM unnest(CAST(:channels AS text[]), CAST(:hashes AS bytea[]), CAST(:scopes AS text[]),
                  CAST(:reasons AS text[])) AS e(channel, hash, scope, reason)
    ON CONFLICT (project_id, channel, address_hash) DO UPDATE
       SET scope = excluded.scope, reason = excluded.reason, created_at = now()
     WHERE suppressions.scope <> 'everything' AND excluded.scope = 'everything'
    RETURNING xmax = 0 AS fresh)
SELECT count(*) FILTER (WHERE fresh) AS added, count(*) FILTER (WHERE NOT fresh) AS raised FROM written
""")


def _write(connection: Connection, project_id: int, good: Iterable[Entry]) -> tuple[int, int]:
    """(added, raised); an address that is named twice counts once, as far as it reaches."""
    furthest: dict[tuple[Channel, bytes], Entry] = {}
    for entry in good:
        before = furthest.setdefault((entry.channel, entry.address_hash), entry)
        if before.scope is Scope.BULK and entry.scope is Scope.EVERYTHING:
            furthest[entry.channel, entry.address_hash] = entry
    if not furthest:
        return 0, 0
    entries = [furthest[key] for key in sorted(furthest)]  # two imports of the same addresses lock in one order
    written = connection.execute(
        _WRITE,
        {
            "project": project_id,
            "channels": [str(entry.channel) for entry in entries],
            "hashes": [entry.address_hash for entry in entries],
            "scopes": [str(entry.scope) for entry in entries],
            "reasons": [entry.reason for entry in entries],
        },
    ).one()
    return written.added, written.raised
