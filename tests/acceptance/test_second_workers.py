"""More workers, started from another directory with the addresses and the key of the first stack."""

from __future__ import annotations

import re

import pytest

from messaging.client.messaging import Messaging
from messaging.local.children import identity
from messaging.local.environment import sandbox_environment
from messaging.local.processes import PROCESSES
from messaging.status import DeliveryStatus, MessageState
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, fcm_tokens, push_topic
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import set_faults, sums

pytestmark = pytest.mark.timeout(600)


def delivered(stack: Stack) -> int:
    """How many batches this stack's push workers have delivered something of."""
    return len(re.findall(r"Task push · \w+\[[^]]+\] succeeded in \S+ '[1-9]\d* sent", stack.log("push")))


def node(stack: Stack) -> str:
    """The name its push worker has among Celery's nodes."""
    found = re.search(r"(push-[0-9a-f]+@\S+) ready", stack.log("push"))
    assert found
    return found[1]


def test_a_second_set_of_workers_shares_the_work(stack: Stack, client: Messaging) -> None:
    """Both deliver batches of one message, and the sums are exact."""
    apns, fcm = apns_tokens(5000), fcm_tokens(5000)
    topic = push_topic(client, apns=apns, fcm=fcm)
    env = {
        "MESSAGING_DATABASE_URL": stack.runtime.database_url,
        "MESSAGING_BROKER_URL": stack.runtime.broker_url,
        "MESSAGING_SECRET_KEY": stack.secret_key,
    }
    for protocol in ("apns", "fcm"):
        set_faults(stack.sandbox["control"], protocol, delay_ms=200)
    try:
        with running(**UNHURT, **env, **sandbox_environment(stack.sandbox)) as second:
            assert set(second.runtime.processes) == {process.name for process in PROCESSES}, "workers only"
            assert second.runtime.endpoint != stack.runtime.endpoint
            first = stack.runtime.processes
            before = delivered(stack)
            with bare.producer(stack.runtime.broker_url) as app:
                task = app.send_task(bare.PUSH, kwargs={"title": "Hi", "topics": [topic]}, queue=bare.QUEUE)
            until(lambda: any(view.id == task.id for view in client.list()), "intake has not committed it")
            message = client.wait(str(task.id), 240)
            assert message.state is MessageState.SENT
            until(lambda: delivered(stack) > before, lambda: f"the first did nothing\n{stack.tail('push')}")
            until(lambda: delivered(second) > 0, lambda: f"the second did nothing\n{second.tail('push')}")
            assert node(stack) != node(second)
        assert all(identity(pid) is not None for pid in first.values()), "the end of the second is its own"
    finally:
        for protocol in ("apns", "fcm"):
            set_faults(stack.sandbox["control"], protocol)
    found = sums(client, stack.sandbox["control"], [message.id], apns + fcm, "apns", "fcm")
    found.assert_exact()
    assert found.statuses == {DeliveryStatus.ACCEPTED: 10_000}
    assert found.doubled == 0
