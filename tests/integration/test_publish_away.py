"""A broker that is away costs time: publishing says so, and nothing is raised at who has committed."""

from __future__ import annotations

import secrets

import pytest

from messaging.local.free_ports import free_ports
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_hints_for_a_broker_that_is_away_are_refused_and_it_has_no_room(scheme: str) -> None:
    """One hint, several hints, and the depth of a queue."""
    own = {"database_url": "postgresql://nobody/none", "secret_key": secrets.token_hex(32)}
    url = f"{scheme}://127.0.0.1:{free_ports(1)[0]}//"
    hint = Hint(queue=Queue.PUSH, shadow="push", message_id=1)
    with Publisher(Settings.load({}, broker_url=url, **own)) as publisher:
        assert publisher.publish([hint]) is False
        assert publisher.publish([hint, hint]) is False
        assert publisher.room(Queue.PUSH) == 0
