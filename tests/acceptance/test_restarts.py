"""What is planned survives a deployment: all workers leave and come back before its time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from messaging.client.messaging import Messaging
from messaging.status import MessageState
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import recorded

pytestmark = pytest.mark.timeout(600)

AHEAD_S = 45
"""All must be accepted and three called off before; the workers come back before or after it."""


@dataclass(frozen=True)
class Planned:
    """Four messages for the same time, all workers restarted meanwhile. The device by the role of its message."""

    at: datetime
    ids: dict[str, str]
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def planned(hurt_stack: Stack) -> Planned:
    """One kept, one revoked, one revoked before intake had seen it, one cancelled by task."""
    stack = hurt_stack
    stack.ready()
    roles = ("kept", "revoked", "revoked early", "cancelled")
    tokens = dict(zip(roles, apns_tokens(4), strict=True))
    ids = {role: secrets.token_hex(8) for role in roles}
    with stack.client() as client, bare.producer(stack.runtime.broker_url) as app:
        targets = {role: client.targets.create(token, provider_id="apns").id for role, token in tokens.items()}
        app.control.revoke(ids["revoked early"])
        until(lambda: _remembers(stack, ids["revoked early"]), lambda: f"not remembered\n{stack.tail('intake')}")
        at = datetime.now(UTC) + timedelta(seconds=AHEAD_S)
        for role in roles:
            app.send_task(
                bare.PUSH,
                kwargs={"title": role, "targets": [targets[role]]},
                queue=bare.QUEUE,
                task_id=ids[role],
                eta=at,
            )
        until(lambda: {*ids.values()} <= {view.id for view in client.list(limit=100)}, "intake has not committed all")
        app.control.revoke(ids["revoked"])
        app.send_task(bare.CANCEL, kwargs={"message_id": ids["cancelled"]}, queue=bare.QUEUE)
        until(
            lambda: all(client.get(ids[role]).state is MessageState.CANCELLED for role in roles[1:]),
            lambda: str({role: client.get(ids[role]).state for role in roles}),
        )
        assert client.get(ids["kept"]).state is MessageState.SCHEDULED
        stack.restart_workers()
        until(lambda: client.get(ids["kept"]).state.is_finished, "the message was not sent at its time", within_s=120)
        time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()) + 3)  # three sweeps in which others could follow
    return Planned(at, ids, tokens)


def _remembers(stack: Stack, task_id: str) -> bool:
    """Whether the revocation of a task that has not come yet is written down."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        row = connection.execute("SELECT 1 FROM revocations WHERE key = %s", (f"task:{task_id}",)).fetchone()
        return row is not None


@pytest.fixture
def client(hurt_stack: Stack) -> Iterator[Messaging]:
    """A client of the stack that was restarted."""
    with hurt_stack.client() as opened:
        yield opened


def arrivals(stack: Stack, token: str) -> list[float]:
    """When the device was sent something, in epoch seconds."""
    return [line["at"] for line in recorded(stack.sandbox["control"], "apns") if line["recipient"] == token]


def test_an_eta_survives_a_restart_and_fires_once(planned: Planned, hurt_stack: Stack, client: Messaging) -> None:
    """Not before its time, and not twice."""
    assert client.get(planned.ids["kept"]).state is MessageState.SENT
    (arrived,) = arrivals(hurt_stack, planned.tokens["kept"])
    assert arrived >= planned.at.timestamp()


@pytest.mark.parametrize("role", ["revoked", "revoked early", "cancelled"])
def test_what_was_called_off_stays_unsent(planned: Planned, hurt_stack: Stack, client: Messaging, role: str) -> None:
    """Though nobody who heard it is there any more."""
    assert client.get(planned.ids[role]).state is MessageState.CANCELLED
    assert arrivals(hurt_stack, planned.tokens[role]) == []
