"""Intake: whatever a producer's task says, it becomes one message, or its reason is kept."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import OnUnknown
from messaging.ids import is_valid_id
from messaging.status import MessageState
from messaging.store import intake_keys
from messaging.wire import TaskName
from tests.integration.road import Road
from workers import intake
from workers.intake import IntakeTask, RefusedError, Taken


@pytest.fixture
def ready(road: Road) -> Road:
    """A project with a provider, three targets and a topic."""
    ids = road.add_push_targets(3, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", ids)
    return road


def take(road: Road, task_id: str = "11111111-2222-3333-4444-555555555555", **changes: Any) -> Taken:
    """The task through intake."""
    task = {"name": TaskName.SEND_PUSH, "kwargs": {"title": "Hi", "topics": ["news"]}} | changes
    return intake.take(road.engine, road.vault, road.settings, IntakeTask(task_id=task_id, **task))


def messages(road: Road) -> int:
    """How many messages there are."""
    with road.engine.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM messages")).scalar_one())


def soon(seconds: float = 3600) -> str:
    """A time ahead, as Celery writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_the_task_id_is_the_message_id(ready: Road) -> None:
    """So that the producer can ask for it, and a re-delivered task is the same message."""
    taken = take(ready)
    assert taken.message_id == "11111111-2222-3333-4444-555555555555"
    assert take(ready) == Taken(taken.message_id)
    assert messages(ready) == 1


def test_a_task_delivered_many_times_at_once_is_one_message(ready: Road) -> None:
    """Redis doubles a task per dropped connection: whoever is second finds the first."""
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: take(ready), range(8)))
    assert {each.message_id for each in taken} == {"11111111-2222-3333-4444-555555555555"}
    assert sum(bool(each.hints) for each in taken) == 1
    assert messages(ready) == 1


def test_the_same_task_id_with_another_body_is_refused_and_counted(ready: Road) -> None:
    """Two different messages under one id: the second is not sent, and somebody can find out."""
    take(ready)
    with pytest.raises(RefusedError, match="used before with other content"):
        take(ready, kwargs={"title": "Other", "topics": ["news"]})
    with ready.engine.begin() as connection:
        rows = connection.execute(text("SELECT task_id, reason FROM refusals")).all()
    assert len(rows) == messages(ready) == 1
    assert "other content" in rows[0].reason


def test_a_task_id_that_is_no_valid_id_is_mapped(ready: Road) -> None:
    """Stable, so that its repetition is still the same message."""
    odd = "päckchen/№ 17 " * 9
    taken = take(ready, odd)
    assert is_valid_id(taken.message_id)
    assert take(ready, odd).message_id == taken.message_id


def test_an_eta_becomes_a_schedule_and_expires_an_expiry(ready: Road) -> None:
    """Neither waits in a worker's memory nor is thrown away."""
    eta, expires = soon(), soon(7200)
    view = ready.view(take(ready, eta=eta, expires=expires).message_id)
    assert view.state is MessageState.SCHEDULED
    assert view.scheduled_at == datetime.fromisoformat(eta)
    assert view.expires_at == datetime.fromisoformat(expires)


def test_an_eta_that_has_passed_means_now(ready: Road) -> None:
    """A task that was late is sent, not refused."""
    assert ready.view(take(ready, eta=soon(-60)).message_id).state is MessageState.PROCESSING


def test_a_scheduled_message_starts_at_its_time_once(ready: Road) -> None:
    """However many sweeps look at it."""
    taken = take(ready, eta=soon())
    assert ready.sweep().started == 0
    ready.execute("UPDATE messages SET scheduled_at = now()")
    assert [ready.sweep().started for _ in range(3)] == [1, 0, 0]
    assert ready.view(taken.message_id).state is MessageState.PROCESSING


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kwargs": {"title": "Hi", "topics": ["nowhere"]}}, "No topic with the id 'nowhere'"),
        ({"kwargs": {"title": "Hi", "users": ["nobody"]}}, "No user with the id 'nobody'"),
        ({"kwargs": {"title": "Hi"}}, "name at least one of"),
        ({"kwargs": {"title": 7, "topics": ["news"]}}, "title"),
        ({"kwargs": {"topics": ["news"]}}, "title"),
        ({"kwargs": {"title": "Hi", "topic": ["news"]}}, "topic"),
        ({"kwargs": {"title": "Hi", "topics": {"a": 1}}}, "list of texts"),
        ({"kwargs": {"title": "Hi", "topics": ["news"], "scheduled_at": "tomorrow"}}, "not a time"),
        ({"kwargs": {"title": "Hi", "topics": ["news"], "scheduled_at": "2020-01-01T00:00:00+00:00"}}, "has passed"),
        ({"kwargs": {"title": "Hi", "body": "x" * 5000, "topics": ["news"]}}, "4,096"),
        ({"kwargs": {"title": "Hi", "topics": ["news"], "on_unknown": "guess"}}, "on_unknown"),
        ({"kwargs": {"title": "Hi", "topics": ["news"], "lane": "fast"}}, "lane"),
        ({"kwargs": {"title": "Hi", "topics": ["news"], "message_id": "-x"}}, "message_id"),
        ({"kwargs": {"title": "Hi", "topics": ["news"], "project": "other"}}, "belongs to project"),
        ({"args": ("Hi",), "kwargs": {}}, "keyword arguments"),
        ({"kwargs": {"title": "NUL \x00", "topics": ["news"]}}, ""),
        ({"kwargs": {"title": "half \ud800", "topics": ["news"]}}, ""),
        ({"kwargs": {"title": "Hi", "collapse_id": "\ud800", "topics": ["news"]}}, ""),
        ({"kwargs": {"title": "Hi", "topics": ["\x00"]}}, ""),
        ({"kwargs": {"title": "Hi", "users": ["\ud800"]}}, ""),
        ({"eta": "next tuesday"}, "not a time"),
        ({"name": TaskName.SEND_SMS, "kwargs": {"content": "code", "addresses": ["not a number"]}}, "number"),
        ({"name": TaskName.SEND_EMAIL, "kwargs": {"subject": "s", "content": "c", "emails": ["nobody"]}}, "email"),
        ({"name": TaskName.SEND_EMAIL, "kwargs": {"subject": "a\r\nBcc: b", "content": "c", "emails": []}}, "subject"),
    ],
)
def test_a_bad_argument_becomes_a_failed_message_with_the_reason(
    ready: Road, changes: dict[str, Any], reason: str
) -> None:
    """It never kills a worker, never vanishes, and stays the same message when it comes again."""
    taken = take(ready, **changes)
    view = ready.view(taken.message_id)
    assert view.state is MessageState.FAILED
    assert reason.lower() in (view.failure or "").lower()
    assert take(ready, **changes).message_id == taken.message_id
    assert messages(ready) == 1


def test_raw_addresses_become_targets_without_a_user(road: Road) -> None:
    """A code to a number nobody registered; SMS holds what is unknown and takes the high lane."""
    road.add_provider("twilio")
    taken = take(road, name=TaskName.SEND_SMS, kwargs={"content": "123456", "addresses": ["+491701234567"]})
    view = road.view(taken.message_id)
    assert (view.total, view.on_unknown, view.lane) == (1, OnUnknown.HOLD, "high")
    assert (view.expires_at - view.created_at).total_seconds() == pytest.approx(600, abs=5)


class TestRevoke:
    """Celery's `revoke`, made durable."""

    def test_before_the_time_it_cancels_the_message(self, ready: Road) -> None:
        """It never starts, whatever restarts."""
        taken = take(ready, eta=soon())
        assert intake.revoke(ready.engine, [taken.message_id]) == [taken.message_id]
        ready.execute("UPDATE messages SET scheduled_at = now()")
        assert ready.sweep().started == 0
        assert ready.view(taken.message_id).state is MessageState.CANCELLED

    def test_before_intake_saw_the_task_it_is_remembered(self, ready: Road) -> None:
        """The task comes later and is cancelled on arrival, its hints unpublished."""
        intake.revoke(ready.engine, ["later"])
        taken = take(ready, "later")
        assert taken.hints == ()
        assert ready.view("later").state is MessageState.CANCELLED

    def test_one_that_is_just_being_written_is_waited_for(self, ready: Road) -> None:
        """The task that comes in the middle of it sees it."""
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with ThreadPoolExecutor(1) as threads:
            with ready.engine.begin() as connection:
                intake_keys.lock(connection, "task:later")
                taken = threads.submit(take, ready, "later")
                with ready.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                    deadline = time.monotonic() + 60
                    while not other.execute(text(waits)).scalar_one():
                        assert time.monotonic() < deadline, "the task does not wait"
                        time.sleep(0.01)
                intake_keys.revoke(connection, "task:later")
            assert taken.result(60).hints == ()
        assert ready.view("later").state is MessageState.CANCELLED

    def test_after_it_began_revoke_changes_nothing_and_cancel_does(self, ready: Road) -> None:
        """As with Celery: a task that runs is not revoked. `messaging.cancel` stops it."""
        taken = take(ready)
        assert intake.revoke(ready.engine, [taken.message_id]) == []
        assert ready.view(taken.message_id).state is MessageState.PROCESSING
        intake.cancel(ready.engine, ready.settings, message_id=taken.message_id)
        ready.sweep()
        assert ready.view(taken.message_id).state is MessageState.CANCELLED


def test_a_message_that_expired_before_its_schedule_came_never_goes_out(ready: Road) -> None:
    """No worker was there in time: the message ends, with the reason."""
    taken = take(ready, eta=soon(), expires=soon(7200))
    ready.execute("UPDATE messages SET scheduled_at = now() - interval '3 hours', expires_at = now()")
    for _ in range(2):
        ready.sweep()
    view = ready.view(taken.message_id)
    assert (view.state, view.failure) == (MessageState.FAILED, "Expired before it could be sent.")


def test_with_no_enabled_provider_the_message_fails_with_the_reason(road: Road) -> None:
    """Nothing stays `processing` for want of a provider."""
    road.add_push_targets(1)
    view = road.view(take(road, kwargs={"title": "Hi", "targets": ["t0"]}).message_id)
    assert view.state is MessageState.FAILED
    assert "No enabled push provider" in (view.failure or "")
