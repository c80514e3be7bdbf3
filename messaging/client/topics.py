"""Topics and their subscribers, as the client offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from messaging.channel import Channel
from messaging.client.session import Session
from messaging.client.words import optional_word
from messaging.store import subscribers, topic_growth, topics
from messaging.store.bulk_rows import BulkRow
from messaging.store.bulk_subscribe import BulkProgress, BulkResult, bulk_subscribe
from messaging.store.subscribers import SubscriberView
from messaging.store.topic_growth import Day
from messaging.store.topics import TopicView


class Topics:
    """The topics of the project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(
        self, topic_id: str | None = None, *, name: str, description: str = "", subscribe: Sequence[str] = ("users",)
    ) -> TopicView:
        """A new topic; raises `ConflictError` if the id is taken."""
        with self._session.begin() as connection:
            return topics.create(
                connection,
                self._session.project_id,
                name=name,
                topic_id=topic_id,
                description=description,
                subscribe=subscribe,
            )

    def get(self, topic_id: str) -> TopicView:
        """The topic with its totals; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return topics.get(connection, self._session.project_id, topic_id)

    def list(self, *, after: str | None = None, search: str | None = None, limit: int = 100) -> Sequence[TopicView]:
        """Topics in order of creation, those after the topic `after`."""
        with self._session.begin() as connection:
            return topics.page(connection, self._session.project_id, after=after, search=search, limit=limit)

    def update(
        self,
        topic_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        subscribe: Sequence[str] | None = None,
    ) -> TopicView:
        """The topic after the change."""
        with self._session.begin() as connection:
            return topics.update(
                connection,
                self._session.project_id,
                topic_id,
                name=name,
                description=description,
                subscribe=subscribe,
            )

    def delete(self, topic_id: str) -> None:
        """Remove the topic and its subscriptions; raises `NotFoundError`."""
        with self._session.begin() as connection:
            topics.delete(connection, self._session.project_id, topic_id)

    def subscribers(self, topic_id: str, *, after: str | None = None, limit: int = 100) -> Sequence[SubscriberView]:
        """Subscriptions in order of creation, those after the subscriber `after`."""
        with self._session.begin() as connection:
            return subscribers.page(connection, self._session.project_id, topic_id, after=after, limit=limit)

    def growth(self, topic_id: str, *, days: int = 30) -> Sequence[Day]:
        """How many joined on each of the last `days` days (UTC), oldest first; raises `NotFoundError`."""
        with self._session.begin() as connection:
            return topic_growth.growth(connection, self._session.project_id, topic_id, days=days)

    def subscribe(self, topic_id: str, *target_ids: str) -> int:
        """How many of the targets were not subscribed before; raises `NotFoundError` for one that does not exist."""
        with self._session.begin() as connection:
            return subscribers.subscribe(connection, self._session.project_id, topic_id, target_ids)

    def unsubscribe(self, topic_id: str, *target_ids: str) -> int:
        """How many of the targets were subscribed."""
        with self._session.begin() as connection:
            return subscribers.unsubscribe(connection, self._session.project_id, topic_id, target_ids)

    def subscribe_many(
        self,
        topic_id: str,
        rows: Iterable[BulkRow],
        *,
        channel: Channel | str | None = None,
        progress: Callable[[BulkProgress], None] | None = None,
    ) -> BulkResult:
        """Subscribe any number of rows, committed chunk by chunk; bad rows are reported, not raised.

        `channel` is that of raw addresses; rows that name targets need none. Raises `NotFoundError` (topic).
        """
        with self._session.engine.connect() as connection:
            topic = topics.find(connection, self._session.project_id, topic_id)
            return bulk_subscribe(
                connection,
                self._session.vault,
                self._session.project_id,
                topic,
                rows,
                channel=optional_word(Channel, "channel", channel),
                progress=progress,
                commit=True,
            )
