"""Delivery reports and inbound messages of Infobip.

Infobip signs nothing by default: the secret path is all there is. A report names its delivery by `callbackData`, which
is our tag, and by the message id, which begins with it.
Sources: https://www.infobip.com/docs/api/channels/sms/outbound-sms/receive-outbound-sms-message-report,
https://www.infobip.com/docs/api/channels/sms/inbound-sms/receive-inbound-sms-messages
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from messaging.outcome import Action
from messaging.receipt import Event, Inbound, Receipt, UnreadableReceiptError
from workers.providers.answers import object_at
from workers.providers.base import Account, Fetch
from workers.providers.infobip_codes import classify_report, is_status
from workers.providers.receipt_parts import iso_time, json_of, what_follows, with_failure
from workers.providers.sms_words import choice_in


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:
    """The reports of one request, and opt-outs by message; none for any other message.

    Raises `UnreadableReceiptError`.
    """
    del account, fetch
    document = json_of(inbound.body, "the request is no JSON")
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
    status, error = object_at(result, "status"), object_at(result, "error")
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
            at=iso_time(result.get("doneAt")),
            action=action,
            code=outcome.code,
            reason=outcome.reason,
        )

    follows = what_follows(outcome.action)
    match outcome.action:
        case Action.DELIVERED:
            return [told(Event.DELIVERED)]
        case Action.ACCEPTED:
            return [told(Event.DEFERRED if outcome.code else Event.ACCEPTED)]
        case Action.SUPPRESS_TARGET:
            return with_failure(told(Event.UNSUBSCRIBED, follows))
        case Action.DISABLE_TARGET:
            return [told(Event.BOUNCED_HARD, follows)]
        case Action.REJECT_MESSAGE | Action.STOP_PROVIDER | Action.QUOTA:
            return [told(Event.REJECTED, follows)]
        case _:
            return [told(Event.BOUNCED_SOFT)]


def _message(result: Mapping[str, object]) -> Sequence[Receipt]:
    return choice_in(
        str(result.get("keyword") or result.get("text") or ""),
        sender=str(result.get("from")),
        message=str(result.get("messageId", "")),
        at=iso_time(result.get("receivedAt")),
    )
