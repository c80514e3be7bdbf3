"""Delivery reports and inbound messages of Infobip.

Infobip signs nothing by default: the secret path is all there is. A report names its delivery by `callbackData`, which
is our tag, and by the message id, which begins with it.
Sources: https://www.infobip.com/docs/api/channels/sms/outbound-sms/receive-outbound-sms-message-report,
https://www.infobip.com/docs/api/channels/sms/inbound-sms/receive-inbound-sms-messages
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from messaging.outcome import Action
from messaging.receipt import Event, Inbound, Receipt, UnreadableReceiptError
from workers.providers.base import Account, Fetch
from workers.providers.infobip_codes import classify_report, is_status

_FOLLOWS = frozenset({Action.DISABLE_TARGET, Action.SUPPRESS_TARGET, Action.STOP_PROVIDER, Action.QUOTA})
_STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
_START = frozenset({"START", "UNSTOP"})


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:
    """The reports of one request, and opt-outs by message; none for any other message.

    Raises `UnreadableReceiptError`.
    """
    del account, fetch
    try:
        document = json.loads(inbound.body)
    except (ValueError, RecursionError) as error:
        raise UnreadableReceiptError("the request is no JSON") from error
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise UnreadableReceiptError("the request has no results")
    return [receipt for result in results for receipt in _read(result)]


def _read(result: Mapping[str, object]) -> Sequence[Receipt]:
    if isinstance(result.get("status"), dict):
        return _report(result)
    if result.get("from") and ("text" in result or "keyword" in result):
        return _message(result)
    raise UnreadableReceiptError("neither a delivery report (status) nor a message (from and text)")


def _report(result: Mapping[str, object]) -> Sequence[Receipt]:
    status, error = _part(result, "status"), _part(result, "error")
    message = str(result.get("messageId") or "")
    tag = str(result.get("callbackData") or "") or message.partition(".")[0]
    if not tag or not is_status(status):
        raise UnreadableReceiptError("a delivery report without status, or without messageId and callbackData")
    outcome = classify_report(status, error)

    def told(event: Event, action: Action = Action.NONE) -> Receipt:
        return Receipt(
            event=event,
            key=f"{message}:{status.get('id')}:{error.get('id')}",
            tag=tag,
            provider_message_id=message or None,
            at=_time(result.get("doneAt")),
            action=action,
            code=outcome.code,
            reason=outcome.reason,
        )

    follows = outcome.action if outcome.action in _FOLLOWS else Action.NONE
    match outcome.action:
        case Action.DELIVERED:
            return [told(Event.DELIVERED)]
        case Action.ACCEPTED:
            return [told(Event.DEFERRED if outcome.code else Event.ACCEPTED)]
        case Action.SUPPRESS_TARGET:  # that it did not arrive, and why
            return [told(Event.REJECTED), told(Event.UNSUBSCRIBED, follows)]
        case Action.DISABLE_TARGET:
            return [told(Event.BOUNCED_HARD, follows)]
        case Action.REJECT_MESSAGE | Action.STOP_PROVIDER | Action.QUOTA:
            return [told(Event.REJECTED, follows)]
        case _:
            return [told(Event.BOUNCED_SOFT)]


def _message(result: Mapping[str, object]) -> Sequence[Receipt]:
    words = str(result.get("keyword") or result.get("text") or "").upper().split()
    word = words[0] if len(words) == 1 else ""
    if word not in _STOP | _START:
        return []
    number = str(result.get("from")).removeprefix("+")
    if not (number.isascii() and number.isdecimal()):
        raise UnreadableReceiptError("an opt-out from what is no number")
    stops = word in _STOP
    return [
        Receipt(
            event=Event.UNSUBSCRIBED if stops else Event.RESUBSCRIBED,
            key=f"{result.get('messageId', '')}:{word}",
            address=f"+{number}",
            at=_time(result.get("receivedAt")),
            action=Action.SUPPRESS_TARGET if stops else Action.UNSUPPRESS_TARGET,
            code=word,
            reason="opted out by message" if stops else "opted in by message",
        )
    ]


def _part(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
