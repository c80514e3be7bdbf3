"""Questions to the database, each of them asked whatever became of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from messaging.doctor.finding import Finding, skipped

Question = Callable[[Connection], Finding]


def answers(engine: Engine, questions: Sequence[Question]) -> Iterator[Finding]:
    """What each found; one that can't be asked is said to be skipped, under its function's name."""
    for question in questions:
        try:
            with engine.connect() as connection:
                yield question(connection)
        except DBAPIError as error:
            said = str(error.orig).strip().splitlines()
            yield skipped(question.__name__.replace("_", " "), f"can't be asked: {said[0] if said else error}")
