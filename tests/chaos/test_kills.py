"""Workers die at random, by seed, while the providers misbehave. Then sets are compared."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import psycopg
import pytest

from messaging.status import DeliveryStatus
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, fcm_tokens, push_topic
from tests.acceptance.stack import FAST, Stack, running, until
from tests.acceptance.sums import clear_faults, set_faults, sums

pytestmark = pytest.mark.timeout(600)

_S = DeliveryStatus

VICTIMS = ("push", "push-high", "fanout", "intake")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with small pages and batches, so that there is much to interrupt."""
    with running("--sandbox", **FAST, MESSAGING_PAGE_SIZE="200", MESSAGING_TASK_SIZE="100") as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


def hurt(stack: Stack, dice: random.Random, *, seconds: float) -> list[str]:
    """Kill about one process a second; the names of those that died."""
    killed = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        name = dice.choice(VICTIMS)
        if (stack.directory / "run" / f"{name}.ready").exists():
            stack.kill(name)
            killed.append(name)
        time.sleep(dice.uniform(0.5, 1.5))  # the rhythm of the kills, not a wait for anything
    return killed


@pytest.mark.parametrize(
    ("seed", "devices", "seconds"),
    [(1, 3000, 10), *(pytest.param(seed, 20_000, 40, marks=pytest.mark.slow) for seed in range(2, 6))],
)
def test_random_kills_and_faults_leave_exact_sums(stack: Stack, seed: int, devices: int, seconds: float) -> None:
    """Everybody has one row and one end, nothing accepted was never sent, and what was doubled is counted."""
    stack.ready(within_s=120)
    dice = random.Random(seed)
    control = stack.sandbox["control"]
    for protocol in ("apns", "fcm"):
        set_faults(
            control,
            protocol,
            rate_429=0.05,
            rate_500=0.05,
            reset_rate=0.05,
            retry_after_s=1,
            delay_ms=20,
            seed=seed,
        )
    apns, fcm, alone = apns_tokens(devices // 2), fcm_tokens(devices // 2), apns_tokens(60)
    with stack.client() as client, bare.producer(stack.runtime.broker_url) as app:
        topic = push_topic(client, apns=apns, fcm=fcm)
        targets = [client.targets.create(token, provider_id="apns").id for token in alone]
        sent = [str(app.send_task(bare.PUSH, kwargs={"title": "All", "topics": [topic]}, queue=bare.QUEUE).id)]
        sent += [
            str(app.send_task(bare.PUSH, kwargs={"title": "One", "targets": [target]}, queue=bare.QUEUE).id)
            for target in targets
        ]
        killed = hurt(stack, dice, seconds=seconds)
        clear_faults(control)
        stack.ready(within_s=120)
        until(
            lambda: not _unfinished(stack, sent),
            lambda: f"seed {seed}, killed {killed}: {_unfinished(stack, sent)}\n{stack.tail('push', 'fanout')}",
            within_s=120,
        )
        audience = [*apns, *fcm, *alone]
        found = sums(client, control, sent, audience, "apns", "fcm")
        doubtful = sum(client.get(each).doubtful for each in sent)
    assert killed
    found.assert_exact()
    assert found.statuses.keys() <= {_S.ACCEPTED, _S.UNKNOWN}, f"seed {seed}: {found.statuses}"
    assert found.doubled <= doubtful + found.statuses.get(_S.UNKNOWN, 0), f"seed {seed}, killed {killed}"


def _unfinished(stack: Stack, message_ids: list[str]) -> dict[str, str]:
    """What is not finished, and how far it is."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute(
            "SELECT public_id, state, finished_at FROM messages WHERE public_id = ANY(%s)", (message_ids,)
        ).fetchall()
    states = {row[0]: ("finished" if row[2] else f"state {row[1]}") for row in rows}
    return {each: states.get(each, "no message") for each in message_ids if states.get(each) != "finished"}
