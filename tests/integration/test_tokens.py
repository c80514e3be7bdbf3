"""Tokens that all workers share: minted by one, kept through a flushed Redis, not minted too often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.integration.road import Road
from workers.providers.base import Minted
from workers.tokens import SharedTokens


def minting(minted: list[str], *, min_age_s: float = 0.0) -> Callable[[], Awaitable[Minted]]:
    """A mint that counts."""

    async def mint() -> Minted:
        await asyncio.sleep(0.01)
        minted.append(f"token {len(minted) + 1}")
        return Minted(minted[-1], 3600.0, min_age_s)

    return mint


def test_many_workers_asking_at_once_get_one_token(road: Road) -> None:
    """APNs refuses a second provider token within 20 minutes."""
    road.execute("DELETE FROM provider_tokens")
    minted: list[str] = []

    async def ask() -> list[str]:
        workers = [SharedTokens(road.engine, road.vault) for _ in range(6)]
        return list(await asyncio.gather(*(w.get("apns:TEAM", minting(minted)) for w in workers)))

    assert asyncio.run(ask()) == ["token 1"] * 6
    assert minted == ["token 1"]


def test_a_refused_token_is_replaced_once_for_all(road: Road) -> None:
    """Whoever comes second with the same refused token is handed the new one."""
    road.execute("DELETE FROM provider_tokens")
    minted: list[str] = []

    async def ask() -> list[str]:
        one, two = SharedTokens(road.engine, road.vault), SharedTokens(road.engine, road.vault)
        first = await one.get("k", minting(minted))
        return [await one.replace("k", first, minting(minted)), await two.replace("k", first, minting(minted))]

    assert asyncio.run(ask()) == ["token 2", "token 2"]
    assert len(minted) == 2


def test_a_token_too_young_is_not_replaced_even_when_refused(road: Road) -> None:
    """Minting again would only be refused for a different reason."""
    road.execute("DELETE FROM provider_tokens")
    minted: list[str] = []

    async def ask() -> str:
        tokens = SharedTokens(road.engine, road.vault)
        first = await tokens.get("k", minting(minted, min_age_s=1200))
        return await tokens.replace("k", first, minting(minted, min_age_s=1200))

    assert asyncio.run(ask()) == "token 1"


def test_tokens_are_stored_encrypted(road: Road) -> None:
    """Nobody who reads the database can send as us."""
    road.execute("DELETE FROM provider_tokens")
    asyncio.run(SharedTokens(road.engine, road.vault).get("k", minting([])))
    with road.engine.begin() as connection:
        stored = connection.exec_driver_sql("SELECT token FROM provider_tokens").scalar_one()
    assert b"token" not in bytes(stored)
