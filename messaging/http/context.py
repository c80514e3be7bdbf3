"""What the API process keeps for its lifetime: the database, secrets, threads and the way to the broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from anyio import CapacityLimiter
from sqlalchemy import Engine

from messaging.http.outbox import Outbox
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.engine import open_engine
from messaging.vault import Vault

_T = TypeVar("_T")

THREADS = 16
"""Requests that are worked on at the same time; each holds a database connection."""


class Context:
    """Opened when first needed, so that the application can be made without a database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def engine(self) -> Engine:
        """The database."""
        return open_engine(self.settings, role="api", pool_size=THREADS)

    @cached_property
    def vault(self) -> Vault:
        """Secrets at rest."""
        return Vault(self.settings.secret_key.get_secret_value())

    @cached_property
    def outbox(self) -> Outbox:
        """The way to the broker."""
        return Outbox(Publisher(self.settings))

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        """The threads that requests are worked on in."""
        return ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """The result of `work`, done in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    @cached_property
    def hashing(self) -> CapacityLimiter:
        """How many passwords are hashed at once: half of the cores, so that sign-ins leave the rest to others."""
        return CapacityLimiter(max(1, (os.cpu_count() or 1) // 2))

    def close(self) -> None:
        """Finish what is being worked on, publish what waits and close the connections."""
        if "threads" in self.__dict__:
            self.threads.shutdown()
        if "outbox" in self.__dict__:
            self.outbox.close()
        if "engine" in self.__dict__:
            self.engine.dispose()
