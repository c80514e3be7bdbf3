"""Events of tasks are told a moment later, many in one message, and none is forgotten."""

from __future__ import annotations

import time
from typing import Any

from kombu.asynchronous import Hub

from workers.transport import Consumer

_PATIENCE_S = 120.0


class _Telling(Consumer):
    """A consumer with an event loop and no broker: it counts how often it would speak."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.told = 0
        self._flush_events = self._count

    def _count(self) -> None:
        self.told += 1

    def wait(self, times: int) -> None:
        """Run the loop's timers until it has spoken so often."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.told < times and time.monotonic() < deadline:
            self.hub.fire_timers()
            time.sleep(0.01)
        assert self.told == times


def test_what_happens_within_a_moment_is_told_once() -> None:
    """Not before the task is handed on: somebody waits for that."""
    consumer = _Telling()
    for _ in range(5):
        consumer.on_send_event_buffered()
    assert not consumer.told
    consumer.wait(1)
    consumer.on_send_event_buffered()
    consumer.wait(2)


def test_after_a_connection_was_lost_it_goes_on_telling(monkeypatch: Any) -> None:
    """Its timers went with the connection."""
    monkeypatch.setattr("workers.transport.CeleryConsumer.on_close", lambda self: self.hub.timer.clear())
    consumer = _Telling()
    consumer.on_send_event_buffered()
    consumer.on_close()
    consumer.on_send_event_buffered()
    consumer.wait(1)


def test_what_is_left_is_told_at_the_end(monkeypatch: Any) -> None:
    """A worker that stops tells how its last task went."""
    monkeypatch.setattr("workers.transport.CeleryConsumer.shutdown", lambda _: None)
    consumer = _Telling()
    consumer.shutdown()
    consumer.wait(0)
    consumer.on_send_event_buffered()
    consumer.shutdown()
    consumer.wait(1)
