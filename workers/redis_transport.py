"""Redis as a broker that loses no task: taken off its queue and held in one step.

kombu 5.7 takes a task off a queue (`BRPOP`) and notes it as unacknowledged in a second command; a worker killed
between the two loses it. Here one script does both, so a task is in its queue or in the hash of what is held, from
where it comes back when its worker is gone for `visibility_timeout`. A script can't block, so an idle worker waits with
`BLMOVE` from a queue to itself: that ends when there is something, and moves nothing.

kombu 5.7 with redis-py 8 also dies of an AttributeError when the broker restarts, where a channel is closed after its
connection was collected: here that is the connection error its caller recovers from.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty
from time import monotonic
from typing import Any

import kombu.transport.redis as theirs
from kombu.asynchronous import get_event_loop
from kombu.utils.json import loads
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from workers import redis_scripts as scripts

_log = logging.getLogger(__name__)

UNREADABLE = "messaging.unreadable"
"""The list of what stood in a queue and is no message: kept for a person to look at."""
_UNREADABLE_KEPT = 1000
_SET_ASIDE = "Something in queue %s %s; it is kept in the list %s."

_ASK_AGAIN_S = 1.0

_WAIT = "WAIT"
"""A connection that waits, as the poller calls it; kombu has BRPOP and LISTEN."""

_ENDED_AT_ONCE = 1000
"""Acknowledged in one step at most: a script takes some thousand arguments."""
_AT_ONCE = 4
"""Messages taken in one step at most, and no more than may be handed out: others read the queue too."""


class QoS(theirs.QoS):
    """What a channel has handed out and nobody has acknowledged."""

    channel: Any
    visibility_timeout: int
    unacked_mutex_key: str
    unacked_mutex_expire: int
    unacked_index_key: str
    restore_by_tag: Any
    _vrestore_count: int

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Bring back what somebody has held for too long, by the server's clock.

        Not while another does, and not now where the broker is full, as the lock needs memory.
        """
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        with self.channel.conn_or_acquire() as client, suppress(theirs.MutexHeld, ResponseError):
            latest = client.time()[0] - self.visibility_timeout
            with theirs.Mutex(client, self.unacked_mutex_key, self.unacked_mutex_expire):
                for tag in client.zrange(
                    self.unacked_index_key, latest, 0, desc=True, byscore=True, offset=num and start, num=num
                ):
                    self.restore_by_tag(tag, client)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._ending: deque[str] = deque()
        """Acknowledged by the worker, and not yet in Redis."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message: in an event loop, together with others of the same turn, before it waits again."""
        self._ending.append(delivery_tag)
        super(theirs.QoS, self).ack(delivery_tag)
        if get_event_loop() is None:
            self.end()

    def end(self) -> None:
        """Tell Redis of what was acknowledged; what it can't be told comes again, as with a worker that died."""
        tags = self.acknowledged()
        if not tags:
            return
        try:
            with self.channel.conn_or_acquire() as client:
                client.eval(
                    scripts.END, 2, *map(self.channel.prefixed, (self.unacked_key, self.unacked_index_key)), *tags
                )
        except self.channel.connection_errors as error:
            _log.error("Could not acknowledge %d messages: %s", len(tags), type(error).__name__)

    def acknowledged(self) -> list[str]:
        """What Redis was not told of yet; whoever takes it tells."""
        return [self._ending.popleft() for _ in range(min(len(self._ending), _ENDED_AT_ONCE))]

    def append(self, message: Any, delivery_tag: str) -> None:  # noqa: ANN401  kombu has no types here
        """Remember a message; what the script took is on record in Redis already."""
        if delivery_tag in self.channel.held:
            self.channel.held.discard(delivery_tag)
            super(theirs.QoS, self).append(message, delivery_tag)
        else:
            super().append(message, delivery_tag)


class Channel(theirs.Channel):
    """A channel that holds what it takes in the same step."""

    QoS = QoS

    # kombu's own, which its types don't mention
    client: Any
    connection: Any
    connection_errors: tuple[type[BaseException], ...]
    _flush_brpop_reauth: Any
    _in_poll: Any
    _q_for_pri: Any
    _queue_cycle: Any
    _qos: Any
    closed: bool
    pool: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.held: set[str] = set()
        self._unacknowledged: set[str] = set()
        self._resting = False
        self._refused_at: float | None = None
        self._waiters: dict[str, Any] = {}
        """A client for each list somebody waits at, its connection its own."""
        self._waiting_since: dict[str, float] = {}
        self._asked: list[tuple[str, str]] = []
        self._speaker: Any = None
        """The client for all that is neither taking nor waiting; it takes a connection of the pool for each command."""
        self._prioritised: set[str] = set()
        super().__init__(*args, **kwargs)

    # -- kombu calls these -------------------------------------------------------------------------

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, FBT001
        """Read `queue` from now on."""
        if no_ack:
            self._unacknowledged.add(queue)
        self._resting = False
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002  the script never blocks
        """Ask for the next message, or wait until there may be one."""
        queues: Sequence[str] = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        keys = [(queue, self._q_for_pri(queue, step)) for step in self.priority_steps for queue in queues]
        if self._refused_at is not None:
            if monotonic() - self._refused_at < _ASK_AGAIN_S:
                return
            self._refused_at = None
        elif self._resting:
            for queue, key in keys:
                if key == queue or key in self._prioritised:
                    self._wait_for(key)
            return
        self._asked = keys
        connection = self.client.connection
        qos: Any = self.qos
        free: int | None = qos.can_consume_max_estimate()
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        connection.send_command(
            "EVAL",
            scripts.TAKE,
            len(keys) + 3,
            *(self.prefixed(key) for _, key in keys),
            self.prefixed(self.unacked_key),
            self.prefixed(self.unacked_index_key),
            self.prefixed(UNREADABLE),
            _UNREADABLE_KEPT,
            _AT_ONCE if free is None else max(1, min(free, _AT_ONCE)),
            len(queues),
            *(queue if self._acknowledges(queue) else "" for queue, _ in keys),
            *qos.acknowledged(),
        )

    def _brpop_read(self, **options: Any) -> bool:  # noqa: ANN401
        """Hand on what the script took; raises `Empty` where it found nothing."""
        client: Any = self.client
        try:
            try:
                answer = client.parse_response(client.connection, "EVAL", **options)
            except self.connection_errors:
                client.connection.disconnect()
                raise
            except ResponseError as error:
                # read-only after a fail-over, no right to run scripts: try again over a new connection
                client.connection.disconnect()
                raise RedisConnectionError(f"The broker hands nothing out: {error}") from error
            more, found = answer
            self._resting = not more
            if not found:
                raise Empty
            self._hand_over_all(found)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _poll_error(self, type: str, **options: Any) -> None:  # noqa: A002, ANN401  kombu's name
        if type == _WAIT:
            raise RedisConnectionError("The connection to the broker was closed.")
        super()._poll_error(type, **options)  # type: ignore[misc]  # not in kombu's types

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  kombu's signature
        # kombu makes a client for each command it sends, which costs more than the command
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # not in kombu's types
        if self._speaker is None or self._speaker.connection_pool is not self.pool:
            self._speaker = super()._create_client()  # type: ignore[misc]  # not in kombu's types
        return self._speaker

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  kombu's signature
        connection: Any = self.connection
        if connection is None or connection.client is None:
            raise RedisConnectionError("The connection to the broker was closed.")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]  # not in kombu's types

    def close(self) -> None:
        """Close, having acknowledged what is to be."""
        if self._qos is not None and not self.closed:
            self._qos.end()
        super().close()

    def _close_clients(self) -> None:
        super()._close_clients()  # type: ignore[misc]  # not in kombu's types
        for waiter in self._waiters.values():
            if waiter.connection is not None:
                waiter.connection.disconnect()
        self._waiters.clear()
        self._waiting_since.clear()

    def _queue_bind(self, *args: Any) -> None:  # noqa: ANN401
        # a full broker refuses to note a binding that it has; our own hints need none
        with suppress(OutOfMemoryError):
            super()._queue_bind(*args)  # type: ignore[misc]  # not in kombu's types

    # -- waiting -----------------------------------------------------------------------------------

    def _wait_for(self, key: str) -> None:
        """Have a connection wait until the list at `key` holds something, if none does yet."""
        poller, now, longest_s = self.connection.cycle, monotonic(), self.brpop_timeout or 1
        waiter = self._waiters.get(key)
        if waiter is None:
            waiter = self._waiters[key] = self._create_client(asynchronous=True)
        since = self._waiting_since.get(key)
        if since is not None and now - since > longest_s + (self.health_check_interval or longest_s):
            waiter.connection.disconnect()  # half open: the server would have answered
        if not poller._client_registered(self, waiter, _WAIT):  # noqa: SLF001  as kombu does for its own
            poller._register(self, waiter, _WAIT)  # noqa: SLF001
        elif since is not None:
            return
        name = self.prefixed(key)
        waiter.connection.send_command("BLMOVE", name, name, "RIGHT", "RIGHT", longest_s)
        self._waiting_since[key] = now

    def heed(self, fileno: int) -> None:
        """A connection that waits says something: look into the queues. Raises `Empty`, as it brings no message."""
        self._resting = False
        for key, waiter in self._waiters.items():
            connection = waiter.connection
            if connection is None or connection._sock is None or connection._sock.fileno() != fileno:  # noqa: SLF001
                continue
            since = self._waiting_since.pop(key, None)
            try:
                if since is None:
                    raise RedisConnectionError("The broker closed a connection that nothing was asked of.")
                waiter.parse_response(connection, "BLMOVE")
            except self.connection_errors:
                connection.disconnect()
                raise
            except ResponseError:
                self._refused_at = monotonic()  # a full broker refuses to wait, and still hands out: ask now and then
        raise Empty

    # -- handing over ------------------------------------------------------------------------------

    def _hand_over_all(self, found: Sequence[Any]) -> None:
        """Hand over each of (place, message, tag); where that fails, the rest goes back to its queue."""
        places = [self._asked[place - 1] for place, _, _ in found]
        for at, ((queue, key), (_, item, tag)) in enumerate(zip(places, found, strict=True)):
            if key != queue:
                self._prioritised.add(key)
            self._queue_cycle.rotate(queue)
            try:
                self._hand_over(queue, item, tag)
            except BaseException:
                for _, left, its in found[at + 1 :]:
                    if left is not None:
                        self._qos.restore_by_tag(its.decode() if isinstance(its, bytes) else its)
                raise

    def _hand_over(self, queue: str, item: bytes | str | None, tag: bytes | str) -> None:
        if item is None:  # the script has put it aside
            _log.error(_SET_ASIDE, queue, "is no message", UNREADABLE)
            return
        name = tag.decode() if isinstance(tag, bytes) else tag
        try:
            payload = loads(item.decode() if isinstance(item, bytes) else item)
            message = self.Message(payload, channel=self)  # raises here and not in the event loop
            if message.delivery_tag != name:
                raise ValueError("held under another tag than it has")  # noqa: TRY301  put aside like the rest
        except Exception as error:  # noqa: BLE001  whatever a decoder raises; its text would repeat the message
            self._put_aside(item, name)
            reason = type(error).__name__
            _log.error(
                "Something in queue %s can't be read (%s); it is kept in the list %s.", queue, reason, UNREADABLE
            )
            return
        if self._acknowledges(queue):
            self.held.add(name)
        # a queue is its project, and its producer writes what stands here; but whether it comes again is kept,
        # as that is how a task is found out that ends whoever takes it in
        again = bool((payload.get("headers") or {}).get("redelivered"))
        payload["properties"]["delivery_info"] = {"exchange": "", "routing_key": queue, "redelivered": again}
        self.connection._deliver(payload, queue)  # noqa: SLF001  as kombu's own channel does

    def _put_aside(self, item: bytes | str, tag: str) -> None:
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(UNREADABLE, item).ltrim(UNREADABLE, 0, _UNREADABLE_KEPT - 1)
            pipe.zrem(self.unacked_index_key, tag).hdel(self.unacked_key, tag).execute()

    def _acknowledges(self, queue: str) -> bool:
        return bool(self.ack_emulation) and queue not in self._unacknowledged

    def prefixed(self, key: str) -> str:
        """The key as it is in Redis."""
        return f"{self.global_keyprefix}{key}"


class SentinelChannel(Channel, theirs.SentinelChannel):
    """A channel to the server that Sentinel names."""


class Poller(theirs.MultiChannelPoller):
    """kombu's, which also hears connections that wait."""

    _channels: Any
    _fd_to_chan: Any

    def on_poll_start(self) -> None:
        """Before it waits: ask for more and tell what was acknowledged, in one go where both is to be done."""
        super().on_poll_start()
        for channel in self._channels:
            if channel._qos is not None:  # noqa: SLF001  `qos` would make one
                channel._qos.end()  # noqa: SLF001

    def on_readable(self, fileno: int) -> Any:  # noqa: ANN401
        """Read what came, and what a waiting connection says whatever the prefetch count: it brings no message."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if channel is not None and kind == _WAIT:
            return channel.heed(fileno)
        return super().on_readable(fileno)


class _Hub:
    """Celery's event loop, which is asked to read from a connection only where it does not yet.

    kombu asks for each at every turn of the loop, and that costs more than all else it does there.
    """

    def __init__(self, loop: Any) -> None:  # noqa: ANN401
        self._loop = loop

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._loop, name)

    def add_reader(self, fileno: int, callback: Any, *args: Any) -> None:  # noqa: ANN401
        """As the loop's own."""
        if self._loop.readers.get(fileno) != (callback, args):
            self._loop.add_reader(fileno, callback, *args)


class Transport(theirs.Transport):
    """`redis://`, `rediss://`, `redis+socket://`."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ANN401
        """Have the loop read what comes."""
        super().register_with_event_loop(connection, _Hub(loop))

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.cycle = Poller()


class SentinelTransport(theirs.SentinelTransport):
    """`sentinel://`."""

    Channel = SentinelChannel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ANN401
        """Have the loop read what comes."""
        super().register_with_event_loop(connection, _Hub(loop))

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.cycle = Poller()
