"""A message to a few, accepted in one statement, leaves what the general way leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import Channel, Lane, OnUnknown
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.message import Content, Email, Push, Sms
from messaging.producer import accept
from messaging.send_request import SendRequest
from messaging.status import MessageState
from messaging.store import suppressions, users
from messaging.store.suppressions import Scope
from tests.integration.road import Road

PUSH, EMAIL, SMS = Push(title="Hi"), Email(subject="Hi", content="there"), Sms(content="Hi")


@pytest.fixture(scope="module")
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """Two users, push targets with and without providers of their own, and addresses nobody may write to."""
    made = Road(postgres_url, valkey_url)
    first = made.add_provider("apns", "apns")
    made.add_provider("later", "apns", priority=5)
    off = made.add_provider("off", "fcm", enabled=False)
    made.add_provider("grid", "sendgrid")
    made.add_provider("sms", "twilio")
    made.add_push_targets(3)
    made.add_push_targets(2, provider=first, first=3)
    made.add_push_targets(2, provider=off, first=5)
    with made.engine.begin() as connection:
        for name in ("ada", "bob"):
            users.create(connection, made.vault, made.project_id, user_id=name, email=f"{name}@example.com")
        for address, scope in (("ada@example.com", Scope.BULK), ("bob@example.com", Scope.EVERYTHING)):
            suppressions.add(
                connection, made.vault, made.project_id, channel=Channel.EMAIL, address=address, scope=scope
            )
        connection.execute(text("UPDATE targets SET user_id = (SELECT id FROM users WHERE public_id = 'ada')"
                                " WHERE public_id IN ('t0', 't1', 't3', 't5')"))  # fmt: skip
        connection.execute(text("UPDATE targets SET dead_at = now() WHERE public_id = 't1'"))
    yield made
    made.close()


def left_by(road: Road, content: Content, *, general: bool, **request: Any) -> tuple[Any, ...]:
    """What accepting leaves in every table, ids and times apart; nothing of it stays."""
    # a batch size of one's own is what the one statement leaves to the general way
    settings = road.settings.model_copy(update={"task_size": 1000 if general else None})
    with road.engine.connect() as connection, connection.begin() as transaction:
        accepted = accept(
            connection, road.vault, settings, road.project_id, SendRequest(content=content, id="m", **request)
        )
        message = connection.execute(
            text("""SELECT id, channel, lane, state, content, audience, topic_ids, user_ids, target_ids, cc_ids,
                           bcc_ids, on_unknown, scheduled_at, expires_at - created_at AS lasts, month, expanded,
                           failure,
                           started_at IS NULL AS waits, finished_at IS NULL AS going, hints FROM messages""")
        ).one()
        deliveries = connection.execute(
            text("""SELECT d.target_id, d.status, d.role, d.error_code, d.error, b.provider_id, b.state, b.lane,
                           b.total, b.suppressed, b.failed, b.first_target, b.last_target, b.channel, b.hints
                      FROM deliveries d JOIN batches b ON b.month = d.month AND b.id = d.batch_id ORDER BY 1""")
        ).all()
        hints = sorted((hint.queue, hint.shadow) for hint in accepted.hints)
        view = accepted.view
        assert view is not None
        transaction.rollback()
    return message[1:], deliveries, hints, accepted.state, view.total, view.totals, view.expanded, view.month


@pytest.mark.parametrize(
    ("content", "request_"),
    [
        (PUSH, {"users": ["ada"]}),
        (PUSH, {"users": ["ada"], "targets": ["t0", "t2", "t4", "t6"]}),
        (PUSH, {"targets": ["t2", "t2"], "lane": Lane.BULK, "on_unknown": OnUnknown.HOLD}),
        (PUSH, {"targets": ["t1"]}),
        (PUSH, {"targets": ["t5", "t6"]}),
        (PUSH, {"users": ["bob"]}),
        (EMAIL, {"users": ["ada", "bob"]}),
        (EMAIL, {"users": ["ada", "bob"], "lane": Lane.BULK}),
        (EMAIL, {"users": ["bob"]}),
        (SMS, {"users": ["ada"]}),
        (PUSH, {"targets": ["t0"], "expires_at": datetime.now(UTC) + timedelta(hours=1)}),
    ],
)
def test_both_ways_leave_the_same(road: Road, content: Content, request_: dict[str, Any]) -> None:
    """Message, batches, deliveries, hints and the view that is answered."""
    one, many = (left_by(road, content, general=general, **request_) for general in (False, True))
    if "expires_at" in request_:
        one, many = (one[0][:12] + one[0][13:], *one[1:]), (many[0][:12] + many[0][13:], *many[1:])
    assert one == many


def test_it_is_one_statement(road: Road) -> None:
    """The usual case does not go the general way."""
    *_, state, total, _totals, expanded, month = left_by(road, PUSH, general=False, users=["ada"])
    assert (state, total, expanded) == (MessageState.PROCESSING, 3, True)
    assert month is not None


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"users": ["nobody"]}, NotFoundError),
        ({"targets": ["nobody"]}, NotFoundError),
        ({"users": ["ada", "nobody"]}, NotFoundError),
        ({"users": ["ada"], "expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidArgumentError),
    ],
)
def test_what_is_wrong_is_said_all_the_same(road: Road, request_: dict[str, Any], error: type[Exception]) -> None:
    """By the general way, which the statement leaves it to."""
    with pytest.raises(error):
        left_by(road, SMS, general=False, **request_)


def test_an_id_is_taken_once(road: Road) -> None:
    """The second message of that id is refused, and leaves nothing."""
    with road.engine.connect() as connection, connection.begin() as transaction:
        request = SendRequest(content=PUSH, id="twice", users=("ada",))
        accept(connection, road.vault, road.settings, road.project_id, request)
        with pytest.raises(ConflictError):
            accept(connection, road.vault, road.settings, road.project_id, request)
        assert connection.execute(text("SELECT count(DISTINCT message_id) FROM batches")).scalar_one() == 1
        transaction.rollback()
