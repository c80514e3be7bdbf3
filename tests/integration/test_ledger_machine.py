"""Whatever happens to messages, workers and providers, and in whatever order: the ledger's sums and promises hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from messaging.outcome import Action, Outcome
from messaging.receipt import Event
from messaging.store import messages
from tests.integration.ledger_world import ARRIVED, FOR_GOOD, NOT_ARRIVED, SMALL, Key, LosesHints, Worker, World
from tests.integration.road import Road

T = TypeVar("T")
ABOUT_ONE = [each for each in NOT_ARRIVED if each.action in {*FOR_GOOD, Action.RETRY, Action.AMBIGUOUS_RETRY}]
"""Answers that say nothing of others: how far a whole run comes after one that does is a matter of time."""
STOPS = {"outage": None, "quota": Action.QUOTA, "misconfigured": Action.STOP_PROVIDER}
CONTROL = {"cancel": messages.cancel, "pause": messages.pause, "resume": messages.resume}
CHANGES = {
    "delete target": "DELETE FROM targets WHERE id = :id",
    "expire target": "UPDATE targets SET expired_at = now() WHERE id = :id",
    "revive target": "UPDATE targets SET expired_at = NULL, dead_at = NULL WHERE id = :id",
    "suppress": """INSERT INTO suppressions (project_id, channel, address_hash, scope, reason)
                   SELECT project_id, channel, address_hash, 'everything', 'asked' FROM targets
                    WHERE id = :id ON CONFLICT DO NOTHING""",
    "allow": """DELETE FROM suppressions x USING targets t WHERE t.id = :id
                   AND x.project_id = t.project_id AND x.address_hash = t.address_hash""",
}
ANSWERS = st.lists(st.integers(0, len(NOT_ARRIVED) - 1), min_size=1, max_size=4)
WHICH = st.integers(0, 11)
_number = itertools.count(1)


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """Small pages, batches and windows, so that few targets are many batches."""
    made = Road(postgres_url, valkey_url, **SMALL)
    made.publisher.close()
    made.publisher = LosesHints(made.settings)
    yield made
    made.close()


class Ledger(RuleBasedStateMachine):
    """Rules in any order; `World.check` after each.

    A rule that finds nothing to do does nothing: hypothesis must not depend on what the database was in time for.
    """

    road: Road

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.road, next(_number))
        self.by_expiry = False

    @initialize(by_expiry=st.booleans(), to_topic=st.booleans(), hold=st.booleans())
    def begin(self, by_expiry: bool, to_topic: bool, hold: bool) -> None:
        """A message is on its way; whether the end comes by delivery or by expiry is decided."""
        self.by_expiry = by_expiry
        self.world.send_message(to_topic=to_topic, hold=hold, later=False)
        self.road.expand(self.world.messages[0].message_id)

    # -- people, the system and providers: a rule each, so that workers are what happens most -----------

    @rule(which=WHICH, what=st.sampled_from([*CONTROL, "accept", "delete", "retry", "retry some", "expire"]))
    def change_message(self, which: int, what: str) -> None:
        message = pick(self.world.messages, which)
        if what == "accept" and len(self.world.messages) < 2:
            self.world.send_message(to_topic=which % 2 == 0, hold=which % 3 == 0, later=which % 4 == 0)
        elif what in CONTROL:
            self.world.control(message, CONTROL[what])
        elif what == "delete":
            self.world.delete(message)
        elif what == "expire":
            self.road.execute("UPDATE messages SET expires_at = now() WHERE id = :id", id=message.message_id)
        elif what != "accept":
            self.world.retry(message, ["503", "bad_content"] if what == "retry some" else [])

    @rule(which=WHICH, what=st.sampled_from([*CHANGES, *STOPS, "disable", "start", "start", "take back"]))
    def change_surroundings(self, which: int, what: str) -> None:
        provider = pick(self.world.providers, which)
        if what in CHANGES:
            self.road.execute(CHANGES[what], id=pick(self.world.targets, which))
        elif what == "start":
            self.world.start(provider)
        elif what == "take back":
            self.world.take_back(provider)
        elif what == "disable":
            self.road.execute("UPDATE providers SET enabled = false WHERE id = :id", id=provider)
        else:
            self.world.stop(provider, STOPS[what])

    @rule(which=WHICH, event=st.sampled_from(list(Event)), about=WHICH, by_id=st.booleans(), told=st.integers(0, 2))
    def tell(self, which: int, event: Event, about: int, by_id: bool, told: int) -> None:
        keys: list[Key | None] = [*sorted(self.world.rows()), None]
        self.world.tell(pick(self.world.providers, which), event, pick(keys, about), by_id=by_id, told=told)

    @rule(which=WHICH, what=st.sampled_from(["sweep", "sweep", "sweep twice at once", "expand"]))
    def work(self, which: int, what: str) -> None:
        if what == "expand":
            self.road.expand(pick(self.world.messages, which).message_id)
            return
        if what == "sweep twice at once":
            with ThreadPoolExecutor(2) as pool:
                for each in [pool.submit(self.road.sweep) for _ in range(2)]:
                    each.result()
        self.road.sweep()  # after two at once: for what each left to the other

    @rule()
    def wait(self) -> None:
        self.road.make_due()
        self.road.execute("UPDATE dead_verdicts SET created_at = created_at - interval '1 hour'")
        self.road.execute("UPDATE providers SET stopped_until = now() WHERE stopped_until > now()")

    # -- workers: one that has a batch, or else one that takes one ---------------------------------------

    def _worker(self, which: int) -> Worker | None:
        if self.world.workers:
            return pick(self.world.workers, which)
        return self.world.lease(pick(self.world.refs, which)) if self.world.refs else None

    @rule(which=WHICH)
    def lease(self, which: int) -> None:
        if self.world.refs:
            self.world.lease(pick(self.world.refs, which))

    @rule(which=WHICH, arrive=st.lists(st.booleans(), max_size=2))
    def claim(self, which: int, arrive: list[bool]) -> None:
        worker = self._worker(which)
        if worker is not None:
            self.world.claim(worker, arrive)

    @rule(which=WHICH, arrive=st.lists(st.booleans(), max_size=2), choices=ANSWERS, doubt=WHICH)
    def answers(self, which: int, arrive: list[bool], choices: list[int], doubt: int) -> None:
        """To what is in flight, or to the next window."""
        worker = self._worker(which)
        if worker is not None:
            if not worker.flights:
                self.world.claim(worker, arrive)
            self.world.answers(worker, choices, withdraw=doubt == 11)

    @rule(which=WHICH, fail_over=st.booleans())
    def give_back(self, which: int, fail_over: bool) -> None:
        worker = self._worker(which)
        if worker is not None:
            self.world.give_back(worker, fail_over=fail_over)

    @rule(which=WHICH, wakes=st.booleans(), windows=st.integers(0, 2), arrive=st.lists(st.booleans(), max_size=2))
    def crash(self, which: int, wakes: bool, windows: int, arrive: list[bool]) -> None:
        """With a window in flight; and another one takes over, unless it sends none."""
        worker = self._worker(which)
        if worker is None:
            return
        if not worker.flights:
            self.world.claim(worker, arrive)
        self.world.crash(worker, wakes=wakes)
        other = self.world.lease(worker.ref) if windows else None
        if other is not None:
            for _ in range(windows):
                self.world.claim(other, arrive)

    @rule(which=WHICH, choices=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=4))
    def deliver(self, which: int, choices: list[tuple[bool, int]]) -> None:
        def answer(target: int) -> tuple[bool, Outcome]:
            arrived, choice = choices[target % len(choices)]
            told = ARRIVED if arrived else ABOUT_ONE
            return arrived, told[choice % len(told)]

        if self.world.refs:
            self.world.deliver(pick(self.world.refs, which), answer)

    # -- always --------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.settle(by_expiry=self.by_expiry)
        finally:
            self.world.leave()


def pick(choices: list[T], which: int) -> T:
    """One of them."""
    return choices[which % len(choices)]


def run(road: Road, *, examples: int, steps: int, derandomize: bool) -> None:
    """So many stories of so many steps."""

    class Here(Ledger):
        pass

    Here.road = road
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            phases=[Phase.generate] if derandomize else list(Phase),  # to shrink a story takes minutes
            suppress_health_check=list(HealthCheck),
        ),
        _min_steps=steps,  # left to itself hypothesis begins with stories of a few steps, in which nothing can happen
    )


@pytest.mark.timeout(600)  # a loaded machine
def test_the_ledger_keeps_its_promises_whatever_happens(road: Road) -> None:
    """Small stories, the same ones each time."""
    run(road, examples=50, steps=25, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_ledger_keeps_its_promises_in_long_stories(road: Road) -> None:
    """Other ones each time, and longer."""
    run(road, examples=400, steps=60, derandomize=False)
