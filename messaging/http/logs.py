"""The audit logs that older SDKs ask for: always empty, as the contract has dropped them."""

from __future__ import annotations

from typing import Any

from messaging.http import parameters as p
from messaging.http.operations import Call, Operations
from messaging.http.queries import parse_queries

operations = Operations("messaging")

_TOTAL = p.flag_in_query("total", default=True, help="Accepted; there is nothing to count.")


def _add(path: str, place: str, scope: str, name: str) -> None:
    def work(call: Call) -> dict[str, Any]:
        """No logs are kept; the list is empty."""
        parse_queries(call.queries, total=call["total"])
        return {"total": 0, "logs": []}

    work.__name__ = name
    declare = operations.add(
        "GET", path, p.uid(place, required=True), _TOTAL, scopes=(scope,), model="logList", listed=True
    )
    declare(work)


_add("/messaging/messages/{messageId}/logs", "messageId", "messages.read", "list_message_logs")
_add("/messaging/providers/{providerId}/logs", "providerId", "providers.read", "list_provider_logs")
_add("/messaging/topics/{topicId}/logs", "topicId", "topics.read", "list_topic_logs")
_add("/messaging/subscribers/{subscriberId}/logs", "subscriberId", "subscribers.read", "list_subscriber_logs")
