"""The Procfile's workers read every queue there is, and none that may be somebody else's."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from messaging.channel import Channel, Lane
from messaging.publish import queues
from messaging.wire import Queue, deliver_queue, fanout_queue

PROCFILE = Path(__file__).resolve().parents[2] / "Procfile"


def read_by() -> dict[str, list[str]]:
    """Queues by the name of the process that reads them."""
    found = {}
    for line in PROCFILE.read_text().splitlines():
        name, _, command = line.partition(":")
        named = re.search(r" -Q (\S+)", command)
        if named:
            found[name] = named[1].split(",")
    return found


def test_every_queue_is_read_by_one_kind_of_process() -> None:
    """A queue nobody reads would hold its tasks for ever."""
    read = [queue for queues_ in read_by().values() for queue in queues_]
    assert sorted(read) == sorted(map(str, Queue))


def test_every_route_ends_in_such_a_queue() -> None:
    """Whatever the channel and the lane."""
    routes = {deliver_queue(channel, lane) for channel, lane in product(Channel, Lane)}
    routes |= {fanout_queue(lane) for lane in Lane}
    assert routes <= {Queue(queue) for queues_ in read_by().values() for queue in queues_}


def test_every_worker_names_its_queues() -> None:
    """One without `-Q` would read all that are declared, and `celery` where that is one of them."""
    for line in PROCFILE.read_text().splitlines():
        if " worker " in line:
            assert " -Q messaging." in line, line
    assert "celery" not in {queue.name for queue in queues()}
    assert "celery" not in {queue for queues_ in read_by().values() for queue in queues_}


def test_the_high_lane_has_processes_of_its_own() -> None:
    """A password code never waits behind a newsletter: no process of a channel reads both of its lanes."""
    for channel in Channel:
        both = {deliver_queue(channel, Lane.HIGH), deliver_queue(channel, Lane.BULK)}
        assert not [name for name, read in read_by().items() if both <= set(read)]
