"""Devices that people register themselves, each in the session it was signed in with."""

from __future__ import annotations

from typing import Any

from messaging.address import LONGEST_TOKEN
from messaging.channel import Channel
from messaging.errors import NotFoundError
from messaging.http import parameters as p
from messaging.http.account import signed_in
from messaging.http.operations import Access, Call, Operations
from messaging.http.render_target import rendered_target
from messaging.http.sessions import user_agent_of
from messaging.http.user_agent import parse_user_agent
from messaging.store import targets

operations = Operations("account")

_IDENTIFIER = p.text("identifier", longest=LONGEST_TOKEN, required=True, help="The device token.")
_TARGET_ID = p.uid("targetId", required=True)


@operations.add(
    "POST",
    "/account/targets/push",
    p.custom_id("targetId"),
    _IDENTIFIER,
    p.uid("providerId", help="The provider that made the token; without it, the first one that is enabled sends."),
    scopes=("targets.write",),
    access=Access.SESSION,
    status=201,
    model="target",
    taken="user_target_already_exists",
    keyed=False,  # registering twice is registering once
)
def create_push_target(call: Call) -> dict[str, Any]:
    """Register a device; one that another account had registered comes along to this one."""
    user = signed_in(call)
    made = targets.create(
        call.connection,
        call.vault,
        call.project_id,
        channel=Channel.PUSH,
        identifier=call["identifier"],
        user_id=user.user_id,
        provider_id=call["providerId"],
        name=_device(call),
        target_id=call["targetId"],
        session=user.session,
    )
    return rendered_target(made)


@operations.add(
    "PUT",
    "/account/targets/{targetId}/push",
    _TARGET_ID,
    _IDENTIFIER,
    scopes=("targets.write",),
    access=Access.SESSION,
    model="target",
    taken="user_target_already_exists",
)
def update_push_target(call: Call) -> dict[str, Any]:
    """Give a device its new token; it is no longer expired, and ends with this session."""
    user = signed_in(call)
    _refuse_foreign(call)
    changed = targets.update(
        call.connection,
        call.vault,
        call.project_id,
        call["targetId"],
        identifier=call["identifier"],
        name=_device(call) or None,
        session=user.session,
        takes=True,
    )
    return rendered_target(changed)


@operations.add(
    "DELETE",
    "/account/targets/{targetId}/push",
    _TARGET_ID,
    scopes=("targets.write",),
    access=Access.SESSION,
    status=204,
)
def delete_push_target(call: Call) -> None:
    """Forget a device."""
    _refuse_foreign(call)
    targets.delete(call.connection, call.project_id, call["targetId"])


def _device(call: Call) -> str:
    return parse_user_agent(user_agent_of(call)).title


def _refuse_foreign(call: Call) -> None:
    """Raise what a caller would get for a target that does not exist: whose it is, is nobody's business."""
    found = targets.get(call.connection, call.project_id, call["targetId"])
    if found.user_id != signed_in(call).user_id or found.channel is not Channel.PUSH:
        raise NotFoundError("target", call["targetId"])
