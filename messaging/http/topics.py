"""Topics over HTTP."""

from __future__ import annotations

import re
from typing import Any

from messaging.channel import Channel
from messaging.http import parameters as p
from messaging.http import roles
from messaging.http.json_text import timestamp
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.parameters import Refused
from messaging.http.queries import parse_queries
from messaging.store import topics
from messaging.store.topics import TopicView

operations = Operations("messaging")

LONGEST_EXPIRY_S = 604_800

_ROLE = re.compile(roles.PATTERN)


def _role(value: Any) -> str:  # noqa: ANN401  from a wire
    if not isinstance(value, str) or not _ROLE.fullmatch(value):
        raise Refused("Role must be one of any, guests, users, user:ID, team:ID, member:ID or label:NAME")
    return value


def _roles(*, default: tuple[str, ...] | None) -> p.Parameter:
    return p.array(
        "subscribe",
        _role,
        {"type": "string", "pattern": f"^({_ROLE.pattern})$"},
        most=topics.MOST_ROLES,
        default=default,
        help="Roles that may subscribe themselves.",
    )


_NAME = p.text("name", longest=topics.LONGEST_NAME, required=True)
_MORE = (
    p.integer("qos", least=0, most=1, help="Kept for the SDKs; no provider uses it."),
    p.integer("expiry", least=0, most=LONGEST_EXPIRY_S, help="Kept for the SDKs; no provider uses it."),
    p.text("description", shortest=0, longest=2048),
)


@operations.add("GET", "/messaging/topics", SEARCH, TOTAL, scopes=("topics.read",), model="topicList", listed=True)
def list_topics(call: Call) -> dict[str, Any]:
    """Topics, 25 at a time."""
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = topics.listed(call.connection, call.project_id, wanted)
    return {"total": found.total, "topics": [rendered(topic) for topic in found.topics]}


@operations.add(
    "POST",
    "/messaging/topics",
    p.custom_id("topicId"),
    _NAME,
    _roles(default=("users",)),
    *_MORE,
    scopes=("topics.write",),
    status=201,
    model="topic",
    taken="topic_already_exists",
)
def create_topic(call: Call) -> dict[str, Any]:
    """Create a topic."""
    made = topics.create(
        call.connection,
        call.project_id,
        topic_id=call["topicId"],
        name=call["name"],
        description=call["description"] or "",
        subscribe=call["subscribe"],
        qos=call["qos"],
        expiry_s=call["expiry"],
    )
    return rendered(made)


@operations.add(
    "GET", "/messaging/topics/{topicId}", p.uid("topicId", required=True), scopes=("topics.read",), model="topic"
)
def get_topic(call: Call) -> dict[str, Any]:
    """A topic, with its subscribers counted."""
    return rendered(topics.get(call.connection, call.project_id, call["topicId"]))


@operations.add(
    "PATCH",
    "/messaging/topics/{topicId}",
    p.uid("topicId", required=True),
    p.text("name", longest=topics.LONGEST_NAME),
    _roles(default=None),
    *_MORE,
    scopes=("topics.write",),
    model="topic",
)
def update_topic(call: Call) -> dict[str, Any]:
    """Change a topic; what is not given stays."""
    changed = topics.update(
        call.connection,
        call.project_id,
        call["topicId"],
        name=call["name"],
        description=call["description"],
        subscribe=call["subscribe"],
        qos=call["qos"],
        expiry_s=call["expiry"],
    )
    return rendered(changed)


@operations.add(
    "DELETE", "/messaging/topics/{topicId}", p.uid("topicId", required=True), scopes=("topics.write",), status=204
)
def delete_topic(call: Call) -> None:
    """Delete a topic and its subscriptions; the targets stay."""
    topics.delete(call.connection, call.project_id, call["topicId"])


def rendered(topic: TopicView) -> dict[str, Any]:
    """A topic as the SDKs read it."""
    return {
        "$id": topic.id,
        "$createdAt": timestamp(topic.created_at),
        "$updatedAt": timestamp(topic.updated_at),
        "name": topic.name,
        "emailTotal": topic.totals[Channel.EMAIL],
        "smsTotal": topic.totals[Channel.SMS],
        "pushTotal": topic.totals[Channel.PUSH],
        "subscribe": list(topic.subscribe),
        "description": topic.description,
        "qos": topic.qos,
        "expiry": topic.expiry_s,
    }
