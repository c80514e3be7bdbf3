"""How full a queue is: asked once a second, counted in between."""

from __future__ import annotations

from dataclasses import dataclass

from messaging.gauge import Gauge


@dataclass
class Queue:
    """A queue, a clock, and how often somebody asked how deep it is."""

    waiting: int = 0
    now_s: float = 0.0
    asked: int = 0

    def depth(self) -> int:
        self.asked += 1
        return self.waiting

    def gauge(self, mark: int) -> Gauge:
        return Gauge(mark=mark, clock_s=lambda: self.now_s)


def test_what_fits_below_the_mark_is_let_in_and_no_more() -> None:
    """Though the queue is asked once only."""
    queue = Queue(waiting=90)
    gauge = queue.gauge(100)
    assert [gauge.admit("a", 4, queue.depth) for _ in range(4)] == [4, 4, 2, 0]
    assert queue.asked == 1


def test_a_second_later_the_queue_is_asked_again() -> None:
    """What workers took meanwhile makes room."""
    queue = Queue(waiting=100)
    gauge = queue.gauge(100)
    assert gauge.admit("a", 1, queue.depth) == 0
    queue.waiting, queue.now_s = 40, 0.9
    assert gauge.admit("a", 1, queue.depth) == 0
    queue.now_s = 1.0
    assert gauge.admit("a", 70, queue.depth) == 60


def test_queues_are_told_apart_and_one_above_the_mark_gets_nothing() -> None:
    """A full queue keeps nobody from another."""
    full, empty = Queue(waiting=500), Queue()
    gauge = full.gauge(100)
    assert gauge.admit("full", 1, full.depth) == 0
    assert gauge.admit("empty", 1, empty.depth) == 1
