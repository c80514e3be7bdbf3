"""Providers, as whoever looks after them needs them: checked, started, their log and receipts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from messaging.client.providers import Providers
from messaging.store import provider_checks, provider_log, provider_receipts, provider_stops, providers
from messaging.store.batches import RECEIPTS_HINT
from messaging.store.lists import Wanted
from messaging.store.provider_checks import CheckView
from messaging.store.provider_log import LogEntry
from messaging.store.provider_receipts import ReceiptsView
from messaging.store.providers import ProviderView

_POLL_S = (0.1, 1.0)
"""First and longest pause between two looks at a check."""


class CaredProviders(Providers):
    """The configured accounts of the project, and what an operator does with them."""

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
