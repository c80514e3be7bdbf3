"""A deployment in the middle of a send: every worker, and the API, asked to leave and replaced. Nobody notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence

import pytest

from messaging.client.messaging import Messaging
from messaging.message import Email, Push
from messaging.status import DeliveryStatus, MessageState
from tests.acceptance.accounts import apns_tokens, configure, email_topic, emails, fcm_tokens, push_topic
from tests.acceptance.stack import UNHURT, WORKERS, Stack, running, until
from tests.acceptance.sums import clear_faults, set_faults, sums

pytestmark = pytest.mark.timeout(2400)

_S = DeliveryStatus

SOME = ("intake", "fanout", "push", "push-high", "email")
ALL = (*WORKERS, "api")
PER_ROUND = 1_000
"""Devices at each of two providers; a fifth as many readers."""
STOP = signal.SIGTERM


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with small pages and batches, so that there is always something in the middle of being done."""
    with running("--sandbox", **UNHURT, MESSAGING_PAGE_SIZE="500", MESSAGING_TASK_SIZE="200") as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


def restart(stack: Stack, names: Sequence[str]) -> None:
    """Ask each to leave, and return when its successor is ready."""
    before = [stack.runtime.processes[name] for name in names]
    for pid in before:
        os.kill(pid, STOP)
    stack.replaced(*before, within_s=240.0)


@pytest.mark.parametrize(
    ("rounds", "groups"),
    [(2, [SOME]), pytest.param(10, [[name] for name in ALL], marks=pytest.mark.slow)],
)
def test_rolling_restarts_double_nothing(stack: Stack, rounds: int, groups: Sequence[Sequence[str]]) -> None:
    """Lost 0, doubled 0, doubtful 0: what is in flight is finished and recorded, the rest is left to others."""
    control = stack.sandbox["control"]
    apns, fcm, addresses = (
        apns_tokens(PER_ROUND * rounds),
        fcm_tokens(PER_ROUND * rounds),
        emails(PER_ROUND // 5 * rounds),
    )
    sent: list[str] = []
    with stack.client() as client:
        for turn in range(rounds):
            part, share = (slice(turn * each, (turn + 1) * each) for each in (PER_ROUND, PER_ROUND // 5))
            devices = push_topic(client, apns=apns[part], fcm=fcm[part])
            readers = email_topic(client, addresses[share])
            for protocol in ("apns", "fcm", "sendgrid", "smtp"):  # so that a send outlasts the restart
                set_faults(control, protocol, delay_ms=500)
            now = [
                client.send(Push(title="Hello"), topics=[devices]).id,
                client.send(Email(subject="News", content="there"), topics=[readers]).id,
            ]
            sent += now
            _until_in_flight(client, now)
            for group in groups:
                restart(stack, group)
            clear_faults(control)
        until(
            lambda: all(client.get(each).state.is_finished for each in sent),
            lambda: f"{[client.get(each) for each in sent]}\n{stack.tail('push', 'email', 'fanout')}",
            within_s=300,
        )
        everybody = [*apns, *fcm, *addresses]
        found = sums(client, control, sent, everybody)
        views = [client.get(each) for each in sent]
    found.assert_exact()
    assert found.statuses == {_S.ACCEPTED: len(everybody)}
    assert found.doubled == 0
    assert {(view.state, view.doubtful) for view in views} == {(MessageState.SENT, 0)}


def _until_in_flight(client: Messaging, message_ids: Sequence[str]) -> None:
    until(
        lambda: any(client.deliveries(each, _S.SENDING, limit=1) for each in message_ids),
        "nothing is in flight",
    )
