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

from messaging.http import small_messages
from messaging.http.known_keys import KnownKeys
from messaging.http.operations import Answer
from messaging.http.outbox import Outbox
from messaging.http.together import Together
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.accept_small import Small
from messaging.store.engine import open_engine
from messaging.store.vault_keys import open_vault
from messaging.vault import Vault

_T = TypeVar("_T")

THREADS = 6
"""Short requests that are worked on at the same time: more threads than that take the interpreter from each other."""
LONG_THREADS = 10
"""The same for those that take long: files, lists, imports and passwords."""


class Context:
    """Opened when first needed, so that the application can be made without a database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def engine(self) -> Engine:
        """The database."""
        return open_engine(self.settings, role="api", pool_size=THREADS + LONG_THREADS + small_messages.GROUPS)

    @cached_property
    def vault(self) -> Vault:
        """Secrets at rest."""
        return open_vault(self.engine, self.settings.secret_key.get_secret_value())

    @cached_property
    def keys(self) -> KnownKeys:
        """API keys seen a moment ago."""
        return KnownKeys()

    @cached_property
    def outbox(self) -> Outbox:
        """The way to the broker."""
        return Outbox(Publisher(self.settings))

    @cached_property
    def small_messages(self) -> Together[Small, Answer | None]:
        """Where messages to a few are committed together."""
        return small_messages.opened(self.engine, self.outbox)

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        """The threads that short requests are worked on in."""
        return ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    @cached_property
    def long_threads(self) -> ThreadPoolExecutor:
        """The threads of those that take long, so that nothing short waits behind them."""
        return ThreadPoolExecutor(LONG_THREADS, thread_name_prefix="long request")

    async def in_thread(self, work: Callable[[], _T], *, long: bool = False) -> _T:
        """The result of `work`, done in one of the threads; each holds a database connection meanwhile."""
        threads = self.long_threads if long else self.threads
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    @cached_property
    def hashing(self) -> CapacityLimiter:
        """How many passwords are hashed at once: half of the cores, so that sign-ins leave the rest to others."""
        return CapacityLimiter(max(1, (os.cpu_count() or 1) // 2))

    def close(self) -> None:
        """Finish what is being worked on, publish what waits and close the connections."""
        if "small_messages" in self.__dict__:
            self.small_messages.close()
        for name in ("threads", "long_threads"):
            if name in self.__dict__:
                getattr(self, name).shutdown()
        if "outbox" in self.__dict__:
            self.outbox.close()
        if "engine" in self.__dict__:
            self.engine.dispose()
