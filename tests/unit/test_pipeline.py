"""The pipeline claims, sends and records without losing or doubling a row, whatever the adapter does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from messaging.channel import OnUnknown, Role
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.status import DeliveryStatus
from messaging.store.batches import LeaseLostError
from messaging.store.ledger import Claimed, Verdict, Window
from workers.pace import UNLIMITED, Pace
from workers.pacing import Grant, NoPacer
from workers.pipeline import Answered, Ending, Pipeline, Plan
from workers.providers.base import Outgoing, Recipient
from workers.retry import RetryPolicy
from workers.seats import Seats

S = DeliveryStatus


@dataclass
class Book:
    """A batch of rows in memory, with the rules of the real one."""

    rows: int
    stops_after: int | None = None
    """Rows after which the message is paused."""
    lost_after: int | None = None
    """Recordings after which the lease is lost."""
    written: dict[int, Verdict] = field(default_factory=dict)
    claimed: set[int] = field(default_factory=set)
    most_in_doubt: int = 0
    recordings: int = 0
    declines: int = 0
    """Of each window, the rows at its end that were suppressed meanwhile."""
    late: list[Verdict] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    withdrawn: int = 0

    async def claim(self, *, after: int, window: int) -> Window | None:
        await asyncio.sleep(0)
        if self.stops_after is not None and after >= self.stops_after:
            return None
        ids = range(after + 1, min(after + window, self.rows) + 1)
        taken = ids[: max(0, len(ids) - self.declines)]
        self.claimed.update(taken)
        self.most_in_doubt = max(self.most_in_doubt, len(self.claimed) - len(self.written))
        claimed = [Claimed(i, f"address {i}", "", 1, 0, Role.TO) for i in taken]
        return Window(claimed, ids[-1] if ids else after, exhausted=len(ids) < window)

    async def record(self, answered: Answered) -> None:
        await asyncio.sleep(0)
        if self.lost_after is not None and self.recordings >= self.lost_after:
            self.late.extend(answered.verdicts)
            raise LeaseLostError
        self.recordings += 1
        for verdict in answered.verdicts:
            assert verdict.target_id in self.claimed
            assert verdict.target_id not in self.written, "recorded twice"
            self.written[verdict.target_id] = verdict
        self.withdrawn += answered.withdraw

    async def stop_provider(self, reason: str, action: Action | None) -> None:  # noqa: ARG002
        self.stopped.append(reason)

    async def renew(self) -> None:
        await asyncio.sleep(0)


@dataclass
class Adapter:
    """An adapter that answers as it is told and keeps what it was asked to send."""

    answer: Callable[[int], Outcome] = lambda _: ACCEPTED
    sent: list[int] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    requests: int = 0
    most_requests: int = 0
    raises: bool = False

    def prepare(self, outgoing: Outgoing) -> object:
        return outgoing

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        assert prepared is PREPARED
        self.in_flight += len(recipients)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.requests += 1
        self.most_requests = max(self.most_requests, self.requests)
        await asyncio.sleep(0.001)
        self.in_flight -= len(recipients)
        self.requests -= 1
        self.sent += [recipient.target_id for recipient in recipients]
        if self.raises:
            raise RuntimeError("a bug in an adapter")
        return [self.answer(recipient.target_id) for recipient in recipients]

    async def check(self) -> Outcome:
        return ACCEPTED

    async def aclose(self) -> None:
        return None


@dataclass
class Starting(Adapter):
    """One that begins a request, and is not awaited."""

    tasks: list[asyncio.Task[Sequence[Outcome]]] = field(default_factory=list)

    def start(self, prepared: object, recipient: Recipient, done: Callable[[Outcome], None]) -> None:
        if self.raises:
            raise RuntimeError("a bug in an adapter")
        task = asyncio.get_running_loop().create_task(self.send(prepared, (recipient,)))
        task.add_done_callback(lambda ended: done(ended.result()[0]))
        self.tasks.append(task)


adapters: dict[str, type[Adapter]] = {"each awaited": Adapter, "each begun": Starting}


@pytest.fixture(params=list(adapters))
def kind(request: pytest.FixtureRequest) -> type[Adapter]:
    """Adapters of both kinds: what is promised does not depend on it."""
    return adapters[request.param]


PREPARED = object()


def recipient(delivery: Claimed) -> Recipient:
    """A row as the adapter sees it."""
    return Recipient(delivery.target_id, delivery.address, f"d-{delivery.target_id}", str(UUID(int=delivery.target_id)))


def run(
    book: Book,
    adapter: Adapter,
    pacer: NoPacer | None = None,
    *,
    pace: Pace = UNLIMITED,
    seats: Seats | None = None,
    request_size: int = 1,
    window: int = 10,
) -> Ending:
    """One run over a batch of the book's size."""
    plan = Plan(
        provider_id=1,
        first_target=1,
        open=book.rows,
        pace=pace,
        high=False,
        lease_s=60.0,
        flush_s=0.01,
        policy=RetryPolicy(3, 1.0, 60.0, OnUnknown.RETRY),
        recipient=recipient,
        request_size=request_size,
        window=window,
    )
    return asyncio.run(Pipeline(plan, book, adapter, PREPARED, pacer or NoPacer(), None, seats).run())


@pytest.mark.parametrize("rows", [1, 9, 10, 11, 20, 21, 205])
@pytest.mark.parametrize("request_size", [1, 4, 1000])
def test_every_row_is_sent_once_and_recorded_once(rows: int, request_size: int) -> None:
    """Whatever the sizes of batch, window and request."""
    book, adapter = Book(rows), Adapter()
    ending = run(book, adapter, request_size=request_size, window=max(10, request_size))
    assert sorted(adapter.sent) == list(range(1, rows + 1))
    assert sorted(book.written) == list(range(1, rows + 1))
    assert ending.sent == rows
    assert not ending.lost


def test_every_row_that_is_begun_is_recorded_once(kind: type[Adapter]) -> None:
    """Accepted, or not."""
    book = Book(205)
    adapter = kind(lambda i: Outcome(Action.REJECT_MESSAGE, "bad") if i % 3 == 0 else ACCEPTED)
    ending = run(book, adapter)
    assert sorted(adapter.sent) == sorted(book.written) == list(range(1, 206))
    assert {i for i, v in book.written.items() if v.status is S.FAILED} == set(range(3, 206, 3))
    assert ending.sent == 205


def test_no_more_rows_are_in_doubt_than_may_be_in_flight(kind: type[Adapter]) -> None:
    """A crash at any moment leaves at most two half windows claimed and unrecorded."""
    book, adapter = Book(300), kind()
    run(book, adapter)
    assert book.most_in_doubt <= 20
    assert 10 < adapter.most_in_flight <= 20


def test_a_throttled_answer_stops_the_run_and_costs_nobody_an_attempt(kind: type[Adapter]) -> None:
    """Rows claimed but not sent go back without having been sent, and the account is paused."""
    pauses: list[float] = []
    next_is_claimed, is_paused = asyncio.Event(), asyncio.Event()

    class Pausing(NoPacer):
        async def pause(self, provider_id: int, pause_s: float) -> None:  # noqa: ARG002
            pauses.append(pause_s)
            is_paused.set()

    class Overlapping(Book):
        async def claim(self, *, after: int, window: int) -> Window | None:
            if after == 5:  # begun before row 5 is answered, ended after that
                next_is_claimed.set()
                await is_paused.wait()
            return await super().claim(after=after, window=window)

    class Slow(kind):  # type: ignore[misc, valid-type]  # either
        async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
            if recipients[0].target_id == 5:
                await next_is_claimed.wait()
            outcomes: Sequence[Outcome] = await super().send(prepared, recipients)
            return outcomes

    book = Overlapping(300)
    adapter: Adapter = Slow(
        lambda i: Outcome(Action.RETRY_AFTER, "429", "slow down", retry_after_s=7.0) if i == 5 else ACCEPTED
    )
    ending = run(book, adapter, Pausing(), window=1)
    assert pauses == [7.0]
    assert ending.wait_s == 7.0
    unsent = [v for i, v in book.written.items() if i not in adapter.sent]
    assert unsent
    assert all(v.status is S.RETRYING and v.refund == 1 and v.wait_s == 7.0 for v in unsent)
    assert book.written[5].refund == 1
    assert len(book.written) == len(book.claimed) < 300


def test_a_misconfigured_account_stops_the_provider_once(kind: type[Adapter]) -> None:
    """The operator is told; nothing of the batch is lost or failed."""
    book = Book(100)
    adapter = kind(lambda _: Outcome(Action.STOP_PROVIDER, "InvalidProviderToken", "The key is refused."))
    ending = run(book, adapter)
    assert book.stopped == ["InvalidProviderToken: The key is refused."]
    assert ending.waiting_for is not None
    assert {v.status for v in book.written.values()} == {S.RETRYING}
    assert {v.refund for v in book.written.values()} == {1}


def test_a_paused_message_stops_within_a_window(kind: type[Adapter]) -> None:
    """What is in flight is recorded, nothing more is claimed."""
    book, adapter = Book(300, stops_after=30), kind()
    run(book, adapter)
    assert sorted(adapter.sent) == list(range(1, 31))
    assert len(book.written) == 30


def test_a_worker_that_lost_its_lease_writes_nothing_more(kind: type[Adapter]) -> None:
    """Its answers are handed over as late evidence, and it stops sending."""
    book, adapter = Book(300, lost_after=2), kind()
    ending = run(book, adapter)
    assert ending.lost
    assert book.late
    assert len(adapter.sent) < 300
    assert not {v.target_id for v in book.late} & set(book.written)


def test_an_adapter_that_raises_leaves_its_rows_unknown_not_lost(kind: type[Adapter]) -> None:
    """A bug in an adapter is an unknown outcome, retried under the message's policy."""
    book, adapter = Book(5), kind(raises=True)
    run(book, adapter)
    assert {(v.status, v.doubt, v.error_code) for v in book.written.values()} == {(S.RETRYING, 1, "adapter_error")}


def test_when_most_addresses_are_called_dead_the_provider_is_doubted_not_the_addresses(kind: type[Adapter]) -> None:
    """From 50 sends on and over half dead: verdicts wait, nobody is retired."""
    book = Book(200)
    adapter = kind(lambda _: Outcome(Action.DISABLE_TARGET, "BadDeviceToken", "bad token"))
    run(book, adapter)
    assert book.withdrawn
    failed = [v for v in book.written.values() if v.status is S.FAILED]
    assert len(failed) < 60
    assert len(book.written) < 200


class Bucket(NoPacer):
    """So many tokens, and what was done with them."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.pauses: list[float] = []
        self.slowed = 0
        self.asked_for_seats = 0

    async def reserve(self, provider_id: int, wanted: int, *, pace: Pace, high: bool) -> Grant:  # noqa: ARG002
        granted = min(wanted, self.tokens)
        self.tokens -= granted
        return Grant(granted, 0.0 if granted else 2.5, "" if granted else "the provider's limit a minute")

    async def give_back(self, provider_id: int, count: int, pace: Pace) -> None:  # noqa: ARG002
        assert count > 0
        self.tokens += count

    async def pause(self, provider_id: int, pause_s: float) -> None:  # noqa: ARG002
        self.pauses.append(pause_s)

    async def slow(self, provider_id: int, pace: Pace) -> None:  # noqa: ARG002
        self.slowed += 1

    async def seats(self, provider_id: int, wanted: int, *, most: int, holder: str, for_s: float) -> int:
        self.asked_for_seats += 1
        return await super().seats(provider_id, wanted, most=most, holder=holder, for_s=for_s)


def test_an_exhausted_bucket_gives_the_rest_back_with_a_due_time(kind: type[Adapter]) -> None:
    """No worker sleeps on a token: what can't be sent now is left for later, and says what it waits for."""
    book, adapter = Book(100), kind()
    ending = run(book, adapter, Bucket(15))
    assert len(adapter.sent) == 15
    assert (ending.wait_s, ending.waiting_for) == (2.5, "the provider's limit a minute")


class Drip(NoPacer):
    """Tokens that are always a moment away, and how many were asked for each time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def reserve(self, provider_id: int, wanted: int, *, pace: Pace, high: bool) -> Grant:  # noqa: ARG002
        self.asked.append(wanted)
        return Grant(wanted if len(self.asked) % 2 == 0 else 0, 0.001)


def test_where_tokens_are_what_limits_all_that_may_be_in_flight_is_claimed_at_once(kind: type[Adapter]) -> None:
    """There is nothing to overlap with; without the wait it is half of that, and the rest while the first is sent."""
    book, adapter, drip = Book(100), kind(), Drip()
    run(book, adapter, drip, window=20)
    assert len(adapter.sent) == len(book.written) == 100
    assert drip.asked[:2] == [20, 40]
    assert book.most_in_doubt <= 40


def test_tokens_for_rows_that_were_suppressed_meanwhile_are_given_back(kind: type[Adapter]) -> None:
    """Each window of ten has three rows that nobody sends."""
    book, adapter, bucket = Book(30, declines=3), kind(), Bucket(100)
    run(book, adapter, bucket)
    assert len(adapter.sent) == 21
    assert bucket.tokens == 100 - 21


def test_tokens_for_a_message_that_was_paused_are_given_back(kind: type[Adapter]) -> None:
    """Its claim fails after the tokens were taken."""
    book, adapter, bucket = Book(300, stops_after=30), kind(), Bucket(100)
    run(book, adapter, bucket)
    assert len(adapter.sent) == 30
    assert bucket.tokens == 100 - 30


def test_tokens_for_rows_that_a_throttled_run_did_not_send_are_given_back() -> None:
    """They are reserved again when the rows are."""
    book, adapter, bucket = Book(300), Adapter(lambda _: Outcome(Action.RETRY_AFTER, "429", "slow down")), Bucket(300)
    run(book, adapter, bucket, seats=asyncio.run(taken(bucket, 1)))
    assert adapter.sent == [1]
    assert len(book.claimed) > 1
    assert bucket.tokens == 300 - 1


def test_a_throttle_halves_a_rate_that_is_found_by_trying(kind: type[Adapter]) -> None:
    """The rows come back after a second instead of a minute, at no attempt; a delay that is named is kept."""
    book, bucket = Book(5), Bucket(5)
    adapter = kind(lambda _: Outcome(Action.RETRY_AFTER, "TooManyRequestsException", "slow down"))
    ending = run(book, adapter, bucket, pace=Pace(begins_at=14.0), window=1)
    assert (bucket.slowed, bucket.pauses, ending.wait_s) == (1, [], 1.0)
    assert {(v.status, v.refund, v.wait_s) for v in book.written.values()} == {(S.RETRYING, 1, 1.0)}

    book, bucket = Book(5), Bucket(5)
    adapter = kind(lambda _: Outcome(Action.RETRY_AFTER, "429", "slow down", retry_after_s=7.0))
    ending = run(book, adapter, bucket, pace=Pace(begins_at=14.0), window=1)
    assert (bucket.slowed, bucket.pauses, ending.wait_s) == (0, [7.0], 7.0)


def test_a_throttle_without_a_delay_pauses_a_fixed_rate_for_a_minute() -> None:
    """Nothing is known of how fast would do."""
    book, bucket = Book(5), Bucket(5)
    ending = run(book, Adapter(lambda _: Outcome(Action.RETRY_AFTER, "429", "slow down")), bucket, window=1)
    assert (bucket.slowed, bucket.pauses, ending.wait_s) == (0, [60.0], 60.0)


async def taken(pacer: NoPacer, count: int, clock: Callable[[], float] = lambda: 0.0) -> Seats:
    """Seats of an account that may have so many requests in flight."""
    seats = Seats(pacer=pacer, provider_id=1, most=count, holder="202611-1:1", for_s=60.0, clock_s=clock)
    assert await seats.take(50, high=True) == count
    return seats


@pytest.mark.parametrize(("count", "request_size", "window"), [(1, 1, 10), (3, 1, 10), (2, 5, 20)])
def test_no_more_requests_are_in_flight_than_there_are_seats(count: int, request_size: int, window: int) -> None:
    """However many rows a window has; all are sent."""
    book, adapter = Book(60), Adapter()
    seats = asyncio.run(taken(NoPacer(), count))
    run(book, adapter, seats=seats, request_size=request_size, window=window)
    assert adapter.most_requests == count
    assert sorted(adapter.sent) == list(range(1, 61))


def test_a_run_that_lasts_keeps_its_seats() -> None:
    """They are asked for again when a third of their time is over, not at each window."""
    bucket, times = Bucket(1000), iter(range(0, 10_000, 7))
    seats = asyncio.run(taken(bucket, 2, lambda: float(next(times))))
    book = Book(200)
    run(book, Adapter(), bucket, seats=seats)
    assert 1 < bucket.asked_for_seats < book.recordings


def test_rows_that_waited_for_a_seat_are_not_sent_by_a_run_that_was_stopped() -> None:
    """They go back as if they had never been claimed."""
    book, adapter = Book(40), Adapter(lambda _: Outcome(Action.RETRY_AFTER, "429", "slow down", retry_after_s=5.0))
    run(book, adapter, seats=asyncio.run(taken(NoPacer(), 1)))
    assert adapter.sent == [1]
    assert {(v.status, v.refund) for v in book.written.values()} == {(S.RETRYING, 1)}
    assert len(book.written) == len(book.claimed)


@pytest.mark.parametrize(("most", "high", "free"), [(5, False, 4), (5, True, 5), (1, False, 1)])
def test_bulk_leaves_a_seat_to_the_high_lane(most: int, high: bool, free: int) -> None:
    """A password code finds one however long a newsletter takes, unless there is only one."""
    seats = Seats(pacer=NoPacer(), provider_id=1, most=most, holder="a", for_s=60.0)
    assert asyncio.run(seats.take(100, high=high)) == free
