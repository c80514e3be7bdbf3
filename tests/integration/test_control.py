"""Cancel, pause and resume wherever a message happens to be: before it begins, in its fan-out, while it retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from messaging.errors import StateConflictError
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.producer import Accepted
from messaging.status import DeliveryStatus, MessageState
from messaging.store import messages
from messaging.wire import TaskName
from tests.integration.road import Road
from workers import fanout, intake
from workers.intake import IntakeTask

S = DeliveryStatus
BUSY = Outcome(Action.RETRY, "503", "later")
LOST = Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer")
LATER = timedelta(hours=1)


def topic_of(road: Road, count: int) -> None:
    """A topic `news` with `count` devices."""
    road.add_topic("news", road.add_push_targets(count, provider=road.add_provider("apns", "apns")))


def change(road: Road, message: Accepted | str, to: str) -> MessageState:
    """`cancel`, `pause` or `resume`."""
    public_id = message if isinstance(message, str) else message.public_id
    with road.engine.begin() as connection:
        state: MessageState = getattr(messages, to)(connection, road.project_id, public_id)
        return state


def on_page(road: Road, monkeypatch: pytest.MonkeyPatch, page: int, to: str, message: Accepted) -> None:
    """Change the message as soon as that page of its fan-out is committed."""
    pages = iter(range(1, 1000))
    monkeypatch.setattr(fanout, "SLICE_S", 600.0)  # after a second it would publish a hint for itself, which is no page
    publish = road.publisher.publish

    def published(hints: list[object]) -> bool:
        if next(pages) == page:
            change(road, message, to)
        return publish(hints)  # type: ignore[arg-type]

    monkeypatch.setattr(road.publisher, "publish", published)


class TestDuringTheFanOut:
    """Half of the audience has rows."""

    def test_cancelled_it_inserts_no_more_rows(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those there are are cancelled, and the total is their number."""
        topic_of(road, 500)
        message = road.send(topics=["news"])
        on_page(road, monkeypatch, 2, "cancel", message)
        road.expand(message.message_id)
        for _ in range(2):
            road.sweep()
        assert road.statuses(message) == {S.CANCELLED: 200}
        view = road.view(message)
        assert (view.state, view.total, view.totals) == (MessageState.CANCELLED, 200, {S.CANCELLED: 200})
        road.expand(message.message_id)
        road.deliver()
        assert (road.view(message).total, road.provider.received) == (200, [])

    def test_paused_it_waits_and_resumed_it_brings_the_rest(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """From where it was: everybody once."""
        topic_of(road, 500)
        message = road.send(topics=["news"])
        on_page(road, monkeypatch, 2, "pause", message)
        road.expand(message.message_id)
        assert (road.view(message).total, road.sweep().stalled) == (200, 0)
        assert set(road.deliver()) == {"nothing to do"}
        assert change(road, message, "resume") is MessageState.PROCESSING
        swept = road.sweep()
        assert (swept.stalled, swept.hinted) == (1, 2), "both go on with the next sweep, whatever was hinted before"
        road.expand(message.message_id)
        road.deliver()
        assert road.provider.doubled == 0
        assert road.statuses(message) == {S.ACCEPTED: 500}


class TestWhileItRetries:
    """All of it was tried once."""

    def tried(self, road: Road) -> Accepted:
        """A message that waits to be tried again: twelve certainly not sent, eight perhaps."""
        topic_of(road, 20)
        road.provider.answer = lambda r: LOST if r.target_id % 5 in {0, 1} else BUSY
        message = road.send(topics=["news"])
        road.expand(message.message_id)
        road.deliver()
        assert road.statuses(message) == {S.RETRYING: 20}
        road.provider.received.clear()
        road.provider.answer = lambda _: ACCEPTED
        return message

    def test_cancelled_nothing_is_tried_again(self, road: Road) -> None:
        """What may have been sent is called unknown, not cancelled."""
        message = self.tried(road)
        change(road, message, "cancel")
        road.make_due()
        assert set(road.deliver()) == {"nothing to do"}
        for _ in range(2):
            road.sweep()
        assert road.statuses(message) == {S.CANCELLED: 12, S.UNKNOWN: 8}
        assert road.provider.received == []
        assert road.view(message).state is MessageState.CANCELLED

    def test_paused_it_waits_and_resumed_it_retries(self, road: Road) -> None:
        """Each row with the attempts it had."""
        message = self.tried(road)
        change(road, message, "pause")
        road.make_due()
        assert set(road.deliver()) == {"nothing to do"}
        change(road, message, "resume")
        road.deliver()
        assert {(d.status, d.attempts) for d in road.deliveries(message)} == {(S.ACCEPTED, 2)}

    def test_what_expires_while_it_is_paused_ends(self, road: Road) -> None:
        """A pause does not keep it for ever."""
        message = self.tried(road)
        change(road, message, "pause")
        road.execute("UPDATE messages SET expires_at = now()")
        for _ in range(2):
            road.sweep()
        assert road.statuses(message) == {S.EXPIRED: 12, S.UNKNOWN: 8}
        with pytest.raises(StateConflictError):
            change(road, message, "resume")


class TestBeforeItBegins:
    """A message for later."""

    def planned(self, road: Road) -> str:
        """Through intake, as a task with an eta; its id."""
        topic_of(road, 3)
        task = IntakeTask(
            task_id="11111111-2222-3333-4444-555555555555",
            name=TaskName.SEND_PUSH,
            kwargs={"title": "Hi", "topics": ["news"]},
            eta=(datetime.now(UTC) + LATER).isoformat(),
        )
        return intake.take(road.engine, road.vault, road.settings, task).message_id

    def is_sent(self, road: Road, message_id: str) -> int:
        """How many devices have it after a few sweeps."""
        road.sweep()
        with road.engine.begin() as connection:
            number = connection.execute(text("SELECT id FROM messages WHERE public_id = :id"), {"id": message_id})
            fanout.expand(road.engine, road.settings, road.publisher, number.scalar_one())
        road.deliver()
        road.sweep()
        return len(road.provider.received)

    def test_paused_its_time_comes_and_it_stays(self, road: Road) -> None:
        """Resumed after that it begins at once."""
        message_id = self.planned(road)
        assert change(road, message_id, "pause") is MessageState.PAUSED
        road.execute("UPDATE messages SET scheduled_at = now() - interval '1 second'")
        assert self.is_sent(road, message_id) == 0
        assert change(road, message_id, "resume") is MessageState.PROCESSING
        assert self.is_sent(road, message_id) == 3
        assert road.view(message_id).state is MessageState.SENT

    def test_resumed_before_its_time_it_is_scheduled_again(self, road: Road) -> None:
        """It is not sent early."""
        message_id = self.planned(road)
        change(road, message_id, "pause")
        assert change(road, message_id, "resume") is MessageState.SCHEDULED
        assert self.is_sent(road, message_id) == 0
        road.execute("UPDATE messages SET scheduled_at = now() - interval '1 second'")
        assert self.is_sent(road, message_id) == 3

    @pytest.mark.parametrize("paused", [False, True])
    def test_revoked_it_never_begins(self, road: Road, *, paused: bool) -> None:
        """Paused or not."""
        message_id = self.planned(road)
        if paused:
            change(road, message_id, "pause")
        assert intake.revoke(road.engine, [message_id]) == [message_id]
        road.execute("UPDATE messages SET scheduled_at = now() - interval '1 second'")
        assert self.is_sent(road, message_id) == 0
        assert road.view(message_id).state is MessageState.CANCELLED

    def test_a_paused_one_that_has_begun_is_not_revoked(self, road: Road) -> None:
        """As a task that runs is not: `messaging.cancel` is for that."""
        message_id = self.planned(road)
        road.execute("UPDATE messages SET scheduled_at = now() - interval '1 second'")
        self.is_sent(road, message_id)
        road.execute("UPDATE messages SET state = 3, finished_at = NULL")
        assert intake.revoke(road.engine, [message_id]) == []


def test_half_a_window_before_its_end_nothing_more_is_claimed(postgres_url: str, valkey_url: str) -> None:
    """It expires while it is being sent: what was in flight is recorded, the rest says expired."""
    road = Road(postgres_url, valkey_url, window_max=20)
    topic_of(road, 200)
    message = road.send(topics=["news"])
    road.expand(message.message_id)
    # never later than it was: a claim that began before the last of these would find the message alive again
    road.provider.during = lambda _: road.execute("UPDATE messages SET expires_at = now() WHERE expires_at > now()")
    road.deliver()
    for _ in range(2):
        road.sweep()
    counted = road.statuses(message)
    assert 0 < counted[S.ACCEPTED] == len(road.provider.received) <= 40
    assert counted == {S.ACCEPTED: counted[S.ACCEPTED], S.EXPIRED: 200 - counted[S.ACCEPTED]}
    road.close()
