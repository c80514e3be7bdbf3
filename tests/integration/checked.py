"""The worker's part of checks, on the real database, with scripted providers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from structlog.testing import capture_logs

from messaging.outcome import ACCEPTED, Outcome
from tests.integration.road import OneAdapter, Road, Scripted
from workers.checks import Checks


@dataclass(eq=False)
class Checked(Scripted):
    """A scripted provider that says what it is told when it is checked."""

    says: Outcome | Exception = ACCEPTED
    asked: int = 0

    async def check(self) -> Outcome:
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def worker(road: Road) -> Checks:
    """What a worker process has."""
    one: Any = OneAdapter(road.provider, road.others)  # stands for Adapters
    return Checks(road.engine, road.vault, road.settings, one, road.publisher.publish)


def work(road: Road, *check_ids: str) -> list[str]:
    """Do these checks, or all that wait."""
    with road.engine.connect() as connection:
        waiting = connection.execute(text("SELECT public_id FROM provider_checks WHERE steps = '[]' ORDER BY id"))
        ids = check_ids or tuple(waiting.scalars())
    return [asyncio.run(worker(road).run(check_id)) for check_id in ids]


@contextmanager
def working(road: Road) -> Iterator[None]:
    """A worker that does checks and delivers while the block runs, and logs to nobody: commands print beside it."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.02):
            work(road)
            road.deliver()

    thread = threading.Thread(target=run, name="worker")
    with capture_logs():
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(120)
