"""Messages over HTTP: created, listed, looked at, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from messaging import tracing
from messaging.channel import Channel, Lane, OnUnknown
from messaging.content import parse_content
from messaging.errors import MessagingError
from messaging.http import message_parameters
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.queries import parse_queries
from messaging.http.render_message import rendered_message
from messaging.http.render_target import rendered_target
from messaging.producer import accept, small_message
from messaging.send_request import SendRequest
from messaging.store import message_changes, message_lists, messages, target_lists
from messaging.store.accept_small import Small

operations = Operations("messaging")

_ID = p.uid("messageId", required=True)
_READ = ("messages.read",)
_WRITE = ("messages.write",)


def _create(call: Call, channel: Channel) -> dict[str, Any]:
    request = _request(call, channel)
    try:
        accepted = accept(call.connection, call.vault, call.settings, call.project_id, request)
    except MessagingError as error:
        raise message_parameters.not_addressed(channel, error) or error from None
    call.hints.extend(accepted.hints)
    view = accepted.view or messages.view(call.connection, call.project_id, accepted.public_id)
    return rendered_message(call.connection, view)


def _small(call: Call, channel: Channel) -> Small | None:
    """A message to a few; None where it is more than that."""
    if (channel is Channel.EMAIL and call["attachments"]) or (channel is Channel.PUSH and call["image"] is not None):
        return None  # files are held until the message is committed
    return small_message(call.settings, call.project_id, _request(call, channel))


def _request(call: Call, channel: Channel) -> SendRequest:
    given = message_parameters.content_arguments(call, channel)
    more: dict[str, Any] = {}
    if channel is Channel.EMAIL:
        given["attachments"] = message_parameters.attachments(call)
        more = {"cc": call["cc"], "bcc": call["bcc"]}
    if channel is Channel.PUSH and call["image"] is not None:
        given["image"] = message_parameters.image_url(call, call["image"])
        more = {"image": call["image"]}
    addresses: Sequence[str] = call["emails" if channel is Channel.EMAIL else "addresses"] or ()
    require_audience(draft=call["draft"], named=[*call["topics"], *call["users"], *call["targets"], *addresses])
    return SendRequest(
        content=parse_content(channel, given),
        id=call["messageId"],
        topics=call["topics"],
        users=call["users"],
        targets=call["targets"],
        addresses=addresses,
        draft=call["draft"],
        scheduled_at=call["scheduledAt"],
        expires_at=call["expiresAt"],
        on_unknown=None if call["onUnknown"] is None else OnUnknown(call["onUnknown"]),
        lane=None if call["lane"] is None else Lane(call["lane"]),
        traceparent=tracing.of_headers(call.headers),
        **more,
    )


def require_audience(*, draft: bool, named: Sequence[str]) -> None:
    """Raise `ApiError` for a message that would go to nobody; a draft may name its audience later."""
    if not draft and not named:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "message_missing_target",
            "Message with the requested ID has no recipients (topics or users or targets).",
        )


@operations.add(
    "POST",
    "/messaging/messages/email",
    *message_parameters.parameters(Channel.EMAIL, new=True),
    scopes=_WRITE,
    status=201,
    model="message",
    taken="message_already_exists",
    small=lambda call: _small(call, Channel.EMAIL),
)
def create_email(call: Call) -> dict[str, Any]:
    """Send an email, now or at a time, or keep a draft of it."""
    return _create(call, Channel.EMAIL)


@operations.add(
    "POST",
    "/messaging/messages/sms",
    *message_parameters.parameters(Channel.SMS, new=True),
    scopes=_WRITE,
    status=201,
    model="message",
    taken="message_already_exists",
    small=lambda call: _small(call, Channel.SMS),
)
def create_sms(call: Call) -> dict[str, Any]:
    """Send a text message, now or at a time, or keep a draft of it."""
    return _create(call, Channel.SMS)


@operations.add(
    "POST",
    "/messaging/messages/push",
    *message_parameters.parameters(Channel.PUSH, new=True),
    scopes=_WRITE,
    status=201,
    model="message",
    taken="message_already_exists",
    small=lambda call: _small(call, Channel.PUSH),
)
def create_push(call: Call) -> dict[str, Any]:
    """Send a push notification, now or at a time, or keep a draft of it."""
    return _create(call, Channel.PUSH)


@operations.add("GET", "/messaging/messages", SEARCH, TOTAL, scopes=_READ, model="messageList", listed=True)
def list_messages(call: Call) -> dict[str, Any]:
    """Messages, 25 at a time."""
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = message_lists.listed(call.connection, call.project_id, wanted)
    return {"total": found.total, "messages": [rendered_message(call.connection, each) for each in found.messages]}


@operations.add("GET", "/messaging/messages/{messageId}", _ID, scopes=_READ, model="message")
def get_message(call: Call) -> dict[str, Any]:
    """A message with its totals as they are now."""
    return rendered_message(call.connection, messages.view(call.connection, call.project_id, call["messageId"]))


@operations.add("DELETE", "/messaging/messages/{messageId}", _ID, scopes=_WRITE, status=204)
def delete(call: Call) -> None:
    """Delete a message; what has not been sent of it is not sent."""
    message_changes.delete(call.connection, call.project_id, call["messageId"])


@operations.add(
    "GET",
    "/messaging/messages/{messageId}/targets",
    _ID,
    TOTAL,
    scopes=_READ,
    model="targetList",
    listed=True,
)
def list_targets(call: Call) -> dict[str, Any]:
    """The targets a message names itself; those of its topics and users are among its deliveries."""
    message = messages.view(call.connection, call.project_id, call["messageId"])
    wanted = parse_queries(call.queries, total=call["total"])
    found = target_lists.listed(call.connection, call.project_id, wanted, message=message.number)
    return {"total": found.total, "targets": [rendered_target(each) for each in found.targets]}
