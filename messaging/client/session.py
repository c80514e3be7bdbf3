"""What every part of the client shares: the database, the vault, the project and the way to the broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from messaging.settings import Settings
from messaging.store import projects
from messaging.store.batches import Hint
from messaging.store.engine import open_engine
from messaging.store.vault_keys import open_vault
from messaging.vault import Vault

if TYPE_CHECKING:
    from messaging.publish import Publisher


# The standard library's logging: a library must not print on its host's stdout, as structlog does unless configured.
_log = logging.getLogger(__name__)

NO_BROKER = "memory://"
"""A client that publishes no hints: the sweep finds what it committed."""


class Session:
    """An engine and what goes with it; safe to share between threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Engine | None = None,
        vault: Vault | None = None,
        publish: Callable[[Sequence[Hint]], None] | None = None,
    ) -> None:
        """Of its own, or with the connections of a process that has them; those it leaves open."""
        self.settings = settings
        self._is_own = engine is None
        self.engine = engine or open_engine(settings, role="client")
        self.vault = vault or open_vault(self.engine, settings.secret_key.get_secret_value())
        self._publishes = settings.broker_url.get_secret_value() != NO_BROKER
        self._publish = publish
        self._publisher: Publisher | None = None
        self._project: int | None = None
        self._lock = threading.Lock()

    @property
    def project_id(self) -> int:
        """The number of the project, asked once; raises `NotFoundError` where there is no such project."""
        if self._project is None:
            with self.engine.begin() as connection:
                self._project = projects.find(connection, self.settings.project)
        return self._project

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a transaction that commits at the end of the block."""
        with self.engine.begin() as connection:
            yield connection

    def publish(self, hints: Sequence[Hint]) -> None:
        """Publish hints of what is committed. A broker that is away costs a second: the sweep finds the work."""
        if not self._publishes or not hints:
            return
        if self._publish is not None:
            self._publish(hints)
            return
        with self._lock:
            if self._publisher is None:
                from messaging.publish import Publisher  # noqa: PLC0415  Celery, only for those who send

                self._publisher = Publisher(self.settings)
        try:
            self._publisher.publish(hints)
        except Exception as error:  # noqa: BLE001  the message is committed: an error here would have it sent twice
            _log.warning("A hint was not published (%s); the sweep will find the work.", type(error).__name__)

    def close(self) -> None:
        """Close every connection."""
        if self._publisher is not None:
            self._publisher.close()
        if self._is_own:
            self.engine.dispose()
