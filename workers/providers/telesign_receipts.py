"""What Telesign reports about text messages: its signature, and what each status means.

Sources: https://developer.telesign.com/enterprise/docs/authenticate-callbacks,
https://developer.telesign.com/enterprise/reference/smscallbacks.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from messaging.outcome import Action
from messaging.receipt import Event, ForgedReceiptError, Receipt, ReceiptKeyMissingError, UnreadableReceiptError
from workers.providers.receipt_parts import is_same, iso_time, json_of, tag_in, with_failure
from workers.providers.telesign_codes import ERRORS, EVENTS, STATUSES

if TYPE_CHECKING:
    from messaging.receipt import Inbound
    from workers.providers.base import Account, Fetch

_ABOUT_THE_TARGET = frozenset({Action.DISABLE_TARGET, Action.SUPPRESS_TARGET})
"""What a callback may lead to: it is about one number, and says nothing about the account."""

_CODE = re.compile(r"-?[0-9]{1,6}\Z")
_REFERENCE = re.compile(r"[0-9A-Za-z-]{1,64}\Z")


async def read_receipts(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001  nothing to fetch
    """The status a callback brings; a recipient's own block is a refusal and an opt-out.

    Telesign signs the body alone, with the API key, and names the signature in Authorization and in
    X-TS-Authorization; neither has a time, so that a callback told again is known by its key only.
    """
    key = account.credentials.get("apiKey")
    if not isinstance(key, str) or not key.strip():
        raise ReceiptKeyMissingError("The Telesign provider's apiKey is not set: its callbacks can't be checked.")
    _check(inbound, key.strip())
    document = json_of(inbound.body, "the callback is no JSON")
    if not isinstance(document, dict) or not isinstance(document.get("status"), dict):
        raise UnreadableReceiptError("the callback has no status")
    return _receipts(document, document["status"], inbound.url)


def _check(inbound: Inbound, api_key: str) -> None:
    try:
        secret = base64.b64decode(api_key, validate=True)
    except (binascii.Error, ValueError):
        raise ReceiptKeyMissingError("The Telesign provider's apiKey is no base64: copy it anew.") from None
    expected = base64.b64encode(hmac.digest(secret, inbound.body, "sha256")).decode()
    given = [inbound.headers.get(name, "") for name in ("authorization", "x-ts-authorization")]
    # "TSA customer-id:signature" in the one, the signature alone in the other
    signatures = [value.rpartition(":")[2].strip() for value in given if value]
    if not any(is_same(signature, expected) for signature in signatures):
        raise ForgedReceiptError("the callback is not signed with the account's API key")


def _receipts(document: dict[str, Any], status: dict[str, Any], url: str) -> Sequence[Receipt]:
    code, reference = str(status.get("code")), str(document.get("reference_id") or "")
    if not _CODE.match(code) or not _REFERENCE.match(reference):
        raise UnreadableReceiptError("the callback has no status code or no reference id")
    action, meaning = STATUSES.get(code) or ERRORS.get(code) or (Action.NONE, "a status Telesign's pages don't list")
    unknown = Event.REJECTED if code in STATUSES or code in ERRORS else Event.ACCEPTED
    event = EVENTS.get(code, unknown)
    updated = str(status.get("updated_on") or "")
    receipt = Receipt(
        event=event,
        key=f"{reference}:{code}:{updated}",
        tag=_tag(document, url),
        provider_message_id=reference,
        at=iso_time(updated),
        action=action if action in _ABOUT_THE_TARGET else Action.NONE,
        code="" if event is Event.DELIVERED else code,
        reason="" if event is Event.DELIVERED else meaning,
    )
    return with_failure(receipt) if event is Event.UNSUBSCRIBED else [receipt]


def _tag(document: dict[str, Any], url: str) -> str | None:
    """The external id, which is signed; else the parameter of the address, which is not."""
    external = document.get("external_id")
    if isinstance(external, str) and external:
        return external
    return tag_in(url)
