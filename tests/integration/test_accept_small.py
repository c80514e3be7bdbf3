"""A message to a few, accepted in one statement, alone or with others, leaves what the general way leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from messaging.channel import Channel, Lane, OnUnknown
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.message import Content, Email, Push, Sms
from messaging.producer import Accepted, accept, accept_together, small_message
from messaging.send_request import SendRequest
from messaging.status import MessageState
from messaging.store import providers, suppressions, users
from messaging.store.accept_small import Small
from messaging.store.suppressions import Scope
from tests.integration.road import Road

PUSH, EMAIL, SMS = Push(title="Hi"), Email(subject="Hi", content="there"), Sms(content="Hi")
APNS = {"authKey": "key", "authKeyId": "KEY4567890", "teamId": "TEAM567890", "bundleId": "com.example"}


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


class Way(Enum):
    """How a message is accepted."""

    GENERAL = "statement by statement"
    ONE = "in one statement"
    TOGETHER = "in one statement with others"


def small(road: Road, content: Content, public_id: str, **request: Any) -> Small:
    """A message to a few, ready to be accepted."""
    found = small_message(road.settings, road.project_id, SendRequest(content=content, id=public_id, **request))
    assert found is not None
    return found


def accepted_by(road: Road, connection: Connection, way: Way, content: Content, **request: Any) -> Accepted:
    """The message `m`, accepted that way."""
    if way is Way.TOGETHER:
        others = (small(road, PUSH, "z", targets=["t0"]), small(road, SMS, "a", users=["nobody"]))
        found = accept_together(connection, [others[0], small(road, content, "m", **request), others[1]])
        assert found[0] is not None
        assert found[2] is None
        connection.execute(text("DELETE FROM deliveries WHERE message_id = :z"), {"z": found[0].message_id})
        connection.execute(text("DELETE FROM batches WHERE message_id = :z"), {"z": found[0].message_id})
        connection.execute(text("DELETE FROM messages WHERE id = :z"), {"z": found[0].message_id})
        if found[1] is not None:
            return found[1]
    # a batch size of one's own is what the one statement leaves to the general way
    settings = road.settings.model_copy(update={"task_size": 1000 if way is Way.GENERAL else None})
    return accept(connection, road.vault, settings, road.project_id, SendRequest(content=content, id="m", **request))


def left_by(road: Road, content: Content, *, way: Way, **request: Any) -> tuple[Any, ...]:
    """What accepting leaves in every table, ids and times apart; nothing of it stays."""
    with road.engine.connect() as connection, connection.begin() as transaction:
        accepted = accepted_by(road, connection, way, content, **request)
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
        # made when tests are collected, which may be long before this one runs
        (PUSH, {"targets": ["t0"], "expires_at": datetime.now(UTC) + timedelta(days=2)}),
    ],
)
def test_all_ways_leave_the_same(road: Road, content: Content, request_: dict[str, Any]) -> None:
    """Message, batches, deliveries, hints and the view that is answered."""
    many, one, together = (left_by(road, content, way=way, **request_) for way in Way)
    if "expires_at" in request_:
        many, one, together = ((left[0][:12] + left[0][13:], *left[1:]) for left in (many, one, together))
    assert one == many
    assert together == many


def test_it_is_one_statement(road: Road) -> None:
    """The usual case does not go the general way."""
    *_, state, total, _totals, expanded, month = left_by(road, PUSH, way=Way.ONE, users=["ada"])
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
        left_by(road, SMS, way=Way.ONE, **request_)


def test_an_id_is_taken_once(road: Road) -> None:
    """The second message of that id is refused, and leaves nothing."""
    with road.engine.connect() as connection, connection.begin() as transaction:
        request = SendRequest(content=PUSH, id="twice", users=("ada",))
        accept(connection, road.vault, road.settings, road.project_id, request)
        with pytest.raises(ConflictError):
            accept(connection, road.vault, road.settings, road.project_id, request)
        assert connection.execute(text("SELECT count(DISTINCT message_id) FROM batches")).scalar_one() == 1
        transaction.rollback()


def test_of_those_accepted_together_each_gets_its_own(road: Road) -> None:
    """In the order they were given. The second of one id, and what is not so simple, get nothing."""
    with road.engine.connect() as connection, connection.begin() as transaction:
        asked = [
            small(road, PUSH, "b", targets=["t0"]),
            small(road, Push(title="Second"), "b", targets=["t2"]),
            small(road, PUSH, "c", users=["nobody"]),
            small(road, Push(title="Third"), "a", users=["ada"]),
        ]
        found = accept_together(connection, asked)
        assert [None if each is None else each.public_id for each in found] == ["b", None, None, "a"]
        assert [each.view.total for each in found if each is not None and each.view is not None] == [1, 3]
        stored = connection.execute(text("SELECT public_id, content->>'title' FROM messages ORDER BY 1")).all()
        assert [tuple(row) for row in stored] == [("a", "Third"), ("b", "Hi")]
        assert accept_together(connection, asked[:1]) == [None]
        transaction.rollback()


def test_they_do_not_wait_long_for_somebody_elses_lock(road: Road) -> None:
    """Then nothing of any of them is written, and the limit is gone with their transaction."""
    asked = [small(road, PUSH, public_id, targets=["t0"]) for public_id in ("free", "held")]
    with road.engine.connect() as holder, holder.begin() as transaction:
        assert all(accept_together(holder, asked[1:]))
        with (
            road.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
            pytest.raises(OperationalError, match="lock timeout"),
        ):
            accept_together(connection, asked)
        with road.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            assert accept_together(connection, [small(road, PUSH, "m", users=["nobody"])]) == [None]
            assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "0"
            assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 0
        transaction.rollback()


@pytest.mark.parametrize("analysed", [False, True])
def test_what_it_looks_up_is_found_by_index(postgres_url: str, valkey_url: str, *, analysed: bool) -> None:
    """In tables full of others', with and without statistics: reading one row takes no look at the rest."""
    made = Road(postgres_url, valkey_url)
    with made.engine.connect() as connection, connection.begin() as transaction:
        connection.execute(
            text("""INSERT INTO users (project_id, public_id, name)
                    SELECT :project, 'u' || n, '' FROM generate_series(1, 5000) n"""),
            {"project": made.project_id},
        )
        connection.execute(
            text("""INSERT INTO targets (project_id, public_id, channel, identifier, address_hash, user_id)
                    SELECT u.project_id, 't' || u.id, 'push', 'i' || u.id, int8send(u.id), u.id FROM users u
                     WHERE u.project_id = :project"""),
            {"project": made.project_id},
        )
        providers.create(connection, made.vault, made.project_id, kind="apns", provider_id="apns", credentials=APNS)
        if analysed:
            connection.execute(text("ANALYZE users, targets"))
        for round_ in range(10):  # PostgreSQL settles for one plan after five
            before = _rows_read_in_order(connection)
            asked = [small(made, PUSH, f"m{round_}-{n}", users=[f"u{n}"]) for n in range(1, 5)]
            assert all(accept_together(connection, asked))
            assert _rows_read_in_order(connection) - before < 5000
        transaction.rollback()
    made.close()


def _rows_read_in_order(connection: Connection) -> int:
    found: int = connection.execute(
        text("""SELECT sum(seq_tup_read)::bigint FROM pg_stat_xact_user_tables
                 WHERE relname IN ('users', 'targets', 'messages')""")
    ).scalar_one()
    return found
