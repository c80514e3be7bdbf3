"""Quarantine: whatever ends its workers is found, put aside and replayed, and nobody else pays for it."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import OnUnknown
from messaging.errors import ConflictError, NotFoundError, StateConflictError
from messaging.outcome import ACCEPTED
from messaging.producer import Accepted
from messaging.publish import Publisher
from messaging.status import DeliveryStatus, MessageState
from messaging.store import expand, projects, provider_log, quarantine, starts
from messaging.store.batches import BatchRef
from messaging.store.expand import Expanding
from messaging.store.lists import Wanted
from messaging.store.quarantine import Entry, Replayed, What
from messaging.wire import TaskName
from tests.integration.road import OneAdapter, Road
from workers import fanout, intake, sweep
from workers.deliver import Deliverer
from workers.intake import IntakeTask, RefusedError
from workers.pacing import NoPacer
from workers.providers.base import Outgoing, Recipient

S = DeliveryStatus


class WorkerDiedError(BaseException):
    """Nothing after it runs, as after SIGKILL: no outcome is written, no batch given back."""


def entries(road: Road) -> list[Entry]:
    """What is in quarantine."""
    with road.engine.begin() as connection:
        return quarantine.listed(connection, road.project_id, Wanted()).entries


def replay(road: Road, entry: Entry) -> Replayed:
    """As an operator would."""
    with road.engine.begin() as connection:
        return quarantine.replay(connection, road.project_id, entry.id, expires_in_s=3600)


class Poison:
    """Sending to some addresses ends the worker, whoever is sent to beside them."""

    def __init__(self, road: Road, *tails: str) -> None:
        self.road = road
        self.tails = tails
        road.provider.answer = self.answer
        self.deaths = 0

    def answer(self, recipient: Recipient) -> Any:
        if self.tails and recipient.address.endswith(self.tails):
            raise WorkerDiedError
        return ACCEPTED

    def die_with(self, ref: BatchRef) -> None:
        """One worker ends over this batch, and its lease runs out."""
        with pytest.raises(BaseException) as caught:  # noqa: PT011  alone or in a group
            self.road.deliver(ref)
        assert not isinstance(caught.value, Exception)
        self.deaths += 1
        self.road.execute("UPDATE batches SET lease_until = now() - interval '1 second' WHERE state = 1")

    def deliver_until_done(self, most: int = 40) -> None:
        """Deliver as one worker after the other would: a lease runs out after each death."""
        for _ in range(most):
            if not self.road.batches():
                return
            try:
                self.road.make_due()
                self.road.deliver()
            except (WorkerDiedError, BaseExceptionGroup):
                self.deaths += 1
                self.road.execute("UPDATE batches SET lease_until = now() - interval '1 second' WHERE state = 1")
        pytest.fail(f"still open after {most} workers: {self.road.batches()}")


def sent_to_topic(road: Road, count: int, **more: Any) -> Accepted:
    """A message to a topic of `count` devices, expanded."""
    road.add_topic("news", road.add_push_targets(count, provider=road.add_provider("apns", "apns")))
    sent = road.send(topics=["news"], **more)
    road.expand(sent.message_id)
    return sent


class TestADelivery:
    """One address ends every worker that sends to it."""

    def test_is_put_aside_alone_and_the_others_go_out(self, road: Road) -> None:
        """After three deaths its batch is sent one by one; two more show which it is. The sums are exact."""
        sent = sent_to_topic(road, 60)
        poison = Poison(road, f"{37:064x}")
        poison.deliver_until_done()
        road.sweep()
        assert poison.deaths == road.settings.max_deaths + 2
        assert road.statuses(sent) == {S.ACCEPTED: 59, S.UNKNOWN: 1}
        (aside,) = [d for d in road.deliveries(sent) if d.status is S.UNKNOWN]
        assert (aside.target_id, aside.error_code) == ("t37", "quarantined")
        assert "ended one worker after the other" in str(aside.error)
        view = road.view(sent)
        assert (view.state, view.total, view.totals) == (MessageState.SENT, 60, road.statuses(sent))
        (entry,) = entries(road)
        assert (entry.what, entry.message_id, entry.target_id, entry.deliveries) == (
            What.DELIVERY,
            sent.public_id,
            "t37",
            1,
        )

    def test_two_of_them_in_one_batch_are_both_found(self, road: Road) -> None:
        """And nobody else is taken for one of them, however often he was in flight beside them."""
        sent = sent_to_topic(road, 40)
        poison = Poison(road, f"{3:064x}", f"{29:064x}")
        poison.deliver_until_done()
        assert road.statuses(sent) == {S.ACCEPTED: 38, S.UNKNOWN: 2}
        assert {d.target_id for d in road.deliveries(sent) if d.status is S.UNKNOWN} == {"t3", "t29"}
        assert {entry.target_id for entry in entries(road)} == {"t3", "t29"}

    def test_is_told_in_the_log_of_its_provider(self, road: Road) -> None:
        sent_to_topic(road, 12)
        Poison(road, f"{5:064x}").deliver_until_done()
        with road.engine.begin() as connection:
            logged = provider_log.listed(connection, road.project_id, "apns", Wanted()).entries
        assert [entry.what for entry in logged] == ["quarantined"]

    def test_with_hold_nobody_is_sent_twice(self, road: Road) -> None:
        """What was in flight ends as unknown at the first death; a replay does not send it again."""
        sent = sent_to_topic(road, 30, on_unknown=OnUnknown.HOLD)
        poison = Poison(road, f"{4:064x}")
        poison.deliver_until_done()
        assert road.provider.doubled == 0
        assert poison.deaths == 1
        assert set(road.statuses(sent)) <= {S.ACCEPTED, S.UNKNOWN}

    def test_replayed_once_mended_it_goes_out(self, road: Road) -> None:
        sent = sent_to_topic(road, 20)
        poison = Poison(road, f"{4:064x}")
        poison.deliver_until_done()
        road.sweep()
        poison.tails = ()
        assert replay(road, entries(road)[0]).deliveries == 1
        assert road.view(sent).state is MessageState.PROCESSING
        poison.deliver_until_done()
        road.sweep()
        assert road.statuses(sent) == {S.ACCEPTED: 20}
        assert road.view(sent).totals == {S.ACCEPTED: 20}
        assert entries(road) == []

    def test_replayed_unmended_it_ends_one_worker_more(self, road: Road) -> None:
        sent = sent_to_topic(road, 20)
        poison = Poison(road, f"{4:064x}")
        poison.deliver_until_done()
        before = poison.deaths
        replay(road, entries(road)[0])
        poison.deliver_until_done()
        assert poison.deaths == before + 1
        assert road.statuses(sent) == {S.ACCEPTED: 19, S.UNKNOWN: 1}
        assert [entry.target_id for entry in entries(road)] == ["t4"]

    def test_settled_by_a_receipt_it_is_not_sent_again(self, road: Road) -> None:
        """Its entry goes, and that is all."""
        sent = sent_to_topic(road, 20)
        poison = Poison(road, f"{4:064x}")
        poison.deliver_until_done()
        road.execute("UPDATE deliveries SET status = 4, error_code = NULL WHERE error_code = 'quarantined'")
        road.execute("UPDATE batches SET unknown = 0, delivered = delivered + 1")
        assert replay(road, entries(road)[0]).deliveries == 0
        assert entries(road) == []
        assert road.statuses(sent)[S.DELIVERED] == 1

    def test_a_machine_that_fails_now_and_then_puts_nobody_aside(self, road: Road) -> None:
        """Each death hits somebody else: all of them go out, counted as doubtful."""
        sent = sent_to_topic(road, 30)
        hit: set[str] = set()

        def answer(recipient: Recipient) -> Any:
            if len(hit) == poison.deaths < 8 and recipient.tag not in hit:
                hit.add(recipient.tag)
                raise WorkerDiedError
            return ACCEPTED

        poison = Poison(road)
        road.provider.answer = answer
        poison.deliver_until_done()
        assert poison.deaths == len(hit) == 8
        assert road.statuses(sent) == {S.ACCEPTED: 30}
        assert entries(road) == []

    def test_of_two_suspects_in_one_process_one_waits(self, road: Road) -> None:
        """So that what is in flight at a death is what the worker died of."""
        sent_to_topic(road, 12)
        road.expand(road.send(topics=["news"]).message_id)
        road.execute("UPDATE batches SET deaths = :most", most=road.settings.max_deaths)
        one: Any = OneAdapter(road.provider)  # stands for Adapters
        one_has_ended = threading.Event()

        def wait_for_the_other(_: Recipient) -> None:
            one_has_ended.wait(60)  # else this one could be done before the other begins

        road.provider.during = wait_for_the_other

        async def both_at_once() -> list[str]:
            deliverer = Deliverer(road.engine, road.vault, road.settings, NoPacer(), one, road.publisher.publish)
            both = [asyncio.create_task(deliverer.deliver(ref)) for ref in road.batches()]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            one_has_ended.set()
            return await asyncio.gather(*both)

        assert min(asyncio.run(both_at_once())) == "12 sent, done"
        assert len(road.provider.received) == 12
        (left,) = road.batches()
        road.make_due()
        assert road.deliver(left) == ["12 sent, done"]


class TestAMessage:
    """Its content ends every worker that prepares it, before anything is sent."""

    def poisonous(self, road: Road) -> Poison:
        """A provider whose preparing kills."""

        def prepare(outgoing: Outgoing) -> object:
            if self.is_deadly:
                raise WorkerDiedError
            return outgoing

        self.is_deadly = True
        road.provider.prepare = prepare  # type: ignore[method-assign]  # what a library does to one message
        return Poison(road)

    def test_is_put_aside_with_all_its_batches(self, road: Road) -> None:
        """Certainly not sent: failed, with the reason; the message ends, and counts them."""
        road.settings = road.settings.model_copy(update={"task_size": 10})
        poison = self.poisonous(road)
        sent = sent_to_topic(road, 35)
        (first, *_) = road.batches()
        for _ in range(2 * road.settings.max_deaths):
            poison.die_with(first)
        assert road.deliver(first) == ["nothing to do"]
        assert road.provider.received == []
        assert road.statuses(sent) == {S.FAILED: 35}
        assert {d.error_code for d in road.deliveries(sent)} == {"quarantined"}
        road.sweep()
        assert (road.view(sent).state, road.view(sent).totals) == (MessageState.FAILED, {S.FAILED: 35})
        assert [(entry.what, entry.deliveries) for entry in entries(road)] == [(What.BATCH, 5)] + [(What.BATCH, 10)] * 3

    def test_replayed_once_mended_it_goes_out(self, road: Road) -> None:
        poison = self.poisonous(road)
        sent = sent_to_topic(road, 20)
        poison.deliver_until_done()
        assert poison.deaths == 2 * road.settings.max_deaths
        self.is_deadly = False
        assert replay(road, entries(road)[0]).deliveries == 20
        poison.deliver_until_done()
        assert road.statuses(sent) == {S.ACCEPTED: 20}

    def test_replayed_unmended_it_ends_one_worker_more(self, road: Road) -> None:
        poison = self.poisonous(road)
        sent = sent_to_topic(road, 20)
        poison.deliver_until_done()
        before = poison.deaths
        replay(road, entries(road)[0])
        poison.deliver_until_done()
        assert poison.deaths == before + 1
        assert road.statuses(sent) == {S.FAILED: 20}

    def test_of_a_cancelled_message_nothing_is_replayed(self, road: Road) -> None:
        poison = self.poisonous(road)
        sent_to_topic(road, 20)
        poison.deliver_until_done()
        road.execute("UPDATE messages SET state = 7")
        with pytest.raises(StateConflictError, match="was cancelled"):
            replay(road, entries(road)[0])


class TestAFanOut:
    """Finding the recipients of a message ends every worker that tries."""

    def poisonous(self, road: Road, monkeypatch: pytest.MonkeyPatch, *, pages: int = 0) -> Accepted:
        """A message to a topic whose fan-out dies after `pages` pages, each of 100 targets."""
        road.add_topic("news", road.add_push_targets(250, provider=road.add_provider("apns", "apns")))
        sent = road.send(topics=["news"])
        assert sent.message_id is not None

        def expand_page(connection: Any, expanding: Expanding, *arguments: Any, **more: Any) -> Any:
            if expanding.cursor >= pages * 100:
                os.kill(os.getpid(), signal.SIGSEGV)
            return expand.expand_page(connection, expanding, *arguments, **more)

        monkeypatch.setattr(fanout, "expand_page", expand_page)
        return sent

    def hinted_again(self, road: Road) -> None:
        """The sweep repeats the hint of a fan-out that did not move."""
        road.execute("UPDATE messages SET hinted_at = now() - interval '1 hour'")
        road.execute("UPDATE starts SET started_at = now() - interval '1 hour'")
        road.sweep()

    def die(self, road: Road, sent: Accepted) -> None:
        """As many workers as it may end, each a process of its own."""
        for _ in range(road.settings.max_deaths):
            assert died(road, lambda: road.expand(sent.message_id)) == signal.SIGSEGV
            self.hinted_again(road)

    def test_that_never_began_fails_with_the_reason(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replayed once mended, it goes out."""
        sent = self.poisonous(road, monkeypatch)
        self.die(road, sent)
        road.expand(sent.message_id)
        view = road.view(sent)
        assert view.state is MessageState.FAILED
        assert "ended the worker 3 times" in str(view.failure)
        assert [(entry.what, entry.message_id) for entry in entries(road)] == [(What.FAN_OUT, sent.public_id)]
        monkeypatch.undo()
        replay(road, entries(road)[0])
        self.hinted_again(road)
        road.expand(sent.message_id)
        road.deliver()
        road.sweep()
        assert road.statuses(sent) == {S.ACCEPTED: 250}
        assert (road.view(sent).state, road.view(sent).failure) == (MessageState.SENT, None)

    def test_that_died_half_way_keeps_what_it_had(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those expanded before are sent; a replay finds the rest, and nobody twice."""
        sent = self.poisonous(road, monkeypatch, pages=1)
        self.die(road, sent)
        road.expand(sent.message_id)
        road.deliver()
        road.sweep()
        view = road.view(sent)
        assert (view.totals, view.finished_at is not None) == ({S.ACCEPTED: 100}, True)
        assert "ended the worker" in str(view.failure)
        monkeypatch.undo()
        replay(road, entries(road)[0])
        self.hinted_again(road)
        road.expand(sent.message_id)
        road.deliver()
        road.sweep()
        assert road.statuses(sent) == {S.ACCEPTED: 250}
        assert road.provider.doubled == 0

    def test_that_another_worker_may_be_at_is_left_to_it(self, road: Road) -> None:
        """Doubled hints are no deaths."""
        road.add_topic("news", road.add_push_targets(20, provider=road.add_provider("apns", "apns")))
        sent = road.send(topics=["news"])
        assert sent.message_id is not None
        with road.engine.begin() as connection:
            assert starts.note_fan_out(connection, sent.message_id, again=True, lease_s=60) == 1
        for _ in range(road.settings.max_deaths + 1):
            said = fanout.expand(road.engine, road.settings, road.publisher, sent.message_id, again=True)
            assert said == "another worker is at it"
        assert road.view(sent).state is MessageState.PROCESSING

    def test_that_is_healthy_leaves_no_trace(self, road: Road) -> None:
        road.add_topic("news", road.add_push_targets(20, provider=road.add_provider("apns", "apns")))
        sent = road.send(topics=["news"])
        assert sent.message_id is not None
        assert "complete" in fanout.expand(road.engine, road.settings, road.publisher, sent.message_id, again=True)
        assert noted(road) == 0


class TestATask:
    """Taking in a task of a producer ends every worker that tries."""

    TASK = IntakeTask(task_id="task-1", name=TaskName.SEND_PUSH, kwargs={"title": "Hello", "targets": ["t1"]})

    def poisonous(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading it kills."""
        road.add_push_targets(3, provider=road.add_provider("apns", "apns"))
        monkeypatch.setattr(intake, "request_of", lambda _: os.kill(os.getpid(), signal.SIGSEGV))

    def take(self, road: Road, *, again: bool) -> str:
        return intake.take(road.engine, road.vault, road.settings, replace(self.TASK, again=again)).message_id

    def die(self, road: Road) -> None:
        """As many workers as it may end; from the second on, the broker says that it comes again."""
        for number in range(road.settings.max_deaths):
            assert died(road, lambda again=number > 0: self.take(road, again=again)) == signal.SIGSEGV  # type: ignore[misc]

    def test_is_put_aside_encrypted(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next worker refuses it, so that it leaves the queue; nothing of it can be read in the database."""
        self.poisonous(road, monkeypatch)
        self.die(road)
        with pytest.raises(RefusedError, match="put aside"):
            self.take(road, again=True)
        (entry,) = entries(road)
        assert (entry.what, entry.task_id, entry.task_name) == (What.TASK, "task-1", "messaging.send_push")
        with road.engine.begin() as connection:
            kept = connection.execute(text("SELECT sealed, quarantine::text AS row FROM quarantine")).one()
        assert b"Hello" not in bytes(kept.sealed)
        assert "Hello" not in kept.row
        assert noted(road) == 0

    def test_replayed_once_mended_it_becomes_the_message_it_was(
        self, road: Road, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Under the id of its task; the entry is gone."""
        self.poisonous(road, monkeypatch)
        self.die(road)
        with pytest.raises(RefusedError):
            self.take(road, again=True)
        monkeypatch.undo()
        (entry,) = entries(road)
        assert intake.replay(road.engine, road.vault, road.settings, entry.id) is None, "nobody has asked for it"
        (hint,) = replay(road, entry).hints
        assert (hint.task, hint.argument) == (TaskName.REPLAY, entry.id)
        taken = intake.replay(road.engine, road.vault, road.settings, entry.id)
        assert taken is not None
        assert road.view(taken.message_id).total == 1
        assert taken.message_id == self.take(road, again=False), "the same task is the same message"
        assert entries(road) == []

    def test_replayed_unmended_it_stays_where_it_is(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """One worker more, and the entry says when it was tried."""
        self.poisonous(road, monkeypatch)
        self.die(road)
        with pytest.raises(RefusedError):
            self.take(road, again=True)
        (entry,) = entries(road)
        replay(road, entry)
        once_more = died(road, lambda: intake.replay(road.engine, road.vault, road.settings, entry.id))
        assert once_more == signal.SIGSEGV
        assert [(each.id, each.replayed_at is not None) for each in entries(road)] == [(entry.id, True)]

    def test_whose_person_was_erased_is_not_replayed(self, road: Road) -> None:
        """There is nothing left of what it said."""
        with road.engine.begin() as connection:
            quarantine.put_aside_task(
                connection, road.vault, road.project_id, task_id="t", task_name="n", said={}, deaths=3
            )
        road.execute("UPDATE quarantine SET sealed = NULL")
        with pytest.raises(ConflictError, match="erased"):
            replay(road, entries(road)[0])

    def test_that_is_healthy_leaves_no_trace(self, road: Road) -> None:
        """However often it is handed out: a dropped connection is no death."""
        road.add_push_targets(3, provider=road.add_provider("apns", "apns"))
        for _ in range(road.settings.max_deaths + 2):
            assert self.take(road, again=True) == self.take(road, again=True)
        assert noted(road) == 0
        assert entries(road) == []


def test_an_entry_of_another_project_is_not_found(road: Road) -> None:
    """Nor one that is not there."""
    sent_to_topic(road, 12)
    Poison(road, f"{5:064x}").deliver_until_done()
    (entry,) = entries(road)
    with road.engine.begin() as connection:
        other = projects.ensure(connection, "other")
        assert quarantine.listed(connection, other, Wanted()).entries == []
        for named in (entry.id, "99999", "x"):
            with pytest.raises(NotFoundError):
                quarantine.replay(connection, other, named, expires_in_s=60)


def test_what_is_old_is_forgotten(road: Road) -> None:
    """A task after thirty days, as it may hold addresses; the rest with its month."""
    with road.engine.begin() as connection:
        for _ in range(2):
            quarantine.put_aside_task(
                connection, road.vault, road.project_id, task_id="t", task_name="n", said={}, deaths=3
            )
    road.execute(
        "UPDATE quarantine SET created_at = now() - interval '31 days' WHERE id = (SELECT min(id) FROM quarantine)"
    )
    sweep.keep_house(road.engine, road.settings)
    assert len(entries(road)) == 1


def died(road: Road, work: Callable[[], object]) -> int:
    """The signal that ended a process of its own in which `work` was done; 0 if none did."""
    child = os.fork()
    if not child:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        road.engine.dispose(close=False)
        try:
            road.publisher = Publisher(road.settings)
            work()
        finally:
            os._exit(0)  # whatever it raised: the other tests are the parent's
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def noted(road: Road) -> int:
    """Work that was begun and has not ended."""
    with road.engine.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM starts")).scalar_one())
