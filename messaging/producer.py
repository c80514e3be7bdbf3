"""Accept a message: the one door all four ways in go through. It writes rows and returns hints to publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from messaging.attachments import LARGEST_TOTAL_BYTES, FileReference
from messaging.audience import resolve_audience
from messaging.channel import Channel, Lane, default_on_unknown
from messaging.clock import clock
from messaging.content import content_to_json
from messaging.errors import InvalidArgumentError
from messaging.ids import check_id, new_id
from messaging.message import Attachment, Content, Email
from messaging.send_request import SendRequest, body_hash, named_audience, schedule
from messaging.settings import Settings
from messaging.status import DeliveryStatus, MessageState
from messaging.store import expansion, files, intake_keys, message_changes, messages, routes
from messaging.store.accept_small import Small, SmallAccepted, accept_small, accept_smalls
from messaging.store.batches import BatchRef, Hint, deliver_hint
from messaging.store.expand import Audience, Expanding, Expansion, Route, count_audience, expand_page
from messaging.store.expansion import ToExpand
from messaging.store.message_changes import Unsent
from messaging.vault import Vault
from messaging.wire import fanout_queue


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A message is committed when the caller's transaction is."""

    public_id: str
    message_id: int | None
    """None when the same request was accepted before."""
    state: MessageState
    hints: Sequence[Hint] = ()
    """To be published after commit; if that fails, the sweep repeats them."""
    repeated: bool = False
    view: messages.MessageView | None = None
    """The message as it is now, where it was just created."""


def accept(connection: Connection, vault: Vault, settings: Settings, project_id: int, request: SendRequest) -> Accepted:
    """Create the message in this transaction; small audiences are expanded at once.

    Raises `InvalidArgumentError`, `NotFoundError` (user, target, topic), `ConflictError` (the id is taken)
    and `IdempotencyConflictError`. A message that can't go out (no enabled provider, nobody to send to) is
    created as `failed` with its reason.
    """
    public_id = new_id() if request.id is None else check_id("id", request.id)
    if request.idempotency_key is not None:
        before = intake_keys.reserve(connection, project_id, request.idempotency_key, body_hash(request), public_id)
        if before is not None:
            state = messages.state_of(connection, project_id, before) or MessageState.CANCELLED  # deleted since
            return Accepted(public_id=before, message_id=None, state=state, repeated=True)
    small = small_message(settings, project_id, replace(request, id=public_id))
    accepted = None if small is None else accept_at_once(connection, small)
    if accepted is not None:
        return accepted
    ready = _prepare(connection, vault, settings, project_id, replace(request, id=public_id))
    at_once = ready.small and ready.new.state is MessageState.PROCESSING
    new = replace(ready.new, expanded=at_once)
    inserted = messages.insert(connection, project_id, new)
    if not at_once:
        begun = _begin(connection, settings, inserted.number, ready)
        return replace(begun, view=messages.new_view(new, inserted, expanded=False, totals={}))
    to_expand = ToExpand(
        id=inserted.number,
        project_id=project_id,
        audience=new.audience,
        lane=new.lane,
        month=inserted.month,
        mark=inserted.mark,
        cursor=0,
        first_page=True,
    )
    brought = _expand_small(connection, to_expand, ready.routing, page=settings.small_audience)
    if not brought.complete:  # somebody subscribed between the count and now: the fan-out goes on
        expansion.advance(connection, to_expand, cursor=brought.cursor, complete=False)
    totals = {
        DeliveryStatus.QUEUED: brought.deliveries - brought.suppressed - brought.failed,
        DeliveryStatus.SUPPRESSED: brought.suppressed,
        DeliveryStatus.FAILED: brought.failed,
    }
    return Accepted(
        public_id=public_id,
        message_id=inserted.number,
        state=new.state,
        hints=_hints(to_expand, brought, ready.routing),
        view=messages.new_view(new, inserted, expanded=brought.complete, totals=totals),
    )


def accept_at_once(connection: Connection, small: Small) -> Accepted | None:
    """A message that goes out now to a few users and targets, accepted in one statement.

    None, and nothing written, where something is wrong or it is more than that: `accept` says what, or does it.
    """
    return accepted_at_once(small, accept_small(connection, small))


def accept_together(connection: Connection, smalls: Sequence[Small]) -> list[Accepted | None]:
    """The same for several, committed or not together. Raises what `accept_smalls` raises."""
    return [
        accepted_at_once(small, accepted)
        for small, accepted in zip(smalls, accept_smalls(connection, smalls), strict=True)
    ]


def small_message(settings: Settings, project_id: int, request: SendRequest) -> Small | None:
    """The message `request` asks for, ready for `accept_at_once`; None where it is more than a message to a few, now.

    It asks no database. The request has an id. Raises `InvalidArgumentError` for times that make no sense.
    """
    named = len(request.users) + len(request.targets)
    files = isinstance(request.content, Email) and request.content.attachments
    more = (request.topics, request.addresses, request.cc, request.bcc, request.draft, request.scheduled_at, files)
    if (
        any(more)
        or request.idempotency_key is not None
        or request.fixed_provider is not None
        or not 0 < named < settings.small_audience
        or settings.task_size is not None
    ):
        return None
    schedule(request, clock.now())  # refuses times that make no sense
    channel, lane = request.content.channel, request.lane or Lane.HIGH
    new = messages.NewMessage(
        public_id=request.id or "",
        channel=channel,
        lane=lane,
        state=MessageState.PROCESSING,
        content=content_to_json(request.content),
        named=named_audience(request),
        audience=Audience(channel=channel),
        on_unknown=request.on_unknown or default_on_unknown(channel),
        scheduled_at=None,
        expires_in_s=expires_in_s(settings, channel, lane),
        expires_at=request.expires_at,
        expanded=True,
        traceparent=request.traceparent,
    )
    return Small(
        project_id=project_id, new=new, users=request.users, targets=request.targets, most=settings.small_audience
    )


def accepted_at_once(small: Small, accepted: SmallAccepted | None) -> Accepted | None:
    """What the caller of `accept_at_once` gets, of a message the database has accepted."""
    if accepted is None:
        return None
    new, month = small.new, accepted.inserted.month
    return Accepted(
        public_id=new.public_id,
        message_id=accepted.inserted.number,
        state=new.state,
        hints=[deliver_hint(BatchRef(month, batch), new.channel, new.lane, kind) for batch, kind in accepted.batches],
        view=messages.new_view(new, accepted.inserted, expanded=True, totals=accepted.totals),
    )


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A request whose audience is known."""

    new: messages.NewMessage
    routing: Sequence[Route]
    small: bool


def _prepare(connection: Connection, vault: Vault, settings: Settings, project_id: int, request: SendRequest) -> _Ready:
    scheduled_at = schedule(request, clock.now())
    audience = resolve_audience(connection, vault, project_id, request)
    state, failure = _first_state(request, scheduled_at), None
    channel = request.content.channel
    routing = routes.routes(connection, project_id, channel, task_size=settings.task_size, only=request.fixed_provider)
    named, reachable = count_audience(connection, audience, limit=settings.small_audience)
    small = named < settings.small_audience
    if state is MessageState.PROCESSING:
        failure = _cannot_go_out(channel, has_provider=bool(routing), nobody=small and not reachable)
        state = state if failure is None else MessageState.FAILED
    lane = request.lane or (Lane.HIGH if small else Lane.BULK)
    new = messages.NewMessage(
        public_id=request.id or "",
        channel=channel,
        lane=lane,
        state=state,
        content=_stored_content(connection, project_id, request.content),
        named=named_audience(request),
        audience=audience,
        on_unknown=request.on_unknown or default_on_unknown(channel),
        scheduled_at=scheduled_at,
        expires_in_s=expires_in_s(settings, channel, lane),
        expires_at=request.expires_at,
        failure=failure,
        fixed_provider=request.fixed_provider,
        traceparent=request.traceparent,
    )
    return _Ready(new=new, routing=routing, small=small)


def _begin(connection: Connection, settings: Settings, message_id: int, ready: _Ready) -> Accepted:
    """Expand a small audience at once; what is larger or later is left to a hint or the sweep."""
    new = ready.new
    hints: Sequence[Hint] = ()
    if new.state is MessageState.PROCESSING:
        if ready.small:
            message = expansion.lock_for_expansion(connection, message_id)
            if message is not None:
                brought = _expand_small(connection, message, ready.routing, page=settings.small_audience)
                expansion.advance(connection, message, cursor=brought.cursor, complete=brought.complete)
                hints = _hints(message, brought, ready.routing)
        else:
            hints = (fanout_hint(message_id, new.channel, new.lane),)
    return Accepted(public_id=new.public_id, message_id=message_id, state=new.state, hints=hints)


def revise(connection: Connection, vault: Vault, settings: Settings, unsent: Unsent, request: SendRequest) -> Accepted:
    """Give a draft or scheduled message, locked by `lock_unsent`, all that `request` says, and begin it if it is due.

    Raises what `accept` raises.
    """
    ready = _prepare(connection, vault, settings, unsent.project_id, request)
    message_changes.revise(connection, unsent.number, ready.new)
    return _begin(connection, settings, unsent.number, ready)


def record_failed(
    connection: Connection, project_id: int, *, public_id: str, channel: Channel, failure: str, named: dict[str, Any]
) -> None:
    """Create a message that failed before it could be understood, so that its sender can find out why."""
    messages.insert(
        connection,
        project_id,
        messages.NewMessage(
            public_id=public_id,
            channel=channel,
            lane=Lane.HIGH,
            state=MessageState.FAILED,
            content={},
            named=named,
            audience=Audience(channel=channel),
            on_unknown=default_on_unknown(channel),
            scheduled_at=None,
            expires_in_s=0,
            expires_at=None,
            failure=failure,
        ),
    )


def _expand_small(connection: Connection, message: ToExpand, routing: Sequence[Route], *, page: int) -> Expansion:
    """Expand an audience that fits one page, in the caller's transaction."""
    expanding = Expanding(
        project_id=message.project_id,
        message_id=message.id,
        month=message.month,
        lane=message.lane,
        cursor=message.cursor,
        mark=message.mark,
    )
    return expand_page(connection, expanding, message.audience, routing, page=page, hint_quota=page)


def _hints(message: ToExpand, brought: Expansion, routing: Sequence[Route]) -> list[Hint]:
    kinds = {route.effective_id: route.kind for route in routing}
    return [
        deliver_hint(BatchRef(message.month, batch), message.audience.channel, message.lane, kinds[provider])
        for batch, provider in brought.batches
    ]


def fanout_hint(message_id: int, channel: Channel, lane: Lane) -> Hint:
    """The hint for a fan-out."""
    return Hint(queue=fanout_queue(lane), shadow=f"fan-out · {channel}", message_id=message_id)


def _first_state(request: SendRequest, scheduled_at: datetime | None) -> MessageState:
    if request.draft:
        return MessageState.DRAFT
    return MessageState.PROCESSING if scheduled_at is None else MessageState.SCHEDULED


def _cannot_go_out(channel: Channel, *, has_provider: bool, nobody: bool) -> str | None:
    if not has_provider:
        return f"No enabled {channel} provider found. Add one, or enable one."
    if nobody:
        return "No valid recipients found."
    return None


def expires_in_s(settings: Settings, channel: Channel, lane: Lane) -> float:
    """How long a message lives that says nothing about it, in seconds from the time it is to be sent."""
    if channel is Channel.SMS and lane is Lane.HIGH:
        return settings.expires_after_high_sms_s
    return settings.expires_after_s


def _stored_content(connection: Connection, project_id: int, content: Content) -> dict[str, Any]:
    stored = content_to_json(content)
    if isinstance(content, Email) and content.attachments:
        stored["attachments"] = _stored_attachments(connection, project_id, content.attachments)
    return stored


def _stored_attachments(
    connection: Connection, project_id: int, attachments: Sequence[Attachment]
) -> list[dict[str, str]]:
    """What is kept of attachments: where each lies. Files sent along are stored; those stored before are held."""
    known = {
        index: files.held(connection, project_id, each)
        for index, each in enumerate(attachments)
        if isinstance(each, FileReference)
    }
    total = sum(
        known[index].size_bytes if index in known else len(each.content) for index, each in enumerate(attachments)
    )
    if total > LARGEST_TOTAL_BYTES:
        raise InvalidArgumentError("attachments", f"have {total:,} bytes together; at most {LARGEST_TOTAL_BYTES:,}")
    return [
        {"bucketId": known[index].bucket_id, "fileId": known[index].id, "filename": known[index].name}
        if index in known
        else {
            "bucketId": "",
            "fileId": files.store(connection, project_id, each.filename, each.content_type, each.content),
            "filename": each.filename,
        }
        for index, each in enumerate(attachments)
    ]
