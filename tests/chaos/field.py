"""A running stack with an audience on every channel, and what a fault may do to it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from celery import Celery

from messaging.channel import Channel
from messaging.client.messaging import Messaging
from messaging.local import sandbox_accounts
from messaging.local.children import Command, group_members, spawn, stop_group
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.status import DeliveryStatus
from messaging.store.bulk_rows import BulkRow
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, emails, fcm_tokens, push_topic
from tests.acceptance.stack import FAST, Stack, running, until
from tests.acceptance.sums import clear_faults, set_faults
from tests.chaos.oracle import Tape, Verdict, judge

INJECT = Path(__file__).with_name("inject")
"""On the import path of every process of the stack: kill points, and the builds that are broken on purpose."""

TASK = {Channel.PUSH: bare.PUSH, Channel.EMAIL: bare.EMAIL, Channel.SMS: bare.SMS}
_UNDER_WAY_S = 240.0
PROTOCOLS = ("apns", "fcm", "sendgrid", "smtp", "twilio")
CONTENT: Mapping[Channel, Mapping[str, Any]] = {
    Channel.PUSH: {"title": "Chaos", "body": "Hello"},
    Channel.EMAIL: {"subject": "Chaos", "content": "Hello"},
    Channel.SMS: {"content": "Hello"},
}


@dataclass(frozen=True)
class Sent:
    """Messages under way, and what the providers recorded since."""

    ids: tuple[str, ...]
    audience: tuple[str, ...]
    tape: Tape
    started: float


@dataclass
class Audience:
    """Addresses and the topic that holds them."""

    channel: Channel
    topic: str
    addresses: list[str]


@dataclass
class Field:
    """The stack, its audiences and the dice of this run."""

    stack: Stack
    dice: random.Random
    controls: Path
    audiences: list[Audience] = field(default_factory=list)
    patience_s: float = 240.0
    """How long anything may take to come about, beyond what its size asks for."""
    _blow: float | None = None
    """When the last blow fell, on the database's clock."""

    # -- sending -----------------------------------------------------------------------------------

    @property
    def control(self) -> str:
        """The stand-ins' control address."""
        return self.stack.sandbox["control"]

    @property
    def lease_s(self) -> float:
        """How long a worker owns a batch without renewing."""
        return float(self.stack.env["MESSAGING_LEASE_S"])

    def tape(self) -> Tape:
        """The stand-ins' record from now on."""
        return Tape(self.stack.directory / "sandbox" / "record.jsonl")

    @contextmanager
    def producer(self) -> Iterator[Celery]:
        """A bare Celery client."""
        with bare.producer(self.stack.runtime.broker_url) as app:
            yield app

    def send(self, *channels: Channel, **more: Any) -> Sent:
        """A message to each audience (of these channels, or all), through a bare Celery client."""
        chosen = [each for each in self.audiences if not channels or each.channel in channels]
        tape, started = self.tape(), time.monotonic()
        with self.producer() as app:
            ids = tuple(
                str(
                    app.send_task(
                        TASK[each.channel],
                        kwargs={**CONTENT[each.channel], "topics": [each.topic], **more},
                        queue=bare.QUEUE,
                    ).id
                )
                for each in chosen
            )
        self._blow = None
        return Sent(ids, tuple(address for each in chosen for address in each.addresses), tape, started)

    def settled(self, sent: Sent) -> int:
        """How many deliveries have ended."""
        rows = self.ask(
            """SELECT coalesce(sum(b.accepted + b.delivered + b.failed + b.unknown + b.expired + b.cancelled
                                   + b.suppressed), 0)
                 FROM messages m JOIN batches b ON b.month = m.month AND b.message_id = m.id
                WHERE m.public_id = ANY(%s)""",
            [*sent.ids],
        )
        return int(rows[0][0]) if rows else 0

    def under_way(self, sent: Sent, share: float = 0.1) -> None:
        """Return when that share of the deliveries has ended."""
        wanted = max(1, int(share * len(sent.audience)))
        until(lambda: self.settled(sent) >= wanted, lambda: self.says(sent), within_s=_UNDER_WAY_S)

    def finish(self, sent: Sent) -> None:
        """Return when every message is finished, or when it takes too long: the judge says what is missing."""
        wait_for(lambda: not self._open(sent), self.patience_s + len(sent.audience) / 500)

    def judge(self, sent: Sent, **how: Any) -> Verdict:
        """Finish, compare, and say how long it took to recover from the last blow."""
        recovery = self.recovered(sent) if self._blow is not None else None
        self.calm()
        self.finish(sent)
        found = judge(self.stack.runtime.database_url, sent.tape, sent.ids, sent.audience, **how)
        return replace(found, recovery_s=recovery, took_s=time.monotonic() - sent.started)

    def says(self, sent: Sent) -> str:
        """Where the messages are, for a failure to be understood."""
        states = self.ask(
            "SELECT public_id, state, expanded, finished_at FROM messages WHERE public_id = ANY(%s)",
            [*sent.ids],
        )
        return f"{self.settled(sent)} of {len(sent.audience)} settled; {states}\n{self.stack.tail('intake', 'push')}"

    # -- blows -------------------------------------------------------------------------------------

    def blow(self) -> None:
        """Note that the last blow falls now."""
        rows = self.ask("SELECT extract(epoch FROM clock_timestamp())")
        self._blow = float(rows[0][0]) if rows else time.time()

    def kill(self, name: str) -> None:
        """`kill -9` a process with its children."""
        self.ready(name)
        self.stack.kill(name)
        self.blow()

    def order(self, point: str) -> None:
        """Let the next worker that passes this point of its work kill itself there."""
        (self.controls / f"kill.{point}").touch()

    def dies(self, point: str, sent: Sent, *, within_s: float = 120) -> bool:
        """Whether the order was carried out; False as soon as everything of `sent` has ended and nobody came by."""
        order = self.controls / f"kill.{point}"
        wait_for(lambda: not order.exists() or not self._open(sent), within_s)
        died = not order.exists()
        if died:
            self.blow()
        return died

    def terminate(self, name: str) -> None:
        """Ask a process to leave and wait for its successor."""
        pid = self.stack.runtime.processes[name]
        os.kill(pid, signal.SIGTERM)
        self.stack.replaced(pid, within_s=240)
        self.blow()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A process and its children stand still for the block."""
        members = group_members(self.stack.runtime.processes[name])
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.blow()

    @contextmanager
    def clone(self, name: str, **env: str) -> Iterator[None]:
        """One more of these processes, with the same command and environment but for `env`, for the block."""
        pid = self.stack.runtime.processes[name]
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        said = [part.partition(b"=") for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if part]
        own = {key.decode(): value.decode() for key, _, value in said}
        number = self.dice.randrange(1 << 20)
        mark = self.stack.directory / "run" / f"{name}-{number}.ready"
        schedule = own.get("MESSAGING_BEAT_FILE", "")
        words = [word.decode() for word in argv]
        words = [f"{word}-{number}" if word == schedule else word.replace("@%h", f"-{number}@%h") for word in words]
        process = spawn(
            Command(
                argv=words,
                cwd=self.stack.directory,
                env=own | {"MESSAGING_READY_FILE": str(mark)} | env,
                log=self.stack.directory / "logs" / f"{name}-{number}.log",
                parent_death_signal=signal.SIGTERM,
            )
        )
        try:
            if name != "beat":
                until(mark.exists, lambda: self.stack.tail(f"{name}-{number}"), within_s=240)
            yield
        finally:
            stop_group(process, first=signal.SIGTERM, timeout_s=60)

    def ready(self, *names: str) -> None:
        """Return when these workers (or all) work."""
        if not names:
            self.stack.ready(within_s=240)
            return
        for name in names:
            until(lambda: self.stack.works(name), f"{name} is not ready", within_s=240)  # noqa: B023  asked at once

    def misbehave(self, *protocols: str, **faults: Any) -> None:
        """Let stand-ins misbehave."""
        for protocol in protocols:
            set_faults(self.control, protocol, **faults)

    def calm(self) -> None:
        """Everybody behaves, every process runs."""
        clear_faults(self.control)
        for order in self.controls.glob("kill.*"):
            order.unlink(missing_ok=True)
        self.ready()

    def recovered(self, sent: Sent) -> float:
        """Seconds from the last blow until nothing that was in flight then is undecided, and something went on."""
        assert self._blow is not None
        blow, start = self._blow, self.settled(sent)
        stuck = """SELECT 1 FROM messages m JOIN deliveries d ON d.month = m.month AND d.message_id = m.id
                    WHERE m.public_id = ANY(%s) AND d.status = 1 AND d.updated_at < to_timestamp(%s) LIMIT 1"""

        def over() -> bool:
            if not self._open(sent):
                return True
            rows = self._try(stuck, [*sent.ids], blow)
            return rows is not None and not rows and self.settled(sent) > start

        wait_for(over, self.patience_s)
        rows = self._try("SELECT extract(epoch FROM clock_timestamp())")
        return float(rows[0][0]) - blow if rows else self.patience_s

    # -- the database ------------------------------------------------------------------------------

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows; waits for a database that is away."""
        deadline = time.monotonic() + 120
        while (found := self._try(statement, *parameters)) is None:
            assert time.monotonic() < deadline, "the database stays away"
            time.sleep(0.2)
        return found

    def _try(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]] | None:
        try:
            with psycopg.connect(self.stack.runtime.database_url, connect_timeout=5) as connection:
                return connection.execute(statement, parameters).fetchall()
        except psycopg.OperationalError:
            return None

    def _open(self, sent: Sent) -> int:
        rows = self._try(
            "SELECT count(*) FROM messages WHERE public_id = ANY(%s) AND finished_at IS NOT NULL", [*sent.ids]
        )
        return len(sent.ids) - (int(rows[0][0]) if rows else 0)


def wait_for(condition: Callable[[], object], within_s: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


SMALL = {"MESSAGING_PAGE_SIZE": "2000", "MESSAGING_LEASE_S": "4", "MESSAGING_MAX_ATTEMPTS": "12"}


@contextmanager
def field_of(
    recipients: int,
    *,
    seed: int,
    broken: str = "",
    patience_s: float = 240.0,
    env: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Field]:
    """A stack with `recipients` over all channels; `broken` names a build that is broken on purpose."""
    with tempfile.TemporaryDirectory(prefix="heliograph-chaos-") as controls:
        own = {"PYTHONPATH": str(INJECT), "CHAOS_DIR": controls, "CHAOS_BREAK": broken}
        with running("--sandbox", **(FAST | SMALL | own | dict(env))) as stack:
            made = Field(stack, random.Random(seed), Path(controls), patience_s=patience_s)
            with stack.client() as client:
                _accounts(client, stack)
                made.audiences = _audiences(client, recipients)
            yield made


def _accounts(client: Messaging, stack: Stack) -> None:
    """One of each kind that has a channel here, its id the kind's name; its receipts find their way back."""
    addresses = SandboxAddresses.read(stack.sandbox)
    for priority, kind in enumerate(PROTOCOLS):
        given = sandbox_accounts.fields(kind, addresses)
        account = client.providers.create(kind, provider_id=kind, priority=priority, **given)
        changes = sandbox_accounts.report_to(
            kind, given, addresses, f"{stack.runtime.endpoint}/receipts/{account.receipt_key}"
        )
        if changes:
            client.providers.update(account.id, **changes)


def _audiences(client: Messaging, recipients: int) -> list[Audience]:
    """Nine in ten by push, most others by email, few by SMS, as long as a text message takes a request of its own."""
    texts, mails = max(20, recipients // 50), max(50, recipients // 12)
    apns = apns_tokens((recipients - texts - mails) // 2)
    fcm = fcm_tokens(recipients - texts - mails - len(apns))
    mailboxes, phones = emails(mails), [f"+49151{number:08d}" for number in range(10_000_000, 10_000_000 + texts)]
    made = [Audience(Channel.PUSH, push_topic(client, apns=apns, fcm=fcm), [*apns, *fcm])]
    for channel, addresses in ((Channel.EMAIL, mailboxes), (Channel.SMS, phones)):
        topic = client.topics.create(name=f"{channel}").id
        lines = [BulkRow(line=line, address=address) for line, address in enumerate(addresses, 1)]
        assert client.topics.subscribe_many(topic, lines, channel=channel).created == len(lines)
        made.append(Audience(channel, topic, addresses))
    return made


UNTOUCHED = frozenset({DeliveryStatus.ACCEPTED, DeliveryStatus.DELIVERED})
"""Statuses where nothing may have become unknown."""
