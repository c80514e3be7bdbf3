"""Targets, as the client offers them."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.channel import Channel
from messaging.client.session import Session
from messaging.client.words import optional_word, word
from messaging.store import targets
from messaging.store.targets import TargetView


class Targets:
    """The addresses of the project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(
        self,
        identifier: str,
        *,
        channel: Channel | str = Channel.PUSH,
        user_id: str | None = None,
        provider_id: str | None = None,
        name: str | None = None,
        target_id: str | None = None,
    ) -> TargetView:
        """The target of an address; one that was registered before moves to this user and is alive again."""
        with self._session.begin() as connection:
            return targets.create(
                connection,
                self._session.vault,
                self._session.project_id,
                channel=word(Channel, "channel", channel),
                identifier=identifier,
                user_id=user_id,
                provider_id=provider_id,
                name=name,
                target_id=target_id,
            )

    def get(self, target_id: str) -> TargetView:
        """The target; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return targets.get(connection, self._session.project_id, target_id)

    def list(
        self,
        *,
        user_id: str | None = None,
        channel: Channel | str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[TargetView]:
        """Targets in order of creation, those after the target `after`; of one user or channel if named."""
        with self._session.begin() as connection:
            return targets.page(
                connection,
                self._session.project_id,
                user_id=user_id,
                channel=optional_word(Channel, "channel", channel),
                after=after,
                limit=limit,
            )

    def update(
        self,
        target_id: str,
        *,
        identifier: str | None = None,
        provider_id: str | None = None,
        name: str | None = None,
    ) -> TargetView:
        """The target after the change; a new identifier brings a dead one back to life."""
        with self._session.begin() as connection:
            return targets.update(
                connection,
                self._session.vault,
                self._session.project_id,
                target_id,
                identifier=identifier,
                provider_id=provider_id,
                name=name,
            )

    def delete(self, target_id: str) -> None:
        """Remove the target and its subscriptions; raises `NotFoundError`."""
        with self._session.begin() as connection:
            targets.delete(connection, self._session.project_id, target_id)
