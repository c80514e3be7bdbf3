"""F18: a push worker that reaches the providers and not PostgreSQL, or not the broker."""

from __future__ import annotations

import time
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.fault import Fault
from tests.chaos.field import Field
from tests.chaos.oracle import Verdict
from tests.cuttable import Cuttable, cuttable


def cut_off(field: Field, *, variable: str) -> Verdict:
    """A second push worker loses its way to one server for twice its lease: another takes over."""
    runtime = field.stack.runtime
    url = runtime.database_url if variable == "MESSAGING_DATABASE_URL" else runtime.broker_url
    with cuttable(urlsplit(url).port or 0) as proxy:
        env = {variable: _through(url, proxy.port)}
        if variable == "MESSAGING_BROKER_URL":
            env["MESSAGING_REDIS_URL"] = env[variable]
        with field.clone("push", **env):
            field.misbehave("apns", "fcm", "sendgrid", delay_ms=100)
            sent = field.send()
            field.under_way(sent, 0.1)
            _keep_cut(proxy, 2 * field.lease_s + 1)
            field.blow()
            field.misbehave("apns", "fcm", "sendgrid")
            return field.judge(sent)


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    host = f"{parts.netloc.rsplit(':', 1)[0]}:{port}"
    return urlunsplit(parts._replace(netloc=host))


def _keep_cut(proxy: Cuttable, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        proxy.cut()
        time.sleep(0.05)


FAULTS = (
    Fault(
        number="F18a", title="a worker cut off from PostgreSQL", run=partial(cut_off, variable="MESSAGING_DATABASE_URL")
    ),
    Fault(
        number="F18b", title="a worker cut off from the broker", run=partial(cut_off, variable="MESSAGING_BROKER_URL")
    ),
)
