"""The Vonage adapter: its form, what the answers mean, its signatures and receipts. Nothing leaves httpx."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import pytest

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
from tests.unit.provider_cases import NOW, Handler, Row, account_of, outgoing, rows, without
from workers.providers.base import Account, Context
from workers.providers.vonage import (
    CODES,
    VonageAdapter,
    VonageSettings,
    classify,
    classify_balance,
    open_adapter,
    read_receipts,
)
from workers.providers.vonage_receipts import ERRORS, MAX_AGE, STATUSES, classify_receipt, sign

SETTINGS = VonageSettings("key", "secret", "447700900000", "https://example.org/r")
KEY = "signature_secret"


def send(handler: Handler, *addresses: str, settings: VonageSettings = SETTINGS, **message: Any) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""
    return provider_cases.send(
        handler, lambda client: VonageAdapter(settings, client, now=lambda: NOW), *addresses, **message
    )


def answer(*messages: Mapping[str, object]) -> bytes:
    """The body of an answer with these parts."""
    return json.dumps({"message-count": str(len(messages)), "messages": messages}).encode()


def form_of(**settings: Any) -> dict[str, str]:
    """The fields of the form one send posts."""
    forms = []

    def accept(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/sms/json"
        forms.append({key: value for key, (value,) in parse_qs(request.content.decode(), strict_parsing=True).items()})
        return httpx.Response(200, content=answer({"status": "0", "message-id": "A1"}))

    (outcome,) = send(accept, "+447700900001", **settings)
    assert outcome == Outcome(Action.ACCEPTED, provider_message_id="A1")
    return forms[0]


def test_a_message_is_posted_as_a_form_with_its_reference_and_lifetime() -> None:
    """The number without its plus, the secret not in the form."""
    assert form_of(content=Sms(content="50% & more\n{}")) == {
        "from": "447700900000", "text": "50% & more\n{}", "to": "447700900001", "ttl": "600000", "client-ref": "t0",
        "callback": "https://example.org/r",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), [("Grüße €", None), ("Привет", "unicode"), ("ok 😀", "unicode")])
def test_letters_outside_gsm_7_are_sent_as_unicode(text: str, kind: str | None) -> None:
    """Else they would arrive as question marks; others keep the longer parts."""
    form = form_of(content=Sms(content=text))
    assert form["text"] == text
    assert form.get("type") == kind


@pytest.mark.parametrize(("left", "ttl_ms"), [(-5, "20000"), (19.9, "20000"), (599.9, "599900"), (10**7, "604800000")])
def test_the_lifetime_stays_within_vonages_limits(left: float, ttl_ms: str) -> None:
    """Twenty seconds to a week."""
    assert form_of(expires_at=NOW + timedelta(seconds=left))["ttl"] == ttl_ms


@pytest.mark.parametrize("callback", ["", "https://example.org/" + "x" * 81])
def test_a_callback_vonage_would_not_take_stays_at_home(callback: str) -> None:
    """None, or one of more than a hundred characters: the account's own webhook is used then."""
    assert "callback" not in form_of(settings=replace(SETTINGS, callback=callback))


def test_a_check_tells_of_a_receipt_address_that_is_too_long() -> None:
    """Else receipts would stay away without a word."""

    def check(callback: str) -> Outcome:
        answer = httpx.Response(200, json={"value": 10.283, "autoReload": False})
        settings = replace(SETTINGS, callback=callback)
        return provider_cases.check(lambda _: answer, lambda client: VonageAdapter(settings, client))

    assert check("https://example.org/r") == Outcome(Action.ACCEPTED, reason="balance 10.28 EUR")
    outcome = check("https://example.org/" + "x" * 81)
    assert outcome.action is Action.ACCEPTED
    assert "dashboard" in outcome.reason


def test_every_recipient_has_a_request_of_its_own() -> None:
    """One number each, answers in the order of the recipients; what is no number is not asked about."""

    def reply(request: httpx.Request) -> httpx.Response:
        to = parse_qs(request.content.decode())["to"][0]
        part = {"status": "7", "error-text": "x"} if to.endswith("4") else {"status": "0", "message-id": to}
        return httpx.Response(200, content=answer(part))

    found = send(reply, "+447700900011", "+447700900004", "12345", "+447700900012")
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.SUPPRESS_TARGET, Action.DISABLE_TARGET, Action.ACCEPTED
    ]  # fmt: skip
    assert found[3].provider_message_id == "447700900012"


@pytest.mark.parametrize(
    ("content", "code"),
    [(Sms(content="x" * 3201), "12"), (Sms(content=""), "2"), (Email(subject="s", content="b"), "wrong_channel"),
     (Sms(content="\ud83d"), "content_invalid")],
    ids=["long", "empty", "email", "surrogate"],
)  # fmt: skip
def test_what_vonage_cannot_send_is_refused_before_sending(content: Content, code: str) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError) as caught:
        VonageAdapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content))
    assert caught.value.code == code


TAKEN = {"status": "0", "message-id": "A1"}
OTHER = {"status": "0", "message-id": "A2"}


@pytest.mark.parametrize(
    ("parts", "action", "identity"),
    [
        ((TAKEN, OTHER), Action.ACCEPTED, "A1"),
        ((TAKEN, {"status": "1", "error-text": "Throttled"}), Action.AMBIGUOUS_RETRY, "A1"),
        (({"status": "5"}, OTHER), Action.AMBIGUOUS_RETRY, "A2"),
        ((TAKEN, {"status": "9"}), Action.AMBIGUOUS_RETRY, "A1"),
        ((TAKEN, {"status": "7"}), Action.SUPPRESS_TARGET, "A1"),
        ((TAKEN, {"status": "5"}, {"status": "33"}), Action.DISABLE_TARGET, "A1"),
        (({"status": "1"}, {"status": "9"}), Action.QUOTA, None),
        (({"status": "5"}, {"status": "1"}), Action.RETRY_AFTER, None),
    ],
)
def test_a_text_of_several_parts_is_as_good_as_its_worst(
    parts: Sequence[Mapping[str, object]], action: Action, identity: str | None
) -> None:
    """Where some parts were taken a repetition might double them: unknown, unless it is never to be sent anyway."""
    outcome = classify(200, answer(*parts), {})
    assert (outcome.action, outcome.provider_message_id) == (action, identity)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Invalid value for param: to", Action.DISABLE_TARGET),
        ("to address is not numeric", Action.DISABLE_TARGET),
        ("Invalid value for param: from", Action.STOP_PROVIDER),
        ("Invalid value for param: ttl", Action.REJECT_MESSAGE),
        ("Invalid value for param: callback", Action.REJECT_MESSAGE),
        ("", Action.REJECT_MESSAGE),
    ],
)
def test_an_invalid_parameter_is_blamed_on_whom_it_belongs_to(text: str, action: Action) -> None:
    """The number, the sender or the message."""
    assert classify(200, answer({"status": "3", "error-text": text}), {}).action is action


def test_reasons_repeat_no_number() -> None:
    """What Vonage says may hold one."""
    outcome = classify(200, answer({"status": "6", "error-text": "+44 7700 900 001 is not routable"}), {})
    assert "7700" not in outcome.reason
    assert "not routable" in outcome.reason


@pytest.mark.parametrize(
    ("status", "action", "outage"),
    [
        (301, Action.STOP_PROVIDER, False),
        (401, Action.STOP_PROVIDER, False),
        (418, Action.REJECT_MESSAGE, False),
        (429, Action.RETRY_AFTER, False),
        (500, Action.AMBIGUOUS_RETRY, True),
        (502, Action.AMBIGUOUS_RETRY, True),
        (503, Action.RETRY, True),
    ],
)
def test_an_answer_without_messages_is_read_by_its_status(status: int, action: Action, outage: bool) -> None:
    """And the delay it asks for is kept."""
    outcome = classify(status, b"<html>", {"retry-after": "7"})
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.retry_after_s == (7 if action in {Action.RETRY, Action.RETRY_AFTER} else None)
    assert classify_balance(status, b"<html>", {}).action is action


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"value": "much"}', b"<html>"])
def test_a_balance_that_cannot_be_read_is_no_yes(body: bytes) -> None:
    """The endpoint may be somebody else's."""
    assert classify_balance(200, body, {}).action is Action.AMBIGUOUS_RETRY


def outcomes_of(row: Row) -> list[Outcome]:
    """The outcomes of every code a row names."""
    if row["where"].startswith("POST /sms/json"):
        return [classify(200, answer({"status": row["code"], "message-id": "A1"}), {})]
    if row["where"].startswith("delivery receipt"):
        status, _, codes = row["code"].rpartition("err ")
        if not codes.replace("/", "").isdecimal():
            return [classify_receipt(row["code"])]
        return [classify_receipt(status.strip() or "failed", code) for code in codes.split("/")]
    return [classify(row["http"], b"", {})]


def test_the_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """Answers and receipts. Those of the Messages API hold for the same HTTP statuses here; its 202 can't come."""
    found = [row for row in rows(shared_dir, "vonage") if row["http"] != 202]
    assert len(found) == 37
    for row in found:
        for outcome in outcomes_of(row):
            assert outcome.action == row["action"], (row, outcome)
    codes = {row["code"] for row in found if row["where"].startswith("POST /sms/json")}
    assert codes == {"0", *CODES}
    statuses = {
        row["code"] for row in found if row["where"].startswith("delivery receipt") and "err" not in row["code"]
    }
    assert statuses == set(STATUSES) - {"failed", "rejected"}


def test_the_signature_is_that_of_vonages_own_sdk(shared_dir: Path) -> None:
    """Fields sorted, each as &name=value; in the values alone & and = become _."""
    vector = json.loads((shared_dir / "contracts/vectors/vonage_signature.json").read_text())
    fields = {name: str(value) for name, value in vector["params"].items()}
    assert sign(fields, vector["secret"], vector["method"]) == vector["sig"]
    assert sign(fields | {"sig": "x"}, vector["secret"], vector["method"]) == vector["sig"]
    awkward = fields | {"param1": "a&b=c"}
    assert sign(awkward, vector["secret"], "sha256") == sign(fields | {"param1": "a_b_c"}, vector["secret"], "sha256")
    assert sign(awkward, vector["secret"], "sha256") != vector["sig"]


def test_each_method_signs_in_its_own_way() -> None:
    """MD5 over text and secret, or HMAC with any of four digests."""
    fields = {"a": "1", "timestamp": "1"}
    found = {method: sign(fields, KEY, method) for method in ("md5hash", "md5", "sha1", "sha256", "sha512")}
    assert {method: len(digest) for method, digest in found.items()} == {
        "md5hash": 32, "md5": 32, "sha1": 40, "sha256": 64, "sha512": 128
    }  # fmt: skip
    assert found["md5hash"] != found["md5"]
    with pytest.raises(ValueError, match="sha384"):
        sign(fields, KEY, "sha384")


RECEIPT = {
    "msisdn": "447700900001", "to": "447700900000", "network-code": "23410", "messageId": "0B00", "price": "0.03",
    "status": "delivered", "scts": "1810251310", "err-code": "0", "api-key": "abcd", "client-ref": "t1",
    "message-timestamp": "2026-11-23 00:00:00", "timestamp": str(int(NOW.timestamp())), "nonce": "n",
}  # fmt: skip


def account(*, key: str | None = KEY, method: str = "sha256") -> Account:
    """An account that signs its webhooks, or none."""
    credentials = {"apiKey": "key", "apiSecret": "secret"} | ({} if key is None else {"webhookKey": key})
    options = {"from": "447700900000", "signatureMethod": method}
    return account_of("vonage", credentials, options)


def request(fields: Mapping[str, object], how: str = "json", *, at: datetime = NOW) -> Inbound:
    """A webhook with these fields: as JSON, as a form, or as GET."""
    url, body, kind = "https://example.org/r", b"", {"json": "application/json; charset=utf-8"}.get(how, "")
    if how == "get":
        url += f"?{urlencode(fields)}"
    else:
        body = json.dumps(fields).encode() if how == "json" else urlencode(fields).encode()
    method = "GET" if how == "get" else "POST"
    return Inbound(method=method, url=url, headers={"content-type": kind}, body=body, received_at=at)


def signed(fields: Mapping[str, str], *, key: str = KEY, method: str = "sha256") -> dict[str, str]:
    """The fields with their signature, in capitals as Vonage writes it."""
    return dict(fields) | {"sig": sign(fields, key, method).upper()}


def read(inbound: Inbound, of: Account | None = None) -> Sequence[Receipt]:
    """What the reader makes of a webhook."""
    return provider_cases.read(read_receipts, inbound, of or account())


@pytest.mark.parametrize("how", ["json", "form", "get"])
@pytest.mark.parametrize("method", ["md5hash", "md5", "sha1", "sha256", "sha512"])
def test_a_signed_receipt_is_read_however_it_comes(how: str, method: str) -> None:
    """Under our own reference and Vonage's id, at Vonage's time."""
    (receipt,) = read(request(signed(RECEIPT, method=method), how), account(method=method))
    assert receipt == Receipt(
        event=Event.DELIVERED, key="0B00:delivered:0", tag="t1", provider_message_id="0B00", at=NOW
    )


def test_what_is_not_signed_with_the_accounts_key_is_forged() -> None:
    """No signature, another key or method, a changed field, an added one."""
    good = signed(RECEIPT)
    for fields, of in (
        (RECEIPT, account()),
        (signed(RECEIPT, key="other"), account()),
        (good, account(method="sha512")),
        (good, account(method="rot13")),
        (good | {"client-ref": "t2"}, account()),
        (good | {"extra": "1"}, account()),
        (good | {"sig": ""}, account()),
        (good | {"sig": "\ud800"}, account()),
    ):
        for how in ("json", "form") if "\ud800" not in fields.get("sig", "") else ("json",):
            with pytest.raises(ForgedReceiptError):
                read(request(fields, how), of)


@pytest.mark.parametrize("age", [MAX_AGE + timedelta(seconds=1), -MAX_AGE - timedelta(seconds=1)])
def test_a_signature_out_of_its_time_is_forged(age: timedelta) -> None:
    """Vonage repeats a receipt for a day; before and after that nobody but a stranger does."""
    with pytest.raises(ForgedReceiptError, match="out of date"):
        read(request(signed(RECEIPT), at=NOW + age))
    assert read(request(signed(RECEIPT), at=NOW + age * 0.99))


@pytest.mark.parametrize("timestamp", ["", "soon", "1e400", "nan"])
def test_a_signature_without_a_time_is_forged(timestamp: str) -> None:
    """It could be used for ever."""
    with pytest.raises(ForgedReceiptError):
        read(request(signed(RECEIPT | {"timestamp": timestamp})))


def test_an_account_that_signs_nothing_is_read_without_a_key() -> None:
    """The secret path is all there is; but a signature nobody checked waits for its key."""
    assert [receipt.event for receipt in read(request(RECEIPT), account(key=None))] == [Event.DELIVERED]
    with pytest.raises(ReceiptKeyMissingError):
        read(request(signed(RECEIPT)), account(key=None))


@pytest.mark.parametrize(
    ("inbound", "error"),
    [
        (replace(request({}), body=b"{"), UnreadableReceiptError),
        (replace(request({}), body=b"[]"), UnreadableReceiptError),
        (request({}, "form"), UnreadableReceiptError),
        (request({"hello": "1"}), UnreadableReceiptError),
        (request({"status": "delivered"}), UnreadableReceiptError),
    ],
)
def test_what_is_no_webhook_is_unreadable(inbound: Inbound, error: type[Exception]) -> None:
    """And, for an account with a key, forged, for its signature can't be checked."""
    with pytest.raises(error):
        read(inbound, account(key=None))
    with pytest.raises(ForgedReceiptError):
        read(inbound)


@pytest.mark.parametrize(
    ("status", "code", "event", "action"),
    [
        ("delivered", "0", Event.DELIVERED, Action.NONE),
        ("accepted", "0", Event.ACCEPTED, Action.NONE),
        ("buffered", "0", Event.DEFERRED, Action.NONE),
        ("unknown", "1", Event.ACCEPTED, Action.NONE),
        ("brand-new", "0", Event.ACCEPTED, Action.NONE),
        ("expired", "0", Event.BOUNCED_SOFT, Action.NONE),
        ("expired", "1", Event.BOUNCED_SOFT, Action.NONE),
        ("failed", "0", Event.BOUNCED_SOFT, Action.NONE),
        ("failed", "2", Event.BOUNCED_SOFT, Action.NONE),
        ("failed", "3", Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        ("rejected", "0", Event.REJECTED, Action.NONE),
        ("rejected", "6", Event.REJECTED, Action.NONE),
        ("failed", "15", Event.BOUNCED_SOFT, Action.NONE),
    ],
)
def test_a_receipt_becomes_an_event(status: str, code: str, event: Event, action: Action) -> None:
    """Good news has no code."""
    (receipt,) = read(request(signed(RECEIPT | {"status": status, "err-code": code})))
    assert (receipt.event, receipt.action) == (event, action)
    assert bool(receipt.code) == (event is not Event.DELIVERED)
    assert "4477" not in receipt.reason


def test_a_number_barred_by_its_owner_is_a_failure_and_an_opt_out() -> None:
    """Two events of one receipt, with one key each."""
    refused, opted_out = read(request(signed(RECEIPT | {"status": "rejected", "err-code": "4"})))
    assert (refused.event, refused.action) == (Event.REJECTED, Action.NONE)
    assert (opted_out.event, opted_out.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
    assert refused.tag == opted_out.tag == "t1"


def test_every_code_has_its_words() -> None:
    """None repeats another."""
    meanings = [meaning for _, meaning in ERRORS.values()]
    assert all(meanings)
    assert len(set(meanings)) == len(meanings)


MESSAGE = {
    "msisdn": "447700900001", "to": "447700900000", "messageId": "0B01", "text": "STOP", "keyword": "STOP",
    "type": "text", "message-timestamp": "2026-11-23 00:00:00", "timestamp": str(int(NOW.timestamp())), "nonce": "n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "keyword", "event"),
    [
        ("STOP", "STOP", Event.UNSUBSCRIBED),
        ("Stop it please", "STOP", Event.UNSUBSCRIBED),
        (" unsubscribe ", "UNSUBSCRIBE", Event.UNSUBSCRIBED),
        ("start", "START", Event.RESUBSCRIBED),
        ("Cancel my order", "CANCEL", None),
        ("Hello", "HELLO", None),
        ("", "", None),
    ],
)
def test_an_inbound_message_may_be_an_opt_out(text: str, keyword: str, event: Event | None) -> None:
    """By number, for no message of ours caused it; other messages are no news."""
    found = read(request(signed(MESSAGE | {"text": text, "keyword": keyword})))
    assert [receipt.event for receipt in found] == ([] if event is None else [event])
    for receipt in found:
        assert (receipt.address, receipt.tag, receipt.provider_message_id) == ("+447700900001", None, None)
        stops = receipt.event is Event.UNSUBSCRIBED
        assert receipt.action is (Action.SUPPRESS_TARGET if stops else Action.UNSUPPRESS_TARGET)


def test_an_opt_out_by_what_is_no_number_is_unreadable() -> None:
    """An alphanumeric sender can't be told apart from any other."""
    with pytest.raises(UnreadableReceiptError):
        read(request(signed(MESSAGE | {"msisdn": "Acme"})))


@pytest.mark.parametrize("missing", ["apiKey", "apiSecret", "from"])
def test_a_setting_that_is_missing_is_named(missing: str) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError, match=missing):
        open_adapter(without(account(), missing), Context(tokens=NoTokens()))


def test_secrets_do_not_print() -> None:
    """In a log or a traceback."""
    assert "hush" not in repr(replace(SETTINGS, api_secret="hush"))
