"""After a lost connection to the broker: what a task that was in flight may do to the new one."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from kombu.common import QoS

TASK = "a task"
PREFETCH = 4


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """The workers' application as a deployment on RabbitMQ has it."""
    monkeypatch.setenv("MESSAGING_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("MESSAGING_BROKER_URL", "amqp://nobody@127.0.0.1:1//")
    monkeypatch.setenv("MESSAGING_SECRET_KEY", "k" * 32)
    found: Celery = importlib.import_module("workers.app").app
    yield found
    found.close()
    del sys.modules["workers.app"]  # another test may want other settings


@pytest.fixture
def consumer(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Celery's own, of a pool of two threads, without the steps that would connect; `left` is for its event loop."""
    monkeypatch.setattr(Consumer.Blueprint, "default_steps", ())
    left: list[object] = []
    made: Any = Consumer(
        on_task_request=lambda _: None,
        hostname="push@here",
        app=app,
        pool=SimpleNamespace(num_processes=2),
        hub=SimpleNamespace(call_soon=left.append, left=left),
        initial_prefetch_count=PREFETCH,
        prefetch_multiplier=2,
    )
    made.connection = app.connection_for_read()
    return made


@pytest.mark.parametrize("how", ["ack", "reject"])
def test_a_task_that_ends_after_a_reconnection_asks_the_broker_nothing(
    consumer: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in a thread of the pool, and the answer would come on the socket that the event loop reads."""
    monkeypatch.setattr("celery.worker.consumer.consumer.active_requests", {"in flight"})
    with pytest.warns(CPendingDeprecationWarning, match="connection loss"):
        consumer.on_connection_error_after_connected(ConnectionResetError())
    consumer.restart_count = 1
    asked: list[int] = []

    def ask(prefetch_count: int) -> None:
        asked.append(prefetch_count)

    consumer.qos = QoS(ask, consumer.initial_prefetch_count)
    ends: dict[str, Any] = {}
    consumer.strategies[TASK] = lambda _message, _body, ack, reject, _callbacks: ends.update(ack=ack, reject=reject)
    consumer.create_task_handler()(
        SimpleNamespace(headers={"task": TASK}, ack_log_error=lambda *_: None, reject_log_error=lambda *_: None)
    )
    ends[how](logging.getLogger(), ())
    assert asked == []
    assert len(consumer.hub.left) == 1
    assert consumer.initial_prefetch_count == PREFETCH
