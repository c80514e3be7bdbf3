"""An account over HTTP/1.1: its calls are counted, none begins once it is closing, and a lost one is an outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar, cast

import httpx

from messaging.outcome import Outcome
from workers.providers.base import Outgoing, Recipient
from workers.providers.http1 import lost
from workers.providers.in_flight import CLOSED, InFlight

Message = TypeVar("Message")
"""What `prepare` makes of a message."""


class Http1Adapter(ABC, Generic[Message]):
    """An `Adapter` around a client; a kind says how it prepares, sends and checks."""

    title: ClassVar[str]
    """The provider's, for reasons in words."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._in_flight = InFlight()

    @abstractmethod
    def prepare(self, outgoing: Outgoing) -> Message:
        """What all recipients share; raises `ContentError` naming what can't be sent."""

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One outcome per recipient, in order."""
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await self._send(cast("Message", prepared), recipients)

    async def check(self) -> Outcome:
        """What the provider says of the account."""
        if self._in_flight.closing:
            return CLOSED
        with self._in_flight:
            try:
                return await self._check()
            except httpx.HTTPError as error:
                return lost(error, self.title)

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    @abstractmethod
    async def _send(self, message: Message, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One outcome per recipient, in order; never raises."""

    @abstractmethod
    async def _check(self) -> Outcome:
        """The outcome of the cheapest call that sends nothing; raises `httpx.HTTPError` where no answer came."""
