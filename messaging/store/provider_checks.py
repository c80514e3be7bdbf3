"""Checks of an account: asked for by somebody, done by a worker of its channel, read by whoever asked.

`check_steps` has what the steps mean. A row's own `steps` and `outcome` are the worker's part; once its message is
accepted, the rest is worked out when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.address import normalise
from messaging.catalog import kind_of
from messaging.channel import Channel, Lane
from messaging.errors import NotFoundError
from messaging.ids import new_id
from messaging.store import delivery_events, delivery_views, lists, messages
from messaging.store.batches import Hint
from messaging.store.check_steps import CheckOutcome, Seen, Step, StepName, StepState, followed, outcome_of
from messaging.store.lists import Attribute, ListOf, Wanted, common_attributes
from messaging.store.receipts import ReceiptState
from messaging.wire import TaskName, deliver_queue

PICK_UP_S = 10.0
"""A check nobody has picked up for so long is hinted again."""
WORK_S = 60.0
"""A worker has so long for its part; then another may."""
GIVE_UP_S = 600.0
"""Nobody waits for a check any longer than that, and a test message that late would puzzle its reader."""


@dataclass(frozen=True, kw_only=True)
class CheckView:
    """A check as it stands now."""

    id: str
    provider_id: str
    send_to: str | None
    """Where a test message goes; None where only the credentials are checked."""
    message_id: str | None
    """The test message, once it is accepted."""
    steps: Sequence[Step]
    """In order; those to come are among them as soon as it has begun."""
    outcome: CheckOutcome | None
    """None while it goes on."""
    created_at: datetime
    updated_at: datetime
    number: int = field(default=0, metadata={"internal": True})


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A check that a worker does."""

    id: int
    public_id: str
    provider_id: int
    send_to: str | None


# -- asking ----------------------------------------------------------------------------------------


def begin(connection: Connection, project_id: int, provider_id: str, *, send_to: str | None) -> tuple[str, Hint]:
    """The id of a new check, and the hint for a worker of its channel.

    Raises `NotFoundError` (no such provider), `InvalidArgumentError` (no address of its channel).
    """
    provider = connection.execute(
        text("SELECT id, kind, channel FROM providers WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": provider_id},
    ).one_or_none()
    if provider is None:
        raise NotFoundError("provider", provider_id)
    channel, public_id = Channel(provider.channel), new_id()
    connection.execute(
        text("INSERT INTO provider_checks (provider_id, public_id, address) VALUES (:provider, :id, :address)"),
        {
            "provider": provider.id,
            "id": public_id,
            "address": None
            if send_to is None
            else normalise(channel, send_to, provider_kind=provider.kind, argument="send_to"),
        },
    )
    return public_id, check_hint(public_id, channel, provider.kind)


def check_hint(public_id: str, channel: Channel, kind: str) -> Hint:
    """The hint for a check: it goes the way of what somebody waits for."""
    queue = deliver_queue(channel, Lane.HIGH)
    return Hint(queue=queue, shadow=f"check · {kind}", task=TaskName.CHECK, argument=public_id)


# -- doing -----------------------------------------------------------------------------------------

_OPEN = "c.outcome IS NULL"


def take(connection: Connection, public_id: str) -> Taken | None:
    """The check, for this worker alone; None where another has it, or it is done."""
    begun = [Step(StepName.CREDENTIALS, StepState.WAITING, "A worker asks the provider.")]
    row = connection.execute(
        text(f"""UPDATE provider_checks c SET steps = CAST(:steps AS jsonb), updated_at = now()
                  WHERE c.public_id = :id AND {_OPEN} AND c.steps = '[]'
                 RETURNING c.id, c.public_id, c.provider_id, c.address"""),
        {"id": public_id, "steps": _dumped(begun)},
    ).one_or_none()
    if row is None:
        return None
    return Taken(id=row.id, public_id=row.public_id, provider_id=row.provider_id, send_to=row.address)


def lock(connection: Connection, check: Taken) -> bool:
    """Whether its outcome is still to be written, for this transaction alone."""
    found = connection.execute(
        text(f"SELECT 1 FROM provider_checks c WHERE c.id = :id AND {_OPEN} FOR UPDATE"), {"id": check.id}
    ).one_or_none()
    return found is not None


def end(connection: Connection, check: Taken, steps: Sequence[Step], *, message_id: str | None = None) -> None:
    """Write the worker's part of a check that `lock` holds: its steps, and the message that goes on from there."""
    connection.execute(
        text("""UPDATE provider_checks SET steps = CAST(:steps AS jsonb), outcome = :outcome, updated_at = now(),
                       message_public_id = :message WHERE id = :id"""),
        {"id": check.id, "steps": _dumped(steps), "outcome": outcome_of(steps), "message": message_id},
    )


_FORGOTTEN = text(f"""
UPDATE provider_checks c SET updated_at = now(), steps = '[]'
  FROM providers p
 WHERE p.id = c.provider_id AND {_OPEN} AND c.created_at > now() - make_interval(secs => {GIVE_UP_S})
   AND c.updated_at < now() - make_interval(secs => CASE WHEN c.steps = '[]' THEN {PICK_UP_S} ELSE {WORK_S} END)
RETURNING c.public_id, p.channel, p.kind
""")

_GIVE_UP = text(f"""
UPDATE provider_checks c SET updated_at = now(), outcome = '{CheckOutcome.FAILED}', steps = jsonb_build_array(
       jsonb_build_object('name', '{StepName.CREDENTIALS}', 'state', '{StepState.FAILED}', 'at', now(),
                          'took_ms', NULL, 'detail', 'No worker has done it. Is one running that reads the queue '
                          || 'messaging.' || p.channel || '.high?'))
  FROM providers p
 WHERE p.id = c.provider_id AND {_OPEN} AND c.created_at <= now() - make_interval(secs => {GIVE_UP_S})
   AND c.updated_at < now() - make_interval(secs => {WORK_S})
""")


def forgotten(connection: Connection) -> list[Hint]:
    """Hints of checks that nobody picked up, or whose worker was lost. Those that are too old fail."""
    rows = connection.execute(_FORGOTTEN).all()
    connection.execute(_GIVE_UP)
    return [check_hint(row.public_id, Channel(row.channel), row.kind) for row in rows]


def _dumped(steps: Sequence[Step]) -> str:
    return json.dumps([step.as_json() for step in steps])


# -- looking ---------------------------------------------------------------------------------------

_LIST = ListOf(
    what="Check",
    columns=(
        "c.*, now() AS looked_at, p.public_id AS provider, p.kind, p.enabled, p.stopped_at, p.stopped_until,"
        " p.stopped_reason"
    ),
    source="provider_checks c JOIN providers p ON p.id = c.provider_id",
    where="p.project_id = :project AND p.public_id = :provider",
    number="c.id",
    public_id="c.public_id",
    attributes=common_attributes("c.") | {"sendTo": Attribute("c.address")},
)


@dataclass(frozen=True, kw_only=True)
class CheckPage:
    """A page of an account's checks, and how many there are."""

    checks: list[CheckView]
    total: int


def get(connection: Connection, project_id: int, provider_id: str, check_id: str) -> CheckView:
    """The check as it stands now; raises `NotFoundError`."""
    row = (
        connection.execute(
            text(f"SELECT {_LIST.columns} FROM {_LIST.source} WHERE {_LIST.where} AND c.public_id = :id"),
            {"project": project_id, "provider": provider_id, "id": check_id},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFoundError("check", check_id)
    return _view(connection, project_id, row)


def listed(connection: Connection, project_id: int, provider_id: str, wanted: Wanted) -> CheckPage:
    """An account's checks, newest first unless `wanted` orders them; raises `QueryError` or `CursorError`."""
    newest_first = wanted if wanted.order else replace(wanted, order=(("", True),))
    found = lists.page(connection, _LIST, newest_first, {"project": project_id, "provider": provider_id})
    return CheckPage(checks=[_view(connection, project_id, row) for row in found.rows], total=found.total)


def _view(connection: Connection, project_id: int, row: Mapping[Any, Any]) -> CheckView:
    steps = [Step.of(kept) for kept in row["steps"]]
    outcome = None if row["outcome"] is None else CheckOutcome(row["outcome"])
    message_id = row["message_public_id"]
    if message_id is not None:
        seen = _seen(connection, project_id, row)
        steps = followed(steps, seen, now=row["looked_at"])
        outcome = outcome_of(steps)
    elif outcome is None:
        steps = _to_come(steps, kind_of(row["kind"]).channel, sends=row["address"] is not None)
    return CheckView(
        id=row["public_id"],
        provider_id=row["provider"],
        send_to=row["address"],
        message_id=message_id,
        steps=steps,
        outcome=outcome,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        number=row["id"],
    )


def _to_come(steps: Sequence[Step], channel: Channel, *, sends: bool) -> list[Step]:
    """The steps of a check whose worker has not come to its end."""
    waits = Step(StepName.CREDENTIALS, StepState.WAITING, f"It waits for a worker of {channel}.")
    names = [name for name in StepName if sends or name is StepName.CREDENTIALS]
    return [*(steps or [waits]), *(Step(name, StepState.WAITING, "Not begun.") for name in names[1:])]


def _seen(connection: Connection, project_id: int, row: Mapping[Any, Any]) -> Seen:
    message_id = row["message_public_id"]
    try:
        message = messages.view(connection, project_id, message_id)
    except NotFoundError:
        return Seen(message=None)
    deliveries = delivery_views.page(connection, project_id, message_id, limit=1)
    if not deliveries or message.month is None:
        return Seen(message=message)
    delivery = deliveries[0]
    events = delivery_events.of_deliveries(connection, message.month, message.number, [delivery.cursor])
    aside = connection.execute(
        text("""SELECT (array_agg(reason ORDER BY id DESC) FILTER (WHERE state = :held))[1] AS held,
                       (array_agg(reason ORDER BY id DESC) FILTER (WHERE state = :refused))[1] AS refused
                  FROM receipts WHERE provider_id = :provider AND state IN (2, 3) AND received_at >= :since"""),
        {
            "provider": row["provider_id"],
            "since": message.created_at,
            "held": int(ReceiptState.HELD),
            "refused": int(ReceiptState.REFUSED),
        },
    ).one()
    return Seen(
        message=message,
        delivery=delivery,
        events=events.get(delivery.cursor, ()),
        stopped=_stopped(row, message.expires_at),
        held=aside.held,
        refused=aside.refused,
    )


def _stopped(row: Mapping[Any, Any], expires_at: datetime) -> str | None:
    """Why the account carries nothing until then, unless somebody acts; a shorter pause is waited for."""
    if not row["enabled"]:
        return "it is disabled"
    if row["stopped_at"] is None or (row["stopped_until"] is not None and row["stopped_until"] <= expires_at):
        return None
    return str(row["stopped_reason"])
