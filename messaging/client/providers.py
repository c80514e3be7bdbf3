"""Providers, as the client offers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from messaging.catalog import kind_of
from messaging.channel import Channel
from messaging.client.session import Session
from messaging.client.words import optional_word
from messaging.limits import Limits
from messaging.store import provider_fields, providers
from messaging.store.providers import ProviderView


class Providers:
    """The configured accounts of the project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(
        self,
        kind: str,
        *,
        provider_id: str | None = None,
        name: str | None = None,
        enabled: bool | None = None,
        priority: int = 0,
        weight: int = 0,
        limits: Limits | None = None,
        **fields: Any,  # noqa: ANN401  checked against the catalogue
    ) -> ProviderView:
        """A new provider of a kind; `fields` are its credentials and options by their catalogue names.

        It is enabled when complete, unless `enabled` says otherwise. `limits` say how fast it may send, over all
        workers. Raises `InvalidArgumentError`, `ConflictError`.
        """
        entry = kind_of(kind)
        credentials, options = provider_fields.split(entry, fields)
        with self._session.begin() as connection:
            return providers.create(
                connection,
                self._session.vault,
                self._session.project_id,
                kind=kind,
                credentials=credentials,
                options=options,
                name=name,
                provider_id=provider_id,
                enabled=enabled,
                priority=priority,
                weight=weight,
                limits=None if limits is None else limits.of_channel(entry.channel),
            )

    def get(self, provider_id: str) -> ProviderView:
        """The provider, without its secrets; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return providers.get(connection, self._session.vault, self._session.project_id, provider_id)

    def list(
        self, *, channel: Channel | str | None = None, after: str | None = None, limit: int = 100
    ) -> Sequence[ProviderView]:
        """Providers in order of creation, those after the provider `after`; of one channel if named."""
        with self._session.begin() as connection:
            return providers.page(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=optional_word(Channel, "channel", channel),
                after=after,
                limit=limit,
            )

    def update(
        self,
        provider_id: str,
        *,
        name: str | None = None,
        enabled: bool | None = None,
        priority: int | None = None,
        weight: int | None = None,
        limits: Limits | None = None,
        **fields: Any,  # noqa: ANN401  checked against the catalogue
    ) -> ProviderView:
        """The provider after the change; named fields replace the old, the others stay. `limits` replace all limits."""
        with self._session.begin() as connection:
            before = providers.get(connection, self._session.vault, self._session.project_id, provider_id)
            credentials, options = provider_fields.split(kind_of(before.kind), fields)
            return providers.update(
                connection,
                self._session.vault,
                self._session.project_id,
                provider_id,
                name=name,
                credentials=credentials,
                options=options,
                enabled=enabled,
                priority=priority,
                weight=weight,
                limits=None if limits is None else limits.of_channel(before.channel),
            )

    def enable(self, provider_id: str) -> ProviderView:
        """The provider, enabled and started again; raises `InvalidArgumentError` naming what is missing."""
        return self.update(provider_id, enabled=True)

    def disable(self, provider_id: str) -> ProviderView:
        """The provider, disabled: nothing new goes through it."""
        return self.update(provider_id, enabled=False)

    def delete(self, provider_id: str) -> None:
        """Remove the provider; raises `NotFoundError`."""
        with self._session.begin() as connection:
            providers.delete(connection, self._session.project_id, provider_id)
