"""SendGrid's event webhook: its signature, and what each event says."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from messaging.local.sandbox import sendgrid_receipts
from messaging.local.sandbox.credentials import sendgrid_webhook_keys
from messaging.local.sandbox.webhooks import Webhook, WebhookRefusedError
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
from tests.unit.provider_cases import account_of
from workers.providers.sendgrid import read_receipts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PRIVATE, PUBLIC = sendgrid_webhook_keys()
_, FOREIGN = sendgrid_webhook_keys()


def read(inbound: Inbound, key: str = PUBLIC) -> Sequence[Receipt]:
    """The receipts of a request, to an account with that key."""
    account = account_of("sendgrid", {"apiKey": "SG.x", "webhookKey": key})
    return provider_cases.read(read_receipts, inbound, account)


def signed(body: object, at: datetime = NOW) -> Inbound:
    """A request with that body, signed at that time and come now."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() + b"\r\n"
    post = sendgrid_receipts.signed(Webhook("https://example.org/r", PRIVATE), data, now_s=int(at.timestamp()))
    return Inbound(method="POST", url=post.url, headers=post.headers, body=post.body, received_at=NOW)


def event(name: str, **more: object) -> dict[str, object]:
    """One event of a delivery."""
    return {
        "email": "ann@example.com",
        "timestamp": 1_795_000_000,
        "event": name,
        "sg_event_id": f"id-{name}",
        "sg_message_id": "abc.recvd-1-2.0",
        "delivery": "tag-1",
    } | more


def vector(shared_dir: Path) -> tuple[dict[str, Any], Inbound]:
    """The request SendGrid's own library is tested with, come an hour after it was signed."""
    found = json.loads((shared_dir / "contracts/vectors/sendgrid_event_webhook.json").read_text())
    at = datetime.fromtimestamp(int(found["header_timestamp"]), UTC)
    headers = {
        "x-twilio-email-event-webhook-signature": found["header_signature"],
        "x-twilio-email-event-webhook-timestamp": found["header_timestamp"],
    }
    inbound = Inbound(
        method="POST",
        url="https://example.org/r",
        headers=headers,
        body=found["raw_body"].encode(),
        received_at=at + timedelta(hours=1),
    )
    return found, inbound


def test_sendgrids_own_vector_is_genuine_and_another_byte_is_not(shared_dir: Path) -> None:
    """The line end at the end of the body is signed, too. It has no delivery of ours, so it brings no receipt."""
    found, inbound = vector(shared_dir)
    key = found["public_key_spki_b64"]
    assert list(read(inbound, key)) == []
    for body in (inbound.body.rstrip(), inbound.body + b" ", inbound.body.replace(b"world", b"World")):
        with pytest.raises(ForgedReceiptError):
            read(replace(inbound, body=body), key)


def test_the_key_may_be_given_as_a_whole_pem(shared_dir: Path) -> None:
    """As it comes out of a file."""
    found, inbound = vector(shared_dir)
    pem = f"-----BEGIN PUBLIC KEY-----\n{found['public_key_spki_b64']}\n-----END PUBLIC KEY-----\n"
    assert list(read(inbound, pem)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"x-twilio-email-event-webhook-timestamp": "1795000001"},
        {"x-twilio-email-event-webhook-timestamp": ""},
        {"x-twilio-email-event-webhook-timestamp": "soon"},
        {"x-twilio-email-event-webhook-signature": ""},
        {"x-twilio-email-event-webhook-signature": "AAAA"},
        {"x-twilio-email-event-webhook-signature": "ä"},
        {"x-twilio-email-event-webhook-signature": "!!"},
    ],
)
def test_a_header_that_is_not_sendgrids_is_forged(change: Mapping[str, str]) -> None:
    """The time is signed with the body."""
    inbound = signed([event("delivered")])
    with pytest.raises(ForgedReceiptError):
        read(replace(inbound, headers={**inbound.headers, **change}))


def test_letters_that_are_no_base64_do_not_pass_for_the_same_signature() -> None:
    """A decoder that passes over them would take a request it has seen for another one."""
    inbound = signed([event("delivered")])
    name = "x-twilio-email-event-webhook-signature"
    for wrong in (f"{inbound.headers[name]}\n", f"!{inbound.headers[name]}", inbound.headers[name].replace("=", "")):
        if wrong != inbound.headers[name]:
            with pytest.raises(ForgedReceiptError):
                read(replace(inbound, headers={**inbound.headers, name: wrong}))


def test_another_accounts_key_opens_nothing() -> None:
    """Each account verifies with its own."""
    with pytest.raises(ForgedReceiptError):
        read(signed([event("delivered")]), FOREIGN)


@pytest.mark.parametrize("key", ["", "nonsense", "MFkw", PRIVATE])
def test_without_a_key_of_use_a_request_is_kept_until_there_is_one(key: str) -> None:
    """It is neither taken nor refused."""
    with pytest.raises(ReceiptKeyMissingError):
        read(signed([event("delivered")]), key)


@pytest.mark.parametrize(("age", "is_taken"), [(23, True), (25, False), (-23, True), (-25, False)])
def test_a_request_signed_more_than_a_day_ago_is_refused(age: int, is_taken: bool) -> None:
    """SendGrid repeats a request for a day at most."""
    inbound = signed([event("delivered")], NOW - timedelta(hours=age))
    if is_taken:
        assert len(read(inbound)) == 1
    else:
        with pytest.raises(ForgedReceiptError, match="a day old"):
            read(inbound)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[[]]", b"null", b"[" * 100_000, b"<html>"])
def test_what_is_signed_and_no_list_of_events_is_unreadable(body: bytes) -> None:
    """Signed by mistake, or the protocol changed."""
    with pytest.raises(UnreadableReceiptError):
        read(signed(body))


BOUNCED = {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 <ann@example.com> unknown\x00"}


@pytest.mark.parametrize(
    ("told", "kind", "action", "code"),
    [
        (event("processed"), Event.ACCEPTED, Action.NONE, ""),
        (event("delivered", response="250 OK"), Event.DELIVERED, Action.DELIVERED, ""),
        (event("deferred", response="451 later"), Event.DEFERRED, Action.NONE, "deferred"),
        (event("bounce", **BOUNCED), Event.BOUNCED_HARD, Action.DISABLE_TARGET, "bounce 5.1.1"),
        (event("bounce", type="bounce", bounce_classification="Technical Failure"), Event.BOUNCED_SOFT,
         Action.SUPPRESS_TARGET, "bounce Technical Failure"),
        (event("bounce", type="blocked", status="4.2.2"), Event.BOUNCED_SOFT, Action.NONE, "bounce 4.2.2"),
        (event("dropped", reason="Bounced Address"), Event.BOUNCED_HARD, Action.DISABLE_TARGET, "dropped"),
        (event("dropped", reason="Spam Content"), Event.REJECTED, Action.REJECT_MESSAGE, "dropped"),
        (event("dropped", reason="Spam Reporting Address"), Event.REJECTED, Action.SUPPRESS_TARGET, "dropped"),
        (event("dropped", reason="Recipient List over Package Quota"), Event.REJECTED, Action.QUOTA, "dropped"),
        (event("spamreport"), Event.COMPLAINED, Action.SUPPRESS_TARGET, "spamreport"),
        (event("unsubscribe"), Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "unsubscribe"),
        (event("group_unsubscribe", asm_group_id=1), Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "group_unsubscribe"),
        (event("group_resubscribe", asm_group_id=1), Event.RESUBSCRIBED, Action.UNSUPPRESS_TARGET, ""),
        (event("open"), Event.OPENED, Action.NONE, ""),
        (event("click", url="https://example.org"), Event.CLICKED, Action.NONE, ""),
    ],
)  # fmt: skip
def test_each_event_says_what_happened_and_what_follows(
    told: dict[str, object], kind: Event, action: Action, code: str
) -> None:
    """With SendGrid's id as its key and our tag; no reason repeats an address."""
    (receipt,) = read(signed([told]))
    assert (receipt.event, receipt.action, receipt.code) == (kind, action, code)
    assert (receipt.tag, receipt.key, receipt.provider_message_id) == ("tag-1", told["sg_event_id"], "abc")
    assert receipt.at == datetime.fromtimestamp(1_795_000_000, UTC)
    assert receipt.address is None
    assert "ann@" not in receipt.reason
    assert receipt.reason.isprintable()


def test_a_drop_for_an_old_opt_out_fails_the_message_and_reaches_no_further() -> None:
    """An opt-out of newsletters must not block a password code, so it is told apart from the failure."""
    failed, opted_out = read(signed([event("dropped", reason="Unsubscribed Address")]))
    assert (failed.event, failed.action) == (Event.REJECTED, Action.NONE)
    assert (opted_out.event, opted_out.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)


def test_events_of_one_request_are_read_in_order() -> None:
    """SendGrid collects them."""
    found = read(signed([event("processed"), event("delivered", delivery="tag-2"), event("account_status_change")]))
    assert [(receipt.event, receipt.tag) for receipt in found] == [
        (Event.ACCEPTED, "tag-1"), (Event.DELIVERED, "tag-2")
    ]  # fmt: skip


def test_of_mail_that_was_not_ours_only_what_readers_ask_for_is_heeded() -> None:
    """The account may send for others as well: their bounces are no news, a complaint is."""
    foreign = [{**event(name), "delivery": None} for name in ("delivered", "bounce", "spamreport", "unsubscribe")]
    found = read(signed(foreign))
    assert [(receipt.event, receipt.address, receipt.tag, receipt.provider_message_id) for receipt in found] == [
        (Event.COMPLAINED, "ann@example.com", None, None), (Event.UNSUBSCRIBED, "ann@example.com", None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        {"timestamp": None}, {"timestamp": "soon"}, {"timestamp": 1e400}, {"timestamp": float("nan")},
        {"sg_message_id": 7}, {"sg_event_id": None}, {"reason": {"a": 1}}, {"status": ["5"]}, {"email": 1},
        {"reason": "\ud800 \x00 é"}, {"sg_message_id": "\ud800.x"},
    ],
)  # fmt: skip
def test_a_field_of_another_kind_costs_no_event(odd: dict[str, object]) -> None:
    """What can't be read is left out; what is told can be stored."""
    (receipt,) = read(signed([event("bounce", type="bounce") | odd]))
    assert receipt.event is Event.BOUNCED_HARD
    for text in (receipt.code, receipt.reason, receipt.provider_message_id or ""):
        assert "\x00" not in text
        text.encode()


@pytest.mark.parametrize("key", ["", "nonsense", PUBLIC])
def test_a_webhook_is_signed_with_a_private_key_only(key: str) -> None:
    """The sandbox says what it needs."""
    with pytest.raises(WebhookRefusedError, match="P-256"):
        sendgrid_receipts.signed(Webhook("http://127.0.0.1:1", key), b"[]", now_s=0)
