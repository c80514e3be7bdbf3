"""Receipts as they came: kept at the door, worked on later, put aside where they change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import bindparam

from messaging.receipt import Inbound


class ReceiptState(IntEnum):
    """What became of a request."""

    WAITING = 0
    APPLIED = 1
    REFUSED = 2
    """Forged, unreadable, or about a delivery that is not ours."""
    HELD = 3
    """The account has no key to verify it with: applied once one is set."""


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """One request and the account it came for."""

    id: int
    provider_id: int
    inbound: Inbound
    attempts: int
    """This one included."""


_KEEP = text("""
INSERT INTO receipts (provider_id, method, url, headers, body)
SELECT id, :method, :url, :headers, :body FROM providers WHERE receipt_key = :key RETURNING provider_id
""").bindparams(bindparam("headers", type_=JSONB))


def keep(connection: Connection, key: str, *, method: str, url: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Keep a request that came to the receipt address with `key`; False when no account has it."""
    kept = connection.execute(
        _KEEP, {"key": key, "method": method, "url": url, "headers": dict(headers), "body": body}
    ).one_or_none()
    return kept is not None


# A worker that dies leaves them to the next one after the time it had for them.
_TAKE = text(f"""
WITH taken AS (
    SELECT id FROM receipts WHERE state = {ReceiptState.WAITING:d} AND due_at <= now()
     ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE receipts r SET due_at = now() + make_interval(secs => :work_s), attempts = attempts + 1
  FROM taken WHERE r.id = taken.id
RETURNING r.id, r.provider_id, r.method, r.url, r.headers, r.body, r.received_at, r.attempts
""")


def take(connection: Connection, *, limit: int, work_s: float) -> list[KeptReceipt]:
    """Up to `limit` requests that wait, oldest first; nobody else gets them for `work_s` seconds."""
    rows = connection.execute(_TAKE, {"limit": limit, "work_s": work_s}).all()
    return [
        KeptReceipt(
            id=row.id,
            provider_id=row.provider_id,
            inbound=Inbound(
                method=row.method, url=row.url, headers=row.headers, body=bytes(row.body), received_at=row.received_at
            ),
            attempts=row.attempts,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def any_waiting(connection: Connection) -> bool:
    """Whether a request waits to be worked on."""
    found = connection.execute(
        text(f"SELECT EXISTS (SELECT 1 FROM receipts WHERE state = {ReceiptState.WAITING:d} AND due_at <= now())")
    ).scalar_one()
    return bool(found)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one request."""

    id: int
    state: ReceiptState
    events: int = 0
    reason: str | None = None
    wait_s: float = 0.0
    """Until it is looked at again, for `WAITING`."""


def settle(connection: Connection, settled: Sequence[Settled]) -> None:
    """Write down what became of requests."""
    if not settled:
        return
    connection.execute(
        text("""
        UPDATE receipts r SET state = s.state, events = s.events, reason = s.reason,
               due_at = now() + make_interval(secs => s.wait_s),
               applied_at = CASE WHEN s.state = 1 THEN now() END
          FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS smallint[]), CAST(:events AS int[]),
                      CAST(:reasons AS text[]), CAST(:waits AS float8[])) AS s(id, state, events, reason, wait_s)
         WHERE r.id = s.id
        """),
        {
            "ids": [each.id for each in settled],
            "states": [each.state for each in settled],
            "events": [each.events for each in settled],
            "reasons": [each.reason for each in settled],
            "waits": [each.wait_s for each in settled],
        },
    )


def replayed(connection: Connection, provider_id: int, pairs: Sequence[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """Those `pairs` (token, SHA-256 of its body) of the account whose token came with another body first."""
    if not pairs:
        return set()
    parameters = {
        "provider": provider_id,
        "tokens": [token for token, _ in pairs],
        "bodies": [body for _, body in pairs],
    }
    connection.execute(
        text("""INSERT INTO receipt_tokens (provider_id, token, body_sha256)
                SELECT :provider, n.token, n.body
                  FROM unnest(CAST(:tokens AS text[]), CAST(:bodies AS bytea[])) WITH ORDINALITY
                       AS n(token, body, place)
                 ORDER BY n.place ON CONFLICT DO NOTHING"""),
        parameters,
    )
    rows = connection.execute(
        text("""SELECT n.token, n.body FROM receipt_tokens t
                  JOIN unnest(CAST(:tokens AS text[]), CAST(:bodies AS bytea[])) AS n(token, body) ON n.token = t.token
                 WHERE t.provider_id = :provider AND t.body_sha256 <> n.body"""),
        parameters,
    )
    return {(row.token, bytes(row.body)) for row in rows}


def release_held(connection: Connection, provider_id: int) -> int:
    """Look again at what an account had no key for, or another one; how many."""
    again = connection.execute(
        text(f"""UPDATE receipts SET state = {ReceiptState.WAITING:d}, due_at = now(), attempts = 0, reason = NULL
                  WHERE provider_id = :provider AND state IN ({ReceiptState.REFUSED:d}, {ReceiptState.HELD:d})"""),
        {"provider": provider_id},
    )
    return again.rowcount


@dataclass(frozen=True, kw_only=True)
class ReceiptSums:
    """An account's receipts, as far as they are kept."""

    applied: int
    waiting: int
    refused: int
    held: int
    last_at: datetime | None
    last_refusal: str | None


def sums(connection: Connection, provider_id: int) -> ReceiptSums:
    """How the receipts of an account fare."""
    row = connection.execute(
        text("""
        SELECT count(*) FILTER (WHERE state = 1) AS applied, count(*) FILTER (WHERE state = 0) AS waiting,
               count(*) FILTER (WHERE state = 2) AS refused, count(*) FILTER (WHERE state = 3) AS held,
               max(received_at) AS last_at,
               (SELECT reason FROM receipts WHERE provider_id = :provider AND state IN (2, 3)
                 ORDER BY id DESC LIMIT 1) AS last_refusal
          FROM receipts WHERE provider_id = :provider
        """),
        {"provider": provider_id},
    ).one()
    return ReceiptSums(
        applied=row.applied,
        waiting=row.waiting,
        refused=row.refused,
        held=row.held,
        last_at=row.last_at,
        last_refusal=row.last_refusal,
    )


def in_groups(kept: Sequence[KeptReceipt]) -> Iterator[tuple[int, list[KeptReceipt]]]:
    """The requests of each account, in order."""
    groups: dict[int, list[KeptReceipt]] = {}
    for each in kept:
        groups.setdefault(each.provider_id, []).append(each)
    yield from sorted(groups.items())
