"""How the receipts of one account fare, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.catalog import kind_of
from messaging.errors import NotFoundError
from messaging.settings import Settings
from messaging.store import providers, receipts
from messaging.store.receipts import ReceiptSums


@dataclass(frozen=True, kw_only=True)
class ReceiptsView:
    """An account's receipts, as far as they are kept."""

    applied: int
    waiting: int
    refused: int
    held: int
    """Waiting for a key to verify them with."""
    last_at: datetime | None
    last_refusal: str | None
    """Why the last one that was refused or is held was."""
    url: str | None
    """Where the provider reports to; who knows it can report, too. None where nobody said how we are reached."""
    hint: str | None
    """What the operator can do, if anything."""


def view(connection: Connection, settings: Settings, project_id: int, provider_id: str) -> ReceiptsView:
    """How the account's receipts fare; raises `NotFoundError`."""
    row = connection.execute(
        text("SELECT id, kind, receipt_key FROM providers WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": provider_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("provider", provider_id)
    sums = receipts.sums(connection, row.id)
    has_receipts, key = kind_of(row.kind).has_receipts, row.receipt_key
    return ReceiptsView(
        applied=sums.applied,
        waiting=sums.waiting,
        refused=sums.refused,
        held=sums.held,
        last_at=sums.last_at,
        last_refusal=sums.last_refusal,
        url=settings.receipts_url(key) if has_receipts else None,
        hint=_hint(settings, sums, provider_id, key) if has_receipts else "Providers of this kind tell nothing later.",
    )


def retry(connection: Connection, project_id: int, provider_id: str) -> int:
    """Look again at what was refused or is held; how many. Raises `NotFoundError`."""
    return receipts.release_held(connection, providers.find(connection, project_id, provider_id))


def _hint(settings: Settings, sums: ReceiptSums, provider_id: str, key: str) -> str | None:
    if settings.receipts_url(key) is None:
        return (
            "No address is known here under which providers reach the API: set MESSAGING_PUBLIC_URL, or"
            f" MESSAGING_CALLBACK_URL. There, its receipts go to /v1/receipts/{key}."
        )
    if sums.held or sums.refused:
        return (
            "What was put aside is looked at again when its credentials change. Or ask for it:"
            f" `messaging provider receipts {provider_id} --retry`,"
            f" or POST /v1/messaging/providers/{provider_id}/receipts/retry."
        )
    return None
