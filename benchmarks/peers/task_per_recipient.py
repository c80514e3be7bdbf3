"""A push as a Celery task per recipient, as people write it today: default acknowledgement, prefork, Redis protocol.

Kinder than most: the HTTP/2 client of a worker process is kept between its tasks, and results are not stored.
The environment names the broker (PEERS_BROKER_URL), the server (PEERS_ORIGIN) and whom to trust (PEERS_CA_FILE).
"""

from __future__ import annotations

import functools
import os
import ssl
import uuid

import httpx
from celery import Celery

from benchmarks.http2_client import BODY, CONSTANT

app = Celery("peers", broker=os.environ.get("PEERS_BROKER_URL"), set_as_current=False)
app.conf.task_default_queue = "peers"
app.conf.broker_connection_retry_on_startup = True


@functools.cache
def client() -> httpx.Client:
    """The process's own."""
    context = ssl.create_default_context(cafile=os.environ["PEERS_CA_FILE"])
    return httpx.Client(http2=True, verify=context, base_url=os.environ["PEERS_ORIGIN"], timeout=60)


@app.task(name="peers.push", ignore_result=True)
def push(token: str) -> None:
    """One notification to one device."""
    headers = [*CONSTANT, ("apns-id", str(uuid.uuid4()))]
    client().post(f"/3/device/{token}", headers=headers, content=BODY).raise_for_status()
