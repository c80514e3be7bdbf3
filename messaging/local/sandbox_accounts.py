"""Accounts at the providers' stand-ins: credentials they take, and receipts that find their way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from messaging.catalog import OURS
from messaging.local.sandbox import credentials, web

if TYPE_CHECKING:
    from messaging.local.sandbox.addresses import SandboxAddresses

_TIMEOUT_S = 10.0
_SENDER = {"fromEmail": "news@example.com", "fromName": "News"}


def kinds() -> tuple[str, ...]:
    """Every kind that has a stand-in, in the order of the catalogue."""
    spoken = {"apns", "fcm", "sendgrid", "smtp", "twilio", *web.names()}
    return tuple(kind for kind in OURS if kind in spoken)


def fields(kind: str, addresses: SandboxAddresses) -> dict[str, Any]:
    """Credentials and options with which an account of that kind sends to its stand-in."""
    match kind:
        case "apns":
            return {**credentials.apns_credentials(addresses.control)}
        case "fcm":
            return credentials.fcm_credentials(addresses.control, addresses.fcm_token)
        case "sendgrid":
            return {**credentials.sendgrid_credentials(), **_SENDER}
        case "smtp":
            return {**credentials.smtp_credentials(addresses), **_SENDER}
        case "twilio":
            return {**credentials.twilio_credentials(), "from": "+15005550006"}
        case _:
            return web.stand_in(kind).fields()


def report_to(
    kind: str, given: dict[str, Any], addresses: SandboxAddresses, receipts_url: str | None
) -> dict[str, Any]:
    """Let the stand-in report to the account's receipt address; what the account has to be changed by for that.

    Stand-ins of providers that take the address with each message need nothing; neither do kinds without receipts.
    """
    if receipts_url is None or not OURS[kind].has_receipts:
        return {}
    changes: dict[str, Any] = {}
    if kind == "sendgrid":
        key, changes["webhookKey"] = credentials.sendgrid_webhook_keys()
    else:
        key = "" if kind == "twilio" else web.stand_in(kind).webhook_key(given)
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        client.post(
            f"{addresses.control}/webhooks", json={"kind": kind, "url": receipts_url, "key": key}
        ).raise_for_status()
    return changes
