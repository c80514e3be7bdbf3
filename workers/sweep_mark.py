"""The mark each sweep leaves in Redis: `messaging doctor` tells by it whether beat and sweep are alive."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from messaging.redis_address import blocking_client
from messaging.wire import SWEPT_KEPT_S, SWEPT_KEY

_TIMEOUT_S = 1.0
_REST_S = 30.0
"""A Redis that did not answer is left alone for so long: a sweep must not wait for it."""


class SweepMark:
    """Left by one process."""

    def __init__(self, url: str | None, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """In the Redis at `url`; nowhere where there is none."""
        self._redis = (
            None if url is None else blocking_client(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        )
        self._clock_s = clock_s
        self._failed_s = float("-inf")

    def leave(self) -> None:
        """Say that a sweep was done just now; a Redis that is away is not told."""
        if self._redis is None or self._clock_s() - self._failed_s < _REST_S:
            return
        try:
            self._redis.set(SWEPT_KEY, socket.gethostname(), ex=SWEPT_KEPT_S)
        except RedisError:
            self._failed_s = self._clock_s()
