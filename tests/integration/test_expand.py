"""Fan-out: every target of the audience gets one row, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from messaging.channel import Lane, Role
from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.message import Email
from messaging.status import DeliveryStatus, MessageState
from messaging.store.batches import Hint
from messaging.wire import Queue
from tests.integration.road import Road

S = DeliveryStatus


def test_a_target_in_two_topics_receives_once(road: Road) -> None:
    """De-duplicated across topics, users and targets, over page borders."""
    provider = road.add_provider("apns", "apns")
    ids = road.add_push_targets(450, provider=provider)
    road.add_topic("news", ids[:300])
    road.add_topic("sport", ids[150:])
    sent = road.send(topics=["news", "sport"], targets=["t0", "t449"])
    road.expand(sent.message_id)
    assert road.view(sent).total == 450
    assert [d.target_id for d in road.deliveries(sent)] == [f"t{i}" for i in range(450)]


def test_a_large_audience_takes_the_bulk_lane_and_a_small_one_the_high_lane(road: Road) -> None:
    """The lane follows from the size of the audience unless the message says so."""
    ids = road.add_push_targets(50, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    assert road.view(road.send(topics=["news"])).lane is Lane.BULK
    small = road.send(targets=["t1"])
    assert [hint.queue for hint in small.hints] == [Queue.PUSH_HIGH]
    assert road.view(small).expanded
    assert [hint.queue for hint in road.send(targets=["t1"], lane=Lane.BULK).hints] == [Queue.PUSH]
    assert [hint.queue for hint in road.send(topics=["news"], lane=Lane.HIGH).hints] == [Queue.FANOUT_HIGH]


def test_a_fanout_that_is_killed_goes_on_from_its_cursor(road: Road) -> None:
    """A page is committed whole or not at all; the next worker reads on where it ended."""
    ids = road.add_push_targets(350, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    sent = road.send(topics=["news"])

    class KilledError(Exception):
        pass

    pages = 0
    publish = road.publisher.publish

    def dies_at_second_page(hints: Sequence[Hint]) -> bool:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise KilledError
        return publish(hints)

    road.publisher.publish = dies_at_second_page  # type: ignore[method-assign]  # dies like a killed worker would
    with pytest.raises(KilledError):
        road.expand(sent.message_id)
    del road.publisher.publish
    assert not road.view(sent).expanded
    road.expand(sent.message_id)
    found = [str(d.target_id) for d in road.deliveries(sent)]
    assert sorted(found) == sorted(f"t{i}" for i in range(350))
    assert road.view(sent).expanded


def test_subscribers_that_come_after_the_start_are_not_chased(road: Road) -> None:
    """The audience is the subscriptions numbered at or below the mark taken at the start."""
    provider = road.add_provider("apns", "apns")
    ids = road.add_push_targets(150, provider=provider)
    road.add_topic("news", ids[:120])
    sent = road.send(topics=["news"])
    road.execute("UPDATE messages SET mark = (SELECT last_value FROM subscribers_id_seq)")
    road.execute(
        "INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)"
        " SELECT project_id, 1, id, channel, 's' || id FROM targets WHERE id > :last",
        last=ids[119],
    )
    road.expand(sent.message_id)
    assert road.view(sent).total == 120


def test_expired_and_dead_targets_are_not_part_of_the_audience(road: Road) -> None:
    """Nobody sends to an address that is known to be dead."""
    ids = road.add_push_targets(30, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    road.execute("UPDATE targets SET expired_at = now() WHERE id <= :id", id=ids[4])
    road.execute("UPDATE targets SET dead_at = now() WHERE id > :id", id=ids[27])
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    assert road.view(sent).total == 23


def test_a_suppressed_target_has_a_row_that_says_so(road: Road) -> None:
    """Everything suppressed is skipped always, bulk suppressed only in the bulk lane."""
    ids = road.add_push_targets(20, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    road.execute(
        "INSERT INTO suppressions (project_id, channel, address_hash, scope)"
        " SELECT project_id, channel, address_hash, CASE id WHEN :all THEN 'everything' ELSE 'bulk' END"
        "   FROM targets WHERE id IN (:all, :bulk)",
        all=ids[0],
        bulk=ids[1],
    )
    bulk = road.send(topics=["news"])
    road.expand(bulk.message_id)
    assert road.statuses(bulk) == {S.QUEUED: 18, S.SUPPRESSED: 2}
    code = road.send(targets=["t0", "t1"])
    assert {d.target_id: d.status for d in road.deliveries(code)} == {"t0": S.SUPPRESSED, "t1": S.QUEUED}


def test_a_target_goes_through_its_own_provider(road: Road) -> None:
    """A push token means nothing to another kind of provider: without its own it fails, with the reason."""
    apns, fcm = road.add_provider("apns", "apns"), road.add_provider("fcm", "fcm")
    road.add_push_targets(3, provider=apns)
    road.add_push_targets(3, provider=fcm, first=3)
    sent = road.send(targets=[f"t{i}" for i in range(6)])
    assert [d.provider_id for d in road.deliveries(sent)] == ["apns"] * 3 + ["fcm"] * 3
    road.execute("UPDATE providers SET enabled = false WHERE public_id = 'fcm'")
    again = road.send(targets=[f"t{i}" for i in range(6)])
    assert [d.status for d in road.deliveries(again)] == [S.QUEUED] * 3 + [S.FAILED] * 3
    assert {d.error_code for d in road.deliveries(again)[3:]} == {"no_enabled_provider"}


def test_copies_are_deliveries_of_their_own(road: Road) -> None:
    """Copies have a role; somebody who is both a recipient and a copy receives once."""
    road.add_provider("sendgrid", "sendgrid")
    sent = road.send(
        Email(subject="Hi", content="there"),
        addresses=["ada@example.com"],
        cc=["bob@example.com", "ada@example.com"],
        bcc=["eve@example.com"],
    )
    assert {d.identifier: d.role for d in road.deliveries(sent)} == {
        "ada@example.com": Role.TO,
        "bob@example.com": Role.CC,
        "eve@example.com": Role.BCC,
    }


def test_the_high_water_mark_leaves_the_rest_to_the_sweep(postgres_url: str, valkey_url: str) -> None:
    """No more hints than the mark are in a queue; batches without one are hinted as room appears."""
    small = Road(postgres_url, valkey_url, task_size=5, hints_high_water=7)
    ids = small.add_push_targets(100, provider=small.add_provider("apns", "apns"))
    small.add_topic("news", ids)
    room = small.publisher.room(Queue.PUSH)
    sent = small.send(topics=["news"])
    small.expand(sent.message_id)
    with small.engine.begin() as connection:
        hinted = connection.execute(text("SELECT count(*) FROM batches WHERE hinted_at IS NOT NULL")).scalar()
    assert hinted == room <= 7
    assert small.publisher.room(Queue.PUSH) == 0
    assert small.sweep().hinted == 0
    small.close()


def test_an_audience_nobody_is_in_fails_the_message_with_the_reason(road: Road) -> None:
    """An empty topic, or a user without a target of the channel."""
    road.add_topic("empty", [])
    assert road.view(road.send(topics=["empty"])).failure == "No enabled push provider found. Add one, or enable one."
    road.add_provider("apns", "apns")
    nobody = road.view(road.send(topics=["empty"]))
    assert (nobody.state, nobody.failure) == (MessageState.FAILED, "No valid recipients found.")
    assert nobody.finished_at is not None


def test_a_call_that_cannot_be_understood_changes_nothing(road: Road) -> None:
    """Unknown ids, nobody named, times that make no sense: typed errors that name the argument."""
    road.add_provider("apns", "apns")
    road.add_push_targets(1)
    for audience, error in (
        ({"users": ["nobody"]}, NotFoundError),
        ({"targets": ["nothing"]}, NotFoundError),
        ({"topics": ["nowhere"]}, NotFoundError),
        ({}, InvalidArgumentError),
        ({"targets": ["t0"], "cc": ["a@example.com"]}, InvalidArgumentError),
        ({"targets": ["t0"], "scheduled_at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidArgumentError),
        ({"targets": ["t0"], "scheduled_at": datetime(2040, 1, 1)}, InvalidArgumentError),  # noqa: DTZ001  the point
        ({"targets": ["t0"], "expires_at": datetime.now(UTC) - timedelta(minutes=1)}, InvalidArgumentError),
        ({"targets": ["t0"], "id": "-bad"}, InvalidArgumentError),
    ):
        with pytest.raises(error):
            road.send(**audience)
    with road.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM messages")).scalar() == 0
