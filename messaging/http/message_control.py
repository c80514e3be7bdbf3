"""What Appwrite lacks: the ledger of a message, control while it goes out, and who would get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from messaging.channel import Channel
from messaging.errors import NotFoundError
from messaging.http import parameters as p
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.http.list_parameters import TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.queries import parse_queries
from messaging.http.render_message import rendered_message
from messaging.producer import expires_in_s
from messaging.store import delivery_events, delivery_lists, messages, past_attempts, targets, topics, users
from messaging.store.delivery_events import EventView
from messaging.store.delivery_views import DeliveryView
from messaging.store.expand import Audience
from messaging.store.past_attempts import AttemptView
from messaging.store.resolve import Resolved, resolve
from messaging.store.retry_failed import retry_failed

operations = Operations("messaging")

_ID = p.uid("messageId", required=True)
_READ = ("messages.read",)
_WRITE = ("messages.write",)


@operations.add(
    "GET",
    "/messaging/messages/{messageId}/deliveries",
    _ID,
    TOTAL,
    scopes=_READ,
    model="deliveryList",
    listed=True,
)
def list_deliveries(call: Call) -> dict[str, Any]:
    """What became of each recipient: a row of the ledger per target."""
    message = messages.view(call.connection, call.project_id, call["messageId"])
    wanted = parse_queries(call.queries, total=call["total"])
    found = delivery_lists.listed(call.connection, message, wanted)
    events: dict[int, list[EventView]] = {}
    tried: dict[int, list[AttemptView]] = {}
    if message.month is not None:
        numbers = [each.cursor for each in found.deliveries]
        events = delivery_events.of_deliveries(call.connection, message.month, message.number, numbers)
        tried = past_attempts.of_deliveries(call.connection, message.month, message.number, numbers)
    rendered = [_rendered(each, tried.get(each.cursor, ()), events.get(each.cursor, ())) for each in found.deliveries]
    return {"total": found.total, "deliveries": rendered}


@operations.add("GET", "/messaging/messages/{messageId}/events", _ID, scopes=_READ, model="messageEvents")
def list_events(call: Call) -> dict[str, Any]:
    """How many recipients each thing happened to, as far as providers tell: delivered, opened, complained."""
    message = messages.view(call.connection, call.project_id, call["messageId"])
    found = {} if message.month is None else delivery_events.totals(call.connection, message.month, message.number)
    return {"total": sum(found.values()), "events": {str(event): by for event, by in found.items()}}


@operations.add("POST", "/messaging/messages/{messageId}/cancel", _ID, scopes=_WRITE, model="message")
def cancel(call: Call) -> dict[str, Any]:
    """Send no more of a message, for good; what is in flight is still recorded."""
    messages.cancel(call.connection, call.project_id, call["messageId"])
    return _message(call)


@operations.add("POST", "/messaging/messages/{messageId}/pause", _ID, scopes=_WRITE, model="message")
def pause(call: Call) -> dict[str, Any]:
    """Send no more of a message until it is resumed."""
    messages.pause(call.connection, call.project_id, call["messageId"])
    return _message(call)


@operations.add("POST", "/messaging/messages/{messageId}/resume", _ID, scopes=_WRITE, model="message")
def resume(call: Call) -> dict[str, Any]:
    """Go on with exactly the rest of a paused message."""
    messages.resume(call.connection, call.project_id, call["messageId"])
    return _message(call)


@operations.add(
    "POST",
    "/messaging/messages/{messageId}/retry-failed",
    _ID,
    p.words("errorCodes", most=100, default=()),
    scopes=_WRITE,
    model="message",
)
def retry(call: Call) -> dict[str, Any]:
    """Send again what failed, and nothing else; only with one of `errorCodes`, where any is given."""
    message = messages.view(call.connection, call.project_id, call["messageId"])
    lives_s = expires_in_s(call.settings, message.channel, message.lane)
    retried = retry_failed(call.connection, message, codes=call["errorCodes"], expires_in_s=lives_s)
    call.hints.extend(retried.hints)
    return _message(call) | {"retried": retried.deliveries, "unserved": retried.unserved}


@operations.add(
    "POST",
    "/messaging/messages/resolve",
    p.uids("topics"),
    p.uids("users"),
    p.uids("targets"),
    p.one_of("providerType", tuple(Channel), help="One channel; all three by default."),
    scopes=_READ,
    model="resolved",
    keyed=False,
)
def resolve_audience(call: Call) -> dict[str, Any]:
    """How many targets a message to this audience would reach now, by channel and provider; nothing is sent."""
    topic_ids = _numbers("topic", call["topics"], topics.resolve(call.connection, call.project_id, call["topics"]))
    user_ids = _numbers("user", call["users"], users.resolve(call.connection, call.project_id, call["users"]))
    found = targets.resolve(call.connection, call.project_id, call["targets"])
    target_ids = _numbers("target", call["targets"], {name: ref.id for name, ref in found.items()})
    channels = tuple(Channel) if call["providerType"] is None else (Channel(call["providerType"]),)
    resolved = [
        resolve(
            call.connection,
            call.project_id,
            Audience(channel=channel, topic_ids=topic_ids, user_ids=user_ids, target_ids=target_ids),
            small_audience=call.settings.small_audience,
        )
        for channel in channels
    ]
    return {"total": sum(each.total for each in resolved), "channels": [_rendered_resolved(each) for each in resolved]}


def _numbers(kind: str, named: list[str], found: dict[str, int]) -> list[int]:
    for public_id in named:
        if public_id not in found:
            raise NotFoundError(kind, public_id)
    return sorted(found.values())


def _message(call: Call) -> dict[str, Any]:
    return rendered_message(call.connection, messages.view(call.connection, call.project_id, call["messageId"]))


def _rendered(delivery: DeliveryView, tried: Sequence[AttemptView], events: Sequence[EventView]) -> dict[str, Any]:
    return {
        "$id": delivery.id,
        "$createdAt": timestamp(delivery.created_at),
        "$updatedAt": timestamp(delivery.updated_at),
        "targetId": delivery.target_id,
        "identifier": delivery.identifier,
        "providerId": delivery.provider_id,
        "status": str(delivery.status),
        "role": str(delivery.role),
        "attempts": delivery.attempts,
        "doubts": delivery.doubts,
        "providerMessageId": delivery.provider_message_id,
        "errorCode": delivery.error_code,
        "error": delivery.error,
        "acceptedAt": optional_timestamp(delivery.accepted_at),
        "dueAt": optional_timestamp(delivery.due_at),
        "pastAttempts": [
            {
                "attempt": each.attempt,
                "times": each.times,
                "providerId": each.provider_id,
                "errorCode": each.code,
                "error": each.reason,
                "firstAt": timestamp(each.first_at),
                "at": timestamp(each.at),
            }
            for each in tried
        ],
        "events": [
            {"event": str(each.event), "at": timestamp(each.at), "code": each.code, "reason": each.reason}
            for each in events
        ],
    }


def _rendered_resolved(resolved: Resolved) -> dict[str, Any]:
    return {
        "providerType": str(resolved.channel),
        "total": resolved.total,
        "expired": resolved.expired,
        "suppressed": resolved.suppressed,
        "unserved": resolved.unserved,
        "providers": [{"providerId": name, "total": by} for name, by in sorted(resolved.providers.items())],
    }
