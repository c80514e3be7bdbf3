"""F5: PostgreSQL dies and recovers, and runs out of connections."""

from __future__ import annotations

import contextlib
import time

import psycopg

from tests.chaos.fault import Fault
from tests.chaos.field import Field
from tests.chaos.oracle import Verdict


def killed(field: Field) -> Verdict:
    """`kill -9` of the server in the middle; nothing is called committed that was not."""
    sent = field.send()
    field.under_way(sent, 0.05)
    field.stack.replaced(field.stack.kill("postgres"), within_s=180)
    field.blow()
    return field.judge(sent)


def exhausted(field: Field) -> Verdict:
    """Every connection it has is somebody else's, for some seconds; what we hold is cut."""
    sent = field.send()
    field.under_way(sent, 0.05)
    url = field.stack.runtime.database_url
    taken: list[psycopg.Connection] = []
    with psycopg.connect(url, autocommit=True) as control:
        control.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
        )
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                taken.append(psycopg.connect(url, connect_timeout=2))
    for connection in taken:
        connection.close()
    field.blow()
    more = () if len(taken) > 20 else (f"only {len(taken)} connections were taken: nothing was tried",)
    return field.judge(sent, more=more)


FAULTS = (
    Fault(number="F5a", title="PostgreSQL killed and restarted", run=killed),
    Fault(number="F5b", title="PostgreSQL out of connections", run=exhausted),
)
