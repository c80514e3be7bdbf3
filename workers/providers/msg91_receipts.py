"""What MSG91 reports about text messages.

MSG91 signs nothing: the secret path of the receipt address is all that vouches for a report. Versions 2 (a form whose
`data` is JSON) and 3 (JSON) of its webhook are read; version 4 leaves out our tag, and is of no use.
Source: https://msg91.com/help/webhooks/how-can-i-get-the-delivery-reports-on-my-webhook-url.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from messaging.outcome import Action, Outcome
from messaging.receipt import Event, Receipt, UnreadableReceiptError
from workers.providers.receipt_parts import iso_time, json_of, with_failure

if TYPE_CHECKING:
    from messaging.receipt import Inbound
    from workers.providers.base import Account, Fetch

STATUSES: Mapping[str, tuple[Event, Action, str]] = {
    "1": (Event.DELIVERED, Action.DELIVERED, ""),
    "2": (Event.BOUNCED_SOFT, Action.NONE, "it could not be delivered"),
    "9": (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "the number is on India's do-not-disturb list (NDNC)"),
    "16": (Event.REJECTED, Action.SUPPRESS_TARGET, "rejected"),
    "17": (Event.REJECTED, Action.SUPPRESS_TARGET, "the number is blocked"),
    "25": (Event.REJECTED, Action.SUPPRESS_TARGET, "rejected"),
}
"""By `status` of a report."""

_WORD = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
_UNLISTED = (Event.ACCEPTED, Action.NONE, "a status MSG91's page doesn't list")
_INDIA = timezone(timedelta(hours=5, minutes=30))
"""Reports have local times without a zone; MSG91's page does not name it."""


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001  neither a key nor anything to fetch
    """What each report that names a delivery of ours tells; an opt-out is a refusal besides."""
    found: list[Receipt] = []
    for request, report in _reports(_document(inbound)):
        if _tag(report) is None:
            continue
        receipt = _receipt(request, report)
        found += with_failure(receipt) if receipt.event is Event.UNSUBSCRIBED else [receipt]
    return found


def classify_status(status: str) -> Outcome:
    """What a report's status means."""
    _, action, meaning = STATUSES.get(status, _UNLISTED)
    return Outcome(action, code=status, reason=meaning)


def _document(inbound: Inbound) -> object:
    kind = inbound.headers.get("content-type", "")
    try:
        if kind.startswith("application/x-www-form-urlencoded"):
            (data,) = parse_qs(inbound.body.decode())["data"]
            return json.loads(data)
        return json.loads(inbound.body)
    except (ValueError, KeyError, RecursionError):
        raise UnreadableReceiptError("the report is neither JSON nor a form with JSON in `data`") from None


def _reports(document: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Request id and report of each message: below `report` of a request, or the request itself (version 3)."""
    if isinstance(document, dict) and isinstance(document.get("data"), str):
        document = json_of(document["data"], "the report's `data` is no JSON")
    requests = document if isinstance(document, list) else [document]
    for request in requests:
        if not isinstance(request, dict):
            raise UnreadableReceiptError("the report is no object, nor a list of them")
        inner = request.get("report")
        for report in inner if isinstance(inner, list) else [request]:
            if not isinstance(report, dict):
                raise UnreadableReceiptError("the report is no object")
            yield str(request.get("requestId") or ""), report


def _receipt(request: str, report: Mapping[str, object]) -> Receipt:
    status = str(report.get("status") or "")
    event, action, meaning = STATUSES.get(status, _UNLISTED)
    tag = _tag(report)
    if not _WORD.match(status) or not _WORD.match(request or "0"):
        raise UnreadableReceiptError("the report has no status, or a request id that is none")
    return Receipt(
        event=event,
        key=f"{request}:{tag}:{status}",
        tag=tag,
        provider_message_id=request or None,
        at=iso_time(report.get("date"), _INDIA),
        action=action if action is Action.SUPPRESS_TARGET else Action.NONE,
        code="" if event is Event.DELIVERED else status,
        reason=meaning,
    )


def _tag(report: Mapping[str, object]) -> str | None:
    """The CRQID of the request's entry; it is "0" where there was none."""
    tag = str(report.get("CRQID") or "")
    return tag if tag not in {"", "0"} else None
