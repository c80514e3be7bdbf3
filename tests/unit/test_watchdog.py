"""When a worker counts as dead, and when it does not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from workers.minding import Nursery
from workers.pulse import Pulse, pulse
from workers.watchdog import Activity, Idleness, Signs, Vitals

LIMIT_S = 120.0
STEP_S = 15.0
RESTING = Activity(begun=5, active=0, reserved=0, capacity=2, queues=["messaging.push"])


@dataclass
class World:
    """A clock, and what a worker would see."""

    now_s: float = 1000.0
    waiting: int | None = 1
    answers: bool = True
    silent_s: float = 0.0
    database: bool = True
    ended: list[int] = field(default_factory=list)

    def clock_s(self) -> float:
        return self.now_s

    def depth(self, queues: Sequence[str]) -> int | None:
        assert queues == ["messaging.push"]
        return self.waiting

    def idleness(self) -> Idleness:
        return Idleness(limit_s=LIMIT_S, waiting=self.depth, clock_s=self.clock_s)

    def vitals(self) -> Vitals:
        signs = Signs(
            loop_answers=lambda _: self.answers,
            silence_s=lambda: self.silent_s,
            database_answers=lambda: self.database,
        )
        return Vitals(signs, limit_s=LIMIT_S, silent_s=600.0, clock_s=self.clock_s)


def look_on(world: World, idleness: Idleness, now: Activity, *, looks: int = 12) -> str | None:
    """What it says in the end, after looking for longer than the limit."""
    said = None
    for _ in range(looks):
        world.now_s += STEP_S
        said = idleness.look(now)
        if said is not None:
            break
    return said


class TestAWorkerThatDoesNothing:
    """Though it runs."""

    def test_is_dead_where_its_queues_hold_work(self) -> None:
        world = World()
        assert "no task was begun or ended" in str(look_on(world, world.idleness(), RESTING))

    def test_is_dead_where_what_it_took_is_not_begun(self) -> None:
        world = World(waiting=0)
        assert look_on(world, world.idleness(), replace(RESTING, reserved=3, active=1)) is not None

    def test_lives_while_there_is_nothing_to_do(self) -> None:
        world = World(waiting=0)
        idle = world.idleness()
        assert look_on(world, idle, RESTING, looks=100) is None
        world.waiting = 1
        world.now_s += STEP_S
        assert idle.look(RESTING) is None, "work that has just come"

    def test_lives_while_tasks_come_and_go(self) -> None:
        world = World()
        idle = world.idleness()
        for begun in range(50):
            world.now_s += STEP_S
            assert idle.look(replace(RESTING, begun=begun)) is None

    def test_lives_while_it_is_full(self) -> None:
        """Slow providers are others' business: `Vitals` looks at what is under way."""
        world = World()
        assert look_on(world, world.idleness(), replace(RESTING, active=2, reserved=4), looks=100) is None

    def test_lives_while_the_broker_is_away(self) -> None:
        world = World(waiting=None)
        assert look_on(world, world.idleness(), RESTING, looks=100) is None

    def test_lives_where_it_was_told_to_read_nothing(self) -> None:
        world = World()
        assert look_on(world, world.idleness(), replace(RESTING, queues=[]), looks=100) is None

    def test_lives_where_it_was_stopped_and_goes_on(self) -> None:
        """Its machine slept, or somebody held it: it gets its time again."""
        world = World()
        idle = world.idleness()
        world.now_s += 5
        idle.look(RESTING)
        world.now_s += 3600
        assert idle.look(RESTING) is None


class TestWhatIsUnderWay:
    """An event loop that takes no turns, a delivery nobody hears of."""

    def test_a_loop_that_does_not_answer_is_dead_after_a_while(self) -> None:
        world = World(answers=False)
        vitals = world.vitals()
        said = []
        for _ in range(9):
            world.now_s += STEP_S
            said.append(vitals.look(0))
        assert said[0] is None
        assert "event loop" in str(said[-1])

    def test_a_loop_that_answers_late_lives(self) -> None:
        world = World()
        vitals = world.vitals()
        for turn in range(50):
            world.now_s += STEP_S
            world.answers = turn % 4 == 0
            assert vitals.look(0) is None

    def test_a_delivery_nobody_hears_of_is_dead(self) -> None:
        world = World(silent_s=601.0)
        assert "nothing was heard" in str(world.vitals().look(0))

    def test_while_the_database_is_away_silence_is_no_sign(self) -> None:
        world = World(silent_s=10_000.0, database=False)
        assert world.vitals().look(0) is None

    def test_a_process_that_was_stopped_gets_its_time_again(self) -> None:
        world = World(answers=False)
        vitals = world.vitals()
        world.now_s += 3600
        assert vitals.look(0) is None


class TestTheChildrenOfAPool:
    """Their main process listens."""

    def nursery(self, world: World) -> Nursery:
        return Nursery(limit_s=LIMIT_S, end=lambda pid, _: world.ended.append(pid), clock_s=world.clock_s)

    def test_one_that_never_says_anything_is_ended(self) -> None:
        """After twice the time: it ends itself where it can."""
        world = World()
        nursery = self.nursery(world)
        for _ in range(18):
            world.now_s += STEP_S
            nursery.look([(400, 999_999)])
        assert world.ended == [999_999]

    def test_one_that_says_it_lives_is_left_alone(self) -> None:
        world = World()
        nursery = self.nursery(world)
        for _ in range(40):
            world.now_s += STEP_S
            pulse.beat(401, 999_998)
            nursery.look([(401, 999_998)])
        assert world.ended == []

    def test_one_that_was_begun_just_now_is_given_time(self) -> None:
        """What its predecessor in the same place said does not count."""
        world = World()
        nursery = self.nursery(world)
        pulse.beat(402, 1)
        world.now_s += STEP_S
        nursery.look([(402, 999_997)])
        assert world.ended == []


def test_a_page_is_shared_with_the_children() -> None:
    """Both ways: what a child says reaches its worker, and that they stop reaches the child."""
    ours = Pulse()
    child = os.fork()
    if not child:
        while not ours.is_stopping:
            ours.beat(3, os.getpid())
        os._exit(0)
    while ours.silence_s(3, child) is None:
        pass
    ours.stop()
    assert os.waitpid(child, 0)[1] == 0
    assert ours.silence_s(3, 1) is None, "somebody else in that place"
