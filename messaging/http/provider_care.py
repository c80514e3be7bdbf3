"""What an operator sees of an account, and does for it: its log, its receipts, starting it again."""

from __future__ import annotations

from typing import Any

from messaging.http import parameters as p
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.http.list_parameters import TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.providers import rendered as rendered_provider
from messaging.http.queries import parse_queries
from messaging.store import provider_log, provider_receipts, provider_stops, providers
from messaging.store.batches import RECEIPTS_HINT

operations = Operations("messaging")

_PROVIDER = p.uid("providerId", required=True)
_PATH = "/messaging/providers/{providerId}"
_READ = ("providers.read",)
_WRITE = ("providers.write",)


@operations.add("POST", f"{_PATH}/start", _PROVIDER, scopes=_WRITE, model="provider")
def start_provider(call: Call) -> dict[str, Any]:
    """Let a stopped provider work again; one that works goes on. What waits for it follows within half a minute."""
    number = providers.find(call.connection, call.project_id, call["providerId"])
    provider_stops.start(call.connection, number, why=provider_stops.BY_OPERATOR)
    return rendered_provider(providers.get(call.connection, call.vault, call.project_id, call["providerId"]))


@operations.add("GET", f"{_PATH}/log", _PROVIDER, TOTAL, scopes=_READ, model="providerLog", listed=True)
def list_provider_log(call: Call) -> dict[str, Any]:
    """What happened to a provider, newest first: stopped, paused, started, checked, and why."""
    wanted = parse_queries(call.queries, total=call["total"])
    found = provider_log.listed(call.connection, call.project_id, call["providerId"], wanted)
    entries = [
        {"$id": entry.id, "$createdAt": timestamp(entry.at), "what": entry.what, "reason": entry.reason}
        for entry in found.entries
    ]
    return {"total": found.total, "entries": entries}


@operations.add("GET", f"{_PATH}/receipts", _PROVIDER, scopes=_READ, model="providerReceipts")
def get_provider_receipts(call: Call) -> dict[str, Any]:
    """How a provider's receipts fare, and where they go.

    The address is a secret: who knows it can report. So it is told only to a key that may change providers.
    """
    return _receipts(call)


@operations.add("POST", f"{_PATH}/receipts/retry", _PROVIDER, scopes=_WRITE, model="providerReceipts")
def retry_provider_receipts(call: Call) -> dict[str, Any]:
    """Look again at the receipts that were refused or are held; they count as waiting until a worker has."""
    if provider_receipts.retry(call.connection, call.project_id, call["providerId"]):
        call.hints.append(RECEIPTS_HINT)
    return _receipts(call)


def _receipts(call: Call) -> dict[str, Any]:
    found = provider_receipts.view(call.connection, call.settings, call.project_id, call["providerId"])
    may_know = call.caller.may(_WRITE)
    return {
        "applied": found.applied,
        "waiting": found.waiting,
        "refused": found.refused,
        "held": found.held,
        "lastAt": optional_timestamp(found.last_at),
        "lastRefusal": found.last_refusal,
        "receiptsUrl": found.url if may_know else None,
        "hint": found.hint if may_know else "The address is told to a key with the scope providers.write.",
    }
