"""A small world over the real ledger: messages, workers that may die, a provider whose truth is known, and an audit.

Every statement is the product's own; what stands in is only what a test must hold in its hand: which request arrived,
when a lease has run out, and which hint was lost (all of them: workers are called directly).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import text

from messaging.channel import Channel, OnUnknown
from messaging.errors import ConflictError, NotFoundError
from messaging.ids import delivery_tag
from messaging.outcome import Action, Outcome
from messaging.producer import Accepted
from messaging.publish import Publisher
from messaging.receipt import Event, Receipt
from messaging.status import MOVES, OPEN, DeliveryStatus, MessageState, finished_state
from messaging.store import dead_targets, message_changes, messages, projects, provider_stops, receipt_effects
from messaging.store.batches import BatchRef, Hint, LeaseLostError
from messaging.store.dead_targets import Dead
from messaging.store.ledger import Claimed
from messaging.store.receipt_effects import Source
from messaging.store.retry_failed import retry_failed
from messaging.wire import Queue
from tests.integration.road import HELLO, OneAdapter, Road
from workers.book import DatabaseBook
from workers.deliver import Deliverer
from workers.pacing import NoPacer
from workers.pipeline import Answered
from workers.providers.base import Outgoing, Recipient
from workers.retry import RetryPolicy, decide

S = DeliveryStatus
MAX_ATTEMPTS = 3
WINDOW = 2
SMALL: Mapping[str, int] = {
    "page_size": 2,
    "task_size": 2,
    "window_max": 2,
    "small_audience": 3,
    "max_attempts": MAX_ATTEMPTS,
    "backoff_min_s": 60,
    "backoff_max_s": 600,
}
"""Small pages, batches and windows, so that few targets are many batches; what waits does so until it is told."""
SETTLED_WITHOUT_ARRIVING = frozenset({S.FAILED, S.EXPIRED, S.CANCELLED, S.SUPPRESSED})

ARRIVED = (
    Outcome(Action.ACCEPTED, provider_message_id="its own id"),
    Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer"),
)
"""What the worker may hear of a request that arrived."""
NOT_ARRIVED = (
    Outcome(Action.RETRY, "503", "later"),
    Outcome(Action.RETRY_AFTER, "429", "slow down"),
    Outcome(Action.RECONNECT_RETRY, "goaway", "not processed"),
    Outcome(Action.AMBIGUOUS_RETRY, "timeout", "no answer"),
    Outcome(Action.REJECT_MESSAGE, "bad_content", "refused"),
    Outcome(Action.DISABLE_TARGET, "unregistered", "dead"),
    Outcome(Action.SUPPRESS_TARGET, "opted_out", "stop"),
    Outcome(Action.STOP_PROVIDER, "no_route", "not there", one_route=True),
    Outcome(Action.STOP_PROVIDER, "key", "the key is wrong"),
    Outcome(Action.QUOTA, "credit", "used up"),
)
"""What it may hear of one that did not."""
FOR_GOOD = frozenset({Action.REJECT_MESSAGE, Action.DISABLE_TARGET, Action.SUPPRESS_TARGET})

_AUDIT = (
    """CREATE TABLE IF NOT EXISTS seen_moves (
        id bigserial PRIMARY KEY, month date, message_id bigint, target_id bigint, batch_id bigint, was int,
        became int, doubted boolean, message_state int, expired boolean)""",
    """CREATE OR REPLACE FUNCTION see_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen_moves (month, message_id, target_id, batch_id, was, became, doubted, message_state, expired)
        SELECT NEW.month, NEW.message_id, NEW.target_id, NEW.batch_id, OLD.status, NEW.status,
               NEW.doubts > OLD.doubts, m.state, m.expires_at <= now() FROM messages m WHERE m.id = NEW.message_id;
        RETURN NULL; END $$""",
    """CREATE OR REPLACE TRIGGER see_move AFTER UPDATE ON deliveries FOR EACH ROW
        WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION see_move()""",
)
"""The database itself notes each move of a status, and what its message said at that moment."""


class Key(NamedTuple):
    """A delivery."""

    message_id: int
    target_id: int


class LosesHints(Publisher):
    """A broker that takes every hint and delivers none: the world decides who works on what."""

    def publish(self, hints: Sequence[Hint]) -> bool:
        """Taken, and lost."""
        return hints is not None

    def room(self, queue: Queue) -> int:
        """There is always room."""
        return 100 if queue else 0


@dataclass
class Flight:
    """A request on its way."""

    claimed: Claimed
    arrived: bool


@dataclass
class Worker:
    """Somebody who leased a batch, and may be dead without knowing it."""

    ref: BatchRef
    opened: Any
    book: DatabaseBook
    cursor: int
    flights: list[Flight] = field(default_factory=list)


class World:
    """One project and what happens to it; `check` compares the ledger with what is known to be true."""

    def __init__(self, road: Road, number: int) -> None:
        self.road = road
        with road.engine.begin() as connection:
            for statement in _AUDIT:
                connection.exec_driver_sql(statement)
            road.project_id = projects.ensure(connection, f"world{number}")
            self.first_message = int(
                connection.execute(text("SELECT coalesce(max(id), 0) + 1 FROM messages")).scalar_one()
            )
            self._seen = int(connection.execute(text("SELECT coalesce(max(id), 0) FROM seen_moves")).scalar_one())
        self.providers = [road.add_provider(name, "apns", priority=p) for p, name in enumerate(("first", "second"))]
        self.targets = road.add_push_targets(4)
        road.add_topic("news", self.targets[1:])
        self.messages: list[Accepted] = []
        self.workers: list[Worker] = []
        self.arrivals: Counter[Key] = Counter()
        """Requests that arrived since somebody last asked for another one."""
        self.refused: set[Key] = set()
        """The provider's last word on these was never."""
        self.bounced: set[Key] = set()
        self.doubtful: Counter[int] = Counter()
        self.may_reopen = False
        self.refs: list[BatchRef] = []
        """Every batch, ended ones included: hints come late and twice."""
        self.answer: Callable[[int], tuple[bool, Outcome]] = lambda _: (True, ARRIVED[0])
        one: Any = OneAdapter(Provider(self))  # stands for Adapters
        self.deliverer = Deliverer(road.engine, road.vault, road.settings, NoPacer(), one, road.publisher.publish)

    # -- the provider ----------------------------------------------------------------------------------

    def hear(self, key: Key) -> Outcome:
        """What the provider does with a request, and says."""
        arrived, outcome = self.answer(key.target_id - self.targets[0])
        self._note(key, arrived=arrived)
        self._heard(key, outcome)
        return outcome

    def _note(self, key: Key, *, arrived: bool) -> None:
        self.refused.discard(key)
        if arrived:
            self.arrivals[key] += 1
            self.bounced.discard(key)

    def _heard(self, key: Key, outcome: Outcome) -> None:
        if outcome.action in FOR_GOOD:
            self.refused.add(key)

    # -- what people do ------------------------------------------------------------------------------

    def send_message(self, *, to_topic: bool, hold: bool, later: bool) -> None:
        """Accept a message: to a topic, expanded page by page, or to two targets at once."""
        audience: dict[str, list[str]] = {"topics": ["news"]} if to_topic else {"targets": ["t0", "t1"]}
        try:
            sent = self.road.send(HELLO, on_unknown=OnUnknown.HOLD if hold else OnUnknown.RETRY, **audience)
        except NotFoundError:
            return  # a target was deleted
        if later and to_topic:
            self.road.execute(
                "UPDATE messages SET state = 1, scheduled_at = now() - interval '1 second'"
                " WHERE id = :id AND month IS NULL AND finished_at IS NULL",
                id=sent.message_id,
            )
        self.messages.append(sent)

    def control(self, message: Accepted, change: Callable[..., MessageState]) -> None:
        """Cancel, pause or resume, where that is allowed."""
        try:
            with self.road.engine.begin() as connection:
                change(connection, self.road.project_id, message.public_id)
        except (ConflictError, NotFoundError):
            return

    def delete(self, message: Accepted) -> None:
        """Take the message away, where that is allowed."""
        try:
            with self.road.engine.begin() as connection:
                message_changes.delete(connection, self.road.project_id, message.public_id)
        except (ConflictError, NotFoundError):
            return

    def retry(self, message: Accepted, codes: Sequence[str]) -> None:
        """Send again what failed, where that is allowed."""
        self.may_reopen = True
        try:
            with self.road.engine.begin() as connection:
                view = messages.view(connection, self.road.project_id, message.public_id)
                retry_failed(connection, view, codes=codes, expires_in_s=60)
        except (ConflictError, NotFoundError):
            return

    # -- what workers do -----------------------------------------------------------------------------

    def lease(self, ref: BatchRef) -> Worker | None:
        """Somebody takes the batch, if it is to be had."""
        with self.road.engine.begin() as connection:
            opened = self.deliverer._open(connection, ref)
        if opened is None:
            return None
        owned = opened.lease
        book = DatabaseBook(self.road.engine, owned, self.road.settings.lease_s, finds_by_id=True)
        worker = Worker(ref, opened, book, owned.first_target - 1)
        self.workers.append(worker)
        return worker

    def is_owner(self, worker: Worker) -> bool:
        """Whether the worker's lease still runs, as the table says."""
        with self.road.engine.begin() as connection:
            return bool(
                connection.execute(
                    text("""SELECT EXISTS (SELECT 1 FROM batches WHERE month = :month AND id = :id AND state = 1
                                              AND claim = :claim AND lease_until > now())"""),
                    {"month": worker.ref.month, "id": worker.ref.id, "claim": worker.opened.lease.claim},
                ).scalar_one()
            )

    def claim(self, worker: Worker, arrive: Sequence[bool]) -> None:
        """Claim a window and send it."""
        alive = self.is_owner(worker)
        try:
            window = asyncio.run(worker.book.claim(after=worker.cursor, window=WINDOW))
        except LeaseLostError:
            assert not alive, "a worker that owns its batch was refused"
            return
        assert alive, "a worker whose lease ran out claimed"
        if window is None:
            return
        worker.cursor = window.cursor
        for claimed, arrived in zip(window.claimed, (*arrive, *[True] * WINDOW), strict=False):
            self._note(Key(worker.opened.lease.message_id, claimed.target_id), arrived=arrived)
            worker.flights.append(Flight(claimed, arrived))

    def answers(self, worker: Worker, choices: Sequence[int], *, withdraw: bool) -> None:
        """The provider answers what is in flight, and the worker writes that down."""
        opened = worker.opened
        policy = RetryPolicy(MAX_ATTEMPTS, 60.0, 600.0, opened.message.on_unknown)
        answered, worker.flights = worker.flights[: len(choices)], worker.flights[len(choices) :]
        verdicts, dead, suppressed = [], [], []
        alive = self.is_owner(worker)
        for flight, choice in zip(answered, choices, strict=False):
            outcome = (ARRIVED if flight.arrived else NOT_ARRIVED)[choice % (2 if flight.arrived else len(NOT_ARRIVED))]
            key = Key(opened.lease.message_id, flight.claimed.target_id)
            if alive or self._is_latest(worker, flight):
                self._heard(key, outcome)
            verdicts.append(decide(flight.claimed, outcome, policy, lambda _low, high: high))
            if outcome.action is Action.DISABLE_TARGET:
                dead.append(Dead(flight.claimed.target_id, None))
            if outcome.action is Action.SUPPRESS_TARGET:
                suppressed.append((flight.claimed.target_id, outcome.code))
        self.may_reopen = withdraw
        try:
            asyncio.run(worker.book.record(Answered(verdicts, dead, suppressed, withdraw)))
        except LeaseLostError:
            assert not alive, "a worker that owns its batch was refused"
        else:
            assert alive, "a worker whose lease ran out wrote"

    def _is_latest(self, worker: Worker, flight: Flight) -> bool:
        """Whether nobody else has sent this one since."""
        with self.road.engine.begin() as connection:
            claim = connection.execute(
                text("SELECT claim FROM deliveries WHERE month = :m AND message_id = :i AND target_id = :t"),
                {"m": worker.ref.month, "i": worker.opened.lease.message_id, "t": flight.claimed.target_id},
            ).scalar_one()
        return bool(claim == worker.opened.lease.claim)

    def give_back(self, worker: Worker, *, fail_over: bool) -> None:
        """Let the batch go; what is in flight then is never answered."""
        alive = self.is_owner(worker)
        self.workers.remove(worker)
        try:
            asyncio.run(self.deliverer._give_back(worker.opened.lease, 0.0, None, fail_over=fail_over))
        except LeaseLostError:
            assert not alive

    def crash(self, worker: Worker, *, wakes: bool) -> None:
        """The lease runs out; the worker is gone, or wakes later and goes on as if nothing had happened."""
        self.road.execute(
            "UPDATE batches SET lease_until = now() - interval '1 second'"
            " WHERE month = :month AND id = :id AND claim = :claim AND state = 1",
            month=worker.ref.month,
            id=worker.ref.id,
            claim=worker.opened.lease.claim,
        )
        if not wakes:
            self.workers.remove(worker)

    def deliver(self, ref: BatchRef, answer: Callable[[int], tuple[bool, Outcome]]) -> None:
        """A whole run of the real worker over one batch."""
        self.answer = answer
        self.may_reopen = True  # its guard may take verdicts back
        asyncio.run(self.deliverer.deliver(ref))

    # -- what providers do ---------------------------------------------------------------------------

    def tell(self, provider: int, event: Event, key: Key | None, *, by_id: bool, told: int) -> None:
        """A receipt, about a delivery of ours or about none."""
        tag, number = "d1-1-1", None
        if key is not None:
            tag = self._tag(key)
            number = "its own id" if by_id else None
        action = {Event.BOUNCED_HARD: Action.DISABLE_TARGET, Event.UNSUBSCRIBED: Action.SUPPRESS_TARGET}.get(
            event, Action.NONE
        )
        receipt = Receipt(
            event=event,
            key=f"{told}",
            tag=None if number else tag,
            provider_message_id=number,
            action=action,
            code="told" if action is not Action.NONE else "",
        )
        before = self.rows()
        with self.road.engine.begin() as connection:
            source = Source(provider, self.road.project_id, Channel.PUSH, finds_by_id=True)
            receipt_effects.apply(connection, self.road.vault, source, [receipt])
        for name, row in self.rows().items():
            if row["status"] is S.FAILED and before[name]["status"] is not S.FAILED:
                self.bounced.add(name)

    def _tag(self, key: Key) -> str:
        with self.road.engine.begin() as connection:
            month: date = connection.execute(
                text("SELECT month FROM messages WHERE id = :id"), {"id": key.message_id}
            ).scalar_one()
        return delivery_tag(month, *key)

    def stop(self, provider: int, action: Action | None) -> None:
        """The account stops, for ever or for a while."""
        with self.road.engine.begin() as connection:
            provider_stops.stop_for(connection, provider, "told to", action=action)

    def start(self, provider: int) -> None:
        """It works again."""
        with self.road.engine.begin() as connection:
            provider_stops.start(connection, provider)
        self.road.execute("UPDATE providers SET enabled = true WHERE id = :id", id=provider)

    def take_back(self, provider: int) -> None:
        """The guard does not believe the account's verdicts any more."""
        self.may_reopen = True
        with self.road.engine.begin() as connection:
            dead_targets.withdraw(connection, provider, reason="most were dead")

    # -- what is true --------------------------------------------------------------------------------

    def rows(self) -> dict[Key, dict[str, Any]]:
        """The ledger of this world."""
        with self.road.engine.begin() as connection:
            found = connection.execute(
                text("SELECT * FROM deliveries WHERE message_id >= :first"), {"first": self.first_message}
            ).mappings()
            rows = [dict(row) | {"status": S.of(row["status"])} for row in found]
        by_key = {Key(row["message_id"], row["target_id"]): row for row in rows}
        assert len(by_key) == len(rows), "a target has two rows of one message"
        return by_key

    def check(self) -> None:
        """Everything that must hold at any moment."""
        self._check_moves()
        rows = self.rows()
        for key, row in rows.items():
            assert 0 <= row["attempts"] <= MAX_ATTEMPTS, (key, row)
            assert self.arrivals[key] <= 1 or row["doubts"], f"{key} arrived twice and nobody doubts: {row}"
            if row["status"] in SETTLED_WITHOUT_ARRIVING and self.arrivals[key]:
                assert key in self.refused | self.bounced, f"{key} arrived and is called {row['status']}: {row}"
        with self.road.engine.begin() as connection:
            where = {"first": self.first_message}
            batches = (
                connection.execute(text("SELECT * FROM batches WHERE message_id >= :first ORDER BY id"), where)
                .mappings()
                .all()
            )
            self.refs = [BatchRef(batch["month"], batch["id"]) for batch in batches]
            told = connection.execute(text("SELECT * FROM messages WHERE id >= :first"), where).mappings().all()
        of_batch: dict[int, Counter[S]] = {}
        for row in rows.values():
            of_batch.setdefault(row["batch_id"], Counter())[row["status"]] += 1
        for batch in batches:
            counted = of_batch.get(batch["id"], Counter())
            assert batch["total"] == counted.total(), f"batch {batch['id']} counts {batch['total']}, has {counted}"
            for status in S:
                if status.is_settled:
                    assert batch[status.value] == counted[status], (
                        f"batch {batch['id']}: {status} {counted} {dict(batch)}"
                    )
            assert batch["doubtful"] == self.doubtful[batch["id"]]
            if batch["state"] == 2:
                assert not OPEN & counted.keys(), f"batch {batch['id']} is done and has {counted}"
        for message in told:
            if message["finished_at"] is not None and message["month"] is not None:
                self._check_finished(
                    message, {key: row for key, row in rows.items() if key.message_id == message["id"]}
                )

    @staticmethod
    def _check_finished(message: Any, rows: dict[Key, dict[str, Any]]) -> None:
        totals = Counter(row["status"] for row in rows.values())
        assert not OPEN & totals.keys(), f"message {message['id']} is finished and has {totals}"
        stored = dict(message["totals"])
        assert stored.pop("total", 0) == totals.total()
        assert stored == {status.value: by for status, by in totals.items()}, message["id"]
        if message["state"] != MessageState.CANCELLED.code:
            assert MessageState.of(message["state"]) is finished_state(totals), (message["id"], totals)

    def _check_moves(self) -> None:
        """Each move that was made is in the table, and was made when it may be."""
        with self.road.engine.begin() as connection:
            moves = connection.execute(
                text("SELECT * FROM seen_moves WHERE id > :seen AND message_id >= :first ORDER BY id"),
                {"seen": self._seen, "first": self.first_message},
            ).all()
        for move in moves:
            self._seen = move.id
            was, became = S.of(move.was), S.of(move.became)
            assert became in MOVES[was], f"{was} to {became} is not permitted"
            key = Key(move.message_id, move.target_id)
            if was.is_settled and became in OPEN:
                assert self.may_reopen, f"{key} was {was} and is {became}"
                self.arrivals[key] = 0
                self.bounced.discard(key)
            if became is S.SENDING:
                assert MessageState.of(move.message_state) is MessageState.PROCESSING, f"{key} sent, though stopped"
                assert not move.expired, f"{key} sent, though expired"
            if became is S.RETRYING and move.doubted:
                self.doubtful[move.batch_id] += 1
        self.may_reopen = False

    # -- the end -------------------------------------------------------------------------------------

    def settle(self, *, by_expiry: bool) -> None:
        """Nobody interferes any more: with providers that work, or by expiry without any worker, all of it ends."""
        self.workers.clear()
        self.road.execute("UPDATE batches SET lease_until = now() - interval '1 second' WHERE state = 1")
        if by_expiry:
            self.road.execute("UPDATE messages SET expires_at = now() WHERE id >= :first", first=self.first_message)
        else:
            for provider in self.providers:
                self.start(provider)
            for message in self.messages:
                self.control(message, messages.resume)
        for _ in range(2 * MAX_ATTEMPTS + 4):
            self.road.sweep()
            if not by_expiry:
                for message in self.messages:
                    self.road.expand(message.message_id)
                self.road.make_due()
                self.check()
                for ref in self.refs:
                    self.deliver(ref, lambda _: (True, ARRIVED[0]))
            self.check()
            if not self._unfinished():
                break
        left = self._unfinished()
        assert not left, f"these never end: {left}"

    def _unfinished(self) -> list[int]:
        with self.road.engine.begin() as connection:
            return list(
                connection.execute(
                    text("SELECT id FROM messages WHERE id >= :first AND finished_at IS NULL"),
                    {"first": self.first_message},
                ).scalars()
            )

    def leave(self) -> None:
        """Let the next world find nothing of this one to do."""
        self.road.execute(
            "UPDATE messages SET finished_at = now(), state = 7 WHERE id >= :first AND finished_at IS NULL",
            first=self.first_message,
        )
        self.road.execute("UPDATE batches SET state = 2 WHERE state <> 2")
        self.road.execute("DELETE FROM dead_verdicts")


class Provider:
    """The world's provider as an adapter: it answers as told, and the world learns what arrived."""

    def __init__(self, world: World) -> None:
        self._world = world

    def prepare(self, outgoing: Outgoing) -> object:
        return outgoing

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:  # noqa: ARG002  a fake's
        return [self._world.hear(Key(int(r.tag.split("-")[1], 16), r.target_id)) for r in recipients]

    async def check(self) -> Outcome:
        return ARRIVED[0]

    async def aclose(self) -> None:
        return None
