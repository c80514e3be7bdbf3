"""What receipts do: events on record, statuses moved on, addresses retired or suppressed. Once each, in any order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.ids import parse_delivery_tag
from messaging.outcome import Action
from messaging.receipt import Event, Receipt
from messaging.status import DeliveryStatus
from messaging.store import dead_targets, ledger_told, provider_ids, suppressions
from messaging.store.ledger_told import Known, Move, Name
from messaging.store.suppressions import Scope
from messaging.vault import Vault

_S = DeliveryStatus

_LEADS_TO: Mapping[Event, DeliveryStatus] = {
    Event.ACCEPTED: _S.ACCEPTED,
    Event.DELIVERED: _S.DELIVERED,
    Event.BOUNCED_HARD: _S.FAILED,
    Event.BOUNCED_SOFT: _S.FAILED,
    Event.REJECTED: _S.FAILED,
}
"""What the others say happened is on record, and changes no status."""

_PERMITTED: Mapping[DeliveryStatus, frozenset[DeliveryStatus]] = {
    _S.ACCEPTED: frozenset({_S.UNKNOWN, _S.RETRYING}),
    _S.DELIVERED: frozenset({_S.ACCEPTED, _S.UNKNOWN, _S.SENDING, _S.RETRYING}),
    _S.FAILED: frozenset({_S.ACCEPTED, _S.UNKNOWN, _S.SENDING, _S.RETRYING}),
}
"""From where a receipt may lead there. A delivery that is being sent is met by a receipt that overtook our record;
one that waits to be sent again only where an earlier attempt may have arrived."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What one account's receipts did."""

    events: int = 0
    """New ones; what was told before is not counted again."""
    moved: int = 0
    unknown: tuple[int, ...] = ()
    """Places of receipts whose delivery may not be known yet: they name the provider's id only, which is recorded after
    the sending. One that carries our tag finds its delivery, or is not ours."""
    told: int = 0
    """Of the new ones, those that say whether an address is good."""
    dead: int = 0
    """Of the new ones, those that call an address dead; it is skipped from now on."""
    statuses: Mapping[DeliveryStatus, int] = field(default_factory=dict)
    """How many deliveries went where."""


@dataclass(frozen=True, slots=True)
class Source:
    """The account that tells."""

    provider_id: int
    project_id: int
    channel: Channel
    finds_by_id: bool


def apply(connection: Connection, vault: Vault, source: Source, receipts: Sequence[Receipt]) -> Applied:
    """Put the events of one account on record and let them take effect; told again they change nothing.

    A receipt moves a delivery only where this account sent it. An event that names no delivery of the project has
    no effect but an opt-out by address.
    """
    names = _names(connection, source, receipts)
    known = ledger_told.lock_named(connection, source.project_id, {name for name in names if name is not None})
    unknown = tuple(
        place
        for place, (name, receipt) in enumerate(zip(names, receipts, strict=True))
        if source.finds_by_id and name is None and receipt.provider_message_id is not None
    )
    pairs = [(name, r) for name, r in zip(names, receipts, strict=True) if name is not None and name in known]
    fresh = _record(connection, source, pairs)
    moves = _moves(source, known, fresh)
    moved = ledger_told.apply_receipts(connection, moves)
    dead = [name for name, receipt in fresh if receipt.action is Action.DISABLE_TARGET]
    if dead:
        dead_targets.mark_told(connection, source.provider_id, dead)
    _heed_opt_outs(connection, vault, source, fresh, [r for r in receipts if _is_about_an_address(r)])
    return Applied(
        events=len(fresh),
        moved=moved,
        unknown=unknown,
        told=sum(1 for _, receipt in fresh if receipt.event in _SAYS_WHETHER_GOOD),
        dead=len(dead),
        statuses=Counter(move.status for move in moves),
    )


_SAYS_WHETHER_GOOD = frozenset({Event.DELIVERED, Event.BOUNCED_HARD, Event.BOUNCED_SOFT})


def _is_about_an_address(receipt: Receipt) -> bool:
    return receipt.tag is None and receipt.provider_message_id is None and receipt.address is not None


def _names(connection: Connection, source: Source, receipts: Sequence[Receipt]) -> list[Name | None]:
    """The delivery each receipt names, by our tag, else by the provider's id where we kept that."""
    by_id = [_storable(r.provider_message_id) or "" for r in receipts if r.tag is None and r.provider_message_id]
    found = provider_ids.find(connection, source.provider_id, by_id) if source.finds_by_id else {}
    names: list[Name | None] = []
    for receipt in receipts:
        parsed = None if receipt.tag is None else parse_delivery_tag(receipt.tag)
        if parsed is not None:
            names.append(Name(*parsed))
        else:
            names.append(found.get(_storable(receipt.provider_message_id) or ""))
    return names


def event_key(provider_id: int, receipt: Receipt) -> bytes:
    """By which an event that is told again is known."""
    said = f"{provider_id}|{receipt.event}|{receipt.key}".encode(errors="replace")
    return blake2b(said, digest_size=12).digest()


def _record(
    connection: Connection, source: Source, pairs: Sequence[tuple[Name, Receipt]]
) -> list[tuple[Name, Receipt]]:
    """Those of `pairs` that are new."""
    by_key = {(name, event_key(source.provider_id, receipt)): (name, receipt) for name, receipt in pairs}
    if not by_key:
        return []
    said = [
        {
            "month": name.month.isoformat(),
            "message": name.message_id,
            "target": name.target_id,
            "key": key.hex(),
            "event": receipt.event.value,
            "at": None if receipt.at is None else receipt.at.isoformat(),
            "code": _storable(receipt.code),
            "reason": _storable(receipt.reason),
        }
        for (name, key), (_, receipt) in by_key.items()
    ]
    # as JSON: lists of dates and times cost psycopg more than all the rest of it
    rows = connection.execute(
        text("""
        INSERT INTO delivery_events (month, message_id, target_id, key, provider_id, event, at, code, reason)
        SELECT e.month, e.message, e.target, decode(e.key, 'hex'), :provider, e.event, e.at, e.code, e.reason
          FROM jsonb_to_recordset(CAST(:said AS jsonb)) AS e(month date, message bigint, target bigint, key text,
                                                             event text, at timestamptz, code text, reason text)
        ON CONFLICT DO NOTHING RETURNING month, message_id, target_id, key
        """),
        {"provider": source.provider_id, "said": json.dumps(said)},
    )
    return [by_key[Name(row.month, row.message_id, row.target_id), bytes(row.key)] for row in rows]


def _moves(source: Source, known: Mapping[Name, Known], fresh: Sequence[tuple[Name, Receipt]]) -> list[Move]:
    """One move a delivery at most: what its new events, taken one after the other, lead to."""
    ends: dict[Name, Move] = {}
    for name, receipt in sorted(fresh, key=_in_order):
        target = _LEADS_TO.get(receipt.event)
        delivery = known[name]
        if target is None or delivery.provider_id != source.provider_id:
            continue
        before = ends.get(name)
        status = delivery.status if before is None else before.status
        if status not in _PERMITTED[target] or (status is _S.RETRYING and not delivery.doubts):
            continue
        ends[name] = Move(
            name=name,
            was=delivery.status,
            status=target,
            batch_id=delivery.batch_id,
            error_code=None if target is not _S.FAILED else _storable(receipt.code) or receipt.event.value,
            error=None if target is not _S.FAILED else _storable(receipt.reason) or _DID_NOT_ARRIVE,
            provider_message_id=_storable(receipt.provider_message_id),
        )
    return list(ends.values())


_DID_NOT_ARRIVE = "The provider reports that it did not arrive."
_LONGEST = 500


def _storable(said: str | None) -> str | None:
    """A provider's words as PostgreSQL takes them: no NUL, no half of a surrogate pair, and no novel."""
    return (said or "").replace("\0", "").encode("utf-8", "replace").decode()[:_LONGEST] or None


_RANK = {Event.ACCEPTED: 0, Event.DEFERRED: 1, Event.DELIVERED: 2}


def _in_order(pair: tuple[Name, Receipt]) -> tuple[float, int]:
    """By the provider's clock, then by what can only come after what."""
    at: datetime | None = pair[1].at
    return (0.0 if at is None else at.timestamp(), _RANK.get(pair[1].event, 3))


def _heed_opt_outs(
    connection: Connection,
    vault: Vault,
    source: Source,
    fresh: Sequence[tuple[Name, Receipt]],
    by_address: Sequence[Receipt],
) -> None:
    """Suppress whoever complained or opted out, and lift it for those who came back."""
    for event, targets in _grouped(fresh, Action.SUPPRESS_TARGET).items():
        suppressions.add_targets(
            connection, list(targets), scope=_scope(source.channel, event), reason=_why(event, targets)
        )
    for targets in _grouped(fresh, Action.UNSUPPRESS_TARGET).values():
        suppressions.remove_targets(connection, list(targets), scope=_scope(source.channel, Event.UNSUBSCRIBED))
    for receipt in by_address:
        try:
            address = normalise(source.channel, receipt.address or "", argument="address")
        except InvalidArgumentError:
            continue
        digest = vault.address_hash(source.channel, address)
        if receipt.action is Action.SUPPRESS_TARGET:
            suppressions.add_hash(
                connection,
                source.project_id,
                channel=source.channel,
                address_hash=digest,
                scope=_scope(source.channel, receipt.event),
                reason=_why(receipt.event, {0: _storable(receipt.code) or ""}),
            )
        elif receipt.action is Action.UNSUPPRESS_TARGET:
            suppressions.remove_hash(
                connection,
                source.project_id,
                channel=source.channel,
                address_hash=digest,
                scope=_scope(source.channel, Event.UNSUBSCRIBED),
            )


def _grouped(fresh: Sequence[tuple[Name, Receipt]], action: Action) -> dict[Event, dict[int, str]]:
    """Targets by event, each with the provider's code."""
    found: dict[Event, dict[int, str]] = {}
    for name, receipt in fresh:
        if receipt.action is action:
            found.setdefault(receipt.event, {})[name.target_id] = receipt.code
    return found


def _scope(channel: Channel, event: Event) -> Scope:
    """A newsletter's opt-out never blocks a password code; a STOP to a number, and a complaint, mean everything."""
    return Scope.BULK if event is Event.UNSUBSCRIBED and channel is Channel.EMAIL else Scope.EVERYTHING


def _why(event: Event, targets: Mapping[int, str]) -> str:
    codes = Counter(code for code in targets.values() if code)
    return f"{event.value} {codes.most_common(1)[0][0]}" if codes else event.value
