"""Providers, as the client offers them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from messaging.catalog import kind_of
from messaging.channel import Channel
from messaging.client.session import Session
from messaging.client.words import optional_word
from messaging.limits import Limits
from messaging.store import provider_checks, provider_fields, provider_log, provider_receipts, provider_stops, providers
from messaging.store.batches import RECEIPTS_HINT
from messaging.store.lists import Wanted
from messaging.store.provider_checks import CheckView
from messaging.store.provider_log import LogEntry
from messaging.store.provider_receipts import ReceiptsView
from messaging.store.providers import ProviderView

if TYPE_CHECKING:
    from messaging.pace_state import PaceState

_POLL_S = (0.1, 1.0)
"""First and longest pause between two looks at a check."""


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

    # -- care of an account ------------------------------------------------------------------------

    def check(self, provider_id: str, *, send_to: str | None = None) -> CheckView:
        """A new check, done by a worker of the channel; a real message goes to the address `send_to`.

        Raises `NotFoundError`, `InvalidArgumentError` (no address of the channel).
        """
        with self._session.begin() as connection:
            check_id, hint = provider_checks.begin(connection, self._session.project_id, provider_id, send_to=send_to)
        self._session.publish([hint])
        return self.get_check(provider_id, check_id)

    def get_check(self, provider_id: str, check_id: str) -> CheckView:
        """The check as it stands now; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return provider_checks.get(connection, self._session.project_id, provider_id, check_id)

    def checks(self, provider_id: str, *, limit: int = 25) -> Sequence[CheckView]:
        """The checks of a provider, newest first; raises `NotFoundError`."""
        with self._session.begin() as connection:
            providers.find(connection, self._session.project_id, provider_id)
            wanted = Wanted(limit=limit, total=False)
            return provider_checks.listed(connection, self._session.project_id, provider_id, wanted).checks

    def wait_for_check(
        self, check: CheckView, timeout_s: float, progress: Callable[[CheckView], None] | None = None
    ) -> CheckView:
        """The check once it has ended, or as it stands after `timeout_s`; `progress` sees it at every look."""
        deadline = time.monotonic() + timeout_s
        pause_s, longest_s = _POLL_S
        while True:
            if progress is not None:
                progress(check)
            left_s = deadline - time.monotonic()
            if check.outcome is not None or left_s <= 0:
                return check
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, longest_s)
            check = self.get_check(check.provider_id, check.id)

    def start(self, provider_id: str) -> ProviderView:
        """The provider, working again if it was stopped; raises `NotFoundError`."""
        with self._session.begin() as connection:
            number = providers.find(connection, self._session.project_id, provider_id)
            provider_stops.start(connection, number, why=provider_stops.BY_OPERATOR)
            return providers.get(connection, self._session.vault, self._session.project_id, provider_id)

    def paces(self, accounts: Sequence[ProviderView]) -> Mapping[str, PaceState] | None:
        """Id of an account → how fast it may go at this moment; None where nobody paces, or Redis is away.

        One that nothing was sent over yet has the rate it will begin with.
        """
        from messaging import pace_state  # noqa: PLC0415  Redis's client, only for those who ask

        url = self._session.settings.pacing_url
        if url is None:
            return None
        with self._session.begin() as connection:
            numbers = providers.resolve(connection, self._session.project_id, [each.id for each in accounts])
        found = pace_state.read(url, list(numbers.values()))
        if found is None:
            return None
        paces: dict[str, PaceState] = {}
        for account in accounts:
            if account.id in numbers:
                state = found[numbers[account.id]]
                first = kind_of(account.kind).first_rate(account.limits.per_second)
                paces[account.id] = state if state.rate is not None else replace(state, rate=first)
        return paces

    def log(self, provider_id: str, *, limit: int = 25) -> Sequence[LogEntry]:
        """What happened to the provider, newest first; raises `NotFoundError`."""
        with self._session.begin() as connection:
            wanted = Wanted(limit=limit, total=False)
            return provider_log.listed(connection, self._session.project_id, provider_id, wanted).entries

    def receipts(self, provider_id: str) -> ReceiptsView:
        """How the provider's receipts fare, and where they go; raises `NotFoundError`."""
        with self._session.begin() as connection:
            settings, project_id = self._session.settings, self._session.project_id
            return provider_receipts.view(connection, settings, project_id, provider_id)

    def retry_receipts(self, provider_id: str) -> int:
        """Have the receipts looked at again that were put aside; how many. Raises `NotFoundError`."""
        with self._session.begin() as connection:
            again = provider_receipts.retry(connection, self._session.project_id, provider_id)
        self._session.publish([RECEIPTS_HINT] if again else [])
        return again
