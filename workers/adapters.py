"""Open adapters: one per provider account and process, reopened when the account changes."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from messaging.catalog import OURS, kind_of
from messaging.settings import Settings
from messaging.store.providers import ProviderAccount
from workers.providers.base import Account, Adapter, Context, TokenStore
from workers.providers.destinations import Destinations

ENTRY_POINT_GROUP = "messaging.providers"


class Adapters:
    """Adapters by provider number."""

    def __init__(self, settings: Settings, tokens: TokenStore) -> None:
        self._settings = settings
        self._tokens = tokens
        self._destinations = Destinations(settings.private_destinations)
        self._open: dict[int, tuple[object, Adapter]] = {}
        self._retired: set[asyncio.Task[None]] = set()

    def get(self, account: ProviderAccount) -> Adapter:
        """The adapter of the account as it is now; an older one of it is closed when its calls have ended.

        Raises whatever the adapter raises for credentials it can't use.
        """
        version, adapter = self._open.get(account.id, (None, None))
        if adapter is not None and version == account.updated_at:
            return adapter
        fresh = self._opened(account)
        if adapter is not None:
            closing = asyncio.get_running_loop().create_task(adapter.aclose())
            self._retired.add(closing)
            closing.add_done_callback(self._retired.discard)
        self._open[account.id] = (account.updated_at, fresh)
        return fresh

    def _opened(self, account: ProviderAccount) -> Adapter:
        kind = kind_of(account.kind)
        module = module_of(kind.name)
        context = Context(
            tokens=self._tokens,
            endpoints={name.lower(): url for name, url in self._settings.endpoints.items()},
            ca_file=self._settings.ca_file,
            destinations=self._destinations,
            connections=kind.connections,
            concurrency=kind.concurrency,
            receipts_url=self._settings.receipts_url(account.receipt_key),
        )
        return cast(
            "Adapter",
            module.open_adapter(
                account_of(account),
                context,
            ),
        )

    async def aclose(self) -> None:
        """Close every adapter."""
        await asyncio.gather(*(adapter.aclose() for _, adapter in self._open.values()), *self._retired)
        self._open.clear()


def account_of(account: ProviderAccount) -> Account:
    """The account as its module sees it."""
    return Account(
        provider_id=account.id,
        public_id=account.public_id,
        kind=account.kind,
        credentials=account.credentials,
        options=account.options,
    )


@cache
def module_of(kind: str) -> Any:  # noqa: ANN401  a module
    """The adapter's module; raises `LookupError` for a kind nobody brings."""
    if kind in OURS:  # a package can't take the place of one of ours, and get its credentials
        return import_module(f"workers.providers.{OURS[kind].module}")
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return entry.load()
    raise LookupError(f"No adapter for provider kind '{kind}'. Install the package that brings it.")
