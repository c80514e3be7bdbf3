"""A bearer token all workers share, looked up once in a while instead of once per request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from messaging.outcome import Action, Outcome
from workers.providers.base import Minted, TokenStore

_LOOK_AGAIN_S = 20.0
"""A token stays in use this long before the store is asked again; minted lifetimes leave far more margin."""
_FAILURE_S = 1.0
"""Who waited for a lookup that failed gets the same error, and does not repeat it one after the other."""


class NoTokenError(Exception):
    """There is no token, so nothing was sent; `outcome` says what follows for the messages."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class SharedToken:
    """The current token under one key of a `TokenStore`."""

    def __init__(self, store: TokenStore, key: str, mint: Callable[[], Awaitable[Minted]]) -> None:
        self._store = store
        self._key = key
        self._mint = mint
        self._token: str | None = None
        self._until = 0.0
        self._failure: NoTokenError | None = None
        self._failed_until = 0.0
        self._lock = asyncio.Lock()

    def at_hand(self) -> str | None:
        """The token to use now, where it need not be asked for."""
        return self._token if time.monotonic() < self._until else None

    async def current(self) -> str:
        """The token to use now; raises `NoTokenError`."""
        token = self.at_hand()
        if token is not None:
            return token
        async with self._lock:
            token = self.at_hand()
            if token is not None:
                return token
            return await self._keep(lambda: self._store.get(self._key, self._mint))

    async def renewed(self, rejected: str) -> str:
        """Another token than `rejected`, asked for once however many requests were refused with it.

        Raises `NoTokenError`.
        """
        async with self._lock:
            if self._token is not None and self._token != rejected:
                return self._token
            return await self._keep(lambda: self._store.replace(self._key, rejected, self._mint))

    async def _keep(self, ask: Callable[[], Awaitable[str]]) -> str:
        if self._failure is not None and time.monotonic() < self._failed_until:
            raise self._failure.with_traceback(None)
        try:
            self._token = await ask()
        except NoTokenError as error:
            self._failure, self._failed_until = error, time.monotonic() + _FAILURE_S
            raise
        except Exception as error:  # the store is the caller's: a database that is away may raise anything
            reason = f"Not sent: the store of shared tokens failed ({type(error).__name__}). It is tried again."
            self._failure = NoTokenError(Outcome(Action.RETRY, "no_token", reason))
            self._failed_until = time.monotonic() + _FAILURE_S
            raise self._failure from error
        self._failure = None
        self._until = time.monotonic() + _LOOK_AGAIN_S
        return self._token
