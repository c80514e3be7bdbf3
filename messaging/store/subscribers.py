"""Subscribers: which targets belong to which topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text

from messaging.channel import Channel
from messaging.errors import ConflictError, NotFoundError
from messaging.ids import check_id, new_id
from messaging.store import lists, targets, topics
from messaging.store.lists import Attribute, Kind, ListOf, Wanted
from messaging.store.targets import TargetView

_COLUMNS = "s.public_id, tp.public_id AS topic_id, s.target_id AS target, u.name AS user_name, s.channel, s.created_at"
_FROM = (
    "subscribers s JOIN topics tp ON tp.id = s.topic_id JOIN targets t ON t.id = s.target_id"
    " LEFT JOIN users u ON u.id = t.user_id"
)
_VIEW = f"SELECT {_COLUMNS} FROM {_FROM}"


@dataclass(frozen=True, kw_only=True)
class SubscriberView:
    """A subscription as the outside sees it."""

    id: str
    topic_id: str
    target_id: str
    target: TargetView
    user_id: str | None
    user_name: str
    channel: Channel
    created_at: datetime


def create(
    connection: Connection, project_id: int, *, topic_id: str, target_id: str, subscriber_id: str | None = None
) -> SubscriberView:
    """A target's new subscription; raises `ConflictError` if it is subscribed or the id is taken, `NotFoundError`."""
    public_id = check_id("subscriber_id", subscriber_id) if subscriber_id is not None else new_id()
    topic = topics.find(connection, project_id, topic_id)
    topics.hold(connection, topic)
    target = targets.resolve(connection, project_id, [target_id]).get(target_id)
    if target is None:
        raise NotFoundError("target", target_id)
    row = connection.execute(
        text(
            "INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)"
            " VALUES (:project, :topic, :target, :channel, :id) ON CONFLICT DO NOTHING RETURNING id"
        ),
        {"project": project_id, "topic": topic, "target": target.id, "channel": target.channel, "id": public_id},
    ).one_or_none()
    if row is None:
        raise ConflictError(
            f"The target '{target_id}' is subscribed to '{topic_id}' already, or the id '{public_id}' is taken there."
        )
    return get(connection, project_id, topic_id, public_id)


def subscribe(connection: Connection, project_id: int, topic_id: str, target_ids: Sequence[str]) -> int:
    """How many of the targets were not subscribed before; all of them are afterwards. Raises `NotFoundError`."""
    topic = topics.find(connection, project_id, topic_id)
    topics.hold(connection, topic)
    found = targets.resolve(connection, project_id, target_ids)
    for target_id in target_ids:
        if target_id not in found:
            raise NotFoundError("target", target_id)
    created = connection.execute(
        text(
            "INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)"
            " SELECT :project, :topic, t.id, t.channel, m.public_id"
            " FROM unnest(CAST(:targets AS bigint[]), CAST(:ids AS text[])) AS m(target, public_id)"
            " JOIN targets t ON t.id = m.target ON CONFLICT (topic_id, channel, target_id) DO NOTHING RETURNING id"
        ),
        {
            "project": project_id,
            "topic": topic,
            "targets": sorted(ref.id for ref in found.values()),
            "ids": [new_id() for _ in found],
        },
    )
    return len(created.all())


def unsubscribe(connection: Connection, project_id: int, topic_id: str, target_ids: Sequence[str]) -> int:
    """How many of the targets were subscribed; none is afterwards. Raises `NotFoundError` for the topic."""
    topic = topics.find(connection, project_id, topic_id)
    gone = connection.execute(
        text(
            "DELETE FROM subscribers s USING targets t WHERE t.id = s.target_id AND s.topic_id = :topic"
            " AND t.project_id = :project AND t.public_id = ANY(:ids) RETURNING s.id"
        ),
        {"topic": topic, "project": project_id, "ids": list(target_ids)},
    )
    return len(gone.all())


def get(connection: Connection, project_id: int, topic_id: str, public_id: str) -> SubscriberView:
    """The subscription; raises `NotFoundError`."""
    rows = connection.execute(
        text(f"{_VIEW} WHERE s.project_id = :project AND tp.public_id = :topic AND s.public_id = :id"),
        {"project": project_id, "topic": topic_id, "id": public_id},
    )
    found = _views(connection, rows.mappings().all())
    if not found:
        raise NotFoundError("subscriber", public_id)
    return found[0]


def page(
    connection: Connection, project_id: int, topic_id: str, *, after: str | None = None, limit: int = 100
) -> list[SubscriberView]:
    """Subscriptions of a topic in order of creation, those after the subscriber `after`."""
    topic = topics.find(connection, project_id, topic_id)
    rows = connection.execute(
        text(
            f"{_VIEW} WHERE s.topic_id = :topic AND s.id > coalesce("
            " (SELECT id FROM subscribers WHERE topic_id = :topic AND public_id = CAST(:after AS text)), 0)"
            " ORDER BY s.id LIMIT :limit"
        ),
        {"topic": topic, "after": after, "limit": limit},
    )
    return _views(connection, rows.mappings().all())


@dataclass(frozen=True, kw_only=True)
class SubscriberPage:
    """A page of subscriptions, and how many there are."""

    subscribers: list[SubscriberView]
    total: int


_LIST = ListOf(
    what="Subscriber",
    columns=_COLUMNS,
    source=_FROM,
    where="s.topic_id = :topic",
    number="s.id",
    public_id="s.public_id",
    search="concat_ws(' ', s.public_id, t.public_id, t.identifier, u.public_id, u.name)",
    attributes={
        "$id": Attribute("s.public_id"),
        "$createdAt": Attribute("s.created_at", Kind.TIME),
        "$updatedAt": Attribute("s.created_at", Kind.TIME),
        "$sequence": Attribute("s.id", Kind.NUMBER),
        "targetId": Attribute("t.public_id"),
        "topicId": Attribute("tp.public_id"),
        "userId": Attribute("u.public_id"),
        "userName": Attribute("u.name"),
        "providerType": Attribute("s.channel"),
    },
)


def listed(connection: Connection, project_id: int, topic_id: str, wanted: Wanted) -> SubscriberPage:
    """Subscriptions of a topic as `wanted` filters and orders them; raises as `lists.page`, or `NotFoundError`."""
    topic = topics.find(connection, project_id, topic_id)
    found = lists.page(connection, _LIST, wanted, {"topic": topic})
    return SubscriberPage(subscribers=_views(connection, found.rows), total=found.total)


def delete(connection: Connection, project_id: int, topic_id: str, public_id: str) -> None:
    """End the subscription; raises `NotFoundError`."""
    gone = connection.execute(
        text(
            "DELETE FROM subscribers s USING topics tp WHERE tp.id = s.topic_id AND s.project_id = :project"
            " AND tp.public_id = :topic AND s.public_id = :id RETURNING s.id"
        ),
        {"project": project_id, "topic": topic_id, "id": public_id},
    ).one_or_none()
    if gone is None:
        raise NotFoundError("subscriber", public_id)


def _views(connection: Connection, rows: Sequence[RowMapping]) -> list[SubscriberView]:
    found = targets.by_number(connection, [row["target"] for row in rows])
    return [
        SubscriberView(
            id=row["public_id"],
            topic_id=row["topic_id"],
            target_id=found[row["target"]].id,
            target=found[row["target"]],
            user_id=found[row["target"]].user_id,
            user_name=row["user_name"] or "",
            channel=Channel(row["channel"]),
            created_at=row["created_at"],
        )
        for row in rows
        if row["target"] in found  # deleted in between
    ]
