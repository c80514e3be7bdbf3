"""The road in one process: the real database and broker, real functions of every stage, a scripted provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, text

from messaging.channel import Channel
from messaging.message import Content, Push
from messaging.outcome import ACCEPTED, Outcome
from messaging.producer import Accepted, accept
from messaging.publish import Publisher
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.status import DeliveryStatus
from messaging.store import delivery_views, messages, projects, providers, subscribers, targets, topics
from messaging.store.batches import BatchRef
from messaging.store.delivery_views import DeliveryView
from messaging.store.engine import open_engine
from messaging.store.messages import MessageView
from messaging.store.providers import ProviderAccount
from messaging.vault import Vault
from workers import fanout
from workers import sweep as sweeping
from workers.deliver import Deliverer
from workers.pacing import NoPacer
from workers.providers.base import Adapter, Outgoing, Recipient

SECRET = "0123456789abcdef0123456789abcdef"
HELLO = Push(title="Hello", body="there")


@dataclass(eq=False)
class Scripted:
    """A provider that answers by address and keeps what it received."""

    answer: Callable[[Recipient], Outcome] = lambda _: ACCEPTED
    received: list[Recipient] = field(default_factory=list)
    during: Callable[[Recipient], None] | None = None
    """Called while the request is in flight."""

    def prepare(self, outgoing: Outgoing) -> object:
        return outgoing

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:  # noqa: ARG002
        outcomes = []
        for recipient in recipients:
            self.received.append(recipient)
            if self.during is not None:
                await asyncio.to_thread(self.during, recipient)
            outcomes.append(self.answer(recipient))
        return outcomes

    async def check(self) -> Outcome:
        return ACCEPTED

    async def aclose(self) -> None:
        return None

    @property
    def doubled(self) -> int:
        """Recipients that received more than once, counted by how often more."""
        return sum(count - 1 for count in Counter(r.tag for r in self.received).values())


class OneAdapter:
    """Hands out the scripted provider whatever the account, but for those that have one of their own."""

    def __init__(self, adapter: Adapter, others: Mapping[str, Adapter] | None = None) -> None:
        self._adapter = adapter
        self._others = others or {}

    def get(self, account: ProviderAccount) -> Adapter:
        return self._others.get(account.public_id, self._adapter)


class Road:
    """A project with an APNs and a second provider, and everything to move a message along."""

    def __init__(self, database_url: str, broker_url: str, **changes: Any) -> None:
        self.settings = Settings.load(
            {},
            database_url=database_url,
            broker_url=broker_url,
            secret_key=SECRET,
            **({"backoff_min_s": 0.01, "backoff_max_s": 0.05, "page_size": 100, "small_audience": 10} | changes),
        )
        self.vault = Vault(SECRET)
        self.engine: Engine = open_engine(self.settings, role="test")
        self.publisher = Publisher(self.settings)
        self.provider = Scripted()
        self.others: dict[str, Adapter] = {}
        """Providers of single accounts, by their ids."""
        with self.engine.begin() as connection:
            connection.execute(text("TRUNCATE projects, users, targets, subscribers RESTART IDENTITY CASCADE"))
            connection.execute(
                text(
                    "TRUNCATE deliveries, batches, evidence, dead_verdicts, revocations, refusals, delivery_events,"
                    " past_attempts,"
                    " receipt_tokens, starts"
                )
            )
            self.project_id = projects.ensure(connection, "default")

    def close(self) -> None:
        """Let the connections go."""
        self.publisher.close()
        self.engine.dispose()

    # -- what exists -------------------------------------------------------------------------------

    def add_provider(self, provider_id: str, kind: str = "twilio", **fields: Any) -> int:
        """A provider that needs no real credentials; its number."""
        credentials_of: dict[str, dict[str, Any]] = {
            "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "secret"},
            "apns": {"authKey": "key", "authKeyId": "KEY4567890", "teamId": "TEAM567890", "bundleId": "com.example"},
            "fcm": {"serviceAccountJSON": {"project_id": "p", "client_email": "a@example.com", "private_key": "k"}},
            "sendgrid": {"apiKey": "SG.secret"},
        }
        options: dict[str, Any] = {
            "twilio": {"from": "+15005550006"},
            "sendgrid": {"fromEmail": "news@example.com"},
        }.get(kind, {})
        with self.engine.begin() as connection:
            providers.create(
                connection,
                self.vault,
                self.project_id,
                kind=kind,
                provider_id=provider_id,
                credentials=credentials_of[kind],
                options=options,
                **fields,
            )
            return providers.find(connection, self.project_id, provider_id)

    def add_push_targets(self, count: int, *, provider: int | None = None, first: int = 0) -> list[int]:
        """Numbers of `count` push targets with made-up tokens."""
        with self.engine.begin() as connection:
            rows = connection.execute(
                text("""INSERT INTO targets (project_id, public_id, channel, identifier, address_hash, provider_id)
                        SELECT :project, 't' || i, 'push', lpad(to_hex(i), 64, '0'), int8send(i), :provider
                          FROM generate_series(CAST(:first AS bigint), :last) AS i RETURNING id"""),
                {"project": self.project_id, "provider": provider, "first": first, "last": first + count - 1},
            )
            return sorted(rows.scalars())

    def add_topic(self, topic_id: str, target_ids: Sequence[int]) -> None:
        """A topic with these targets."""
        with self.engine.begin() as connection:
            topics.create(connection, self.project_id, name=topic_id, topic_id=topic_id)
            number = topics.find(connection, self.project_id, topic_id)
            connection.execute(
                text("""INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
                        SELECT :project, :topic, t.id, t.channel, 's' || t.id FROM targets t WHERE t.id = ANY(:ids)"""),
                {"project": self.project_id, "topic": number, "ids": list(target_ids)},
            )

    # -- the stages --------------------------------------------------------------------------------

    def send(self, content: Content = HELLO, **audience: Any) -> Accepted:
        """Accept a message and publish its hints."""
        with self.engine.begin() as connection:
            request = SendRequest(content=content, **audience)
            accepted = accept(connection, self.vault, self.settings, self.project_id, request)
        self.publisher.publish(accepted.hints)
        return accepted

    def expand(self, message_id: int | None) -> None:
        """Fan a message out to its end."""
        assert message_id is not None
        while "goes on" in fanout.expand(self.engine, self.settings, self.publisher, message_id):
            pass

    def batches(self) -> list[BatchRef]:
        """Every batch that is not done."""
        with self.engine.begin() as connection:
            rows = connection.execute(text("SELECT month, id FROM batches WHERE state <> 2 ORDER BY id"))
            return [BatchRef(row.month, row.id) for row in rows]

    def deliver(self, *refs: BatchRef) -> list[str]:
        """Deliver these batches, or all that are not done, one after the other."""
        one: Any = OneAdapter(self.provider, self.others)  # stands for Adapters
        deliverer = Deliverer(self.engine, self.vault, self.settings, NoPacer(), one, self.publisher.publish)
        return [asyncio.run(deliverer.deliver(ref)) for ref in refs or self.batches()]

    def sweep(self) -> sweeping.Swept:
        """One sweep."""
        return sweeping.sweep(self.engine, self.settings, self.publisher)

    def make_due(self) -> None:
        """Let all waiting be over."""
        self.execute("UPDATE deliveries SET due_at = now() WHERE due_at > now()")
        self.execute("UPDATE batches SET due_at = now() WHERE due_at > now()")

    def execute(self, statement: str, **parameters: Any) -> None:
        """One statement, as an operator or an accident would."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    # -- what one sees -----------------------------------------------------------------------------

    def view(self, message: str | Accepted) -> MessageView:
        """The message."""
        with self.engine.begin() as connection:
            public_id = message if isinstance(message, str) else message.public_id
            return messages.view(connection, self.project_id, public_id)

    def deliveries(self, message: str | Accepted) -> list[DeliveryView]:
        """Its ledger."""
        public_id = message if isinstance(message, str) else message.public_id
        with self.engine.begin() as connection:
            return delivery_views.page(connection, self.project_id, public_id, limit=100_000)

    def statuses(self, message: Accepted) -> Counter[DeliveryStatus]:
        """Deliveries by status, counted row by row."""
        return Counter(delivery.status for delivery in self.deliveries(message))


__all__ = ["HELLO", "Channel", "Road", "Scripted", "subscribers", "targets"]
