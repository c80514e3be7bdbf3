"""Receipts, sent back as providers do: to the address a request named, or the one registered for the account.

A receipt is repeated while it is not answered 2xx, as providers do, only sooner. On demand every receipt comes
twice, out of order or late. Only addresses on loopback are called.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Before a receipt is told again."""
_SENDERS = 16
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_QUIET_S = 0.05
"""A receipt comes this long after the message was accepted, unless told otherwise."""

_BY_WORD: Mapping[str, tuple[str, ...]] = {
    "bounced": ("bounced_hard",),
    "soft-bounced": ("deferred", "bounced_soft"),
    "late": ("deferred", "delivered"),
    "complained": ("delivered", "complained"),
    "unsubscribed": ("delivered", "unsubscribed"),
    "opened": ("delivered", "opened", "clicked"),
    "rejected": ("rejected",),
    "no-receipt": (),
}
"""By the local part of an email address, up to `+`."""
_BY_NUMBER: Mapping[str, tuple[str, ...]] = {
    "+1888001": ("bounced_hard",),
    "+1888002": ("deferred", "bounced_soft"),
    "+1888003": ("unsubscribed",),
    "+1888004": ("rejected",),
    "+1888005": ("deferred", "delivered"),
    "+1888006": (),
}
"""By the beginning of a phone number."""
DELIVERED = ("delivered",)


class WebhookRefusedError(ValueError):
    """A webhook can't be registered; the text says why."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an account's receipts go, and the key they are signed with."""

    url: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One receipt request, signed and ready."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"


def json_post(url: str, document: Mapping[str, Any]) -> Post:
    """A receipt in JSON whose headers bear no signature."""
    return Post(url=url, body=json.dumps(document).encode(), headers={"content-type": "application/json"})


@dataclass(slots=True, kw_only=True)
class Manners:
    """How receipts are told."""

    delay_s: float = _QUIET_S
    twice: bool = False
    """Every receipt is told twice."""
    shuffled: bool = False
    """Each is held up by a random time of up to a second, so that later ones overtake it."""


@dataclass
class Webhooks:
    """Tells receipts in the background."""

    manners: Manners = field(default_factory=Manners)
    told: int = 0
    """Receipts answered 2xx."""
    given_up: int = 0
    last_error: str = ""
    _registered: dict[str, Webhook] = field(default_factory=dict)
    _waiting: list[tuple[float, int, int, Post]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _number: itertools.count[int] = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  # nosec B311  no secret

    def register(self, kind: str, url: str, key: str) -> None:
        """Receipts of the kind's accounts go to `url` from now on; raises `WebhookRefusedError`."""
        check(url)
        self._registered[kind] = Webhook(url, key)

    def of(self, kind: str) -> Webhook | None:
        """What is registered for the kind's accounts."""
        return self._registered.get(kind)

    def address(self, kind: str, named: str | None = None) -> str:
        """Where a message's receipts go: the address its request named, else the registered one, else none ("")."""
        hook = self.of(kind)
        return named or ("" if hook is None else hook.url)

    def post(self, posts: Sequence[Post]) -> None:
        """Tell these, in order. An address that is not on loopback is left out."""
        now = time.monotonic()
        for place, each in enumerate(posts):
            if (urlsplit(each.url).hostname or "") not in _LOOPBACK:
                self.last_error = f"not called, for it is not on loopback: {each.url}"
                continue
            for _ in range(2 if self.manners.twice else 1):
                held_s = self._random.random() if self.manners.shuffled else 0.01 * place
                self._put(now + self.manners.delay_s + held_s, 0, each)

    def state(self) -> dict[str, Any]:
        """Sums, for the control address."""
        return {
            "told": self.told,
            "waiting": len(self._waiting),
            "given_up": self.given_up,
            "last_error": self.last_error,
            "events": receipts_table(),
            "registered": {kind: hook.url for kind, hook in sorted(self._registered.items())},
        }

    def start(self) -> None:
        """Begin to tell what is posted, in the running loop."""
        self._tasks = {asyncio.get_running_loop().create_task(self._tell_all()) for _ in range(_SENDERS)}

    async def close(self) -> None:
        """Stop; what waits is forgotten."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _put(self, at: float, attempt: int, post: Post) -> None:
        heapq.heappush(self._waiting, (at, next(self._number), attempt, post))
        self._changed.set()

    async def _tell_all(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                wait_s = self._waiting[0][0] - time.monotonic() if self._waiting else 3600.0
                if wait_s > 0:
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(wait_s):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
                    continue
                _, _, attempt, post = heapq.heappop(self._waiting)
                await self._tell(client, attempt, post)

    async def _tell(self, client: httpx.AsyncClient, attempt: int, post: Post) -> None:
        try:
            answer = await client.request(post.method, post.url, content=post.body, headers=dict(post.headers))
            if answer.is_success:
                self.told += 1
                return
            self.last_error = f"{answer.status_code} {answer.text[:200]}"
        except httpx.HTTPError as error:
            self.last_error = f"{type(error).__name__} {error}"
        if attempt == len(_PAUSES_S):
            self.given_up += 1
        else:
            self._put(time.monotonic() + _PAUSES_S[attempt], attempt + 1, post)


def events_for(address: str) -> tuple[str, ...]:
    """The events, in order, that follow once a message to `address` is accepted: words of `messaging.receipt.Event`."""
    if "@" in address:
        return _BY_WORD.get(address.partition("@")[0].partition("+")[0].lower(), DELIVERED)
    number = address if address.startswith("+") else f"+{address}"
    return next((events for prefix, events in _BY_NUMBER.items() if number.startswith(prefix)), DELIVERED)


def check(url: str) -> None:
    """Raise `WebhookRefusedError` for what is no http(s) address on loopback."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or (parts.hostname or "") not in _LOOPBACK:
        raise WebhookRefusedError(f"{url!r} is no http address on this machine: the sandbox calls nobody else")


def receipts_table() -> dict[str, list[str]]:
    """Which address leads to which events, for the control address and the documentation."""
    return {prefix: list(events) for prefix, events in (*_BY_WORD.items(), *_BY_NUMBER.items())}
