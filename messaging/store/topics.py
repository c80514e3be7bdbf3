"""Topics: named gatherings of targets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text

from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.ids import check_id, new_id
from messaging.store import lists
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes

LONGEST_NAME = 128
MOST_ROLES = 100

_COLUMNS = "id AS number, public_id, name, description, subscribe, qos, expiry_s, created_at, updated_at"


@dataclass(frozen=True, kw_only=True)
class TopicView:
    """A topic as the outside sees it, with its subscribers counted by channel."""

    id: str
    name: str
    description: str
    subscribe: tuple[str, ...]
    """Roles that may subscribe themselves, e.g. `users`."""
    totals: dict[Channel, int]
    qos: int | None
    expiry_s: int | None
    created_at: datetime
    updated_at: datetime


def resolve(connection: Connection, project_id: int, public_ids: Collection[str]) -> dict[str, int]:
    """Public id → number of those topics that exist; the rest is missing from the answer."""
    if not public_ids:
        return {}
    rows = connection.execute(
        text("SELECT public_id, id FROM topics WHERE project_id = :project AND public_id = ANY(:ids)"),
        {"project": project_id, "ids": list(public_ids)},
    )
    return {row.public_id: row.id for row in rows}


def find(connection: Connection, project_id: int, public_id: str) -> int:
    """The number of a topic; raises `NotFoundError`."""
    number = resolve(connection, project_id, [public_id]).get(public_id)
    if number is None:
        raise NotFoundError("topic", public_id)
    return number


def create(
    connection: Connection,
    project_id: int,
    *,
    name: str,
    topic_id: str | None = None,
    description: str = "",
    subscribe: Sequence[str] = ("users",),
    qos: int | None = None,
    expiry_s: int | None = None,
) -> TopicView:
    """A new topic; raises `ConflictError` if the id is taken."""
    public_id = check_id("topic_id", topic_id) if topic_id is not None else new_id()
    _check(name, subscribe)
    row = connection.execute(
        text(
            "INSERT INTO topics (project_id, public_id, name, description, subscribe, qos, expiry_s)"
            " VALUES (:project, :id, :name, :description, :subscribe, :qos, :expiry_s)"
            " ON CONFLICT (project_id, public_id) DO NOTHING RETURNING id"
        ),
        {
            "project": project_id,
            "id": public_id,
            "name": name,
            "description": description,
            "subscribe": list(subscribe),
            "qos": qos,
            "expiry_s": expiry_s,
        },
    ).one_or_none()
    if row is None:
        raise ConflictError(f"The topic '{public_id}' exists already. Choose another id, or update that topic.")
    return get(connection, project_id, public_id)


def get(connection: Connection, project_id: int, public_id: str) -> TopicView:
    """The topic; raises `NotFoundError`."""
    row = (
        connection.execute(
            text(f"SELECT {_COLUMNS} FROM topics WHERE project_id = :project AND public_id = :id"),
            {"project": project_id, "id": public_id},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFoundError("topic", public_id)
    return _views(connection, [row])[0]


def page(
    connection: Connection, project_id: int, *, after: str | None = None, search: str | None = None, limit: int = 100
) -> list[TopicView]:
    """Topics in order of creation, those after the topic `after`; `search` looks in id, name and description."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM topics WHERE project_id = :project AND id > :after"
            " AND (CAST(:search AS text) IS NULL"
            "   OR concat_ws(' ', public_id, name, description) ILIKE '%' || :search || '%')"
            " ORDER BY id LIMIT :limit"
        ),
        {
            "project": project_id,
            "after": find(connection, project_id, after) if after else 0,
            "search": search,
            "limit": limit,
        },
    )
    return _views(connection, rows.mappings().all())


@dataclass(frozen=True, kw_only=True)
class TopicPage:
    """A page of topics, and how many there are."""

    topics: list[TopicView]
    total: int


def _total(channel: Channel) -> Attribute:
    counted = f"(SELECT count(*) FROM subscribers s WHERE s.topic_id = topics.id AND s.channel = '{channel}')"
    return Attribute(counted, Kind.NUMBER)


_LIST = ListOf(
    what="Topic",
    columns=_COLUMNS,
    source="topics",
    where="project_id = :project",
    number="id",
    public_id="public_id",
    search="concat_ws(' ', public_id, name, description)",
    attributes={
        **common_attributes(),
        "name": Attribute("name"),
        "description": Attribute("description"),
        "emailTotal": _total(Channel.EMAIL),
        "smsTotal": _total(Channel.SMS),
        "pushTotal": _total(Channel.PUSH),
    },
)


def listed(connection: Connection, project_id: int, wanted: Wanted) -> TopicPage:
    """Topics as `wanted` filters and orders them; raises `QueryError` or `CursorError`."""
    found = lists.page(connection, _LIST, wanted, {"project": project_id})
    return TopicPage(topics=_views(connection, found.rows), total=found.total)


@dataclass(frozen=True, kw_only=True)
class TopicRow:
    """A topic without its subscribers counted: that takes the longer the more there are."""

    number: int
    id: str
    name: str
    description: str
    subscribe: tuple[str, ...]
    created_at: datetime


def rows(connection: Connection, project_id: int, wanted: Wanted) -> Sequence[TopicRow]:
    """Topics as `wanted` filters and orders them, uncounted; raises `QueryError` or `CursorError`."""
    return [_row(each) for each in lists.page(connection, _LIST, wanted, {"project": project_id}).rows]


def row(connection: Connection, project_id: int, public_id: str) -> TopicRow:
    """The topic, uncounted; raises `NotFoundError`."""
    asked = text(f"SELECT {_COLUMNS} FROM topics WHERE project_id = :project AND public_id = :id")
    found = connection.execute(asked, {"project": project_id, "id": public_id}).mappings().one_or_none()
    if found is None:
        raise NotFoundError("topic", public_id)
    return _row(found)


def _row(found: RowMapping) -> TopicRow:
    return TopicRow(
        number=found["number"],
        id=found["public_id"],
        name=found["name"],
        description=found["description"],
        subscribe=tuple(found["subscribe"]),
        created_at=found["created_at"],
    )


def update(
    connection: Connection,
    project_id: int,
    public_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    subscribe: Sequence[str] | None = None,
    qos: int | None = None,
    expiry_s: int | None = None,
) -> TopicView:
    """The topic after the change; raises `NotFoundError`."""
    _check(name if name is not None else "-", subscribe or ())
    connection.execute(
        text(
            "UPDATE topics SET name = coalesce(CAST(:name AS text), name),"
            " description = coalesce(CAST(:description AS text), description),"
            " subscribe = coalesce(CAST(:subscribe AS text[]), subscribe),"
            " qos = coalesce(CAST(:qos AS smallint), qos),"
            " expiry_s = coalesce(CAST(:expiry_s AS integer), expiry_s), updated_at = now()"
            " WHERE project_id = :project AND public_id = :id"
        ),
        {
            "name": name,
            "description": description,
            "subscribe": None if subscribe is None else list(subscribe),
            "qos": qos,
            "expiry_s": expiry_s,
            "project": project_id,
            "id": public_id,
        },
    )
    return get(connection, project_id, public_id)


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Remove the topic and its subscriptions, not the targets; raises `NotFoundError`."""
    gone = connection.execute(
        text("DELETE FROM topics WHERE project_id = :project AND public_id = :id RETURNING id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if gone is None:
        raise NotFoundError("topic", public_id)
    connection.execute(text("DELETE FROM subscribers WHERE topic_id = :id"), {"id": gone.id})


def hold(connection: Connection, topic_id: int) -> None:
    """Keep the topic of that number from being deleted until the transaction ends; raises `NotFoundError`."""
    held = connection.execute(text("SELECT 1 FROM topics WHERE id = :id FOR KEY SHARE"), {"id": topic_id})
    if held.one_or_none() is None:
        raise NotFoundError("topic", str(topic_id))


def _check(name: str, subscribe: Sequence[str]) -> None:
    if not name or len(name) > LONGEST_NAME:
        raise InvalidArgumentError("name", f"a topic's name has 1 to {LONGEST_NAME} characters")
    if len(subscribe) > MOST_ROLES:
        raise InvalidArgumentError("subscribe", f"at most {MOST_ROLES} roles, not {len(subscribe)}")


def _views(connection: Connection, rows: Sequence[RowMapping]) -> list[TopicView]:
    totals: dict[int, dict[Channel, int]] = {row["number"]: dict.fromkeys(Channel, 0) for row in rows}
    counted = connection.execute(
        text(
            "SELECT topic_id, channel, count(*) AS total FROM subscribers WHERE topic_id = ANY(:topics)"
            " GROUP BY topic_id, channel"
        ),
        {"topics": list(totals)},
    )
    for row in counted:
        totals[row.topic_id][Channel(row.channel)] = row.total
    return [
        TopicView(
            id=row["public_id"],
            name=row["name"],
            description=row["description"],
            subscribe=tuple(row["subscribe"]),
            totals=totals[row["number"]],
            qos=row["qos"],
            expiry_s=row["expiry_s"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )
        for row in rows
    ]
