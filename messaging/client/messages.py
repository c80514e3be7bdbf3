"""Messages and their recipients: found, counted beforehand, released and taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from messaging.attachments import FileReference
from messaging.audience import resolve_audience
from messaging.channel import Channel, Lane, OnUnknown
from messaging.client.session import Session
from messaging.client.words import optional_word, word
from messaging.content import parse_content
from messaging.errors import NotFoundError
from messaging.producer import revise
from messaging.send_request import SendRequest
from messaging.status import DeliveryStatus, MessageState
from messaging.store import delivery_events, delivery_lists, message_changes, message_lists, messages, past_attempts
from messaging.store.delivery_events import EventView
from messaging.store.delivery_views import DeliveryView
from messaging.store.expand import Audience, estimate
from messaging.store.lists import Filter, Wanted
from messaging.store.message_changes import Unsent
from messaging.store.messages import MessageView
from messaging.store.past_attempts import AttemptView

_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One recipient of a message: the delivery, attempts before its last, and what the provider told about it."""

    delivery: DeliveryView
    past_attempts: Sequence[AttemptView]
    """Those that another one followed, in the order of time."""
    events: Sequence[EventView]


class Messages:
    """The messages of the project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(
        self,
        *,
        state: MessageState | str | None = None,
        channel: Channel | str | None = None,
        search: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> Sequence[MessageView]:
        """Messages, newest first, those after the message `after`; `search` looks in id and content.

        `since` and `until` are times of creation. Raises `InvalidArgumentError`, `CursorError` (no message `after`).
        """
        filters = [
            *_equal("state", optional_word(MessageState, "state", state)),
            *_equal("providerType", optional_word(Channel, "channel", channel)),
        ]
        for method, at in (("greaterThanEqual", since), ("lessThan", until)):
            if at is not None:
                filters.append(Filter(method=method, attribute="$createdAt", values=[at.astimezone(UTC).isoformat()]))
        wanted = Wanted(filters=filters, order=[("", True)], search=search, after=after, limit=limit, total=False)
        with self._session.begin() as connection:
            return message_lists.listed(connection, self._session.project_id, wanted).messages

    def recipients(
        self,
        message_id: str,
        *,
        status: DeliveryStatus | str | None = None,
        code: str | None = None,
        provider: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[DeliveryView]:
        """What became of whom, in target order; those after the delivery whose `id` is `after`.

        Raises `NotFoundError`, `InvalidArgumentError`, `CursorError`.
        """
        filters = [
            *_equal("status", optional_word(DeliveryStatus, "status", status)),
            *_equal("errorCode", code),
            *_equal("providerId", provider),
        ]
        with self._session.begin() as connection:
            message = messages.view(connection, self._session.project_id, message_id)
            wanted = Wanted(filters=filters, after=after, limit=limit, total=False)
            return delivery_lists.listed(connection, message, wanted).deliveries

    def all_recipients(
        self,
        message_id: str,
        *,
        status: DeliveryStatus | str | None = None,
        code: str | None = None,
        provider: str | None = None,
    ) -> Iterator[DeliveryView]:
        """The same, every one of them, read page by page."""
        after: str | None = None
        while page := self.recipients(
            message_id, status=status, code=code, provider=provider, after=after, limit=_PAGE
        ):
            yield from page
            after = page[-1].id

    def recipient(self, message_id: str, target_id: str) -> Recipient:
        """One recipient with all that is known; raises `NotFoundError`."""
        with self._session.begin() as connection:
            message = messages.view(connection, self._session.project_id, message_id)
            wanted = Wanted(filters=_equal("targetId", target_id), limit=1, total=False)
            found = delivery_lists.listed(connection, message, wanted).deliveries
            if not found or message.month is None:
                raise NotFoundError(f"recipient of the message '{message_id}'", target_id)
            number = found[0].cursor
            past = past_attempts.of_deliveries(connection, message.month, message.number, [number])
            events = delivery_events.of_deliveries(connection, message.month, message.number, [number])
        return Recipient(delivery=found[0], past_attempts=past.get(number, []), events=events.get(number, []))

    def estimate(
        self,
        channel: Channel | str,
        *,
        users: Sequence[str] = (),
        targets: Sequence[str] = (),
        topics: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> int:
        """About how many deliveries a message to these would have; whoever is in two topics counts twice.

        Raises `NotFoundError`, `InvalidArgumentError`.
        """
        on = word(Channel, "channel", channel)
        with self._session.begin() as connection:
            named = SendRequest(
                content=parse_content(on, _ANYTHING[on]), users=users, targets=targets, topics=topics, draft=True
            )
            audience: Audience = resolve_audience(connection, self._session.vault, self._session.project_id, named)
            return estimate(connection, audience) + len(set(addresses))

    def release(self, message_id: str, *, at: datetime | None = None) -> MessageView:
        """Send a draft or a scheduled message now, or at another time.

        An expiry or a lane that was chosen stays. Raises `NotFoundError`, `StateConflictError` once it has begun, and
        what sending it raises: `InvalidArgumentError` where the expiry has passed by then.
        """
        with self._session.begin() as connection:
            unsent = message_changes.lock_unsent(connection, self._session.project_id, message_id)
            request = replace(_as_request(unsent), scheduled_at=at, draft=False)
            accepted = revise(connection, self._session.vault, self._session.settings, unsent, request)
        self._session.publish(accepted.hints)
        return self._view(message_id)

    def change(  # noqa: PLR0913  the parts of a message, all by keyword
        self,
        message_id: str,
        *,
        content: Mapping[str, Any] | None = None,
        users: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
        topics: Sequence[str] | None = None,
        addresses: Sequence[str] | None = None,
        cc: Sequence[str] | None = None,
        bcc: Sequence[str] | None = None,
        scheduled_at: datetime | None = None,
        expires_at: datetime | None = None,
        on_unknown: OnUnknown | str | None = None,
        lane: Lane | str | None = None,
    ) -> MessageView:
        """A draft or a scheduled message after the change: what is given is replaced, the rest stays.

        `content` has the arguments of its channel that change, by name. `scheduled_at` schedules it, a draft too;
        without it a draft stays a draft. Raises what `release` raises, and `ContentError`.
        """
        given: dict[str, Any] = {
            "users": users,
            "targets": targets,
            "topics": topics,
            "addresses": addresses,
            "cc": cc,
            "bcc": bcc,
            "expires_at": expires_at,
            "on_unknown": optional_word(OnUnknown, "on_unknown", on_unknown),
            "lane": optional_word(Lane, "lane", lane),
        }
        if scheduled_at is not None:
            given |= {"scheduled_at": scheduled_at, "allow_past_schedule": False, "draft": False}
        with self._session.begin() as connection:
            unsent = message_changes.lock_unsent(connection, self._session.project_id, message_id)
            replaced = {name: value for name, value in given.items() if value is not None}
            request = replace(_as_request(unsent, content), **replaced)
            accepted = revise(connection, self._session.vault, self._session.settings, unsent, request)
        self._session.publish(accepted.hints)
        return self._view(message_id)

    def delete(self, message_id: str) -> None:
        """Hide the message; one that is going out is cancelled. Raises `NotFoundError`, `StateConflictError`."""
        with self._session.begin() as connection:
            message_changes.delete(connection, self._session.project_id, message_id)

    def _view(self, message_id: str) -> MessageView:
        with self._session.begin() as connection:
            return messages.view(connection, self._session.project_id, message_id)


_ANYTHING: dict[Channel, dict[str, Any]] = {
    Channel.PUSH: {"title": "-", "body": "-"},
    Channel.EMAIL: {"subject": "-", "content": "-"},
    Channel.SMS: {"content": "-"},
}
"""An audience is resolved for a content of its channel."""


def _equal(attribute: str, value: str | None) -> list[Filter]:
    return [] if value is None else [Filter(method="equal", attribute=attribute, values=[str(value)])]


def _as_request(unsent: Unsent, changes: Mapping[str, Any] | None = None) -> SendRequest:
    """The message as it was asked for, with `changes` of its content."""
    changes = changes or {}
    content = {name: value for name, value in unsent.content.items() if name != "attachments"} | dict(changes)
    if "content" in changes and "html" not in changes:
        content.pop("html", None)  # other content: its own markup decides
    if unsent.channel is Channel.EMAIL and "attachments" not in changes:
        content["attachments"] = tuple(map(FileReference.of_stored, unsent.content.get("attachments", ())))
    named = unsent.named
    lists: dict[str, Any] = {
        name: tuple(named.get(name, ())) for name in ("users", "targets", "topics", "addresses", "cc", "bcc")
    }
    return SendRequest(
        content=parse_content(unsent.channel, content),
        id=unsent.public_id,
        draft=unsent.state is MessageState.DRAFT,
        scheduled_at=unsent.scheduled_at,
        allow_past_schedule=True,
        expires_at=unsent.chosen_expiry,
        lane=unsent.chosen_lane,
        on_unknown=unsent.on_unknown,
        image=None if "image" in changes else named.get("image"),
        **lists,
    )
