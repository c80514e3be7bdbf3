"""The Telesign adapter: its form and signature, and what answers and callbacks mean.

Telesign's own library (PyPI telesign) is the oracle for both signatures.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from messaging.errors import ContentError, SettingsError
from messaging.local.sandbox.web.telesign import STAND_IN
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
from tests.unit.provider_cases import BASE_URL, Handler, account_of, acting, outgoing, recipients, rows
from workers.providers.base import Context
from workers.providers.telesign import (
    TelesignAdapter,
    TelesignSettings,
    classify,
    classify_status,
    open_adapter,
    read_receipts,
    signed_headers,
)
from workers.providers.telesign_codes import EVENTS, STATUSES

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
KEY = base64.b64encode(b"not a real key, only its shape..").decode()
SETTINGS = TelesignSettings("FFFFFFFF-EEEE-DDDD-1234-AB1234567890", KEY, "15005550006")
URL = "https://push.example.org/v1/receipts/abc"
TEXT = Sms(content="Grüße & 1%")
TAKEN = {"reference_id": "B56259E45884010488343BAA15FB0002", "status": {"code": 290, "description": "In progress"}}


def build(client: httpx.AsyncClient, settings: TelesignSettings = SETTINGS) -> TelesignAdapter:
    """An adapter that believes it is `NOW`."""
    return TelesignAdapter(settings, client, now=lambda: NOW)


def send(handler: Handler, *addresses: str, settings: TelesignSettings = SETTINGS) -> Sequence[Outcome]:
    """The outcomes of one call; the endpoint has a path of its own."""
    message, people = outgoing(TEXT), recipients(*addresses)
    return acting(
        handler,
        lambda client: build(client, settings),
        lambda adapter: adapter.send(adapter.prepare(message), people),
        base_url=f"{BASE_URL}/behind",
    )


def requests_of(settings: TelesignSettings, *addresses: str) -> list[httpx.Request]:
    """The requests of one call."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=TAKEN)

    send(handler, *addresses, settings=settings)
    return seen


def test_the_form_has_the_number_without_its_plus_and_our_tag() -> None:
    """As Telesign wants it."""
    (request,) = requests_of(SETTINGS, "+447700900123")
    assert {name: values for name, (values,) in parse_qs(request.content.decode()).items()} == {
        "phone_number": "447700900123",
        "external_id": "t0",
        "message": "Grüße & 1%",
        "message_type": "ARN",
        "sender_id": "15005550006",
    }
    assert request.url.path == "/behind/v1/messaging"


@pytest.mark.parametrize(
    ("receipts_url", "callback"), [(URL, f"{URL}?delivery=t0"), (f"{URL}?a=b", f"{URL}?a=b&delivery=t0")]
)
def test_the_receipt_address_travels_with_the_tag(receipts_url: str, callback: str) -> None:
    """For accounts whose callbacks leave the external id out."""
    settings = TelesignSettings(SETTINGS.customer_id, KEY, "Shop", receipts_url)
    (request,) = requests_of(settings, "+447700900123")
    assert parse_qs(request.content.decode())["callback_url"] == [callback]


@pytest.mark.parametrize(("method", "body"), [("POST", "phone_number=44&message=%C3%BC+x"), ("GET", "")])
def test_requests_are_signed_as_telesigns_own_library_signs_them(method: str, body: str) -> None:
    """Header by header."""
    rest = import_module("telesign.rest")
    path = "/v1/messaging" if method == "POST" else "/v1/messaging/0"
    ours = signed_headers(SETTINGS, method, path, body, at=NOW, nonce="a-nonce")
    date = "Mon, 23 Nov 2026 05:00:00 GMT"
    theirs = rest.RestClient.generate_telesign_headers(
        SETTINGS.customer_id, KEY, method, path, body, date_rfc2616=date, nonce="a-nonce"
    )
    expected = {name.lower(): value for name, value in theirs.items() if value}
    assert ours == expected


def test_the_signature_is_over_what_is_sent() -> None:
    """The body byte for byte, and the path of the API without what the endpoint puts before it."""
    (request,) = requests_of(SETTINGS, "+447700900123")
    signed = signed_headers(
        SETTINGS,
        "POST",
        "/v1/messaging",
        request.content.decode(),
        at=NOW,
        nonce=request.headers["x-ts-nonce"],
    )
    assert request.headers["authorization"] == signed["authorization"]


def test_every_request_has_a_nonce_of_its_own() -> None:
    """Telesign refuses one it has seen."""
    found = requests_of(SETTINGS, *(f"+4477009001{n:02}" for n in range(20)))
    assert len({request.headers["x-ts-nonce"] for request in found}) == 20


def test_every_row_of_the_action_table_leads_to_its_action(shared_dir: Path) -> None:
    """Statuses of a transaction, and refusals by error code."""
    found = rows(shared_dir, "telesign")
    assert len(found) == 25
    for row in found:
        if row["http"] == 200:
            outcome = classify_status(row["code"])
        else:
            body = {"status": {"code": 500}, "errors": [{"code": int(row["code"]), "description": "no"}]}
            outcome = classify(row["http"], json.dumps(body).encode(), {})
        assert outcome.action == row["action"], row


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (400, {"status": {"code": 11000}}, Action.DISABLE_TARGET),
        (400, {"status": {"code": 11013}}, Action.STOP_PROVIDER),
        (400, {"status": {"code": 99999, "description": "Who knows"}}, Action.REJECT_MESSAGE),
        (403, {"status": {"code": 10033, "description": "447700900123 has not been verified for this trial account."}},
         Action.STOP_PROVIDER),
        (401, {"status": {"code": 501}, "errors": [{"code": -40002, "description": "Not authorized"}]},
         Action.STOP_PROVIDER),
        (401, {}, Action.STOP_PROVIDER),
        (402, {"status": {"code": 10030}}, Action.QUOTA),
        (429, {"status": {"code": 10019}}, Action.RETRY_AFTER),
        (429, {"errors": [{"code": -40008}]}, Action.QUOTA),
        (500, {}, Action.AMBIGUOUS_RETRY),
        (502, {}, Action.AMBIGUOUS_RETRY),
        (503, {}, Action.RETRY),
        (302, {}, Action.STOP_PROVIDER),
        (200, {"reference_id": "A", "status": {"code": 500}}, Action.RETRY),
        (200, {"reference_id": "A", "status": {"code": 230}}, Action.SUPPRESS_TARGET),
        (200, {"reference_id": "A", "status": {"code": 12345678}}, Action.AMBIGUOUS_RETRY),
        (200, {"status": {"code": 290}}, Action.AMBIGUOUS_RETRY),
    ],
)  # fmt: skip
def test_an_answer_leads_to_its_action(status: int, body: Mapping[str, object], action: Action) -> None:
    """And repeats no number; a server's failure is one of the provider as such, the rest is not."""
    outcome = classify(status, json.dumps(body).encode(), {})
    assert outcome.action is action
    assert outcome.code
    assert "447700900123" not in outcome.reason
    assert outcome.outage is (status >= 500 or body == {"status": {"code": 290}})


def test_a_number_in_an_unknown_refusal_is_not_repeated() -> None:
    """The text is Telesign's."""
    body = {"errors": [{"code": -77777, "description": "Parameter 447700900123 is bad"}]}
    outcome = classify(400, json.dumps(body).encode(), {})
    assert outcome.reason == "refused: parameter <number> is bad"


@pytest.mark.parametrize(("header", "delay_s"), [({"retry-after": "7"}, 7.0), ({}, None), ({"retry-after": "x"}, None)])
def test_a_delay_is_taken_over(header: Mapping[str, str], delay_s: float | None) -> None:
    """Where there is one."""
    assert classify(429, b"{}", header).retry_after_s == delay_s


@pytest.mark.parametrize(
    "content", [Sms(content=""), Sms(content="x" * 1601), Sms(content="\ud800"), Email(subject="s", content="c")]
)
def test_what_telesign_would_not_take_is_refused_once(content: Content) -> None:
    """Before any request."""
    with pytest.raises(ContentError):
        TelesignAdapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content))


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (404, {"errors": [{"code": -10001, "description": "ReferenceID not found"}]}, Action.ACCEPTED),
        (400, {"status": {"code": 11011, "description": "Invalid value for parameter reference_id"}}, Action.ACCEPTED),
        (200, TAKEN, Action.ACCEPTED),
        (401, {"errors": [{"code": -30006, "description": "Invalid signature"}]}, Action.STOP_PROVIDER),
        (404, {}, Action.STOP_PROVIDER),
        (429, {"errors": [{"code": -40007}]}, Action.RETRY_AFTER),
    ],
)
def test_a_check_asks_for_a_transaction_that_never_was(status: int, body: Mapping[str, object], action: Action) -> None:
    """To be told so takes good credentials."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=body)

    outcome = provider_cases.check(handler, build)
    assert outcome.action is action
    assert outcome.reason
    assert [request.method for request in seen] == ["GET"]


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        ({"customerId": ""}, "customerId"),
        ({"apiKey": " "}, "apiKey"),
        ({"from": None}, "from"),
        ({"apiKey": "no base64!"}, "apiKey"),
        ({"from": "x" * 21}, "from"),
        ({"customerId": "a\nb"}, "customerId"),
    ],
)
def test_what_is_missing_is_named(missing: Mapping[str, object], name: str) -> None:
    """For the operator."""
    fields = {"customerId": "C", "apiKey": KEY, "from": "+15005550006", **missing}
    account = account_of("telesign", fields, fields)
    with pytest.raises(SettingsError, match=name):
        open_adapter(account, Context(tokens=NoTokens()))


def callback(code: int, **more: object) -> bytes:
    """The body of a callback."""
    status = {"code": code, "description": "…", "updated_on": "2026-11-23T05:00:00.181346Z"}
    return json.dumps({"reference_id": "B56259E45884010488343BAA15FB0002", "status": status, **more}).encode()


def sign(body: bytes, key: str = KEY) -> str:
    """Telesign's signature of a callback."""
    return base64.b64encode(hmac.digest(base64.b64decode(key), body, "sha256")).decode()


def read(body: bytes, headers: Mapping[str, str] | None = None, *, url: str = URL, key: str = KEY) -> Sequence[Receipt]:
    """The receipts of a callback, signed well unless `headers` say otherwise."""
    given = {"authorization": f"TSA C:{sign(body)}"} if headers is None else headers
    request = Inbound(method="POST", url=url, headers=given, body=body, received_at=NOW)
    return provider_cases.read(read_receipts, request, account_of("telesign", {"apiKey": key}))


def test_a_callback_is_signed_as_telesigns_own_library_checks_it() -> None:
    """The library's check and ours agree, of good signatures and of bad ones."""
    util = import_module("telesign.util")
    body = callback(200, external_id="d1-2-3")
    for signature in (sign(body), sign(body + b" "), sign(body)[:-2], "", "A" * 44):
        good = util.verify_telesign_callback_signature(KEY, signature, body.decode())
        if good:
            assert read(body, {"x-ts-authorization": signature})
        else:
            with pytest.raises(ForgedReceiptError):
                read(body, {"x-ts-authorization": signature})
    assert util.verify_telesign_callback_signature(KEY, sign(body), body.decode())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "TSA C:"},
        {"authorization": f"Basic {base64.b64encode(b'C:key').decode()}"},
        {"authorization": f"TSA C:{sign(callback(203))}"},
        {"x-ts-authorization": sign(callback(200), base64.b64encode(b"another").decode())},
        {"authorization": "TSA C:\u00e9\u00e9"},
    ],
)
def test_a_callback_that_is_not_signed_with_the_key_is_forged(headers: Mapping[str, str]) -> None:
    """Telesign always sends both headers, so that none is as bad as a wrong one."""
    with pytest.raises(ForgedReceiptError):
        read(callback(200), headers)


def test_a_byte_more_is_forged() -> None:
    """Every byte of the body is signed."""
    body = callback(200)
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(ForgedReceiptError):
            read(changed, {"authorization": f"TSA C:{sign(body)}"})


@pytest.mark.parametrize("key", ["", "no base64!"])
def test_without_a_key_a_callback_is_held(key: str) -> None:
    """Until one is set."""
    with pytest.raises(ReceiptKeyMissingError):
        read(callback(200), key=key)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"status": 200}', b'{"status": {}}', b'{"status": {"code": 200}}', b"[" * 100_000]
)
def test_a_signed_callback_that_says_nothing_is_unreadable(body: bytes) -> None:
    """Whoever signed it."""
    with pytest.raises(UnreadableReceiptError):
        read(body)


@pytest.mark.parametrize(
    ("code", "event", "action"),
    [
        (200, Event.DELIVERED, Action.NONE),
        (203, Event.ACCEPTED, Action.NONE),
        (207, Event.BOUNCED_SOFT, Action.NONE),
        (210, Event.BOUNCED_SOFT, Action.NONE),
        (211, Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        (220, Event.BOUNCED_SOFT, Action.NONE),
        (230, Event.REJECTED, Action.SUPPRESS_TARGET),
        (295, Event.DEFERRED, Action.NONE),
        (501, Event.REJECTED, Action.NONE),
        (515, Event.REJECTED, Action.NONE),
        (10032, Event.REJECTED, Action.SUPPRESS_TARGET),
        (4711, Event.ACCEPTED, Action.NONE),
    ],
)
def test_a_status_tells_its_event(code: int, event: Event, action: Action) -> None:
    """One number's trouble never stops the account."""
    (receipt,) = read(callback(code, external_id="d1-2-3"))
    assert (receipt.event, receipt.action, receipt.tag) == (event, action, "d1-2-3")
    assert receipt.code == ("" if event is Event.DELIVERED else str(code))
    assert receipt.at == datetime(2026, 11, 23, 5, 0, 0, 181346, tzinfo=UTC)


def test_a_recipients_block_is_a_refusal_and_an_opt_out() -> None:
    """The first settles the delivery, the second suppresses the number."""
    refused, opted_out = read(callback(510, external_id="d1-2-3"))
    assert (refused.event, refused.action) == (Event.REJECTED, Action.NONE)
    assert (opted_out.event, opted_out.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
    assert refused.tag == opted_out.tag == "d1-2-3"


def test_the_signed_tag_goes_before_that_of_the_address() -> None:
    """The address is not signed; it serves where there is nothing else."""
    url = f"{URL}?delivery=d9-9-9"
    assert read(callback(200, external_id="d1-2-3"), url=url)[0].tag == "d1-2-3"
    assert read(callback(200, external_id=None), url=url)[0].tag == "d9-9-9"
    assert read(callback(200))[0].tag is None


def test_what_is_told_again_has_its_key_again() -> None:
    """And another status of the same message another."""
    keys = [read(callback(code))[0].key for code in (203, 200, 200)]
    assert keys[1] == keys[2] != keys[0]


def test_every_event_is_of_a_status_there_is() -> None:
    """The tables agree."""
    assert set(EVENTS) <= set(STATUSES)


def test_the_sandbox_makes_accounts_that_can_be_opened() -> None:
    """And its keys are the ones it signs with."""
    fields = STAND_IN.fields()
    account = account_of("telesign", fields, fields)
    assert isinstance(open_adapter(account, Context(tokens=NoTokens())), TelesignAdapter)
    assert STAND_IN.webhook_key(fields) == fields["apiKey"]
