"""A broker that is away costs time: publishing says so, and nothing is raised at who has committed."""

from __future__ import annotations

import secrets

from messaging.local.free_ports import free_ports
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue


def test_hints_for_a_broker_that_is_away_are_refused_and_it_has_no_room() -> None:
    """Connecting gives up after a few seconds; kombu's error for it is its own, not the client library's."""
    own = {"database_url": "postgresql://nobody/none", "secret_key": secrets.token_hex(32)}
    with Publisher(Settings.load({}, broker_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0", **own)) as publisher:
        assert publisher.publish([Hint(queue=Queue.PUSH, shadow="push", message_id=1)]) is False
        assert publisher.room(Queue.PUSH) == 0
