"""What was put aside because it ended workers: looked at, and tried again."""

from __future__ import annotations

from typing import Any

from messaging.http import parameters as p
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.http.list_parameters import TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.queries import parse_queries
from messaging.store import quarantine
from messaging.store.quarantine import Entry

operations = Operations("messaging")

_READ = ("messages.read",)
_WRITE = ("messages.write",)


@operations.add("GET", "/messaging/quarantine", TOTAL, scopes=_READ, model="quarantineList", listed=True)
def list_quarantine(call: Call) -> dict[str, Any]:
    """What ended one worker after the other and was put aside, newest first."""
    found = quarantine.listed(call.connection, call.project_id, parse_queries(call.queries, total=call["total"]))
    return {"total": found.total, "entries": [_rendered(entry) for entry in found.entries]}


@operations.add(
    "POST",
    "/messaging/quarantine/{entryId}/replay",
    p.uid("entryId", required=True),
    scopes=_WRITE,
    model="quarantineReplay",
)
def replay_quarantine(call: Call) -> dict[str, Any]:
    """Try again what was put aside; what still ends its worker is put aside again."""
    replayed = quarantine.replay(
        call.connection, call.project_id, call["entryId"], expires_in_s=call.settings.expires_after_s
    )
    call.hints.extend(replayed.hints)
    return {"deliveries": replayed.deliveries}


def _rendered(entry: Entry) -> dict[str, Any]:
    return {
        "$id": entry.id,
        "$createdAt": timestamp(entry.at),
        "what": str(entry.what),
        "reason": entry.reason,
        "deliveries": entry.deliveries,
        "messageId": entry.message_id,
        "targetId": entry.target_id,
        "taskId": entry.task_id,
        "taskName": entry.task_name,
        "replayedAt": optional_timestamp(entry.replayed_at),
    }
