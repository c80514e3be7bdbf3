"""Lists of targets."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from messaging.store import lists, targets
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes
from messaging.store.targets import TargetView


@dataclass(frozen=True, kw_only=True)
class TargetPage:
    """A page of targets, and how many there are."""

    targets: list[TargetView]
    total: int


_LIST = ListOf(
    what="Target",
    columns="t.id AS number",
    source="targets t LEFT JOIN users u ON u.id = t.user_id LEFT JOIN providers p ON p.id = t.provider_id",
    where=(
        "t.project_id = :project AND (CAST(:user AS bigint) IS NULL OR t.user_id = :user)"
        " AND (CAST(:message AS bigint) IS NULL"
        "   OR t.id = ANY(ARRAY(SELECT unnest(m.target_ids) FROM messages m WHERE m.id = :message)))"
    ),
    number="t.id",
    public_id="t.public_id",
    search="concat_ws(' ', t.public_id, t.identifier, t.name)",
    attributes={
        **common_attributes("t."),
        "userId": Attribute("u.public_id"),
        "providerId": Attribute("p.public_id"),
        "providerType": Attribute("t.channel"),
        "identifier": Attribute("t.identifier"),
        "name": Attribute("t.name"),
        "expired": Attribute("(t.dead_at IS NOT NULL OR t.expired_at IS NOT NULL)", Kind.BOOLEAN),
    },
)


def listed(
    connection: Connection, project_id: int, wanted: Wanted, *, user: int | None = None, message: int | None = None
) -> TargetPage:
    """Targets as `wanted` filters and orders them: those of the user, or those the message names, of that number.

    Raises `QueryError` or `CursorError`.
    """
    parameters = {"project": project_id, "user": user, "message": message}
    found = lists.page(connection, _LIST, wanted, parameters)
    numbers = [row["number"] for row in found.rows]
    views = targets.by_number(connection, numbers)
    return TargetPage(targets=[views[number] for number in numbers if number in views], total=found.total)
