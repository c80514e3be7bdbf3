"""The token store adapters are handed: one token for all workers, minted by exactly one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import Engine

from messaging.store import provider_tokens
from messaging.vault import Vault
from workers.providers.base import Minted


class SharedTokens:
    """Tokens in PostgreSQL. Adapters remember theirs for a while (`shared_token.SharedToken`)."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    async def get(self, key: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """The current token, minted now if there is none or it ran out."""
        return await self._agree(key, mint, rejected=None)

    async def replace(self, key: str, rejected: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """Another token than `rejected`, unless it is too young to be replaced: then `rejected` again."""
        return await self._agree(key, mint, rejected=rejected)

    async def _agree(self, key: str, mint: Callable[[], Awaitable[Minted]], *, rejected: str | None) -> str:
        loop = asyncio.get_running_loop()

        def minted() -> Minted:
            return asyncio.run_coroutine_threadsafe(_coroutine(mint), loop).result(timeout=30)

        return await asyncio.to_thread(self._agree_in_transaction, key, minted, rejected)

    def _agree_in_transaction(self, key: str, mint: Callable[[], Minted], rejected: str | None) -> str:
        with self._engine.begin() as connection:
            provider_tokens.lock(connection, key)
            stored = provider_tokens.load(connection, self._vault, key)
            if stored is not None and stored.usable and (stored.token != rejected or not stored.replaceable):
                return stored.token
            fresh = mint()
            provider_tokens.save(
                connection,
                self._vault,
                key,
                fresh.token,
                lifetime_s=fresh.lifetime_s,
                min_age_s=fresh.min_age_s,
            )
            return fresh.token


async def _coroutine(mint: Callable[[], Awaitable[Minted]]) -> Minted:
    return await mint()
