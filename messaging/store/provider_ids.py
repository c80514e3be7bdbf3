"""Which delivery a provider's own message id stands for: kept where its receipts name nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from messaging.store.batches import Lease
from messaging.store.ledger import Verdict
from messaging.store.ledger_told import Name


def keep(connection: Connection, owned: Lease, verdicts: Sequence[Verdict]) -> None:
    """Keep the ids that came with these answers."""
    told = [(v.provider_message_id, v.target_id) for v in verdicts if v.provider_message_id is not None]
    if told:
        connection.execute(
            text("""
            INSERT INTO provider_message_ids (month, provider_id, provider_message_id, message_id, target_id)
            SELECT :month, :provider, n.id, :message, n.target
              FROM unnest(CAST(:ids AS text[]), CAST(:targets AS bigint[])) AS n(id, target)
            ON CONFLICT DO NOTHING
            """),
            {
                "month": owned.ref.month,
                "provider": owned.provider_id,
                "message": owned.message_id,
                "ids": [id_ for id_, _ in told],
                "targets": [target for _, target in told],
            },
        )


def find(connection: Connection, provider_id: int, ids: Iterable[str]) -> dict[str, Name]:
    """The deliveries that these ids of the account stand for, as far as they are known."""
    rows = connection.execute(
        text("""SELECT provider_message_id AS id, month, message_id, target_id FROM provider_message_ids
                 WHERE provider_id = :provider AND provider_message_id = ANY(CAST(:ids AS text[]))"""),
        {"provider": provider_id, "ids": list(set(ids))},
    )
    return {row.id: Name(row.month, row.message_id, row.target_id) for row in rows}
