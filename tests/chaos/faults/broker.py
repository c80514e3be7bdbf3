"""F4: the broker restarts, forgets everything, is full."""

from __future__ import annotations

import time

import redis

from messaging.message import Push
from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field
from tests.chaos.oracle import Verdict


def restarted(field: Field) -> Verdict:
    """`kill -9` in the middle; it comes back with what it had written down."""
    sent = field.send()
    field.under_way(sent, 0.05)
    field.stack.replaced(field.stack.kill("valkey"), within_s=120)
    field.blow()
    return field.judge(sent)


def forgetful(field: Field) -> Verdict:
    """FLUSHALL three times in the middle, once what the producer sent is committed."""
    sent = field.send()
    field.under_way(sent, 0.02)
    with _broker(field) as broker:
        for _ in range(3):
            broker.flushall()
            time.sleep(field.dice.uniform(0.2, 1.0))  # the rhythm of the blows
    field.blow()
    return field.judge(sent)


def full(field: Field) -> Verdict:
    """No memory is left for anything new, for some seconds: a message accepted meanwhile goes out afterwards."""
    sent = field.send()
    field.under_way(sent, 0.02)
    audience = field.audiences[0]
    with _broker(field) as broker, field.stack.client() as client:
        broker.config_set("maxmemory", 1)
        try:
            message = client.send(Push(title="Meanwhile", body="accepted"), topics=[audience.topic], draft=True)
            time.sleep(4)  # how long it stays full
        finally:
            broker.config_set("maxmemory", 0)
        client.cancel(message.id)
    field.blow()
    return field.judge(sent, allowed=UNTOUCHED, may_double=False)


def _broker(field: Field) -> redis.Redis:
    return redis.Redis.from_url(field.stack.runtime.broker_url)


FAULTS = (
    Fault(number="F4a", title="broker killed and restarted", run=restarted),
    Fault(number="F4b", title="broker forgets everything", run=forgetful),
    Fault(number="F4c", title="broker full", run=full),
)
