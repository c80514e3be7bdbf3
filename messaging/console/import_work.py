"""Importing a file in the background: a thread of this process reads it, and tells the database how far it is.

The rows are committed ten thousand at a time, and importing a file twice does no harm. So a process that ends in
between loses nothing but the rest; whoever looks is told so (`console_imports.LOST_S`).
"""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from messaging.client.messaging import Messaging
from messaging.errors import InvalidArgumentError, MessagingError
from messaging.store import console_imports, suppression_rows
from messaging.store.bulk_subscribe import BulkProgress
from messaging.store.console_imports import ImportSums
from messaging.store.csv_rows import read_rows
from messaging.store.suppression_import import ImportProgress
from messaging.store.suppressions import Scope

_log = structlog.get_logger(__name__)
_BEAT_S = 10.0
_IN_MEMORY = 1 << 20

Report = list[tuple[int, str]]
Work = Callable[[io.TextIOWrapper, Callable[[ImportSums], None]], tuple[ImportSums, Report]]
"""Imports the lines, says how far it is, and answers with the sums and the bad lines."""


def copied(sent: IO[bytes]) -> tuple[IO[bytes], int]:
    """A copy of an uploaded file, which outlives the request, and its size in bytes."""
    kept: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by who reads it
    shutil.copyfileobj(sent, kept)
    size = kept.tell()
    kept.seek(0)
    return kept, size


def begin(engine: Engine, import_id: str, file: IO[bytes], work: Work) -> threading.Thread:
    """The thread that does it, begun. It ends with the process, whatever it is at."""
    thread = threading.Thread(
        target=_do, args=(_Importing(engine, import_id), file, work), name=f"import {import_id}", daemon=True
    )
    thread.start()
    return thread


@dataclass(frozen=True)
class _Importing:
    engine: Engine
    id: str

    def move(self, sums: ImportSums) -> None:
        with self.engine.begin() as connection:
            console_imports.move(connection, self.id, sums)

    def beat_until(self, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_S):
            try:
                with self.engine.begin() as connection:
                    console_imports.beat(connection, self.id)
            except SQLAlchemyError:  # a database that is away for a moment; the work itself meets it, or not
                continue

    def finish(self, sums: ImportSums, report: Report) -> None:
        with self.engine.begin() as connection:
            console_imports.finish(connection, self.id, sums, report)

    def fail(self, reason: str) -> None:
        try:
            with self.engine.begin() as connection:
                console_imports.fail(connection, self.id, reason)
        except SQLAlchemyError:
            _log.warning("An import failed, and could not say so.", import_id=self.id)


def _do(mine: _Importing, file: IO[bytes], work: Work) -> None:
    ended = threading.Event()
    beating = threading.Thread(target=mine.beat_until, args=(ended,), name=f"import {mine.id} beat", daemon=True)
    beating.start()
    try:
        with file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:

            def moved(sums: ImportSums) -> None:
                mine.move(replace(sums, read_bytes=file.tell()))

            mine.finish(*work(lines, moved))
    except UnicodeDecodeError as error:
        mine.fail(f"The file is not UTF-8 ({error.reason}). What comes before that place is in; save it as UTF-8.")
    except MessagingError as error:
        mine.fail(str(error))
    except Exception as error:  # noqa: BLE001  whatever it was, whoever waits for it is told
        _log.exception("An import failed.", import_id=mine.id)
        mine.fail(f"It failed ({type(error).__name__}). What it had read is in; import the file again.")
    finally:
        ended.set()
        beating.join()


def subscribers(messaging: Messaging, topic_id: str) -> Work:
    """Subscribes every row of the file to a topic."""

    def work(lines: io.TextIOWrapper, moved: Callable[[ImportSums], None]) -> tuple[ImportSums, Report]:
        def so_far(found: BulkProgress) -> None:
            moved(ImportSums(rows=found.rows, rejected=found.rejected))

        channel, rows = read_rows(lines)
        done = messaging.topics.subscribe_many(topic_id, rows, channel=channel, progress=so_far)
        sums = ImportSums(rows=done.rows, added=done.created, existing=done.existing, rejected=done.rejected_total)
        return sums, done.rejected

    return work


def suppressions(messaging: Messaging, *, scope: Scope, reason: str) -> Work:
    """Puts the address of every row of the file on the suppression list."""

    def work(lines: io.TextIOWrapper, moved: Callable[[ImportSums], None]) -> tuple[ImportSums, Report]:
        def so_far(found: ImportProgress) -> None:
            moved(ImportSums(rows=found.rows, rejected=found.invalid))

        done = messaging.suppressions.import_csv(lines, scope=scope, reason=reason, progress=so_far)
        sums = ImportSums(
            rows=done.rows, added=done.added, raised=done.raised, existing=done.already, rejected=done.invalid_total
        )
        return sums, done.invalid

    return work


def checked_header(file: IO[bytes], *, is_subscribers: bool) -> None:
    """Raise `InvalidArgumentError` where the first line says nothing that can be imported, before any work begins."""
    head = file.readline(10_000).decode("utf-8-sig", errors="replace")
    file.seek(0)
    if not head.strip():
        raise InvalidArgumentError("file", "is empty")
    if is_subscribers:
        read_rows([head])
    else:
        suppression_rows.read_rows([head])
