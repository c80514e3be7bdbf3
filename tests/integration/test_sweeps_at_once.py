"""However many sweeps there are, and however long there was none: each message begins once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from messaging.status import DeliveryStatus, MessageState
from tests.integration.road import Road
from workers import sweep as sweeping

MESSAGES, DEVICES = 12, 3


def planned(road: Road) -> list[str]:
    """Messages to a topic for an hour from now, their ids."""
    ids = road.add_push_targets(DEVICES, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    at = datetime.now(UTC) + timedelta(hours=1)
    return [road.send(topics=["news"], scheduled_at=at).public_id for _ in range(MESSAGES)]


def delivered(road: Road, message_ids: list[str]) -> None:
    """Fan all of them out and send them."""
    for message_id in message_ids:
        road.expand(road.view(message_id).number)
    road.deliver()


def at_once(road: Road, times: int) -> list[sweeping.Swept]:
    """So many sweeps side by side, as those that three beats ask for."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: sweeping.sweep(road.engine, road.settings, road.publisher), range(times)))


def test_sweeps_side_by_side_begin_each_message_once(road: Road) -> None:
    """Three machines' beats fire in the same instant."""
    message_ids = planned(road)
    assert sum(swept.started for swept in at_once(road, 3)) == 0, "none is due"
    road.execute("UPDATE messages SET scheduled_at = now()")
    assert sum(swept.started for swept in at_once(road, 6)) == MESSAGES
    delivered(road, message_ids)
    at_once(road, 3)
    assert road.provider.doubled == 0
    assert Counter(road.view(each).state for each in message_ids) == {MessageState.SENT: MESSAGES}
    assert all(road.view(each).totals == {DeliveryStatus.ACCEPTED: DEVICES} for each in message_ids)


def test_after_an_hour_without_a_sweep_one_is_enough(road: Road) -> None:
    """What came due meanwhile begins late, and once; what was hinted and lost is hinted again."""
    message_ids = planned(road)
    road.execute("UPDATE messages SET scheduled_at = now() - interval '1 hour', hinted_at = now() - interval '1 hour'")
    assert road.sweep().started == MESSAGES
    assert road.sweep().started == 0
    delivered(road, message_ids)
    road.sweep()
    assert len(road.provider.received) == MESSAGES * DEVICES
    assert road.provider.doubled == 0
