"""Messages found by what they are and say: the newest first, a stretch at a time.

No index can answer every question about a text, so a search reads backwards from the newest and stops when it has a
page or has looked long enough; whoever wants to see further says so. It takes as long on a million messages as on a
thousand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.ids import is_valid_id
from messaging.status import MessageState
from messaging.store import messages
from messaging.store.messages import MessageView

PATIENCE_S = 0.06
_FIRST_STRETCH = 500
_LONGEST_STRETCH = 4_000
_NEWEST = 2**62

_TEXT = (
    "concat_ws(' ', s.public_id, s.content ->> 'subject', s.content ->> 'title', s.content ->> 'content',"
    " s.content ->> 'body')"
)
_LOOK = """
WITH stretch AS MATERIALIZED (
    SELECT m.id, m.channel, m.state, m.public_id, m.content, m.created_at FROM messages m
     WHERE m.project_id = :project AND m.deleted_at IS NULL AND m.id < :before ORDER BY m.id DESC LIMIT :stretch)
SELECT (SELECT count(*) FROM stretch) AS looked_at, (SELECT min(id) FROM stretch) AS lowest,
       (SELECT min(created_at) FROM stretch) AS back_to,
       ARRAY(SELECT s.id FROM stretch s WHERE {condition} ORDER BY s.id DESC LIMIT :wanted) AS found
"""
_FEW = """
SELECT s.id FROM messages s WHERE s.project_id = :project AND s.deleted_at IS NULL AND s.id < :before AND {condition}
 ORDER BY s.id DESC LIMIT :wanted
"""
_INDEXED = {
    MessageState.SCHEDULED: f"s.state = {MessageState.SCHEDULED.code}",
    MessageState.PROCESSING: f"s.state = {MessageState.PROCESSING.code} AND s.finished_at IS NULL",
    MessageState.PAUSED: f"s.state = {MessageState.PAUSED.code} AND s.finished_at IS NULL",
}
"""States that a small index of their own leads to: literals, so that the planner sees that it fits."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of what was found."""

    messages: list[MessageView]
    before: int | None
    """Where to look on; None where everything has been looked at."""
    back_to: datetime | None
    """When it stopped before the page was full: how far it has looked."""


def search(
    connection: Connection,
    project_id: int,
    *,
    channel: Channel | None = None,
    state: MessageState | None = None,
    said: str = "",
    before: int | None = None,
    limit: int = 25,
    patience_s: float = PATIENCE_S,
) -> Found:
    """Messages of a channel, in a state, with `said` in their id or text (any case); `before` is `Found.before`.

    A message whose id is exactly `said` is a page of its own, however old it is; the next one has the others.
    """
    given: dict[str, Any] = {"channel": channel, "state": None if state is None else state.code, "said": said or None}
    given |= {"project": project_id, "before": before or _NEWEST, "wanted": limit}
    named = _named(connection, given) if before is None and is_valid_id(said) else []
    if named:
        return Found(messages=messages.views(connection, project_id, named), before=_NEWEST, back_to=None)
    conditions = [
        condition
        for name, condition in (
            ("channel", "s.channel = :channel"),
            ("state", "s.state = :state"),
            ("said", f"strpos(lower({_TEXT}), lower(:said)) > 0"),
        )
        if given[name] is not None
    ]
    if state in _INDEXED:
        statement = text(_FEW.format(condition=" AND ".join([*conditions, _INDEXED[state]])))
        numbers = [*connection.execute(statement, given).scalars()]
        walked = _Walked(numbers, numbers[-1] if len(numbers) == limit else None, None)
    else:
        walked = _walk(connection, " AND ".join(conditions) or "true", given, patience_s)
    views = messages.views(connection, project_id, walked.numbers)
    return Found(messages=views, before=walked.before, back_to=walked.back_to)


@dataclass(frozen=True, slots=True)
class _Walked:
    numbers: list[int]
    before: int | None
    back_to: datetime | None


def _walk(connection: Connection, condition: str, given: Mapping[str, Any], patience_s: float) -> _Walked:
    statement = text(_LOOK.format(condition=condition))
    ends_s = time.monotonic() + patience_s
    numbers: list[int] = []
    before, limit, stretch = given["before"], given["wanted"], _FIRST_STRETCH
    while True:
        asked = {**given, "before": before, "stretch": stretch, "wanted": limit - len(numbers)}
        row = connection.execute(statement, asked).one()
        numbers += row.found
        if len(numbers) >= limit:
            return _Walked(numbers, numbers[-1], None)
        if row.looked_at < stretch:
            return _Walked(numbers, None, None)
        before, stretch = row.lowest, min(stretch * 4, _LONGEST_STRETCH)
        if time.monotonic() > ends_s:
            return _Walked(numbers, before, row.back_to)


def _named(connection: Connection, given: Mapping[str, Any]) -> list[int]:
    rows = connection.execute(
        text("""SELECT id FROM messages WHERE project_id = :project AND public_id = :said AND deleted_at IS NULL
                   AND channel = coalesce(:channel, channel) AND state = coalesce(:state, state)"""),
        given,
    )
    return [*rows.scalars()]
