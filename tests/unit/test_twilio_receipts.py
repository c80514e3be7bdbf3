"""Twilio's status callbacks and answers: signatures, held against Twilio's own validator, and what they say."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator, get_signature_algorithm

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
from workers.providers.twilio_receipts import read_receipts, sign

TOKEN, SHARED = "12345", "shared secret"
URL = "https://example.org/v1/receipts/key?delivery=tag-1"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
SETTINGS = "x-twilio-webhooks-signature-settings"
SHA256 = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"


def read(inbound: Inbound, **credentials: str) -> Sequence[Receipt]:
    """The receipts of a request."""
    known = {"accountSid": "AC1", "authToken": TOKEN} | credentials
    account = account_of("twilio", known)
    return provider_cases.read(read_receipts, inbound, account)


def told(
    fields: Mapping[str, str],
    *,
    url: str = URL,
    signed_url: str | None = None,
    secret: str = TOKEN,
    method: str = "POST",
) -> Inbound:
    """A form, signed by Twilio's own library."""
    signature = RequestValidator(secret).compute_signature(signed_url or url, fields if method == "POST" else {})
    return Inbound(
        method=method,
        url=url,
        headers={"content-type": FORM, "x-twilio-signature": signature},
        body=urlencode(fields).encode() if method == "POST" else b"",
        received_at=datetime(2026, 11, 23, tzinfo=UTC),
    )


def status(message_status: str, error: str = "", **more: str) -> dict[str, str]:
    """A status callback's fields."""
    fields = {"MessageSid": "SM1", "MessageStatus": message_status, "To": "+15005550010", "From": "+15005550006"}
    return fields | ({"ErrorCode": error} if error else {}) | more


def answer(text: str, **more: str) -> dict[str, str]:
    """A text message somebody sent."""
    return {
        "MessageSid": "SM2",
        "SmsStatus": "received",
        "From": "+15005550010",
        "To": "+15005550006",
        "Body": text,
    } | more


def test_twilios_own_vector_is_signed_the_same(shared_dir: Path) -> None:
    """SHA-1 and SHA-256; a field that comes twice counts once."""
    vector = json.loads((shared_dir / "contracts/vectors/twilio_request_signature.json").read_text())
    token, url, params = vector["auth_token"], vector["url"], list(vector["params"].items())
    assert sign(token, url, params) == vector["x_twilio_signature_hmac_sha1"]
    assert sign(token, url, params, algorithm="HMAC_SHA256") == vector["hmac_sha256_sharedkey"]
    doubled = [tuple(pair) for pair in vector["duplicate_params"]["params"]]
    assert sign(token, url, doubled) == vector["duplicate_params"]["signature"]


TEXT = st.text(st.characters(codec="utf-8"), max_size=15)


@given(fields=st.dictionaries(TEXT, TEXT, max_size=5), algorithm=st.sampled_from(["HMAC_SHA1", "HMAC_SHA256"]))
def test_any_form_is_signed_as_twilios_library_signs_it(fields: dict[str, str], algorithm: str) -> None:
    """Whatever its letters."""
    expected = RequestValidator(TOKEN).compute_signature(URL, fields, algorithm)
    assert sign(TOKEN, URL, list(fields.items()), algorithm=algorithm) == expected


@pytest.mark.parametrize(
    ("url", "signed_url"),
    [
        ("https://example.org/r?delivery=t", "https://example.org:443/r?delivery=t"),
        ("https://example.org:443/r?delivery=t", "https://example.org/r?delivery=t"),
        ("http://example.org/r?delivery=t", "http://example.org:80/r?delivery=t"),
        ("https://example.org:8443/r?delivery=t", "https://example.org/r?delivery=t"),
        ("https://u:p@example.org:8443/r?delivery=t", "https://u:p@example.org/r?delivery=t"),
    ],
)
def test_an_address_is_signed_with_or_without_its_port(url: str, signed_url: str) -> None:
    """Twilio does either."""
    (receipt,) = read(told(status("delivered"), url=url, signed_url=signed_url))
    assert receipt.event is Event.DELIVERED


def test_what_is_not_signed_with_the_accounts_token_is_forged() -> None:
    """Another token, another field, another address, no signature, a port that is none."""
    genuine = told(status("delivered"))
    assert read(genuine)
    for forged in (
        told(status("delivered"), secret="another"),
        replace(genuine, body=genuine.body.replace(b"delivered", b"failed")),
        replace(genuine, body=genuine.body + b"&ErrorCode=30005"),
        replace(genuine, url=URL.replace("tag-1", "tag-2")),
        replace(genuine, url="https://example.org:port/"),
        replace(genuine, url="http://[broken/"),
        replace(genuine, headers={"content-type": FORM}),
        replace(genuine, headers={**genuine.headers, "x-twilio-signature": "ä"}),
        replace(genuine, headers={**genuine.headers, SETTINGS: "algorithm=HMAC_SHA256"}),
        replace(genuine, headers={**genuine.headers, SETTINGS: "algorithm=NONE"}),
    ):
        with pytest.raises(ForgedReceiptError):
            read(forged)


def test_an_account_without_a_token_keeps_what_comes() -> None:
    """Until it has one."""
    with pytest.raises(ReceiptKeyMissingError):
        read(told(status("delivered")), authToken="")


@pytest.mark.parametrize("settings", [SHA256, " algorithm = HMAC_SHA256 , key=k", "key=k,algorithm=hmac_sha256"])
def test_a_shared_key_signs_with_sha_256(settings: str) -> None:
    """Announced in a header; its secret is the account's webhookKey, and not the auth token."""
    fields = status("delivered")
    signature = RequestValidator(SHARED).compute_signature(URL, fields, "HMAC_SHA256")
    inbound = replace(told(fields), headers={"content-type": FORM, "x-twilio-signature": signature, SETTINGS: settings})
    assert RequestValidator(SHARED).validate(URL, fields, signature, get_signature_algorithm(settings))
    (receipt,) = read(inbound, webhookKey=SHARED)
    assert receipt.event is Event.DELIVERED
    with pytest.raises(ForgedReceiptError):
        read(inbound, webhookKey="another")
    with pytest.raises(ReceiptKeyMissingError):
        read(inbound)


def json_told(body: bytes, *, digest: str | None = None) -> Inbound:
    """A JSON body, signed by its digest in the address."""
    url = f"{URL}&bodySHA256={hashlib.sha256(body).hexdigest() if digest is None else digest}"
    signature = RequestValidator(TOKEN).compute_signature(url, {})
    headers = {"content-type": "application/json", "x-twilio-signature": signature}
    return Inbound(method="POST", url=url, headers=headers, body=body, received_at=datetime(2026, 11, 23, tzinfo=UTC))


def test_a_json_body_is_signed_by_its_digest() -> None:
    """As Twilio's library checks it; another body under the same address is forged."""
    body = json.dumps(status("undelivered", "30005") | {"ErrorCode": 30005}).encode()
    inbound = json_told(body)
    assert RequestValidator(TOKEN).validate(inbound.url, body.decode(), inbound.headers["x-twilio-signature"])
    (receipt,) = read(inbound)
    assert (receipt.event, receipt.tag) == (Event.BOUNCED_HARD, "tag-1")
    for forged in (replace(inbound, body=body + b" "), json_told(body, digest=""), json_told(body, digest="ä")):
        with pytest.raises(ForgedReceiptError):
            read(forged)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"[" * 100_000, b'{"MessageStatus": {}}', b"\xff"])
def test_json_that_makes_no_sense_is_unreadable(body: bytes) -> None:
    """It is signed all the same."""
    with pytest.raises(UnreadableReceiptError):
        read(json_told(body))


def test_a_request_by_get_says_it_in_the_address() -> None:
    """Where the console is set so."""
    url = f"{URL}&{urlencode(status('delivered'))}"
    (receipt,) = read(told({}, url=url, method="GET"))
    assert (receipt.event, receipt.tag) == (Event.DELIVERED, "tag-1")


@pytest.mark.parametrize(
    "fields", [{"MessageStatus": "delivered"}, {"CallSid": "CA1"}, {}, {"Body": "STOP", "MessageSid": "SM1"}]
)
def test_what_is_signed_and_says_nothing_of_a_message_is_unreadable(fields: dict[str, str]) -> None:
    """A call's report, or a report without its message."""
    with pytest.raises(UnreadableReceiptError):
        read(told(fields))


@pytest.mark.parametrize(
    ("fields", "event", "action", "code"),
    [
        (status("queued"), Event.ACCEPTED, Action.NONE, ""),
        (status("sent"), Event.ACCEPTED, Action.NONE, ""),
        (status("delivered"), Event.DELIVERED, Action.DELIVERED, ""),
        (status("read"), Event.OPENED, Action.NONE, ""),
        (status("undelivered", "30005"), Event.BOUNCED_HARD, Action.DISABLE_TARGET, "30005"),
        (status("failed", "30006"), Event.BOUNCED_HARD, Action.DISABLE_TARGET, "30006"),
        (status("undelivered", "30003"), Event.BOUNCED_SOFT, Action.NONE, "30003"),
        (status("undelivered", "30008"), Event.BOUNCED_SOFT, Action.RETRY, "30008"),
        (status("failed", "30036"), Event.BOUNCED_SOFT, Action.REJECT_MESSAGE, "30036"),
        (status("failed"), Event.BOUNCED_SOFT, Action.REJECT_MESSAGE, "failed"),
        (status("undelivered", "30007"), Event.REJECTED, Action.REJECT_MESSAGE, "30007"),
        (status("canceled"), Event.REJECTED, Action.REJECT_MESSAGE, "canceled"),
        (status("undelivered", "30004"), Event.REJECTED, Action.SUPPRESS_TARGET, "30004"),
        (status("failed", "21610"), Event.REJECTED, Action.SUPPRESS_TARGET, "21610"),
        (status("failed", "30002"), Event.REJECTED, Action.STOP_PROVIDER, "30002"),
        (status("failed", "30023"), Event.REJECTED, Action.QUOTA, "30023"),
    ],
)  # fmt: skip
def test_each_status_says_what_happened_and_what_follows(
    fields: dict[str, str], event: Event, action: Action, code: str
) -> None:
    """The tag comes from the address; every status of a message has a key of its own."""
    (receipt,) = read(told(fields))
    assert (receipt.event, receipt.action, receipt.code) == (event, action, code)
    assert (receipt.tag, receipt.provider_message_id, receipt.address) == ("tag-1", "SM1", None)
    assert receipt.key.startswith(f"SM1 {fields['MessageStatus']}")


def test_a_status_nobody_knows_is_no_news() -> None:
    """Twilio may add some."""
    assert list(read(told(status("partially_delivered")))) == []


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        (answer("STOP"), Event.UNSUBSCRIBED),
        (answer(" stop \n"), Event.UNSUBSCRIBED),
        (answer("Unsubscribe"), Event.UNSUBSCRIBED),
        (answer("quit"), Event.UNSUBSCRIBED),
        (answer("BASTA", OptOutType="STOP"), Event.UNSUBSCRIBED),
        (answer("start"), Event.RESUBSCRIBED),
        (answer("UNSTOP"), Event.RESUBSCRIBED),
        (answer("hola", OptOutType="START"), Event.RESUBSCRIBED),
        (answer("STOP please"), None),
        (answer("HELP"), None),
        (answer("STOP", OptOutType="HELP"), None),
        (answer(""), None),
    ],
)
def test_an_answer_opts_out_or_in_by_one_word_alone(fields: dict[str, str], event: Event | None) -> None:
    """Whoever sent it is meant, and no delivery; other texts are no news."""
    found = read(told(fields))
    if event is None:
        assert list(found) == []
        return
    (receipt,) = found
    assert (receipt.event, receipt.address, receipt.key) == (event, "+15005550010", "SM2")
    assert (receipt.tag, receipt.provider_message_id) == (None, None)
    assert receipt.action is (Action.SUPPRESS_TARGET if event is Event.UNSUBSCRIBED else Action.UNSUPPRESS_TARGET)
    assert "+1500" not in receipt.reason
