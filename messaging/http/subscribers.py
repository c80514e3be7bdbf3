"""Subscribers over HTTP. A server subscribes any target; a signed-in user their own, where the topic lets them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging.errors import NotFoundError
from messaging.http import parameters as p
from messaging.http.errors import ApiError
from messaging.http.json_text import timestamp
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Access, Call, Operations
from messaging.http.queries import parse_queries
from messaging.http.render_target import rendered_target
from messaging.http.roles import roles_of
from messaging.store import subscribers, targets, topics
from messaging.store.subscribers import SubscriberView

operations = Operations("messaging")

_TOPIC_ID = p.uid("topicId", required=True)
_SUBSCRIBER_ID = p.uid("subscriberId", required=True)
_PATH = "/messaging/topics/{topicId}/subscribers"


@operations.add(
    "GET",
    _PATH,
    _TOPIC_ID,
    SEARCH,
    TOTAL,
    scopes=("subscribers.read",),
    model="subscriberList",
    listed=True,
)
def list_subscribers(call: Call) -> dict[str, Any]:
    """A topic's subscribers, 25 at a time."""
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = subscribers.listed(call.connection, call.project_id, call["topicId"], wanted)
    return {"total": found.total, "subscribers": [rendered(each) for each in found.subscribers]}


@operations.add(
    "POST",
    _PATH,
    _TOPIC_ID,
    p.custom_id("subscriberId"),
    p.uid("targetId", required=True),
    access=Access.EITHER,
    scopes=("subscribers.write",),
    status=201,
    model="subscriber",
    taken="subscriber_already_exists",
)
def create_subscriber(call: Call) -> dict[str, Any]:
    """Subscribe a target to a topic."""
    if not _is_server(call):
        _refuse_without_role(call)
        _refuse_another_users(call)
    made = subscribers.create(
        call.connection,
        call.project_id,
        topic_id=call["topicId"],
        target_id=call["targetId"],
        subscriber_id=call["subscriberId"],
    )
    return rendered(made)


@operations.add(
    "GET",
    _PATH + "/{subscriberId}",
    _TOPIC_ID,
    _SUBSCRIBER_ID,
    scopes=("subscribers.read",),
    model="subscriber",
)
def get_subscriber(call: Call) -> dict[str, Any]:
    """A subscription, with its target."""
    topics.find(call.connection, call.project_id, call["topicId"])
    return rendered(_found(call))


@operations.add(
    "DELETE",
    _PATH + "/{subscriberId}",
    _TOPIC_ID,
    _SUBSCRIBER_ID,
    access=Access.EITHER,
    scopes=("subscribers.write",),
    status=204,
)
def delete_subscriber(call: Call) -> None:
    """End a subscription; the target stays."""
    topics.find(call.connection, call.project_id, call["topicId"])
    found = _found(call)
    if not _is_server(call) and found.user_id != _user_id(call):
        # as if it were not there: who else is subscribed is nobody's business
        raise NotFoundError("subscriber", call["subscriberId"])
    subscribers.delete(call.connection, call.project_id, call["topicId"], found.id)


def _is_server(call: Call) -> bool:
    """Whether an API key that may do this speaks: roles and ownership don't bind it."""
    return call.caller.may(call.operation.scopes)


def _user_id(call: Call) -> str | None:
    return None if call.caller.user is None else call.caller.user.user_id


def _found(call: Call) -> SubscriberView:
    return subscribers.get(call.connection, call.project_id, call["topicId"], call["subscriberId"])


def _refuse_without_role(call: Call) -> None:
    topic = topics.get(call.connection, call.project_id, call["topicId"])
    if roles_of(call.caller).isdisjoint(topic.subscribe):
        open_to = ", ".join(topic.subscribe) or "nobody"
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "user_unauthorized",
            f"The topic '{topic.id}' does not let you subscribe; it is open to {open_to}.",
        )


def _refuse_another_users(call: Call) -> None:
    """Raise as for a target that does not exist: Appwrite lets any user subscribe anybody's."""
    target = targets.get(call.connection, call.project_id, call["targetId"])
    if target.user_id is None or target.user_id != _user_id(call):
        raise NotFoundError("target", call["targetId"])


def rendered(subscriber: SubscriberView) -> dict[str, Any]:
    """A subscriber as the SDKs read it: its target is always there, and a user without a name has an empty one."""
    return {
        "$id": subscriber.id,
        "$createdAt": timestamp(subscriber.created_at),
        "$updatedAt": timestamp(subscriber.created_at),
        "targetId": subscriber.target_id,
        "target": rendered_target(subscriber.target),
        "userId": subscriber.user_id or "",
        "userName": subscriber.user_name,
        "topicId": subscriber.topic_id,
        "providerType": str(subscriber.channel),
    }
