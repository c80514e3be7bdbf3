"""What Mailgun's webhooks tell.

The signature covers the time and the token of a request only, never what it says: whoever has seen one request could
put other words under it. So the receipt address stays secret, a request is refused once it is a day old, and one whose
token came with another body before is forged (`Receipt.once`). Whether Mailgun signs a request anew when it repeats it
(for up to eight hours) is not documented, hence the day.

Sources: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks,
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from messaging.outcome import Action, Outcome
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from workers.providers.answers import json_object, object_at
from workers.providers.base import Account, Fetch
from workers.providers.receipt_parts import is_same, unix_time
from workers.providers.smtp_replies import ENHANCED, Stage, classify, scrub

EVENTS: Mapping[str, tuple[Event, Action, str]] = {
    "accepted": (Event.ACCEPTED, Action.NONE, "queued at Mailgun"),
    "delivered": (Event.DELIVERED, Action.DELIVERED, ""),
    "rejected": (Event.REJECTED, Action.REJECT_MESSAGE, "rejected by Mailgun"),
    "complained": (Event.COMPLAINED, Action.SUPPRESS_TARGET, "reported as spam"),
    "unsubscribed": (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "unsubscribed at Mailgun"),
    "opened": (Event.OPENED, Action.NONE, ""),
    "clicked": (Event.CLICKED, Action.NONE, ""),
}
"""By name of the event; `failed` depends on severity and reason, others bring no receipt."""

FAILURES: Mapping[str, tuple[Event, Action, str]] = {
    "bounce": (Event.BOUNCED_HARD, Action.DISABLE_TARGET, "bounced"),
    "generic": (Event.BOUNCED_HARD, Action.DISABLE_TARGET, "could not be delivered"),
    "suppress-bounce": (Event.BOUNCED_HARD, Action.DISABLE_TARGET, "not sent: bounced before"),
    "suppress-unsubscribe": (Event.REJECTED, Action.NONE, "not sent: unsubscribed at Mailgun before"),
    "suppress-complaint": (Event.REJECTED, Action.SUPPRESS_TARGET, "not sent: reported as spam before"),
}
"""By reason of a permanent failure; of any other the address may be good."""

OLDEST = timedelta(days=1)

_REPLIES = range(500, 600)


async def read_receipts(
    inbound: Inbound,
    account: Account,
    fetch: Fetch,  # noqa: ARG001  every reader is handed one
) -> Sequence[Receipt]:
    """The event a request brings; raises as `ReceiptReader` says."""
    key = str(account.credentials.get("webhookKey") or "")
    if not key:
        raise ReceiptKeyMissingError("set the account's webhookKey: the HTTP webhook signing key of Mailgun's settings")
    document = json_object(inbound.body)
    token = _verified(object_at(document, "signature"), key, inbound.received_at)
    event = object_at(document, "event-data")
    if not isinstance(event.get("event"), str):
        raise UnreadableReceiptError("a signed request of Mailgun's without an event")
    return receipts_of(event, token)


def receipts_of(event: Mapping[str, object], token: str) -> Sequence[Receipt]:
    """The receipts of one `event-data`; none for events that are not about a delivery."""
    found = classify_event(event)
    if found is None:
        return ()
    kind, outcome = found
    variables = object_at(event, "user-variables")
    message_id = object_at(object_at(event, "message"), "headers").get("message-id")
    receipt = Receipt(
        event=kind,
        once=token,
        key=_event_id(event) or token,
        tag=str(variables["delivery"]) if variables.get("delivery") else None,
        provider_message_id=f"<{str(message_id).strip('<>')}>" if message_id else None,
        at=unix_time(event.get("timestamp")),
        action=outcome.action,
        code=outcome.code,
        reason=outcome.reason,
    )
    if event.get("reason") != "suppress-unsubscribe":
        return (receipt,)
    # It failed, and there is an opt-out: the second keeps newsletters from going another way.
    return (receipt, _opt_out(receipt))


def _event_id(event: Mapping[str, object]) -> str | None:
    """What names the event, the same when it is told again; unique within a day, so with its time."""
    return f"{event['id']} {event.get('timestamp')}" if event.get("id") else None


def classify_event(event: Mapping[str, object]) -> tuple[Event, Outcome] | None:
    """What one `event-data` says, and what follows; None for what is not about a delivery."""
    name = str(event.get("event"))
    if name in EVENTS:
        kind, action, meaning = EVENTS[name]
        good = kind in {Event.ACCEPTED, Event.DELIVERED, Event.OPENED, Event.CLICKED}
        said = scrub(str(object_at(event, "reject").get("reason") or ""))
        reason = f"{meaning}: {said}" if said else meaning
        return kind, Outcome(action, code="" if good else name, reason=reason)
    if name != "failed":
        return None
    status = object_at(event, "delivery-status")
    reason = str(event.get("reason") or "")
    said = scrub(str(status.get("message") or status.get("description") or ""))
    code = " ".join(str(part) for part in (status.get("code"), status.get("enhanced-code")) if part) or reason
    if event.get("severity") != "permanent":
        return Event.DEFERRED, Outcome(Action.NONE, code=code, reason=f"tried again: {said}" if said else "tried again")
    kind, action, meaning = _permanent(reason, status, said)
    return kind, Outcome(action, code=code or "failed", reason=f"{meaning}: {said}" if said else meaning)


def _permanent(reason: str, status: Mapping[str, object], said: str) -> tuple[Event, Action, str]:
    """What a final failure means: the receiving server's own code, where it gave one, says more than `reason`."""
    enhanced = str(status.get("enhanced-code") or "")
    code = _number(status.get("code"))
    if reason in {"bounce", "generic"} and code in _REPLIES and (enhanced in ENHANCED or reason == "generic"):
        told = classify(Stage.RCPT, code, f"{enhanced} {said}".strip())
        meaning = ENHANCED[enhanced][1] if enhanced in ENHANCED else "refused by the receiving server"
        if told.action is Action.DISABLE_TARGET:
            return Event.BOUNCED_HARD, Action.DISABLE_TARGET, meaning
        if told.action in {Action.REJECT_MESSAGE, Action.STOP_PROVIDER}:  # one server's word stops no account
            return Event.REJECTED, Action.REJECT_MESSAGE, meaning
        return Event.BOUNCED_SOFT, Action.NONE, meaning
    return FAILURES.get(reason, (Event.BOUNCED_SOFT, Action.NONE, f"given up ({reason})" if reason else "given up"))


def _opt_out(receipt: Receipt) -> Receipt:
    kind, action, meaning = EVENTS["unsubscribed"]
    return Receipt(
        event=kind,
        key=receipt.key,
        tag=receipt.tag,
        provider_message_id=receipt.provider_message_id,
        at=receipt.at,
        action=action,
        code="suppress-unsubscribe",
        reason=meaning,
    )


def _verified(signature: Mapping[str, object], key: str, received_at: datetime) -> str:
    """The token of a signature that holds; a subaccount's requests carry that of its parent as well."""
    timestamp, token = str(signature.get("timestamp") or ""), str(signature.get("token") or "")
    expected = hmac.new(key.encode(), f"{timestamp}{token}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    given = [str(signature.get(name) or "") for name in ("signature", "parent-signature")]
    holds = [is_same(each, expected) for each in given]
    if not token or not any(holds):
        raise ForgedReceiptError("the signature is missing or made with another key than webhookKey")
    at = unix_time(timestamp)
    if at is None or abs(received_at - at) > OLDEST:
        raise ForgedReceiptError("the signature is out of date: it is told again, or a clock is wrong")
    return token


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0
