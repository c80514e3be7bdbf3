"""PgBouncer in transaction mode between us and PostgreSQL: every transaction may get another server connection."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from messaging.client.messaging import Messaging
from messaging.local.free_ports import free_ports
from messaging.status import DeliveryStatus, MessageState
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, push_topic
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import sums
from tests.system.programs import running as running_program

pytestmark = pytest.mark.timeout(600)

_SERVER_CONNECTIONS = 6
"""Fewer than the stack's processes: none can keep one for itself."""

_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 500
max_prepared_statements = 0
server_round_robin = 1
admin_users = {user}
"""


@pytest.fixture(scope="module")
def pooled_url(postgres_url: str) -> Iterator[str]:
    """postgresql://… of the module's database, through the pooler."""
    server = urlsplit(postgres_url)
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="heliograph-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        configuration = folder / "pgbouncer.ini"
        said = _CONFIGURATION.format(
            server=server.port, user=server.username, password=server.password, port=port, pool=_SERVER_CONNECTIONS
        )
        if _version() < (1, 21):
            said = said.replace("max_prepared_statements = 0\n", "")  # older ones know none, and no such word
        configuration.write_text(said)
        configuration.chmod(0o644)
        # it refuses to run as root
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        with running_program(["pgbouncer", *user, str(configuration)], port=port, log=folder / "pgbouncer.log"):
            yield f"postgresql://{server.username}:password@127.0.0.1:{port}{server.path}"


@pytest.fixture(scope="module")
def stack(pooled_url: str) -> Iterator[Stack]:
    """A stack, its API and its workers included, that knows PostgreSQL by the pooler's address only."""
    with running("--sandbox", **UNHURT, MESSAGING_DATABASE_URL=pooled_url, MESSAGING_PAGE_SIZE="500") as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


def test_the_pooler_hands_out_connections_by_transaction(pooled_url: str) -> None:
    """Else the other test would show nothing: two clients that stay connected share a server connection."""
    with psycopg.connect(pooled_url) as one, psycopg.connect(pooled_url) as other:
        seen: dict[psycopg.Connection, set[int]] = {one: set(), other: set()}
        for _ in range(2 * _SERVER_CONNECTIONS):
            for client, pids in seen.items():
                pids.add(_server_process(client))
    assert seen[one] & seen[other]


def _server_process(client: psycopg.Connection) -> int:
    with client.transaction():
        row = client.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    assert row is not None
    return int(row[0])


def test_campaigns_and_single_messages_go_out_once_through_a_pooler(stack: Stack) -> None:
    """Over Celery, Python and HTTP alike; the ledger equals what the provider recorded."""
    devices, singles = apns_tokens(3000), apns_tokens(30)
    with stack.client() as client:
        topic = push_topic(client, apns=devices)
        targets = [
            client.targets.create(token, channel="push", user_id=client.users.create().id, provider_id="apns").id
            for token in singles
        ]
        kwargs = {"title": "Hello", "body": "there"}
        with bare.producer(stack.runtime.broker_url) as shop:
            sent = [
                shop.send_task(bare.PUSH, kwargs=kwargs | {"targets": [target]}, queue=bare.QUEUE).id
                for target in targets
            ]
            big = shop.send_task(bare.PUSH, kwargs=kwargs | {"topics": [topic]}, queue=bare.QUEUE).id
        until(
            lambda: all(_finished(client, message) for message in [big, *sent]),
            lambda: stack.tail("intake", "fanout", "push", "push-high", "beat"),
            within_s=240,
        )
        control = stack.sandbox["control"]
        for messages, audience in (([big], devices), (sent, singles)):
            found = sums(client, control, messages, audience, "apns")
            found.assert_exact()
            assert found.statuses == {DeliveryStatus.ACCEPTED: len(audience)}
            assert found.doubled == 0


def _finished(client: Messaging, message_id: str) -> bool:
    try:
        return client.get(message_id).state is MessageState.SENT
    except LookupError:
        return False


def _version() -> tuple[int, ...]:
    """PgBouncer's: (1, 18, 0)."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    said = subprocess.run(
        ["pgbouncer", "--version"], capture_output=True, text=True, check=True, env=os.environ | {"PATH": path}
    )
    return tuple(int(part) for part in said.stdout.split()[1].split(".")[:2])
