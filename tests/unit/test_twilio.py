"""The Twilio adapter: its form, and what the answers mean. Requests are captured at httpx's transport."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import httpx
import pytest

from messaging.errors import ContentError
from messaging.message import Content, Email, Sms
from messaging.outcome import Action, Outcome
from tests.unit import provider_cases
from tests.unit.provider_cases import NOW, SOON, Handler
from tests.unit.test_sendgrid import NoTokens
from workers.providers.base import Account, Context, Outgoing, Recipient
from workers.providers.destinations import DestinationRefusedError
from workers.providers.http1 import lost
from workers.providers.sms import tagged
from workers.providers.twilio import (
    CALLBACK_CODES,
    TwilioAdapter,
    TwilioSettings,
    classify,
    classify_account,
    classify_callback,
    open_adapter,
)

SID = "AC" + "0" * 32
SETTINGS = TwilioSettings(SID, "token", "+15005550006")


def send(handler: Handler, *addresses: str, settings: TwilioSettings = SETTINGS, **message: Any) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""
    return provider_cases.send(
        handler, lambda client: TwilioAdapter(settings, client, now=lambda: NOW), *addresses, **message
    )


def form_of(
    *,
    settings: TwilioSettings = SETTINGS,
    content: Content | None = None,
    expires_at: datetime = SOON,
) -> dict[str, str]:
    """The fields of the form one send posts."""
    forms = []

    def accept(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/2010-04-01/Accounts/{SID}/Messages.json"
        forms.append({key: value for key, (value,) in parse_qs(request.content.decode(), strict_parsing=True).items()})
        return httpx.Response(201, json={"sid": "SM1", "status": "queued"})

    (outcome,) = send(accept, "+15005550010", settings=settings, content=content, expires_at=expires_at)
    assert outcome == Outcome(Action.ACCEPTED, provider_message_id="SM1")
    return forms[0]


def test_a_message_is_posted_as_a_form_with_its_sender_and_validity() -> None:
    """Any letters survive the form."""
    assert form_of(content=Sms(content="50% & más + 😀\n")) == {
        "From": "+15005550006", "Body": "50% & más + 😀\n", "To": "+15005550010", "ValidityPeriod": "600"
    }  # fmt: skip


def test_a_messaging_service_takes_the_place_of_a_number() -> None:
    """MG… goes into MessagingServiceSid."""
    service = "MG" + "a" * 32
    form = form_of(settings=TwilioSettings(SID, "token", service))
    assert form["MessagingServiceSid"] == service
    assert "From" not in form


@pytest.mark.parametrize(("left", "validity_s"), [(-5, "1"), (0, "1"), (599.9, "599"), (10**6, "36000")])
def test_the_validity_period_stays_within_twilios_limits(left: float, validity_s: str) -> None:
    """1 to 36,000 seconds, never longer than the message may live."""
    assert form_of(expires_at=NOW + timedelta(seconds=left))["ValidityPeriod"] == validity_s


def test_the_status_callback_carries_the_deliverys_tag() -> None:
    """Twilio hands back the address as it was given, so a report finds its delivery."""
    form = form_of(settings=TwilioSettings(SID, "token", "Acme", "https://example.org/cb?a=1"))
    assert form["StatusCallback"] == "https://example.org/cb?a=1&delivery=t0"
    assert tagged("https://example.org/cb", "m/1") == "https://example.org/cb?delivery=m%2F1"


def test_every_recipient_has_a_request_of_its_own() -> None:
    """One To each, answers in the order of the recipients."""

    def answer(request: httpx.Request) -> httpx.Response:
        to = parse_qs(request.content.decode())["To"][0]
        if to.endswith("4"):
            return httpx.Response(400, json={"code": 21610, "message": "opted out", "status": 400})
        return httpx.Response(201, json={"sid": f"SM{to}"})

    found = send(answer, "+15005550011", "+15005550004", "12345", "+15005550012")
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.SUPPRESS_TARGET, Action.DISABLE_TARGET, Action.ACCEPTED
    ]  # fmt: skip
    assert found[3].provider_message_id == "SM+15005550012"


@pytest.mark.parametrize(
    ("content", "code"),
    [(Sms(content="x" * 1601), "21617"), (Sms(content=""), "21602"), (Email(subject="s", content="b"), "wrong_channel"),
     (Sms(content="\ud83d"), "content_invalid")],
    ids=["long", "empty", "email", "surrogate"],
)  # fmt: skip
def test_what_twilio_cannot_send_is_refused_before_sending(content: Content, code: str) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError) as caught:
        TwilioAdapter(SETTINGS, httpx.AsyncClient()).prepare(Outgoing(message_id="m", content=content, expires_at=NOW))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (200, {"sid": "SM1"}, Action.ACCEPTED),
        (201, {}, Action.AMBIGUOUS_RETRY),
        (301, {}, Action.STOP_PROVIDER),
        (400, {"code": 99999, "message": "new"}, Action.REJECT_MESSAGE),
        (401, {}, Action.STOP_PROVIDER),
        (402, {}, Action.QUOTA),
        (429, {}, Action.RETRY),
        (500, {}, Action.AMBIGUOUS_RETRY),
        (502, {}, Action.AMBIGUOUS_RETRY),
        (503, {}, Action.RETRY),
        (504, {}, Action.AMBIGUOUS_RETRY),
    ],
)
def test_a_code_in_no_table_is_read_by_its_status(status: int, body: dict[str, object], action: Action) -> None:
    """Only 429 and 503 promise that nothing was processed."""
    assert classify(status, json.dumps(body).encode(), {}).action is action


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff"])
def test_an_unreadable_answer_is_judged_by_its_status_alone(body: bytes) -> None:
    """A 201 we can't read is unknown: the message may be on its way."""
    assert classify(201, body, {}).action is Action.AMBIGUOUS_RETRY
    assert classify(503, body, httpx.Headers({"Retry-After": "2"})) == Outcome(
        Action.RETRY, "503", "the service is unavailable", retry_after_s=2.0, outage=True
    )


def test_closing_waits_for_the_answer_of_a_request_in_flight() -> None:
    """A worker that stops doesn't turn what it has sent into something unknown."""

    async def run() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def slow(_: httpx.Request) -> httpx.Response:
            asked.set()
            await answer.wait()
            return httpx.Response(201, json={"sid": "SM1"})

        client = httpx.AsyncClient(transport=httpx.MockTransport(slow), base_url="https://twilio.test")
        adapter = TwilioAdapter(SETTINGS, client, now=lambda: NOW)
        prepared = adapter.prepare(Outgoing(message_id="m", content=Sms(content="x"), expires_at=NOW))
        person = Recipient(1, "+15005550010", "t", str(UUID(int=1)))
        sending = asyncio.create_task(adapter.send(prepared, [person]))
        await asked.wait()
        closing = asyncio.create_task(adapter.aclose())
        await asyncio.sleep(0)
        assert not client.is_closed
        answer.set()
        assert [outcome.action for outcome in await sending] == [Action.ACCEPTED]
        await closing
        assert client.is_closed

    asyncio.run(run())


def test_reasons_hold_no_numbers() -> None:
    """Twilio's words repeat the number; ours don't."""
    body = json.dumps({"code": 99999, "message": "To +1 (500) 555-0010 is bad"}).encode()
    assert classify(400, body, {}).reason == "refused: To <number> is bad"


def all_errors(kind: type[httpx.HTTPError]) -> list[type[httpx.HTTPError]]:
    """`kind` and every class below it."""
    return [kind, *(below for child in kind.__subclasses__() for below in all_errors(child))]


NEVER_LEFT = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError}


@pytest.mark.parametrize("kind", all_errors(httpx.RequestError))
def test_every_error_of_httpx_says_whether_the_request_may_have_arrived(kind: type[httpx.RequestError]) -> None:
    """No connection: not sent. Anything later: unknown, and a text message is not sent twice on a guess."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("broken", request=request)

    (outcome,) = send(fail, "+15005550010")
    assert outcome == lost(kind("broken"), "Twilio")
    if kind in NEVER_LEFT:
        assert outcome.action is Action.RETRY
    elif kind in {httpx.UnsupportedProtocol, DestinationRefusedError}:
        assert outcome.action is Action.STOP_PROVIDER
    else:
        assert outcome.action is Action.AMBIGUOUS_RETRY


@pytest.mark.parametrize(
    ("status", "code", "action"),
    [
        ("delivered", "", Action.DELIVERED),
        ("read", "", Action.DELIVERED),
        ("sent", "", Action.NONE),
        ("queued", "", Action.NONE),
        ("undelivered", "", Action.REJECT_MESSAGE),
        ("failed", "99999", Action.REJECT_MESSAGE),
        ("undelivered", "30005", Action.DISABLE_TARGET),
    ],
)
def test_a_status_callback_is_read_by_its_error_code_first(status: str, code: str, action: Action) -> None:
    """Without a code the status decides."""
    assert classify_callback(status, code).action is action
    assert "30005" in CALLBACK_CODES


@pytest.mark.parametrize(
    ("status", "body", "outage"),
    [
        (500, {"code": 20500}, True),
        (503, {"code": 20503}, True),
        (502, {}, True),
        (201, {}, True),
        (201, {"sid": "SM1"}, False),
        (400, {"code": 21211}, False),
        (401, {"code": 20003}, False),
        (401, {"code": 20005}, False),
        (429, {"code": 20429}, False),
        (302, {}, False),
    ],
)
def test_only_twilios_own_failure_is_an_outage(status: int, body: dict[str, object], outage: bool) -> None:
    """A server error or a yes that can't be read; not what is wrong with a number, the content or the account."""
    outcome = classify(status, json.dumps(body).encode(), {})
    assert outcome.outage is outage
    assert outcome.throttled is (status == 429), "which spends no attempt"


def check(handler: Handler) -> Outcome:
    """What a check says, answered by `handler`."""
    return provider_cases.check(handler, lambda client: TwilioAdapter(SETTINGS, client))


@pytest.mark.parametrize("state", [["active"], {"a": 1}, None, 7])
def test_an_account_whose_state_is_no_word_is_no_answer(state: object) -> None:
    """And the check does not fail over it."""
    outcome = classify_account(200, json.dumps({"status": state}).encode(), {})
    assert outcome.action is Action.RETRY


def test_a_check_asks_for_the_account() -> None:
    """A GET, which sends nothing; the account's name is told, unless it is somebody's address."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", f"/2010-04-01/Accounts/{SID}.json")
        return httpx.Response(
            200, json={"status": "active", "type": "Full", "friendly_name": "Acme", "auth_token": "t"}
        )

    assert check(answer) == Outcome(Action.ACCEPTED, reason="the account 'Acme' is active")
    body = b'{"status": "active", "type": "Trial", "friendly_name": "ann@example.com"}'
    outcome = classify_account(200, body, {})
    assert outcome.action is Action.ACCEPTED
    assert "verified numbers only" in outcome.reason
    assert "ann" not in outcome.reason


@pytest.mark.parametrize(
    ("status", "body", "action", "outage"),
    [
        (200, b'{"status": "suspended"}', Action.STOP_PROVIDER, False),
        (200, b'{"status": "closed"}', Action.STOP_PROVIDER, False),
        (200, b"<html>", Action.RETRY, True),
        (200, b"[" * 100_000, Action.RETRY, True),
        (401, b'{"code": 20003}', Action.STOP_PROVIDER, False),
        (404, b'{"code": 20404}', Action.STOP_PROVIDER, False),
        (503, b"", Action.RETRY, True),
    ],
)
def test_what_a_check_is_answered_is_read(status: int, body: bytes, action: Action, outage: bool) -> None:
    """Only an account that is active may send."""
    outcome = classify_account(status, body, {})
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.reason


def test_a_check_never_raises() -> None:
    """An error of the network is an outcome."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("broken", request=request)

    assert check(fail) == lost(httpx.ConnectError("broken"), "Twilio")


@pytest.mark.parametrize(
    ("option", "own", "expected"),
    [
        ("https://example.org/cb", "https://msg.example.org/r/key", "https://example.org/cb"),
        ("", "https://msg.example.org/r/key", "https://msg.example.org/r/key"),
        ("", None, ""),
    ],
)
def test_reports_go_to_the_accounts_own_address_unless_told_otherwise(
    option: str, own: str | None, expected: str
) -> None:
    """An installation without a public address asks for none."""
    account = Account(
        provider_id=1,
        public_id="p",
        kind="twilio",
        credentials={"accountSid": SID, "authToken": "t"},
        options={"from": "+15005550006", "statusCallback": option},
    )
    adapter = open_adapter(account, Context(tokens=NoTokens(), receipts_url=own))
    assert isinstance(adapter, TwilioAdapter)
    assert adapter._settings.status_callback == expected
