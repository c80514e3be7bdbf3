"""Who a request names, by number: each id is looked up once, and what is missing is said."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from messaging.channel import Channel, Role
from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.send_request import SendRequest
from messaging.store import addresses, targets, topics, users
from messaging.store.expand import Audience
from messaging.vault import Vault


def resolve_audience(connection: Connection, vault: Vault, project_id: int, request: SendRequest) -> Audience:
    """The audience by integer keys; raises `NotFoundError` or `InvalidArgumentError` naming what is wrong."""
    channel = request.content.channel
    if not (request.users or request.targets or request.topics or request.addresses) and not request.draft:
        raise InvalidArgumentError("audience", "name at least one of users, targets, topics or addresses")
    if (request.cc or request.bcc) and channel is not Channel.EMAIL:
        raise InvalidArgumentError("cc", f"a {channel} message has no cc or bcc")
    topic_ids = _all("topic", request.topics, topics.resolve(connection, project_id, request.topics))
    user_ids = _all("user", request.users, users.resolve(connection, project_id, request.users))
    target_ids = _targets(connection, project_id, "targets", request.targets, channel)
    target_ids += addresses.ensure_addresses(connection, vault, project_id, channel, request.addresses)
    copies: dict[Role, list[int]] = {}
    for role, given in ((Role.CC, request.cc), (Role.BCC, request.bcc)):
        raw = [value for value in given if "@" in value]
        ids = _targets(connection, project_id, role, [value for value in given if "@" not in value], channel)
        copies[role] = ids + addresses.ensure_addresses(connection, vault, project_id, channel, raw)
    return Audience(
        channel=channel,
        topic_ids=topic_ids,
        user_ids=user_ids,
        target_ids=target_ids,
        cc_ids=copies[Role.CC],
        bcc_ids=copies[Role.BCC],
    )


def _all(kind: str, named: Sequence[str], found: dict[str, int]) -> list[int]:
    for public_id in named:
        if public_id not in found:
            raise NotFoundError(kind, public_id)
    return sorted(set(found.values()))


def _targets(
    connection: Connection, project_id: int, argument: str, named: Sequence[str], channel: Channel
) -> list[int]:
    found = targets.resolve(connection, project_id, named)
    for public_id in named:
        target = found.get(public_id)
        if target is None:
            raise NotFoundError("target", public_id)
        if target.channel is not channel:
            raise InvalidArgumentError(argument, f"target '{public_id}' is {target.channel}; the message is {channel}")
    return sorted({target.id for target in found.values()})
