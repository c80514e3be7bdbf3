"""The page of statuses, from `messaging/status.py`."""

from __future__ import annotations

from collections.abc import Mapping

from docs.generate.markdown import code, codes, document, head, table
from messaging.status import FINISHED, MOVES, WIRE_STATUS, DeliveryStatus, MessageState

_D, _M = DeliveryStatus, MessageState

_DELIVERY: Mapping[DeliveryStatus, str] = {
    _D.QUEUED: "It waits for its turn; nothing has left yet.",
    _D.SENDING: "A worker has it in hand, and it may be on its way.",
    _D.RETRYING: "It was certainly not sent, or may be sent again, and waits until it is due.",
    _D.ACCEPTED: "The provider took responsibility. That is no proof that a person saw it.",
    _D.DELIVERED: "A receipt says that it arrived.",
    _D.FAILED: "It is not sent, or bounced; the code and the reason say why.",
    _D.UNKNOWN: "The request left and no readable answer came: it may have arrived. A receipt can settle it.",
    _D.EXPIRED: "Its time was over before it could be sent.",
    _D.CANCELLED: "Its message was cancelled before it was sent.",
    _D.SUPPRESSED: "The address must not be written to.",
}
_MESSAGE: Mapping[MessageState, str] = {
    _M.DRAFT: "Kept, and not sent until somebody says so.",
    _M.SCHEDULED: "It waits for its time.",
    _M.PROCESSING: "Its audience is being expanded, or deliveries are queued, being sent or waiting to be sent again.",
    _M.PAUSED: "Nothing more leaves until it is resumed.",
    _M.SENT: "Finished: every delivery was or may have been accepted.",
    _M.PARTIALLY_SENT: "Finished: some were or may have been accepted, and some were not.",
    _M.FAILED: "Finished: certainly nobody got it.",
    _M.CANCELLED: "Cancelled before anything was sent.",
}
_BEFORE = """\
A delivery is one message to one target. Each ends in exactly one settled status, at the latest when its message expires
plus one lease, and the totals of a message always equal the counts of its deliveries
([what is promised](../explanation/delivery-guarantee.md)).

## Deliveries
"""
_EVENTS = """\
*Settled* means that nothing more is sent. A receipt, or somebody who retries what failed, may still move a settled one
where the table says so. Opened, clicked, complained and deferred are events of a delivery and change no status
([receipts](../explanation/receipts.md)).

## Messages

A message is finished when no delivery is queued, being sent or waiting to be sent again. Over HTTP `status` has the
five words that the Appwrite SDKs know; the exact state is in the field `state`.
"""


def page() -> str:
    """The whole page; raises KeyError for a status whose meaning nobody has written down."""
    deliveries = (
        (code(each), _DELIVERY[each], "yes" if each.is_settled else "no", codes(_ordered(MOVES[each])) or "nothing")
        for each in DeliveryStatus
    )
    messages = (
        (code(each), _MESSAGE[each], "yes" if each in FINISHED else "no", code(WIRE_STATUS[each]))
        for each in MessageState
    )
    return document(
        head("Statuses", "messaging/status.py"),
        _BEFORE,
        table(("status", "meaning", "settled", "may become"), deliveries),
        _EVENTS,
        table(("state", "meaning", "finished", "`status` over HTTP"), messages),
        "What the codes beside `failed` and `unknown` mean: [reasons](reasons.md).\n",
    )


def _ordered(statuses: frozenset[DeliveryStatus]) -> list[DeliveryStatus]:
    return [each for each in DeliveryStatus if each in statuses]
