"""What the API process keeps for its lifetime: the database, secrets, threads and the way to the broker."""

from __future__ import annotations

from functools import cached_property

from anyio import CapacityLimiter
from sqlalchemy import Engine

from messaging.http.outbox import Outbox
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.engine import open_engine
from messaging.vault import Vault

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
    def threads(self) -> CapacityLimiter:
        """How many requests are worked on at once; made on the event loop."""
        return CapacityLimiter(THREADS)

    def close(self) -> None:
        """Publish what waits and close the connections."""
        if "outbox" in self.__dict__:
            self.outbox.close()
        if "engine" in self.__dict__:
            self.engine.dispose()
