"""The record as its readers would see it: what stands on the phone or in the mailbox."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from messaging.local.sandbox import web
from messaging.local.sandbox.stand_in import email_view


def reader_view(line: Mapping[str, Any]) -> dict[str, Any]:
    """One accepted line: when, where, and `title`, `body`, `subject`, `text`, `html` as the channel has them."""
    view = {name: line[name] for name in ("at", "protocol", "recipient", "id", "tag")}
    payload = line["payload"] or {}
    match line["protocol"]:
        case "apns":
            view |= _apns(payload)
        case "fcm":
            view |= _fcm(payload)
        case "sendgrid" | "smtp":
            view |= email_view(payload)
        case kind if kind in web.names():
            view |= web.stand_in(kind).view(payload)
        case _:
            view |= {"channel": "sms", "from": payload.get("From") or payload.get("MessagingServiceSid")}
            view |= {"text": payload.get("Body")}
    return view


def page(
    lines: Iterable[Mapping[str, Any]],
    *,
    protocol: str | None,
    offset: int,
    limit: int,
    channel: str | None = None,
    recipient: str | None = None,
) -> list[dict[str, Any]]:
    """`limit` views after the first `offset`, in the order of the lines.

    Of one protocol, of one channel, and to recipients whose address contains `recipient`, where these are named.
    """
    wanted = (
        view
        for view in (reader_view(line) for line in lines if protocol is None or line["protocol"] == protocol)
        if (channel is None or view["channel"] == channel)
        and (recipient is None or recipient.casefold() in str(view["recipient"]).casefold())
    )
    return list(islice(wanted, offset, offset + limit))


def _apns(payload: Mapping[str, Any]) -> dict[str, Any]:
    aps = payload.get("aps")
    aps = aps if isinstance(aps, dict) else {}
    alert = aps.get("alert")
    if not isinstance(alert, dict):
        alert = {"body": alert}
    return {
        "channel": "push",
        "title": alert.get("title"),
        "subtitle": alert.get("subtitle"),
        "body": alert.get("body"),
        "badge": aps.get("badge"),
        "data": {key: value for key, value in payload.items() if key != "aps"},
    }


def _fcm(message: Mapping[str, Any]) -> dict[str, Any]:
    common = message.get("notification") or {}
    android = (message.get("android") or {}).get("notification") or {}
    return {
        "channel": "push",
        "title": android.get("title") or common.get("title"),
        "body": android.get("body") or common.get("body"),
        "image": android.get("image") or common.get("image"),
        "data": message.get("data") or {},
    }
