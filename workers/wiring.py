"""Build what a worker process needs, once per process and never before a fork."""

from __future__ import annotations

import os
import threading

from sqlalchemy import Engine

from messaging import tracing
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.engine import open_engine
from messaging.store.vault_keys import open_vault
from workers.adapters import Adapters
from workers.checks import Checks
from workers.deliver import Deliverer
from workers.loop import LoopThread
from workers.pacing import NoPacer, RedisPacer
from workers.pulse import pulse
from workers.receipts import Receipts
from workers.seldom import Seldom
from workers.sweep_mark import SweepMark
from workers.tokens import SharedTokens

_THREADS = 8
"""Database calls at the same time per process."""


class Wiring:
    """The database, secrets, hints to the broker, the event loop, and what delivers batches on it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        tracing.set_up(settings, "worker")
        self.engine: Engine = open_engine(settings, role="worker", pool_size=_THREADS)
        self.vault = open_vault(self.engine, settings.secret_key.get_secret_value())
        self.publisher = Publisher(settings)
        self.loop = LoopThread(threads=_THREADS)
        self.sweeps = Seldom(settings.sweep_every_s / 2)
        self.swept = SweepMark(settings.pacing_url)
        self.receipts: Receipts
        self.checks: Checks
        self.deliverer: Deliverer = self.loop.run(self._deliverer())

    async def _deliverer(self) -> Deliverer:
        """Built on the loop it will run on."""
        url = self.settings.pacing_url
        pacer = NoPacer() if url is None else RedisPacer(url)
        adapters = Adapters(self.settings, SharedTokens(self.engine, self.vault))
        self.receipts = Receipts(self.engine, self.vault, self.settings, pacer)
        self.checks = Checks(self.engine, self.vault, self.settings, adapters, self.publisher.publish)
        return Deliverer(
            self.engine,
            self.vault,
            self.settings,
            pacer,
            adapters,
            self.publisher.publish,
            is_stopping=lambda: pulse.is_stopping,
        )


_built: dict[int, Wiring] = {}
_building = threading.Lock()


def built() -> Wiring | None:
    """The wiring of this process, if it has one yet."""
    return _built.get(os.getpid())


def wiring() -> Wiring:
    """The wiring of this process; a forked child gets its own."""
    pid = os.getpid()
    found = _built.get(pid)
    if found is None:
        with _building:
            found = _built.get(pid)
            if found is None:
                found = _built[pid] = Wiring(Settings.load())
    return found
