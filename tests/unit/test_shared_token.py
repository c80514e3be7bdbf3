from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from workers.providers.base import Minted
from workers.providers.shared_token import NoTokenError, SharedToken


class _Store:
    """A store that mints each time it is asked, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.replaced = 0

    async def get(self, key: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        return f"{key}:{(await mint()).token}"

    async def replace(self, key: str, rejected: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        self.replaced += 1
        await asyncio.sleep(0)
        return f"{key}:{rejected}:{(await mint()).token}"


async def _mint() -> Minted:
    return Minted("t", 60)


def test_the_store_is_asked_once_for_many_requests() -> None:
    """Five hundred requests at once ask once, and use what came."""

    async def scenario() -> None:
        store = _Store()
        token = SharedToken(store, "k", _mint)
        assert set(await asyncio.gather(*(token.current() for _ in range(500)))) == {"k:t"}
        assert store.asked == 1

    asyncio.run(scenario())


def test_a_refused_token_is_replaced_once() -> None:
    """Whoever was refused with the old token gets the one that replaced it."""

    async def scenario() -> None:
        store = _Store()
        token = SharedToken(store, "k", _mint)
        old = await token.current()
        assert set(await asyncio.gather(*(token.renewed(old) for _ in range(500)))) == {"k:k:t:t"}
        assert store.replaced == 1

    asyncio.run(scenario())


def test_a_failed_lookup_fails_all_who_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred requests that wait for a token endpoint that is down wait once, not five hundred times."""
    monkeypatch.setattr("workers.providers.shared_token._FAILURE_S", 600.0)  # a busy machine takes over its second
    attempts = 0

    async def failing() -> Minted:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        raise ConnectionError("down")

    async def scenario() -> None:
        token = SharedToken(_Store(), "k", failing)
        errors = await asyncio.gather(*(token.current() for _ in range(500)), return_exceptions=True)
        assert all(isinstance(error, NoTokenError) for error in errors)
        assert attempts == 1
        with pytest.raises(NoTokenError):
            await token.renewed("old")

    asyncio.run(scenario())
