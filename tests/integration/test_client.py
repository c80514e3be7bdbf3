"""The Python way in, against the real database and broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from messaging import (
    Attachment,
    ConflictError,
    ContentError,
    DeliveryStatus,
    Email,
    IdempotencyConflictError,
    InvalidArgumentError,
    MessageState,
    Messaging,
    NotFoundError,
    OnUnknown,
    Push,
    SettingsError,
    Sms,
)
from messaging.channel import Lane
from messaging.store.bulk_rows import BulkRow
from messaging.store.messages import MessageView
from tests.integration.road import SECRET, Road

HELLO = Push(title="Hello")


@pytest.fixture
def client(road: Road, postgres_url: str, valkey_url: str) -> Iterator[Messaging]:
    """A client of an empty project with a push and an SMS provider."""
    road.add_provider("ios", "apns")
    road.add_provider("texts", "twilio")
    with Messaging.connect(database_url=postgres_url, secret_key=SECRET, broker_url=valkey_url) as opened:
        yield opened


def test_a_sent_message_is_committed_and_announced(client: Messaging, valkey_url: str) -> None:
    """A message that `send` returned is in the database, with its deliveries, and a worker has been told."""
    client.users.create("ada", phone="+4930123456")
    message = client.send(Sms(content="code 246810"), users=["ada"])
    assert message.state is MessageState.PROCESSING
    assert (message.total, message.lane, message.on_unknown) == (1, "high", OnUnknown.HOLD)
    (delivery,) = client.deliveries(message.id)
    assert (delivery.identifier, delivery.status) == ("+4930123456", DeliveryStatus.QUEUED)
    with redis.Redis.from_url(valkey_url) as broker:
        assert broker.llen("messaging.sms.high") == 1


def test_wait_returns_when_it_is_finished(client: Messaging, road: Road) -> None:
    """`wait` shows every look and returns the finished message; every recipient is accounted for."""
    for number in range(3):
        client.targets.create(f"{number:064x}", target_id=f"t{number}")
    message = client.send(HELLO, targets=["t0", "t1", "t2"])
    looks: list[MessageView] = []

    def look(seen: MessageView) -> None:
        looks.append(seen)
        if len(looks) == 1:
            road.deliver()
            road.sweep()

    finished = client.wait(message.id, 30, look)
    assert finished.state is MessageState.SENT
    assert finished.totals == {DeliveryStatus.ACCEPTED: 3}
    assert [each.state for each in looks] == [MessageState.PROCESSING, MessageState.SENT]
    assert {each.target_id for each in client.all_deliveries(message.id, "accepted")} == {"t0", "t1", "t2"}
    assert client.deliveries(message.id, DeliveryStatus.FAILED) == []
    assert client.deliveries(message.id, limit=2)[-1].cursor < client.deliveries(message.id)[-1].cursor


def test_wait_ends_at_its_deadline(client: Messaging) -> None:
    """`wait` gives up at its deadline and says how far the message is."""
    message = client.send(HELLO, addresses=["tok"])
    with pytest.raises(TimeoutError, match="0 of 1 settled"):
        client.wait(message.id, 0.2)


def test_a_scheduled_message_waits_and_can_be_cancelled(client: Messaging) -> None:
    """A message for later is scheduled; cancelled, it is finished for good."""
    at = datetime.now(UTC) + timedelta(days=30)
    message = client.send(HELLO, addresses=["tok"], scheduled_at=at)
    assert (message.state, message.scheduled_at, message.total) == (MessageState.SCHEDULED, at, 0)
    client.cancel(message.id)
    assert client.wait(message.id, 5).state is MessageState.CANCELLED
    with pytest.raises(ConflictError, match="cancelled"):
        client.resume(message.id)


def test_a_paused_message_sends_nothing_until_resumed(client: Messaging, road: Road) -> None:
    """A paused message sends nothing; resumed, exactly the rest goes out."""
    message = client.send(HELLO, addresses=["tok"])
    client.pause(message.id)
    road.deliver()
    assert road.provider.received == []
    client.resume(message.id)
    road.make_due()
    road.deliver()
    road.sweep()
    assert client.get(message.id).state is MessageState.SENT
    assert len(road.provider.received) == 1


def test_the_same_key_is_the_same_message(client: Messaging) -> None:
    """A repeated idempotency key returns the first message; with another body it is refused."""
    first = client.send(HELLO, addresses=["tok"], idempotency_key="order 7")
    assert client.send(HELLO, addresses=["tok"], idempotency_key="order 7").id == first.id
    with pytest.raises(IdempotencyConflictError):
        client.send(HELLO, addresses=["other"], idempotency_key="order 7")
    assert [message.id for message in client.list()] == [first.id]


def test_a_mistake_is_refused_before_anything_is_written(client: Messaging) -> None:
    """Unknown recipients, bad content and wrong words are refused by name, and no message appears."""
    naive = datetime(2100, 1, 1)  # noqa: DTZ001  the mistake under test
    mistakes: tuple[tuple[Callable[[], object], type[Exception]], ...] = (
        (lambda: client.send(HELLO, users=["nobody"]), NotFoundError),
        (lambda: client.send(HELLO, topics=["none"]), NotFoundError),
        (lambda: client.send(HELLO), InvalidArgumentError),
        (lambda: client.send(Push(title="x" * 257), addresses=["tok"]), InvalidArgumentError),
        (lambda: client.send(Push(body="x" * 5000), addresses=["tok"]), ContentError),
        (lambda: client.send(Email(subject="a\nb", content="c"), addresses=["a@example.com"]), InvalidArgumentError),
        (lambda: client.send(Sms(content="c"), addresses=["12"]), InvalidArgumentError),
        (lambda: client.send(HELLO, addresses=["tok"], scheduled_at=naive), InvalidArgumentError),
        (lambda: client.send(HELLO, addresses=["tok"], id="_x"), InvalidArgumentError),
        (lambda: client.send(HELLO, addresses=["tok"], lane="fast"), InvalidArgumentError),
        (lambda: client.targets.create("tok", channel="fax"), InvalidArgumentError),
    )
    for mistake, error in mistakes:
        with pytest.raises(error):
            mistake()
    assert client.list() == []


def test_without_a_provider_the_message_says_so(client: Messaging) -> None:
    """A message whose channel has no enabled provider fails at once, with the reason."""
    file = Attachment(filename="a.txt", content_type="text/plain", content=b"a")
    message = client.send(Email(subject="s", content="c", attachments=(file,)), addresses=["a@example.com"])
    assert message.state is MessageState.FAILED
    assert message.failure == "No enabled email provider found. Add one, or enable one."


def test_a_draft_is_kept(client: Messaging) -> None:
    """A draft is stored and not sent."""
    assert client.send(HELLO, addresses=["tok"], draft=True, id="d1").state is MessageState.DRAFT
    assert client.get("d1").total == 0
    with pytest.raises(ConflictError, match="'d1'"):
        client.send(HELLO, addresses=["tok"], id="d1")


def test_a_draft_that_goes_out_keeps_the_expiry_and_the_lane_that_were_chosen(client: Messaging) -> None:
    """What follows from its time and size is found anew; one whose expiry has passed is refused."""
    until = client.now() + timedelta(hours=2)
    text = Sms(content="code 246810")
    chosen = client.send(text, addresses=["+4930123456"], draft=True, id="chosen", expires_at=until, lane=Lane.BULK)
    left = client.send(text, addresses=["+4930123456"], draft=True, id="left")
    for made in (chosen, left):
        assert client.messages.release(made.id, at=until - timedelta(hours=1)).state is MessageState.SCHEDULED
    later = client.messages.release("left", at=until + timedelta(days=30))
    assert later.expires_at > until + timedelta(days=30)
    with pytest.raises(InvalidArgumentError, match="lies before the message would be sent"):
        client.messages.release("chosen", at=until + timedelta(minutes=1))
    released = client.messages.release("chosen")
    assert (released.state, released.expires_at, released.lane) == (MessageState.PROCESSING, until, Lane.BULK)


def test_everything_a_message_refers_to_is_at_hand(client: Messaging) -> None:
    """Users, targets, topics, providers and suppressions are created, listed, changed and deleted."""
    client.users.create("ada", name="Ada", email="ada@example.com")
    assert client.users.update("ada", name="Ada L.").name == "Ada L."
    (target,) = client.targets.list(user_id="ada", channel="email")
    client.topics.create("news", name="News")
    assert client.topics.subscribe("news", target.id) == 1
    assert [each.user_id for each in client.topics.subscribers("news")] == ["ada"]
    assert client.topics.unsubscribe("news", target.id) == 1
    many = client.topics.subscribe_many("news", [BulkRow(line=1, address="b@example.com")], channel="email")
    assert many.created == 1
    assert client.topics.update("news", description="d").description == "d"
    sendgrid = client.providers.create("sendgrid", apiKey="k", fromEmail="a@example.com")
    assert client.providers.disable(sendgrid.id).enabled is False
    assert client.providers.enable(sendgrid.id).enabled is True
    assert client.providers.update(sendgrid.id, fromName="News", priority=3).options["fromName"] == "News"
    with pytest.raises(InvalidArgumentError, match="`color`"):
        client.providers.update(sendgrid.id, color="red")
    client.suppressions.add("email", "x@example.com", scope="bulk")
    assert client.suppressions.find("email", "x@example.com") is not None
    assert len(client.suppressions.list(channel="email")) == 1
    assert client.suppressions.remove("email", "x@example.com")
    client.targets.delete(target.id)
    client.providers.delete(sendgrid.id)
    client.topics.delete("news")
    client.users.delete("ada")
    assert (client.users.list(), client.topics.list()) == ([], [])


def test_a_client_finds_its_stack_by_the_data_directory(
    client: Messaging, tmp_path: Path, postgres_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from_runtime` reads runtime.json and secret.key, and says what is missing."""
    monkeypatch.delenv("MESSAGING_SECRET_KEY", raising=False)
    client.users.create("ada")
    with pytest.raises(SettingsError, match="messaging up"):
        Messaging.from_runtime(tmp_path)
    runtime = {"database_url": postgres_url, "broker_url": valkey_url, "project": "default"}
    (tmp_path / "runtime.json").write_text(json.dumps(runtime))
    with pytest.raises(SettingsError, match=r"secret\.key"):
        Messaging.from_runtime(tmp_path)
    (tmp_path / "secret.key").write_text(SECRET + "\n")
    for path in (tmp_path, tmp_path / "runtime.json"):
        with Messaging.from_runtime(path) as found:
            assert found.users.get("ada").id == "ada"
    (tmp_path / "runtime.json").write_text("{}")
    with pytest.raises(SettingsError, match="database_url"):
        Messaging.from_runtime(tmp_path)


def test_a_client_takes_the_environment(
    road: Road, postgres_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Messaging()` reads MESSAGING_* and refuses names it does not know."""
    monkeypatch.setenv("MESSAGING_DATABASE_URL", postgres_url)
    monkeypatch.setenv("MESSAGING_BROKER_URL", valkey_url)
    monkeypatch.setenv("MESSAGING_SECRET_KEY", SECRET)
    assert road.project_id
    with Messaging() as found:
        assert found.users.list() == []
    monkeypatch.setenv("MESSAGING_PROJEKT", "x")
    with pytest.raises(SettingsError, match="MESSAGING_PROJEKT"):
        Messaging()


def test_a_broker_that_is_away_loses_nothing(road: Road, postgres_url: str) -> None:
    """Without a broker the message is committed all the same; the sweep finds its work."""
    road.add_provider("ios", "apns")
    with (
        Messaging.connect(database_url=postgres_url, secret_key=SECRET, broker_url="redis://127.0.0.1:1/0") as away,
        Messaging.connect(database_url=postgres_url, secret_key=SECRET) as without,
    ):
        sent = [client.send(HELLO, addresses=[f"tok{n}"]) for n, client in enumerate((away, without))]
        assert [message.state for message in sent] == [MessageState.PROCESSING] * 2
        road.deliver()
        road.sweep()
        assert [without.get(message.id).state for message in sent] == [MessageState.SENT] * 2
