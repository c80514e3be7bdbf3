"""Change a draft or a scheduled message. What is not given, or null, stays."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from messaging.attachments import FileReference
from messaging.channel import Channel, Lane, OnUnknown
from messaging.content import parse_content
from messaging.errors import MessagingError
from messaging.http import message_parameters
from messaging.http.errors import ApiError
from messaging.http.messages import require_audience
from messaging.http.operations import Call, Operations
from messaging.http.render_message import rendered_message
from messaging.producer import revise
from messaging.send_request import SendRequest
from messaging.status import MessageState
from messaging.store import message_changes, messages
from messaging.store.message_changes import Unsent

operations = Operations("messaging")


def _update(call: Call, channel: Channel) -> dict[str, Any]:
    unsent = message_changes.lock_unsent(call.connection, call.project_id, call["messageId"])
    if unsent.channel is not channel:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "general_argument_invalid",
            f"Message '{unsent.public_id}' is {unsent.channel}; change it under /messaging/messages/{unsent.channel}/.",
        )
    request = _request(call, unsent)
    require_audience(draft=request.draft, named=[*request.topics, *request.users, *request.targets, *request.addresses])
    try:
        revised = revise(call.connection, call.vault, call.settings, unsent, request)
    except MessagingError as error:
        raise message_parameters.not_addressed(channel, error) or error from None
    call.hints.extend(revised.hints)
    return rendered_message(call.connection, messages.view(call.connection, call.project_id, unsent.public_id))


def _request(call: Call, unsent: Unsent) -> SendRequest:
    """The whole message after the change."""
    channel = unsent.channel
    draft = unsent.state is MessageState.DRAFT
    scheduled_at = unsent.scheduled_at
    if call["scheduledAt"] is not None:
        scheduled_at, draft = call["scheduledAt"], False
    elif call["draft"] is False:
        scheduled_at, draft = None, False  # send it now, even where a time was set
    if call["draft"]:
        draft = True
    named: Mapping[str, Any] = unsent.named
    image = named.get("image")
    content = {name: value for name, value in unsent.content.items() if name != "attachments"}
    content |= message_parameters.content_arguments(call, channel)
    lists: dict[str, Any] = {name: _kept(call, name, named.get(name, ())) for name in ("topics", "users", "targets")}
    addresses = _kept(call, "emails" if channel is Channel.EMAIL else "addresses", named.get("addresses", ()))
    if channel is Channel.EMAIL:
        if not call.is_given("html") and call.is_given("content"):
            content.pop("html", None)  # other content: its own markup decides, unless the caller says so
        content["attachments"] = (
            message_parameters.attachments(call)
            if call.is_given("attachments")
            else tuple(map(FileReference.of_stored, unsent.content.get("attachments", ())))
        )
        lists |= {name: _kept(call, name, named.get(name, ())) for name in ("cc", "bcc")}
    if channel is Channel.PUSH and call.is_given("image"):
        image = call["image"]
        content["image"] = message_parameters.image_url(call, image)
    return SendRequest(
        content=parse_content(channel, content),
        id=unsent.public_id,
        addresses=addresses,
        draft=draft,
        scheduled_at=scheduled_at,
        allow_past_schedule=True,  # a draft's time may have passed; a new one was checked as a parameter
        expires_at=call["expiresAt"] or unsent.chosen_expiry,
        on_unknown=unsent.on_unknown if call["onUnknown"] is None else OnUnknown(call["onUnknown"]),
        lane=unsent.chosen_lane if call["lane"] is None else Lane(call["lane"]),
        image=image,
        **lists,
    )


def _kept(call: Call, name: str, before: list[str] | tuple[()]) -> list[str]:
    return list(call[name]) if call.is_given(name) else list(before)


@operations.add(
    "PATCH",
    "/messaging/messages/email/{messageId}",
    *message_parameters.parameters(Channel.EMAIL, new=False),
    scopes=("messages.write",),
    model="message",
)
def update_email(call: Call) -> dict[str, Any]:
    """Change an email that has not been sent, schedule it anew, or send it now (`draft: false`)."""
    return _update(call, Channel.EMAIL)


@operations.add(
    "PATCH",
    "/messaging/messages/sms/{messageId}",
    *message_parameters.parameters(Channel.SMS, new=False),
    scopes=("messages.write",),
    model="message",
)
def update_sms(call: Call) -> dict[str, Any]:
    """Change a text message that has not been sent, schedule it anew, or send it now (`draft: false`)."""
    return _update(call, Channel.SMS)


@operations.add(
    "PATCH",
    "/messaging/messages/push/{messageId}",
    *message_parameters.parameters(Channel.PUSH, new=False),
    scopes=("messages.write",),
    model="message",
)
def update_push(call: Call) -> dict[str, Any]:
    """Change a push that has not been sent, schedule it anew, or send it now (`draft: false`)."""
    return _update(call, Channel.PUSH)
