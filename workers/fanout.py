"""Expand a message's audience into deliveries and batches, page by page, resumable anywhere."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, Engine

from messaging import tracing
from messaging.channel import Channel, Lane
from messaging.producer import fanout_hint
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store import batches, expansion, quarantine, routes, starts
from messaging.store.batches import BatchRef, Hint, deliver_hint
from messaging.store.expand import Expanding, estimate, expand_page
from messaging.wire import deliver_queue
from workers.metrics import road

_log = structlog.get_logger(__name__)

SLICE_S = 1.0
"""A fan-out gives way to others after this long: it publishes a hint for itself and goes on later."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one page brought."""

    complete: bool
    deliveries: int
    hints: list[Hint]
    again: Hint
    channel: Channel
    lane: Lane
    traceparent: str | None
    """The span its message was accepted in."""


def expand(engine: Engine, settings: Settings, publisher: Publisher, message_id: int, *, again: bool = False) -> str:
    """Expand pages of the message for about a second; a sentence about how far it came.

    `again` says that the task was handed out before. A fan-out that ended `max_deaths` workers is put aside.
    """
    with engine.begin() as connection:
        times = starts.note_fan_out(connection, message_id, again=again, lease_s=settings.lease_s)
    if times is None:
        return "another worker is at it"
    if not times:
        return _expand(engine, settings, publisher, message_id)
    if times >= settings.max_deaths:  # the first time, nothing was known against it
        return _put_aside(engine, message_id, deaths=times)
    with starts.ending(engine, starts.fan_out_key(message_id)):
        return _expand(engine, settings, publisher, message_id)


def _put_aside(engine: Engine, message_id: int, *, deaths: int) -> str:
    with engine.begin() as connection:
        stopped = quarantine.put_aside_fan_out(connection, message_id, deaths=deaths)
        starts.forget(connection, starts.fan_out_key(message_id))
    if not stopped:
        return "nothing to do"
    road().quarantined.labels(quarantine.What.FAN_OUT).inc()
    _log.error("A fan-out that ends its worker was put aside.", message_id=message_id, deaths=deaths)
    return f"put aside after {deaths} deaths"


def _expand(engine: Engine, settings: Settings, publisher: Publisher, message_id: int) -> str:
    began_ns, traced = time.time_ns(), None
    deadline, deliveries = time.monotonic() + SLICE_S, 0
    try:
        while True:
            with engine.begin() as connection:
                page = _expand_page(connection, settings, publisher, message_id)
            if page is None:
                return "nothing to do" if not deliveries else f"{deliveries} expanded, stopped"
            traced = traced or tracing.began("fan-out", page.traceparent, start_ns=began_ns, channel=page.channel)
            deliveries += page.deliveries
            road().expanded.labels(page.channel, page.lane).inc(page.deliveries)
            if not publisher.publish(page.hints):
                with engine.begin() as connection:
                    batches.unhint(connection, [hint.batch for hint in page.hints if hint.batch is not None])
            if page.complete:
                return f"{deliveries} expanded, complete"
            if time.monotonic() > deadline:
                publisher.publish([page.again])
                return f"{deliveries} expanded, goes on"
    finally:
        if traced is not None:
            traced.say(deliveries=deliveries)
            traced.end()


def _expand_page(connection: Connection, settings: Settings, publisher: Publisher, message_id: int) -> Page | None:
    message = expansion.lock_for_expansion(connection, message_id)
    if message is None:
        return None
    channel = message.audience.channel
    routing = routes.routes(
        connection, message.project_id, channel, task_size=settings.task_size, only=message.fixed_provider
    )
    if not routing and message.first_page:
        expansion.fail(connection, message.id, f"No enabled {channel} provider found. Add one, or enable one.")
        return None
    brought = expand_page(
        connection,
        Expanding(
            project_id=message.project_id,
            message_id=message.id,
            month=message.month,
            lane=message.lane,
            cursor=message.cursor,
            mark=message.mark,
        ),
        message.audience,
        routing,
        page=settings.page_size,
        hint_quota=publisher.room(deliver_queue(channel, message.lane)),
    )
    guess = estimate(connection, message.audience) if message.first_page and not brought.complete else None
    expansion.advance(connection, message, cursor=brought.cursor, complete=brought.complete, estimate=guess)
    kinds = {route.effective_id: route.kind for route in routing}
    hints = [
        deliver_hint(BatchRef(message.month, batch), channel, message.lane, kinds[provider])
        for batch, provider in brought.batches
    ]
    again = fanout_hint(message.id, channel, message.lane)
    return Page(
        brought.complete, brought.deliveries, hints, again, channel, message.lane, traceparent=message.traceparent
    )
