"""From a task in Flower to the message it is about."""

from __future__ import annotations

import re
from typing import Any

import httpx
import psycopg
import pytest

from messaging.client.messaging import Messaging
from messaging.message import Push
from tests.acceptance.accounts import apns_tokens
from tests.acceptance.stack import Stack, until

pytestmark = pytest.mark.timeout(600)


def test_a_batch_in_flower_leads_to_its_message(stack: Stack, client: Messaging) -> None:
    """Its task has the name of channel and provider, no address, and a link by which the console finds the message."""
    (token,) = apns_tokens(1)
    message = client.send(Push(title="Hello"), addresses=[token])
    client.wait(message.id, 120)
    with httpx.Client(base_url=stack.runtime.flower, trust_env=False, timeout=60) as flower:

        def pages() -> dict[str, str]:
            tasks: dict[str, Any] = flower.get("/api/tasks", params={"limit": 500}).raise_for_status().json()
            ours = [uuid for uuid, task in tasks.items() if str(task["name"]).startswith("push · ")]
            return {uuid: flower.get(f"/task/{uuid}").text for uuid in ours}

        def batch() -> str | None:
            for page in pages().values():
                found = re.search(r'href="(http://[^"]+)/batches/(\d+)"', page)
                if found and _message_of(stack, int(found[2])) == message.id:
                    assert found[1] == stack.runtime.console
                    assert token not in page
                    return found[0]
            return None

        until(batch, lambda: f"{list(pages())}\n{stack.tail('flower', 'push-high')}")


def _message_of(stack: Stack, batch: int) -> str | None:
    """The public id of the message a batch belongs to."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        row = connection.execute(
            "SELECT m.public_id FROM batches b JOIN messages m ON m.id = b.message_id WHERE b.id = %s", [batch]
        ).fetchone()
    return None if row is None else str(row[0])
