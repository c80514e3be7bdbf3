"""The suppression list, as the client offers it."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.channel import Channel
from messaging.client.session import Session
from messaging.client.words import optional_word, word
from messaging.store import suppressions
from messaging.store.suppressions import Scope, SuppressionView


class Suppressions:
    """Addresses that must not be written to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, channel: Channel | str, address: str, *, scope: Scope | str = Scope.EVERYTHING, reason: str = ""
    ) -> SuppressionView:
        """The entry of an address; one that reaches further stays as it is."""
        with self._session.begin() as connection:
            return suppressions.add(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                address=address,
                scope=word(Scope, "scope", scope),
                reason=reason,
            )

    def find(self, channel: Channel | str, address: str) -> SuppressionView | None:
        """The entry of an address, or None."""
        with self._session.begin() as connection:
            return suppressions.find(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                address=address,
            )

    def list(
        self, *, channel: Channel | str | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[SuppressionView]:
        """Entries, newest first."""
        with self._session.begin() as connection:
            return suppressions.page(
                connection,
                self._session.project_id,
                channel=optional_word(Channel, "channel", channel),
                limit=limit,
                offset=offset,
            )

    def remove(self, channel: Channel | str, address: str) -> bool:
        """Take an address off the list; False if it was not on it."""
        with self._session.begin() as connection:
            return suppressions.remove(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                address=address,
            )
