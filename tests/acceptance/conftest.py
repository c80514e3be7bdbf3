"""Stacks that tests share: one that nobody hurts, one that recovers from what is done to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from messaging.client.messaging import Messaging
from tests.acceptance.accounts import configure
from tests.acceptance.stack import FAST, UNHURT, Stack, running
from tests.acceptance.sums import clear_faults


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack that no test hurts."""
    with running("--sandbox", **UNHURT) as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


@pytest.fixture
def client(stack: Stack) -> Iterator[Messaging]:
    """A client of that stack."""
    with stack.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def hurt_stack() -> Iterator[Stack]:
    """A stack whose parts are killed; pages are small, so that a fan-out takes a while."""
    # nor does a machine that stands still for some seconds look like a worker that died
    with running("--sandbox", **(FAST | {"MESSAGING_LEASE_S": "8", "MESSAGING_PAGE_SIZE": "500"})) as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


@pytest.fixture
def hurt(hurt_stack: Stack) -> Iterator[Stack]:
    """That stack, whole at the beginning, its providers well-behaved at the end."""
    hurt_stack.ready()
    yield hurt_stack
    clear_faults(hurt_stack.sandbox["control"])


@pytest.fixture(scope="module")
def variant(stack: Stack) -> Iterator[Stack]:
    """A stack with batches of one and a result backend (the other stack's broker, another database of it)."""
    backend = stack.runtime.broker_url.rsplit("/", 1)[0] + "/5"
    with running("--sandbox", **UNHURT, MESSAGING_TASK_SIZE="1", MESSAGING_RESULT_BACKEND_URL=backend) as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started
