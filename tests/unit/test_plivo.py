"""The Plivo adapter: its requests, what the answers mean, its signatures and callbacks. Nothing leaves httpx."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.errors import ContentError, SettingsError
from messaging.message import Content, Email, Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from tests.integration.mail_sandbox import NoTokens
from tests.unit import provider_cases
from tests.unit.provider_cases import NOW, Handler, account_of, outgoing, rows, without
from workers.providers.base import Account, Context
from workers.providers.plivo import (
    PlivoAdapter,
    PlivoSettings,
    classify,
    classify_account,
    open_adapter,
    read_receipts,
)
from workers.providers.plivo_receipts import ERRORS, classify_callback, sign_v2, sign_v3
from workers.providers.sms import tagged

AUTH_ID = "MA" + "X" * 18
TOKEN = "token"
SETTINGS = PlivoSettings(AUTH_ID, TOKEN, "+14155550100", "https://example.org/r")
oracle: Any = import_module("plivo.utils")  # of Plivo's own SDK, which has no types


def send(handler: Handler, *addresses: str, settings: PlivoSettings = SETTINGS, **message: Any) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""
    return provider_cases.send(
        handler, lambda client: PlivoAdapter(settings, client, now=lambda: NOW), *addresses, **message
    )


def fields_of(**settings: Any) -> dict[str, object]:
    """The fields one send posts."""
    found = []

    def accept(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v1/Account/{AUTH_ID}/Message/"
        found.append(json.loads(request.content))
        return httpx.Response(202, json={"message_uuid": ["A1"], "api_id": "1", "message": "message(s) queued"})

    (outcome,) = send(accept, "+14155550101", **settings)
    assert outcome == Outcome(Action.ACCEPTED, provider_message_id="A1")
    return dict(found[0])


def test_a_message_is_posted_as_json_with_a_callback_of_its_own() -> None:
    """The callback's address carries the delivery's tag."""
    assert fields_of(content=Sms(content="Grüße, 50% 😀\n")) == {
        "src": "+14155550100", "dst": "+14155550101", "text": "Grüße, 50% 😀\n", "type": "sms", "message_expiry": 600,
        "url": "https://example.org/r?delivery=t0", "method": "POST",
    }  # fmt: skip
    assert tagged("https://example.org/r?a=1", "m/1") == "https://example.org/r?a=1&delivery=m%2F1"


def test_without_a_public_address_there_is_no_callback() -> None:
    """Plivo would call nobody."""
    assert {"url", "method"}.isdisjoint(fields_of(settings=replace(SETTINGS, callback="")))


@pytest.mark.parametrize(("left", "expiry_s"), [(-5, 5), (4.9, 5), (599.9, 599), (10**6, 10_799)])
def test_the_expiry_stays_within_plivos_limits(left: float, expiry_s: int) -> None:
    """Five seconds to just under three hours."""
    assert fields_of(expires_at=NOW + timedelta(seconds=left))["message_expiry"] == expiry_s


def test_every_recipient_has_a_request_of_its_own() -> None:
    """One number each, answers in the order of the recipients; what is no number is not asked about."""

    def reply(request: httpx.Request) -> httpx.Response:
        to = json.loads(request.content)["dst"]
        if to.endswith("4"):
            return httpx.Response(202, json={"message_uuid": [], "invalid_number": [to]})
        return httpx.Response(202, json={"message_uuid": [to]})

    found = send(reply, "+14155550111", "+14155550104", "12345", "+14155550112")
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.DISABLE_TARGET, Action.DISABLE_TARGET, Action.ACCEPTED
    ]  # fmt: skip
    assert found[3].provider_message_id == "+14155550112"


@pytest.mark.parametrize(
    ("content", "code"),
    [(Sms(content="x" * 1601), "110"), (Sms(content="ж" * 738), "110"), (Sms(content=""), "400"),
     (Email(subject="s", content="b"), "wrong_channel"), (Sms(content="\ud83d"), "content_invalid")],
    ids=["long", "long in UCS-2", "empty", "email", "surrogate"],
)  # fmt: skip
def test_what_plivo_cannot_send_is_refused_before_sending(content: Content, code: str) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError) as caught:
        PlivoAdapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content))
    assert caught.value.code == code


@pytest.mark.parametrize("text", ["x" * 1600, "ж" * 737])
def test_a_text_of_the_greatest_length_is_sent(text: str) -> None:
    """In either alphabet."""
    assert fields_of(content=Sms(content=text))["text"] == text


@pytest.mark.parametrize(
    ("status", "error", "action"),
    [
        (400, "dst is not a valid number", Action.DISABLE_TARGET),
        (400, "Invalid destination +1 415 555 0101", Action.DISABLE_TARGET),
        (400, "sending to this destination is not enabled", Action.REJECT_MESSAGE),
        (400, "src is not assigned to the account", Action.STOP_PROVIDER),
        (400, "src and dst cannot be the same, dst is invalid", Action.REJECT_MESSAGE),
        (400, "Insufficient Credit", Action.QUOTA),
        (400, "text is too long", Action.REJECT_MESSAGE),
        (401, "authentication failed", Action.STOP_PROVIDER),
        (403, "geo permissions", Action.STOP_PROVIDER),
        (405, "", Action.REJECT_MESSAGE),
        (418, "", Action.REJECT_MESSAGE),
        (301, "", Action.STOP_PROVIDER),
    ],
)
def test_a_refusal_is_blamed_on_whom_it_belongs_to(status: int, error: str, action: Action) -> None:
    """Plivo tells in words; a number is retired only where the words call it not valid."""
    outcome = classify(status, json.dumps({"api_id": "1", "error": error}).encode(), {})
    assert outcome.action is action, outcome
    assert not outcome.outage
    assert "555" not in outcome.reason


@pytest.mark.parametrize(
    ("status", "action", "outage"),
    [
        (429, Action.RETRY_AFTER, False),
        (500, Action.AMBIGUOUS_RETRY, True),
        (502, Action.AMBIGUOUS_RETRY, True),
        (503, Action.RETRY, True),
    ],
)
def test_a_failure_is_read_by_its_status(status: int, action: Action, outage: bool) -> None:
    """And the delay it asks for is kept."""
    outcome = classify(status, b"<html>", {"retry-after": "7"})
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.retry_after_s == (7 if action in {Action.RETRY, Action.RETRY_AFTER} else None)
    assert classify_account(status, b"<html>", {}).action is action


def test_a_check_tells_name_and_credit() -> None:
    """And takes another's page for no account."""
    told = classify_account(200, b'{"name": "Acme", "cash_credits": "25.1", "auth_id": "MA"}', {})
    assert told == Outcome(Action.ACCEPTED, reason="account Acme, credit 25.1 USD")
    assert classify_account(200, b"<html>", {}).action is Action.AMBIGUOUS_RETRY


def test_the_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """Answers and callbacks, and the table of the latter holds no other code."""
    found = rows(shared_dir, "plivo")
    assert len(found) == 24
    for row in found:
        if row["where"] == "response":
            outcome = classify(row["http"], b'{"message_uuid": ["A1"]}', {})
        else:
            outcome = classify_callback("undelivered", row["code"])
        assert outcome.action == row["action"], row
    assert {row["code"] for row in found if row["where"] != "response"} == set(ERRORS)


URL = "https://example.org/v1/receipts/key?delivery=t1"
FORM = {
    "From": "14155550100", "To": "14155550101", "MessageUUID": "A1", "Status": "delivered", "ErrorCode": "000",
    "Units": "1",
}  # fmt: skip
NAMES = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=6)
VALUES = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n\t"), max_size=8)
PLAIN = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
"""The SDK reads no other letters in an address."""


@given(query=st.dictionaries(NAMES, PLAIN, max_size=3), form=st.dictionaries(NAMES, VALUES, max_size=4), nonce=NAMES)
def test_the_signature_is_that_of_plivos_own_sdk(query: Mapping[str, str], form: Mapping[str, str], nonce: str) -> None:
    """Any fields, in any order, in the address and in the form."""
    url = "https://example.org/v1/receipts/key" + (f"?{urlencode(query)}" if query else "")
    signature = sign_v3(url, list(form.items())[::-1], nonce, TOKEN)
    assert oracle.validate_v3_signature("POST", url, nonce, TOKEN, signature, dict(form))
    assert oracle.validate_signature(url, nonce, sign_v2(url, nonce, TOKEN), TOKEN)
    assert not oracle.validate_v3_signature("POST", url, f"{nonce}0", TOKEN, signature, dict(form))


def test_a_get_is_signed_over_its_address() -> None:
    """As Plivo's SDK has it, which takes the fields from there."""
    url = f"{URL}&{urlencode(FORM)}"
    assert oracle.validate_v3_signature("GET", url, "n", TOKEN, sign_v3(url, [], "n", TOKEN))


def account(token: str | None = TOKEN) -> Account:
    """An account with this token."""
    credentials = {"authId": AUTH_ID} | ({} if token is None else {"authToken": token})
    return account_of("plivo", credentials, {"from": "+14155550100"})


def request(
    form: Mapping[str, str], *, url: str = URL, token: str = TOKEN, version: str = "v3", **more: str
) -> Inbound:
    """A callback with these fields, signed; `more` replaces headers."""
    signature = sign_v3(url, list(form.items()), "n", token) if version == "v3" else sign_v2(url, "n", token)
    headers = {f"x-plivo-signature-{version}": signature, f"x-plivo-signature-{version}-nonce": "n"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    return Inbound(method="POST", url=url, headers=headers, body=urlencode(form).encode(), received_at=NOW)


def read(inbound: Inbound, of: Account | None = None) -> Sequence[Receipt]:
    """What the reader makes of a callback."""
    return provider_cases.read(read_receipts, inbound, of or account())


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_a_callback_is_read_under_the_tag_of_its_address(version: str) -> None:
    """With either version of the signature."""
    (receipt,) = read(request(FORM, version=version))
    assert receipt == Receipt(event=Event.DELIVERED, key="A1:delivered:000", tag="t1", provider_message_id="A1")


def test_a_callback_by_get_is_read_as_well() -> None:
    """All fields stand in the address."""
    url = f"{URL}&{urlencode(FORM)}"
    inbound = replace(request({}, url=url), method="GET", body=b"")
    assert [receipt.event for receipt in read(inbound)] == [Event.DELIVERED]


def test_one_right_signature_among_several_is_enough() -> None:
    """Plivo puts several where the token was changed."""
    good = request(FORM)
    several = f"bm8=, {good.headers['x-plivo-signature-v3']},bm8="
    assert read(replace(good, headers={**good.headers, "x-plivo-signature-v3": several}))


def test_what_is_not_signed_with_the_accounts_token_is_forged() -> None:
    """No signature, another token or nonce, another tag in the address, another field."""
    good = request(FORM)
    for forged in (
        replace(good, headers={}),
        request(FORM, token="other"),
        request(FORM, version="v2", token="other"),
        request(FORM, x_plivo_signature_v3_nonce="m"),
        request(FORM, x_plivo_signature_v3=""),
        request(FORM, x_plivo_signature_v3="é\ud800"),
        replace(good, url=URL.replace("t1", "t2")),
        replace(good, url=URL.replace("https", "http")),
        replace(good, body=good.body.replace(b"delivered", b"undelivered")),
        replace(good, body=good.body + b"&x=1"),
    ):
        with pytest.raises(ForgedReceiptError):
            read(forged)


def test_the_older_signature_does_not_stand_in_for_a_wrong_newer_one() -> None:
    """It covers less: whoever has one could change the fields."""
    both = request(FORM, version="v2", x_plivo_signature_v3="bm8=", x_plivo_signature_v3_nonce="n")
    with pytest.raises(ForgedReceiptError):
        read(both)


def test_without_a_token_a_callback_waits_for_one() -> None:
    """It can't be checked."""
    with pytest.raises(ReceiptKeyMissingError):
        read(request(FORM), account(None))


@pytest.mark.parametrize("form", [{}, {"hello": "1"}, {"From": "1"}])
def test_what_is_no_callback_is_unreadable(form: Mapping[str, str]) -> None:
    """Though it is signed."""
    with pytest.raises(UnreadableReceiptError):
        read(request(form))


def test_a_callback_that_names_no_message_is_unreadable() -> None:
    """It leads nowhere."""
    with pytest.raises(UnreadableReceiptError):
        read(request({"Status": "sent"}, url="https://example.org/v1/receipts/key"))


@pytest.mark.parametrize(
    ("status", "error", "event", "action"),
    [
        ("queued", "", Event.ACCEPTED, Action.NONE),
        ("sent", "", Event.ACCEPTED, Action.NONE),
        ("delivered", "000", Event.DELIVERED, Action.NONE),
        ("Delivered", "000", Event.DELIVERED, Action.NONE),
        ("read", "", Event.OPENED, Action.NONE),
        ("failed", "", Event.BOUNCED_SOFT, Action.NONE),
        ("failed", "420", Event.BOUNCED_SOFT, Action.NONE),
        ("failed", "900", Event.REJECTED, Action.QUOTA),
        ("failed", "910", Event.REJECTED, Action.STOP_PROVIDER),
        ("undelivered", "50", Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("undelivered", "70", Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("undelivered", "80", Event.BOUNCED_SOFT, Action.NONE),
        ("undelivered", "30", Event.REJECTED, Action.NONE),
        ("undelivered", "77777", Event.BOUNCED_SOFT, Action.NONE),
        ("rejected", "", Event.REJECTED, Action.NONE),
    ],
)
def test_a_callback_becomes_an_event(status: str, error: str, event: Event, action: Action) -> None:
    """Good news has no code."""
    (receipt,) = read(request(FORM | {"Status": status, "ErrorCode": error}))
    assert (receipt.event, receipt.action) == (event, action)
    assert bool(receipt.code) == (event in {Event.BOUNCED_SOFT, Event.BOUNCED_HARD, Event.REJECTED})


def test_a_status_nobody_knows_is_no_news() -> None:
    """It may say anything."""
    assert read(request(FORM | {"Status": "pondered"})) == []


def test_a_recipient_who_said_stop_is_a_failure_and_an_opt_out() -> None:
    """Two events of one callback."""
    refused, opted_out = read(request(FORM | {"Status": "undelivered", "ErrorCode": "200"}))
    assert (refused.event, refused.action) == (Event.REJECTED, Action.NONE)
    assert (opted_out.event, opted_out.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
    assert refused.tag == opted_out.tag == "t1"


@pytest.mark.parametrize(
    ("text", "event"),
    [("STOP", Event.UNSUBSCRIBED), (" stop\n", Event.UNSUBSCRIBED), ("Start", Event.RESUBSCRIBED),
     ("Stop it please", None), ("Hello", None), ("", None)],
)  # fmt: skip
def test_an_inbound_message_may_be_an_opt_out(text: str, event: Event | None) -> None:
    """By number, for no message of ours caused it; other messages are no news."""
    form = {"From": "14155550101", "To": "14155550100", "Type": "sms", "MessageUUID": "B1", "Text": text}
    found = read(request(form, url="https://example.org/v1/receipts/key"))
    assert [receipt.event for receipt in found] == ([] if event is None else [event])
    for receipt in found:
        assert (receipt.address, receipt.tag, receipt.provider_message_id) == ("+14155550101", None, None)
        stops = receipt.event is Event.UNSUBSCRIBED
        assert receipt.action is (Action.SUPPRESS_TARGET if stops else Action.UNSUPPRESS_TARGET)


def test_an_opt_out_by_what_is_no_number_is_unreadable() -> None:
    """An alphanumeric sender can't be told apart from any other."""
    with pytest.raises(UnreadableReceiptError):
        read(request({"From": "Acme", "Text": "STOP"}))


@pytest.mark.parametrize("missing", ["authId", "authToken", "from"])
def test_a_setting_that_is_missing_is_named(missing: str) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError, match=missing):
        open_adapter(without(account(), missing), Context(tokens=NoTokens()))


def test_secrets_do_not_print() -> None:
    """In a log or a traceback."""
    assert "hush" not in repr(replace(SETTINGS, auth_token="hush"))
