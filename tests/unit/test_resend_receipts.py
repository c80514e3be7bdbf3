"""Resend's receipts: signatures, which a library nobody here wrote makes, and what each event means."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from svix.webhooks import Webhook, WebhookVerificationError

from messaging.local.sandbox.web.resend import sign
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
from workers.providers.resend import read_receipts
from workers.providers.resend_receipts import TOLERANCE, classify_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = f"whsec_{b64encode(secrets.token_bytes(24)).decode()}"
DELIVERED: dict[str, Any] = {
    "type": "email.delivered",
    "created_at": "2026-03-01T11:59:50.500Z",
    "data": {"email_id": "56761188-7520-42d8", "to": ["ann@example.com"], "tags": {"delivery": "d1-2-3"}},
}


def account(key: str | None = KEY) -> Account:
    """An account with this signing secret."""
    credentials = {"apiKey": "k"} | ({} if key is None else {"webhookKey": key})
    return account_of("resend", credentials)


def inbound(headers: Mapping[str, str], body: bytes, received_at: datetime = NOW) -> Inbound:
    """A request with these headers and this body."""
    return Inbound(method="POST", url="https://h.example/r/x", headers=headers, body=body, received_at=received_at)


def signed(event: object = None, key: str = KEY, at: datetime = NOW) -> Inbound:
    """A request as the library of Svix signs it."""
    body = json.dumps(DELIVERED if event is None else event)
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": Webhook(key).sign("msg_1", at, body),
    }
    return inbound(headers, body.encode())


def with_header(request: Inbound, name: str, value: str) -> Inbound:
    """The request with another header."""
    return inbound({**request.headers, name: value}, request.body)


def read(request: Inbound, key: str | None = KEY) -> Sequence[Receipt]:
    """The receipts of a request."""
    return provider_cases.read(read_receipts, request, account(key))


def test_a_signed_event_is_read() -> None:
    """The id of the request, the same when it is told again, is its key; tag and id lead to the delivery."""
    assert read(signed()) == (
        Receipt(
            event=Event.DELIVERED,
            key="msg_1",
            tag="d1-2-3",
            provider_message_id="56761188-7520-42d8",
            at=datetime(2026, 3, 1, 11, 59, 50, 500_000, tzinfo=UTC),
            action=Action.DELIVERED,
        ),
    )


def test_the_documented_signature_holds(shared_dir: Path) -> None:
    """Of a body that says nothing to us."""
    vector = json.loads((shared_dir / "contracts/vectors/resend_svix_webhook.json").read_text())
    headers = {name.replace("_", "-"): vector[name] for name in ("svix_id", "svix_timestamp", "svix_signature")}
    at = datetime.fromtimestamp(int(vector["svix_timestamp"]), UTC)
    with pytest.raises(UnreadableReceiptError):
        read(inbound(headers, vector["raw_body"].encode(), at), vector["secret"])
    with pytest.raises(ForgedReceiptError):
        read(inbound(headers, vector["raw_body"].encode() + b" ", at), vector["secret"])


def test_what_the_sandbox_signs_the_library_takes() -> None:
    """And we do."""
    body = json.dumps(DELIVERED).encode()
    at = datetime.now(UTC)
    headers = sign(KEY, "msg_2", int(at.timestamp()), body)
    Webhook(KEY).verify(body, headers)
    assert [receipt.key for receipt in read(inbound(headers, body, at))] == ["msg_2"]
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(body + b" ", headers)


def test_one_of_several_signatures_is_enough() -> None:
    """A key that is being replaced signs beside the new one; other versions are passed over."""
    request = signed()
    good = request.headers["svix-signature"]
    other = signed(key=f"whsec_{b64encode(b'another').decode()}").headers["svix-signature"]
    assert read(with_header(request, "svix-signature", f"v1a,x {other} {good}"))
    for bad in (other, "", good.partition(",")[2], "v2," + good.partition(",")[2], good.replace("v1,", "v1:")):
        with pytest.raises(ForgedReceiptError):
            read(with_header(request, "svix-signature", bad))


@pytest.mark.parametrize(
    ("name", "value"),
    [("svix-id", "msg_2"), ("svix-id", ""), ("svix-timestamp", "1772366401"), ("svix-timestamp", ""),
     ("svix-signature", "v1,\xff"), ("svix-signature", "")],
)  # fmt: skip
def test_a_header_that_changed_is_forged(name: str, value: str) -> None:
    """All of them are signed."""
    with pytest.raises(ForgedReceiptError):
        read(with_header(signed(), name, value))


def test_a_body_that_changed_is_forged() -> None:
    """Every byte of it is signed."""
    request = signed()
    for place in range(len(request.body)):
        body = bytearray(request.body)
        body[place] ^= 1
        with pytest.raises(ForgedReceiptError):
            read(inbound(request.headers, bytes(body)))


def test_another_key_is_forged_and_none_is_said() -> None:
    """Without one it is kept until there is; what is no key at all is none."""
    with pytest.raises(ForgedReceiptError):
        read(signed(), f"whsec_{b64encode(b'another').decode()}")
    for key in (None, "", "whsec_", "whsec_!", "ü"):
        with pytest.raises(ReceiptKeyMissingError, match="webhookKey"):
            read(signed(), key)


def test_an_old_signature_is_out_of_date() -> None:
    """After five minutes somebody else tells it; our clock or theirs may be a little off."""
    for at in (NOW - TOLERANCE, NOW + TOLERANCE):
        assert read(signed(at=at))
    for at in (NOW - TOLERANCE - timedelta(seconds=1), NOW + TOLERANCE + timedelta(seconds=1)):
        with pytest.raises(ForgedReceiptError, match="old"):
            read(signed(at=at))


def test_a_signature_without_a_time_is_forged() -> None:
    """Even one that holds."""
    body = json.dumps(DELIVERED).encode()
    headers = sign(KEY, "msg_1", 0, body)
    with pytest.raises(ForgedReceiptError):
        read(inbound(headers, body))
    for timestamp in ("soon", "9" * 30):
        signature = Webhook(KEY).sign("msg_1", NOW, body.decode())
        headers = {"svix-id": "msg_1", "svix-timestamp": timestamp, "svix-signature": signature}
        with pytest.raises(ForgedReceiptError):
            read(inbound(headers, body))


@pytest.mark.parametrize("event", [[], {}, {"type": "email.sent"}, 3, "x"])
def test_a_signed_request_that_says_nothing_is_unreadable(event: object) -> None:
    """It is kept for somebody to look at."""
    with pytest.raises(UnreadableReceiptError):
        read(signed(event))


@pytest.mark.parametrize("kind", ["domain.created", "contact.updated", "email.scheduled", "email.received", "new"])
def test_events_that_are_not_about_a_delivery_bring_nothing(kind: str) -> None:
    """They are answered well all the same."""
    assert read(signed(DELIVERED | {"type": kind})) == ()


def test_the_rows_of_events_lead_to_their_actions(shared_dir: Path) -> None:
    """Each, with what the row says of it."""
    found = rows(shared_dir, "resend", "event webhook")
    assert len(found) == 11
    for row in found:
        kind, _, rest = row["code"].partition(" ")
        word = rest.partition("=")[2] or rest
        data = {"bounce": {"type": word}, "suppressed": {"reason": word}, "failed": {"reason": word}}
        told = classify_event(kind, data)
        assert told is not None
        assert told[1].action == row["action"], row


@pytest.mark.parametrize(
    ("kind", "data", "event"),
    [
        ("email.sent", {}, Event.ACCEPTED),
        ("email.delivered", {}, Event.DELIVERED),
        ("email.delivery_delayed", {}, Event.DEFERRED),
        ("email.opened", {}, Event.OPENED),
        ("email.clicked", {}, Event.CLICKED),
        ("email.complained", {}, Event.COMPLAINED),
        ("email.bounced", {"bounce": {"type": "Permanent", "subType": "NoEmail"}}, Event.BOUNCED_HARD),
        ("email.bounced", {"bounce": {"type": "Transient", "subType": "MailboxFull"}}, Event.BOUNCED_SOFT),
        ("email.bounced", {}, Event.BOUNCED_SOFT),
        ("email.suppressed", {"suppressed": {"reason": "previous_bounce"}}, Event.BOUNCED_HARD),
        ("email.suppressed", {"suppressed": {"reason": "previous_complaint"}}, Event.REJECTED),
        ("email.suppressed", {"suppressed": {"reason": "new"}}, Event.REJECTED),
        ("email.failed", {"failed": {"reason": "reached_daily_quota"}}, Event.REJECTED),
        ("email.failed", {}, Event.REJECTED),
    ],
)
def test_each_event_has_its_word(kind: str, data: dict[str, Any], event: Event) -> None:
    """Good news carries no code."""
    told = classify_event(kind, data)
    assert told is not None
    assert told[0] is event
    good = event in {Event.ACCEPTED, Event.DELIVERED, Event.OPENED, Event.CLICKED}
    assert bool(told[1].code) is not good
    assert good or told[1].reason


def test_reasons_hold_no_addresses() -> None:
    """Receiving servers repeat them."""
    bounce = {"type": "Permanent", "diagnosticCode": ["smtp; 550 5.1.1 <ann@example.com> unknown"]}
    told = classify_event("email.bounced", {"bounce": bounce})
    assert told is not None
    assert "550 5.1.1" in told[1].reason
    assert "ann@" not in told[1].reason


@pytest.mark.parametrize(
    ("tags", "tag"),
    [({"delivery": "d1"}, "d1"), ([{"name": "other", "value": "x"}, {"name": "delivery", "value": "d1"}], "d1"),
     ([{"name": []}, 3], None), ({}, None), (None, None), ("delivery", None)],
)  # fmt: skip
def test_our_tag_is_found_in_either_form(tags: object, tag: str | None) -> None:
    """An object by the description, a list as the request had it."""
    (receipt,) = read(signed(DELIVERED | {"data": {"tags": tags}, "created_at": "soon"}))
    assert (receipt.tag, receipt.at, receipt.provider_message_id) == (tag, None, None)
