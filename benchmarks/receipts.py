"""Receipts applied a second, verified and all, by one worker process, beside the bare insert of as many rows.

    python -m benchmarks.receipts [--deliveries 50000] [--runs 3]

SendGrid reports many events a request, signed with ECDSA; Twilio reports one a request, signed with HMAC. Each run
applies two reports a delivery: on its way, and delivered.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, Engine, text

from benchmarks.stack import SECRET, Servers, servers
from messaging.ids import delivery_tag
from messaging.settings import Settings
from messaging.store import projects, providers
from messaging.store.engine import open_engine
from messaging.vault import Vault
from workers.pacing import NoPacer
from workers.receipts import Receipts

EVENTS_A_REQUEST = 200
"""SendGrid gathers events for up to a second."""
TOKEN = "benchmark token"  # noqa: S105  made up
URL = "https://example.org/v1/receipts/key"


def deliveries(connection: Connection, provider_id: int, channel: str, count: int) -> list[str]:
    """Tags of so many accepted deliveries of one message, in batches of a thousand."""
    parameters = {"provider": provider_id, "channel": channel, "count": count}
    row = connection.execute(
        text("""
        WITH message AS (
            INSERT INTO messages (project_id, public_id, channel, lane, state, content, on_unknown, expires_at, month,
                                  expanded, finished_at)
            VALUES (1, 'm' || clock_timestamp(), :channel, 'bulk', 4, '{}', 'retry', now() + interval '1 day',
                    date_trunc('month', now() AT TIME ZONE 'UTC')::date, true, now()) RETURNING id, month),
        target AS (
            INSERT INTO targets (project_id, public_id, channel, identifier, address_hash)
            SELECT 1, :channel || i || clock_timestamp(), :channel, :channel || i || clock_timestamp(), int8send(i)
              FROM generate_series(1, :count) AS i RETURNING id),
        numbered AS (SELECT id, (row_number() OVER (ORDER BY id) - 1) / 1000 AS part FROM target),
        batch AS (
            INSERT INTO batches (month, id, message_id, provider_id, channel, lane, state, first_target, last_target,
                                 total, accepted)
            SELECT m.month, nextval('batch_ids'), m.id, :provider, :channel, 'bulk', 2, n.first, n.last, n.total,
                   n.total
              FROM message m, (SELECT part, min(id) AS first, max(id) AS last, count(*) AS total FROM numbered
                                GROUP BY part) n RETURNING id, month, message_id, first_target, last_target),
        delivery AS (
            INSERT INTO deliveries (month, message_id, target_id, batch_id, status, attempts, accepted_at)
            SELECT b.month, b.message_id, n.id, b.id, 3, 1, now()
              FROM batch b JOIN numbered n ON n.id BETWEEN b.first_target AND b.last_target RETURNING target_id)
        SELECT m.id, m.month, (SELECT array_agg(target_id ORDER BY target_id) FROM delivery) AS targets FROM message m
        """),
        parameters,
    ).one()
    return [delivery_tag(row.month, row.id, target) for target in row.targets]


def keep(connection: Connection, provider_id: int, requests: Sequence[tuple[str, dict[str, str], bytes]]) -> None:
    """What the door does, for many."""
    connection.execute(
        text("INSERT INTO receipts (provider_id, method, url, headers, body)"
             " VALUES (:provider, 'POST', :url, CAST(:headers AS jsonb), :body)"),
        [
            {"provider": provider_id, "url": url, "headers": json.dumps(headers), "body": body}
            for url, headers, body in requests
        ],
    )  # fmt: skip


def many_a_request(
    key: ec.EllipticCurvePrivateKey, tags: Sequence[str], run: int
) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Signed requests of the event webhook."""
    for name in ("processed", "delivered"):
        for start in range(0, len(tags), EVENTS_A_REQUEST):
            events = [
                {
                    "event": name,
                    "sg_event_id": f"{run}-{name}-{tag}",
                    "delivery": tag,
                    "email": "reader@example.com",
                    "timestamp": int(time.time()),
                    "sg_message_id": "id.filter",
                    "response": "250 OK",
                }
                for tag in tags[start : start + EVENTS_A_REQUEST]
            ]
            body = json.dumps(events).encode() + b"\r\n"
            stamp = str(int(time.time()))
            signature = key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
            headers = {
                "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
                "x-twilio-email-event-webhook-timestamp": stamp,
            }
            yield URL, headers, body


def one_a_request(tags: Sequence[str], run: int) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Signed status callbacks."""
    for status in ("sent", "delivered"):
        for tag in tags:
            url = f"{URL}?delivery={tag}"
            form = {"MessageSid": f"SM{run}{tag}", "MessageStatus": status, "To": "+15005550006", "AccountSid": "AC1"}
            said = url + "".join(name + form[name] for name in sorted(form))
            signature = base64.b64encode(hmac.digest(TOKEN.encode(), said.encode(), hashlib.sha1)).decode()
            headers = {"x-twilio-signature": signature, "content-type": "application/x-www-form-urlencoded"}
            yield url, headers, urlencode(form).encode()


def applied_per_s(engine: Engine, worker: Receipts, reports: int) -> float:
    """Apply all that waits; reports a second."""
    started = time.perf_counter()
    while asyncio.run(worker.apply_waiting())[0]:
        pass
    wall = time.perf_counter() - started
    with engine.connect() as connection:
        left = connection.execute(text("SELECT count(*) FROM receipts WHERE state <> 1")).scalar_one()
        assert left == 0, f"{left} receipts were not applied"
        wrong = connection.execute(text("SELECT count(*) FROM deliveries WHERE status <> 4")).scalar_one()
        assert wrong == 0, f"{wrong} deliveries are not delivered"
    return reports / wall


def inserted_per_s(engine: Engine, rows: int) -> float:
    """The yardstick: the same number of rows inserted into a table with one index, in one statement a thousand."""
    started = time.perf_counter()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS yardstick (id bigint PRIMARY KEY, said text)"))
        connection.execute(text("TRUNCATE yardstick"))
        for start in range(0, rows, 1000):
            connection.execute(
                text("INSERT INTO yardstick SELECT i, 'delivered' FROM unnest(CAST(:ids AS bigint[])) AS i"),
                {"ids": list(range(start, start + 1000))},
            )
    return rows / (time.perf_counter() - started)


def measure(found: Servers, count: int, runs: int) -> dict[str, list[float]]:
    """Figures by name."""
    settings = Settings.load({}, database_url=found.database_url, broker_url=found.broker_url, secret_key=SECRET)
    engine, vault = open_engine(settings, role="benchmark"), Vault(SECRET)
    worker = Receipts(engine, vault, settings, NoPacer())
    key = ec.generate_private_key(ec.SECP256R1())
    public = base64.b64encode(
        key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    with engine.begin() as connection:
        project = projects.ensure(connection, "default")
        made = {
            "sendgrid": {"apiKey": "SG.x", "webhookKey": public},
            "twilio": {"accountSid": "AC" + "0" * 32, "authToken": TOKEN},
        }
        numbers = {}
        for kind, credentials in made.items():
            providers.create(connection, vault, project, kind=kind, provider_id=kind, credentials=credentials)
            numbers[kind] = providers.find(connection, project, kind)
    figures: dict[str, list[float]] = {"many a request (SendGrid)": [], "one a request (Twilio)": [], "bare insert": []}
    for run in range(runs):
        figures["bare insert"].append(inserted_per_s(engine, 2 * count))
        for name, kind, channel in (
            ("many a request (SendGrid)", "sendgrid", "email"),
            ("one a request (Twilio)", "twilio", "sms"),
        ):
            with engine.begin() as connection:
                connection.execute(
                    text("TRUNCATE receipts, deliveries, batches, delivery_events, messages, targets CASCADE")
                )
                tags = deliveries(connection, numbers[kind], channel, count)
                told = many_a_request(key, tags, run) if kind == "sendgrid" else one_a_request(tags, run)
                keep(connection, numbers[kind], list(told))
            figures[name].append(applied_per_s(engine, worker, 2 * count))
    engine.dispose()
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with servers() as found:
        figures = measure(found, arguments.deliveries, arguments.runs)
    yardstick = statistics.median(figures["bare insert"])
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name:<28}{median:>10,.0f} receipts/s = {median / yardstick:.3f} of a bare insert", flush=True)


if __name__ == "__main__":
    main()
