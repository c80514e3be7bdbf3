"""A person with everything that reaches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.store import targets, users
from messaging.store.targets import TargetView
from messaging.store.users import UserView

_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A topic that a target of theirs is subscribed to."""

    topic_id: str
    name: str
    channel: Channel
    target: int
    """Number of the target."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user, their targets by number, and the topics these are in; two hundred of either at most."""

    view: UserView
    blocked: bool
    labels: Sequence[str]
    targets: Mapping[int, TargetView]
    topics: Sequence[Membership]


def get(connection: Connection, project_id: int, public_id: str) -> Person:
    """The person; raises `NotFoundError`."""
    number = users.find(connection, project_id, public_id)
    row = connection.execute(text("SELECT blocked, labels FROM users WHERE id = :id"), {"id": number}).one()
    numbers = (
        connection.execute(
            text("SELECT id FROM targets WHERE user_id = :id ORDER BY id LIMIT :most"), {"id": number, "most": _MOST}
        )
        .scalars()
        .all()
    )
    return Person(
        view=users.get(connection, project_id, public_id),
        blocked=row.blocked,
        labels=tuple(row.labels),
        targets=targets.by_number(connection, numbers),
        topics=topics_of(connection, numbers),
    )


def topics_of(connection: Connection, numbers: Sequence[int]) -> Sequence[Membership]:
    """The topics that targets of those numbers are in, two hundred at most."""
    rows = connection.execute(
        text(
            "SELECT tp.public_id, tp.name, s.channel, s.target_id FROM subscribers s"
            " JOIN topics tp ON tp.id = s.topic_id WHERE s.target_id = ANY(:targets) ORDER BY s.id LIMIT :most"
        ),
        {"targets": list(numbers), "most": _MOST},
    )
    return [
        Membership(topic_id=row.public_id, name=row.name, channel=Channel(row.channel), target=row.target_id)
        for row in rows
    ]
