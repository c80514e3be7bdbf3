"""The targets of a user over HTTP, for servers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging.address import LONGEST_TOKEN, normalise
from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.queries import parse_queries
from messaging.http.render_target import rendered_target
from messaging.http.users import USER_ID
from messaging.store import addresses, providers, target_lists, targets, users
from messaging.store.targets import TargetView

operations = Operations("users")

LONGEST_TARGET_NAME = 128

_READ = ("users.read", "targets.read")
_WRITE = ("users.write", "targets.write")
_TAKEN = "user_target_already_exists"
_TARGET_ID = p.uid("targetId", required=True)
_NAME = p.text("name", shortest=0, longest=LONGEST_TARGET_NAME)
_PROVIDER_ID = p.uid("providerId", help="Send through this provider, and not the first of its channel.")
_BAD_ADDRESS = {Channel.EMAIL: "general_invalid_email", Channel.SMS: "general_invalid_phone"}


@operations.add("GET", "/users/{userId}/targets", USER_ID, SEARCH, TOTAL, scopes=_READ, model="targetList", listed=True)
def list_targets(call: Call) -> dict[str, Any]:
    """A user's targets, 25 at a time."""
    user = users.find(call.connection, call.project_id, call["userId"])
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = target_lists.listed(call.connection, call.project_id, wanted, user=user)
    return {"total": found.total, "targets": [rendered_target(target) for target in found.targets]}


@operations.add(
    "POST",
    "/users/{userId}/targets",
    USER_ID,
    p.custom_id("targetId"),
    p.one_of("providerType", tuple(Channel), required=True),
    p.text("identifier", longest=LONGEST_TOKEN, required=True, help="A push token, an email address, a phone number."),
    _PROVIDER_ID,
    _NAME,
    scopes=_WRITE,
    status=201,
    model="target",
    taken=_TAKEN,
)
def create_target(call: Call) -> dict[str, Any]:
    """Register an address for a user. A push token of another user moves; an email or phone of a user is refused."""
    users.find(call.connection, call.project_id, call["userId"])
    channel = Channel(call["providerType"])
    provider = _known_provider(call)
    if provider is not None:
        _refuse_other_channel(call, channel)
    address = _normalised(channel, call["identifier"])
    if call["targetId"] in targets.resolve(call.connection, call.project_id, [call["targetId"]]):
        raise ConflictError(f"The target '{call['targetId']}' exists already. Choose another id, or update it.")
    if channel is not Channel.PUSH:
        _refuse_taken(call, channel, address, but=None)
    made = targets.create(
        call.connection,
        call.vault,
        call.project_id,
        channel=channel,
        identifier=address,
        user_id=call["userId"],
        provider_id=provider,
        name=call["name"],
        target_id=call["targetId"],
    )
    return rendered_target(made)


@operations.add("GET", "/users/{userId}/targets/{targetId}", USER_ID, _TARGET_ID, scopes=_READ, model="target")
def get_target(call: Call) -> dict[str, Any]:
    """A target of a user."""
    return rendered_target(_own(call))


@operations.add(
    "PATCH",
    "/users/{userId}/targets/{targetId}",
    USER_ID,
    _TARGET_ID,
    p.text("identifier", shortest=0, longest=LONGEST_TOKEN),
    _PROVIDER_ID,
    _NAME,
    scopes=_WRITE,
    model="target",
    taken=_TAKEN,
)
def update_target(call: Call) -> dict[str, Any]:
    """Change a target; a new identifier brings a dead one back to life."""
    before = _own(call)
    if call.is_given("providerId"):
        providers.find(call.connection, call.project_id, call["providerId"])
        _refuse_other_channel(call, before.channel)
    identifier = None
    if call["identifier"]:
        identifier = _normalised(before.channel, call["identifier"])
        if before.channel is not Channel.PUSH:
            user = users.find(call.connection, call.project_id, call["userId"])
            _refuse_taken(call, before.channel, identifier, but=user)
    changed = targets.update(
        call.connection,
        call.vault,
        call.project_id,
        before.id,
        identifier=identifier,
        provider_id=call["providerId"],
        name=call["name"],
        takes=before.channel is Channel.PUSH,
    )
    return rendered_target(changed)


@operations.add("DELETE", "/users/{userId}/targets/{targetId}", USER_ID, _TARGET_ID, scopes=_WRITE, status=204)
def delete_target(call: Call) -> None:
    """Delete a target and its subscriptions."""
    targets.delete(call.connection, call.project_id, _own(call).id)


def _own(call: Call) -> TargetView:
    """The target of the path, which is of the user of the path; raises `NotFoundError`."""
    users.find(call.connection, call.project_id, call["userId"])
    found = targets.get(call.connection, call.project_id, call["targetId"])
    if found.user_id != call["userId"]:
        raise NotFoundError("target", call["targetId"])
    return found


def _known_provider(call: Call) -> str | None:
    """The provider that was asked for, or None where there is no such one (as Appwrite has it)."""
    if call["providerId"] is None:
        return None
    known = providers.resolve(call.connection, call.project_id, [call["providerId"]])
    return next(iter(known), None)


def _refuse_other_channel(call: Call, channel: Channel) -> None:
    found = providers.get(call.connection, call.vault, call.project_id, call["providerId"])
    if found.channel is not channel:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "provider_incorrect_type",
            f"'{found.id}' is a provider of {found.channel}, not of {channel}. Name one of {channel}, or none.",
        )


def _normalised(channel: Channel, identifier: str) -> str:
    """The address in its one spelling; raises `ApiError`. A token is looked at again with its provider's kind."""
    try:
        return normalise(channel, identifier)
    except InvalidArgumentError as error:
        if channel not in _BAD_ADDRESS:
            raise
        raise ApiError(HTTPStatus.BAD_REQUEST, _BAD_ADDRESS[channel], str(error)) from None


def _refuse_taken(call: Call, channel: Channel, address: str, *, but: int | None) -> None:
    owners = addresses.users_of(call.connection, call.project_id, channel, address)
    if owners - {but}:
        raise ConflictError(
            "A user of this project has a target for that address already. Update that target, or delete it first."
        )
