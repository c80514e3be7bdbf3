"""Mailgun's receipts: signatures, and what each event means."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from messaging.local.sandbox.web.mailgun import sign
from messaging.outcome import Action
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from tests.unit import provider_cases
from tests.unit.provider_cases import account_of, rows
from workers.providers.base import Account
from workers.providers.mailgun import read_receipts
from workers.providers.mailgun_receipts import OLDEST, classify_event, receipts_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = secrets.token_hex(16)
DELIVERED: dict[str, Any] = {
    "event": "delivered",
    "id": "CPgfbmQMTCKtHW6uIWtuVe",
    "timestamp": 1772366390.5,
    "recipient": "ann@example.com",
    "message": {"headers": {"message-id": "20260301.1@mg.example.org"}},
    "delivery-status": {"code": 250, "message": "OK"},
    "user-variables": {"delivery": "d1-2-3"},
}


def account(key: str | None = KEY) -> Account:
    """An account with this signing key."""
    credentials = {"apiKey": "k"} | ({} if key is None else {"webhookKey": key})
    return account_of("mailgun", credentials)


def inbound(body: object, received_at: datetime = NOW) -> Inbound:
    """A request with this body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Inbound(method="POST", url="https://h.example/r/x", headers={}, body=raw, received_at=received_at)


def signed(event: dict[str, Any] | None = None, at: datetime = NOW) -> dict[str, Any]:
    """A request as Mailgun signs it."""
    return {"signature": sign(KEY, int(at.timestamp())), "event-data": DELIVERED if event is None else event}


def read(body: object, key: str | None = KEY, received_at: datetime = NOW) -> Sequence[Receipt]:
    """The receipts of a request."""
    return provider_cases.read(read_receipts, inbound(body, received_at), account(key))


def test_a_signed_event_is_read() -> None:
    """Mailgun's id of the event is its key, the token is good for this body alone, our tag leads to the delivery."""
    body = signed()
    assert read(body) == (
        Receipt(
            event=Event.DELIVERED,
            key=f"{DELIVERED['id']} {DELIVERED['timestamp']}",
            once=body["signature"]["token"],
            tag="d1-2-3",
            provider_message_id="<20260301.1@mg.example.org>",
            at=datetime(2026, 3, 1, 11, 59, 50, 500_000, tzinfo=UTC),
            action=Action.DELIVERED,
        ),
    )


def test_the_documented_signature_holds(shared_dir: Path) -> None:
    """Computed by somebody else."""
    vector = json.loads((shared_dir / "contracts/vectors/mailgun_webhook.json").read_text())
    signature = {name: vector[name] for name in ("timestamp", "token", "signature")}
    at = datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    (receipt,) = read({"signature": signature, "event-data": DELIVERED}, vector["signing_key"], at)
    assert receipt.once == vector["token"]
    signature["timestamp"] = int(vector["timestamp"])  # a number says the same
    assert read({"signature": signature, "event-data": DELIVERED}, vector["signing_key"], at) == (receipt,)


def test_a_subaccounts_event_is_signed_by_its_parent_too() -> None:
    """The parent's key is enough."""
    body = signed()
    body["signature"] |= {"parent-signature": body["signature"]["signature"], "signature": "0" * 64}
    assert len(read(body)) == 1


@pytest.mark.parametrize("part", ["timestamp", "token", "signature"])
def test_a_signature_of_which_anything_changed_is_forged(part: str) -> None:
    """Each of its parts, changed or gone."""
    body = signed()
    value = body["signature"][part]
    body["signature"][part] = ("1" if value[0] != "1" else "2") + value[1:]
    with pytest.raises(ForgedReceiptError):
        read(body)
    del body["signature"][part]
    with pytest.raises(ForgedReceiptError):
        read(body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"token=1", {"event-data": DELIVERED}, {"signature": "x"}])
def test_what_has_no_signature_is_forged(body: object) -> None:
    """Whatever it is."""
    with pytest.raises(ForgedReceiptError):
        read(body)


def test_another_key_is_forged_and_none_is_said() -> None:
    """Without one it is kept until there is."""
    with pytest.raises(ForgedReceiptError):
        read(signed(), "another")
    for key in (None, ""):
        with pytest.raises(ReceiptKeyMissingError, match="webhookKey"):
            read(signed(), key)


def test_an_old_signature_is_out_of_date() -> None:
    """Mailgun repeats a request for eight hours; after a day it is somebody else who does."""
    late = OLDEST + timedelta(minutes=1)
    assert read(signed(), received_at=NOW + timedelta(hours=8))
    for received_at in (NOW + late, NOW - late):
        with pytest.raises(ForgedReceiptError, match="out of date"):
            read(signed(), received_at=received_at)


@pytest.mark.parametrize("event", [[], {}, {"event": 3}])
def test_a_signed_request_that_says_nothing_is_unreadable(event: Any) -> None:
    """It is kept for somebody to look at."""
    with pytest.raises(UnreadableReceiptError):
        read({"signature": sign(KEY, int(NOW.timestamp())), "event-data": event})


def test_events_that_are_not_about_a_delivery_bring_nothing() -> None:
    """They are answered well all the same."""
    assert read(signed({"event": "list_member_uploaded"})) == ()


def test_the_rows_of_events_lead_to_their_actions(shared_dir: Path) -> None:
    """Each reason a row names."""
    found = rows(shared_dir, "mailgun", "event webhook")
    assert len(found) == 11
    for row in found:
        name, *words = row["code"].split()
        severity = "permanent" if "permanent" in row["code"] else "temporary"
        reasons = words[-1].partition("reason=")[2].split("|") if words else [""]
        for reason in reasons:
            told = receipts_of({"event": name, "severity": severity, "reason": reason}, "t")
            assert {row["action"]} == ({receipt.action for receipt in told} - {Action.NONE} or {Action.NONE}), row


@pytest.mark.parametrize(
    ("reason", "status", "event", "action"),
    [
        ("bounce", {"code": 550, "enhanced-code": "5.1.1"}, Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("bounce", {"code": 550}, Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("bounce", {"code": 552, "enhanced-code": "5.2.2"}, Event.BOUNCED_SOFT, Action.NONE),
        ("bounce", {"code": 550, "enhanced-code": "5.7.1"}, Event.REJECTED, Action.REJECT_MESSAGE),
        ("bounce", {"code": 550, "enhanced-code": "5.7.26"}, Event.REJECTED, Action.REJECT_MESSAGE),
        ("generic", {"code": 550, "message": "No such user here"}, Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("generic", {"code": 550, "message": "Looks like spam"}, Event.REJECTED, Action.REJECT_MESSAGE),
        ("generic", {"code": 498, "message": "No MX"}, Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("old", {"code": 602, "message": "Too old"}, Event.BOUNCED_SOFT, Action.NONE),
        ("", {}, Event.BOUNCED_SOFT, Action.NONE),
    ],
)
def test_a_final_failure_is_read_by_the_receiving_servers_code(
    reason: str, status: dict[str, Any], event: Event, action: Action
) -> None:
    """Only a dead mailbox retires the address, and no server's word stops the account."""
    told = classify_event({"event": "failed", "severity": "permanent", "reason": reason, "delivery-status": status})
    assert told is not None
    assert (told[0], told[1].action) == (event, action)
    assert told[1].code
    assert told[1].reason


@pytest.mark.parametrize(
    ("name", "event"),
    [("accepted", Event.ACCEPTED), ("delivered", Event.DELIVERED), ("opened", Event.OPENED),
     ("clicked", Event.CLICKED), ("complained", Event.COMPLAINED), ("unsubscribed", Event.UNSUBSCRIBED),
     ("rejected", Event.REJECTED)],
)  # fmt: skip
def test_each_event_has_its_word(name: str, event: Event) -> None:
    """Good news carries no code."""
    told = classify_event({"event": name})
    assert told is not None
    assert told[0] is event
    good = event in {Event.ACCEPTED, Event.DELIVERED, Event.OPENED, Event.CLICKED}
    assert bool(told[1].code) is not good


def test_mail_to_who_unsubscribed_failed_and_is_an_opt_out() -> None:
    """Of newsletters only; one who complained before is not written to at all, and did not complain again."""
    base = {"event": "failed", "severity": "permanent", "user-variables": {"delivery": "d1-2-3"}}
    failed, opt_out = receipts_of(base | {"reason": "suppress-unsubscribe"}, "t")
    assert (failed.event, failed.action) == (Event.REJECTED, Action.NONE)
    assert (opt_out.event, opt_out.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
    assert (failed.tag, opt_out.tag) == ("d1-2-3", "d1-2-3")
    (complained,) = receipts_of(base | {"reason": "suppress-complaint"}, "t")
    assert (complained.event, complained.action) == (Event.REJECTED, Action.SUPPRESS_TARGET)


def test_reasons_hold_no_addresses() -> None:
    """Receiving servers repeat them."""
    status = {"code": 550, "enhanced-code": "5.1.1", "message": "5.1.1 <ann@example.com> unknown"}
    told = classify_event({"event": "failed", "severity": "permanent", "reason": "bounce", "delivery-status": status})
    assert told is not None
    assert "ann@" not in told[1].reason


def test_a_receipt_without_variables_time_or_headers_is_read_as_far_as_it_goes() -> None:
    """Nothing of it is needed but the event."""
    (receipt,) = receipts_of({"event": "opened", "user-variables": [], "timestamp": "soon", "message": None}, "t")
    assert receipt == Receipt(event=Event.OPENED, key="t", once="t")
