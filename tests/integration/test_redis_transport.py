"""The broker's Redis side: a task is in its queue or held, never in neither, and a waiting worker hears at once."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Queue
from kombu.asynchronous import Hub, set_event_loop

from workers.redis_transport import UNREADABLE, Transport

QUEUE = "hold-test"
OTHER = "hold-test.high"
PATIENCE_S = 60.0

READER = """
import sys
from kombu import Connection, Consumer, Queue
from workers.redis_transport import Transport

def take(message):
    print(message.payload, flush=True)
    message.ack()

with Connection(sys.argv[1], transport=Transport, transport_options={"visibility_timeout": 2,
        "unacked_restore_throttle": 1}) as connection, connection.channel() as channel:
    channel.basic_qos(0, 4, False)
    with Consumer(channel, [Queue("hold-test"), Queue("hold-test.high")], on_message=take):
        while True:
            try:
                connection.drain_events(timeout=1)
            except TimeoutError:
                pass
"""
"""A worker's side, in a process that can be killed."""


@pytest.fixture
def server(valkey_url: str) -> Iterator[redis.Redis]:
    """Valkey, empty."""
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        client.flushdb()
        yield client


@pytest.fixture
def connection(valkey_url: str, server: redis.Redis) -> Iterator[Connection]:
    """A connection with our transport."""
    assert not server.exists(QUEUE)
    options = {"visibility_timeout": 60, "unacked_restore_throttle": 1}
    with Connection(valkey_url, transport=Transport, transport_options=options) as opened:
        yield opened


def put(connection: Connection, *bodies: object, queue: str = QUEUE, priority: int = 0) -> None:
    """Publish as a bare producer does."""
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, exchange="", routing_key=queue, serializer="json", priority=priority)


def test_commands_share_a_client_until_the_channel_is_opened_anew(connection: Connection) -> None:
    """Making one costs more than a command; one of a pool that was closed would speak to nobody."""
    channel: Any = connection.channel()
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
    channel.close()
    again: Any = connection.channel()
    with again.conn_or_acquire() as other:
        assert other is not first
        assert other.ping()


class Reader:
    """Takes what comes, acknowledging nothing by itself."""

    def __init__(self, connection: Connection, *queues: str, prefetch: int = 0, no_ack: bool = False) -> None:
        self.messages: list[Any] = []
        self._connection = connection
        names = [Queue(name, no_ack=no_ack) for name in queues or (QUEUE,)]
        self.consumer = Consumer(connection.channel(), names, on_message=self.messages.append, no_ack=no_ack)
        self.consumer.qos(prefetch_count=prefetch)
        self.consumer.consume()

    def wait(self, count: int) -> list[Any]:
        """The bodies once there are `count`."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.messages) < count:
            assert time.monotonic() < deadline, f"{len(self.messages)} of {count}"
            self.look(1)
        return [message.payload for message in self.messages]

    def look(self, seconds: float) -> None:
        """See what comes within `seconds`."""
        with contextlib.suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)


def test_what_is_taken_is_held_until_it_is_acknowledged(connection: Connection, server: redis.Redis) -> None:
    """The queue is empty, the message is held under the tag it came with; the acknowledgement ends that."""
    put(connection, "one", "two")
    reader = Reader(connection)
    assert reader.wait(2) == ["one", "two"]
    held = server.hgetall("unacked")
    assert held.keys() == {message.delivery_tag for message in reader.messages}
    assert all(json.loads(each)[1:] == ["", QUEUE] for each in held.values())
    assert set(server.zrange("unacked_index", 0, -1)) == held.keys()
    for message in reader.messages:
        message.ack()
    assert not server.exists("unacked", "unacked_index", QUEUE)


def test_no_command_leaves_a_message_in_neither_place(connection: Connection, server: redis.Redis) -> None:
    """Seen from outside: from its publication to its acknowledgement one command takes it from here to there."""
    with server.monitor() as monitor:  # type: ignore[no-untyped-call]
        put(connection, "one")
        reader = Reader(connection)
        reader.wait(1)
        reader.messages[0].ack()
        server.echo("the end")
        commands = []
        for seen in monitor.listen():
            if "the end" in seen["command"]:
                break
            commands.append((seen["client_type"], seen["command"].split()[0].upper()))
    assert not [command for kind, command in commands if command in {"BRPOP", "RPOP"} and kind != "lua"]
    assert {"RPOP", "HSET", "ZADD"} <= {command for kind, command in commands if kind == "lua"}


def test_what_somebody_holds_for_too_long_comes_back(connection: Connection, server: redis.Redis) -> None:
    """By the server's clock, under which it was taken; whoever gets it is told that it comes again."""
    before = int(server.time()[0])
    put(connection, "one")
    first = Reader(connection)
    first.wait(1)
    held: Any = server.zrange("unacked_index", 0, -1, withscores=True)
    ((tag, since),) = held
    assert before <= since <= int(server.time()[0])
    server.zadd("unacked_index", {tag: since - 61})
    assert first.wait(2) == ["one", "one"]
    assert first.messages[1].delivery_info["redelivered"] is True
    assert server.hlen("unacked") == 1


def test_a_prefetch_count_is_kept(connection: Connection, server: redis.Redis) -> None:
    """Two in hand, the others in their queue; one acknowledged, one more."""
    put(connection, *range(5))
    reader = Reader(connection, prefetch=2)
    reader.wait(2)
    reader.look(0.3)
    assert (len(reader.messages), server.llen(QUEUE), server.hlen("unacked")) == (2, 3, 2)
    reader.messages[0].ack()
    reader.wait(3)
    reader.look(0.3)
    assert (len(reader.messages), server.llen(QUEUE), server.hlen("unacked")) == (3, 2, 2)


def test_queues_take_turns_and_waiting_ends_for_each_of_them(connection: Connection) -> None:
    """A full queue does not keep another one waiting, and an idle reader hears of either."""
    put(connection, *range(6))
    put(connection, "high", queue=OTHER)
    reader = Reader(connection, QUEUE, OTHER)
    assert "high" in reader.wait(7)[:2]
    reader.look(0.3)  # nothing left: it waits
    put(connection, "later high", queue=OTHER)
    assert reader.wait(8)[-1] == "later high"
    put(connection, "later")
    assert reader.wait(9)[-1] == "later"


def test_a_priority_of_its_own_is_found_too(connection: Connection) -> None:
    """It is in another list: kombu keeps one for each priority."""
    reader = Reader(connection)
    reader.look(0.2)
    put(connection, "nine", priority=9)
    assert reader.wait(1) == ["nine"]
    reader.look(0.2)
    put(connection, "nine again", priority=9)
    assert reader.wait(2)[-1] == "nine again"


def test_what_nobody_will_acknowledge_is_not_held(connection: Connection, server: redis.Redis) -> None:
    """A consumer without acknowledgements leaves nothing behind."""
    put(connection, "gone")
    reader = Reader(connection, no_ack=True)
    assert reader.wait(1) == ["gone"]
    assert not server.exists("unacked", "unacked_index", QUEUE)


def test_what_only_python_can_read_is_handed_out(connection: Connection, server: redis.Redis) -> None:
    """Half a surrogate pair in a header, as a producer's `kwargsrepr` may hold it: the next step refuses it by name."""
    with connection.Producer() as producer:
        producer.publish(1, exchange="", routing_key=QUEUE, serializer="json", headers={"kwargsrepr": "\ud800"})
    reader = Reader(connection)
    assert reader.wait(1) == [1]
    assert server.hlen("unacked") == 1
    reader.messages[0].ack()
    assert not server.exists("unacked", UNREADABLE)


@pytest.mark.parametrize(
    "raw",
    [
        "not json",
        "[1]",
        '{"body": "x", "properties": {}}',
        '{"body": "aaaaa", "properties": {"delivery_tag": "t", "body_encoding": "base64"}}',
        '{"a": "\\ud800", "headers": {"delivery_tag": "x"}, "body": "e30=", "properties": {"delivery_tag": "t"}}',
        '{"body": "e30=", "headers": {"__type__": "strange", "__value__": 1}, "properties": {"delivery_tag": "t"}}',
    ],
)
def test_what_is_no_message_is_put_aside_and_the_next_one_comes(
    raw: str, connection: Connection, server: redis.Redis
) -> None:
    """It is kept for a person, neither lost nor handed out again and again."""
    server.lpush(QUEUE, raw)
    put(connection, "fine")
    reader = Reader(connection)
    assert reader.wait(1) == ["fine"]
    assert server.lrange(UNREADABLE, 0, -1) == [raw]
    assert server.hkeys("unacked") == [reader.messages[0].delivery_tag]


def test_a_full_broker_still_hands_out_and_holds(connection: Connection, server: redis.Redis) -> None:
    """No memory is refused to what has begun by taking."""
    put(connection, "x" * 1000, "y" * 1000)
    server.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            server.set("anything", "x" * 100)
        reader = Reader(connection)
        reader.wait(2)
        assert server.hlen("unacked") == 2
        reader.look(0.5)  # it waits for more, which is refused too
    finally:
        server.config_set("maxmemory", 0)
    put(connection, "later")
    assert reader.wait(3)[-1] == "later"


@pytest.mark.timeout(600)  # so many interpreters, one after the other
def test_kills_at_any_moment_lose_nothing(valkey_url: str, connection: Connection, server: redis.Redis) -> None:
    """Sixteen readers killed one after the other: every message was printed, or is in its queue, or is held."""
    dice, count = random.Random(7), 4000
    put(connection, *range(count))
    printed: Counter[str] = Counter()
    for _ in range(16):
        reader = subprocess.Popen([sys.executable, "-c", READER, valkey_url], stdout=subprocess.PIPE, text=True)
        assert reader.stdout is not None
        printed[reader.stdout.readline().strip()] += 1  # it works
        time.sleep(dice.uniform(0, 0.03))  # the rhythm of the kills, not a wait for anything
        os.kill(reader.pid, signal.SIGKILL)
        printed.update(line.strip() for line in reader.stdout.readlines())
        reader.stdout.close()
        reader.wait()
        put(connection, count)
        count += 1
        waiting = {_body(raw) for raw in map(str, server.lrange(QUEUE, 0, -1))}
        held = {_body(json.dumps(json.loads(raw)[0])) for raw in server.hvals("unacked")}
        assert printed.keys() | waiting | held >= {str(number) for number in range(count)}


def _body(raw: str) -> str:
    return base64.b64decode(json.loads(raw)["body"]).decode()


class LoopReader(Reader):
    """Takes what comes in an event loop, as a worker does."""

    def __init__(self, connection: Connection, *queues: str, prefetch: int = 0) -> None:
        super().__init__(connection, *queues, prefetch=prefetch)
        self.hub = Hub()
        set_event_loop(self.hub)
        self._connection.register_with_event_loop(self.hub)
        self._turns = self.hub.create_loop()

    def look(self, seconds: float) -> None:
        """Take one turn of the loop."""
        self.hub.call_later(min(seconds, 0.05), int)
        next(self._turns)


@pytest.fixture
def loop_reader(connection: Connection) -> Iterator[LoopReader]:
    """One that has room for six."""
    reader = LoopReader(connection, prefetch=6)
    yield reader
    set_event_loop(None)
    reader.hub.close()


def test_what_is_acknowledged_in_one_turn_of_the_loop_goes_together(
    connection: Connection, loop_reader: LoopReader, server: redis.Redis
) -> None:
    """At the end of the turn, by one command; what is not acknowledged stays held, and its place is taken."""
    put(connection, *range(8))
    assert loop_reader.wait(6) == [0, 1, 2, 3, 4, 5]
    for message in loop_reader.messages[:2]:
        message.ack()
    assert server.hlen("unacked") == 6
    assert loop_reader.wait(8) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert set(server.hkeys("unacked")) == {message.delivery_tag for message in loop_reader.messages[2:]}
    assert set(server.zrange("unacked_index", 0, -1)) == set(server.hkeys("unacked"))
    for message in loop_reader.messages[2:]:  # and where nothing more may be taken meanwhile
        message.ack()
    loop_reader.look(0)
    assert not server.exists("unacked", "unacked_index", QUEUE)


def test_what_is_acknowledged_last_is_told_when_the_channel_closes(
    connection: Connection, loop_reader: LoopReader, server: redis.Redis
) -> None:
    """It does not come again; what was not goes back."""
    put(connection, "done", "not done")
    assert loop_reader.wait(2) == ["done", "not done"]
    loop_reader.messages[0].ack()
    loop_reader.messages[0].channel.close()
    assert server.llen(QUEUE) == 1
    assert not server.exists("unacked", "unacked_index")


def test_of_several_taken_at_once_none_is_lost_where_one_is_no_task(
    connection: Connection, server: redis.Redis
) -> None:
    """The rest is handed over, in order."""
    put(connection, "one")
    server.lpush(QUEUE, "no message")
    put(connection, "two")
    reader = Reader(connection)
    assert reader.wait(2) == ["one", "two"]
    assert server.lrange(UNREADABLE, 0, -1) == ["no message"]


def test_where_handing_over_fails_what_was_taken_with_it_goes_back(connection: Connection, server: redis.Redis) -> None:
    """To the queue's end that is read next."""
    put(connection, "one", "two", "three")
    reader = Reader(connection, prefetch=10)

    def fail(message: Any) -> None:
        raise RuntimeError(message.payload)

    reader.consumer.on_message = fail
    with pytest.raises(RuntimeError, match="one"):
        connection.drain_events(timeout=PATIENCE_S)
    assert server.llen(QUEUE) == 2
    assert server.hlen("unacked") == 1
