"""The SendGrid adapter: requests, splitting, and what the answers mean. Requests are captured at httpx's transport."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sendgrid.helpers import mail

from messaging.channel import Role
from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Content, Email, Sms
from messaging.outcome import Action, Outcome
from tests.unit import provider_cases
from tests.unit.provider_cases import Handler
from workers.providers.base import Account, Context, Minted, Outgoing, Recipient
from workers.providers.destinations import DestinationRefusedError
from workers.providers.http1 import lost
from workers.providers.mime import Mailbox, Sender, mailbox
from workers.providers.sendgrid import (
    SendgridAdapter,
    classify,
    classify_event,
    classify_scopes,
    open_adapter,
    personalization,
)

SENDER = Sender(mailbox=Mailbox("news", "example.org"), name="News", reply_to=Mailbox("help", "example.org"))
NOW_S = 1_800_000_000.0


class NoTokens:
    """SendGrid needs no tokens."""

    async def get(self, key: str, mint: Callable[[], Any]) -> str:
        """Never asked."""
        raise AssertionError(key, mint)

    async def replace(self, key: str, rejected: str, mint: Callable[[], Any]) -> str:
        """Never asked."""
        raise AssertionError(key, rejected, mint, Minted)


def recipients(*addresses: str) -> list[Recipient]:
    """Deliveries to these addresses, tagged t0, t1 and so on."""
    return [
        Recipient(target_id=n, address=address, tag=f"t{n}", uuid=str(UUID(int=n)))
        for n, address in enumerate(addresses)
    ]


def outgoing(content: Content) -> Outgoing:
    """A message with this content."""
    return Outgoing(message_id="m1", content=content, expires_at=datetime(2027, 1, 1, tzinfo=UTC))


def send(handler: Handler, to: Sequence[Recipient], email: Email | None = None) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""

    async def run() -> Sequence[Outcome]:
        transport = httpx.MockTransport(handler)
        async with httpx.AsyncClient(transport=transport, base_url="https://sendgrid.test") as client:
            adapter = SendgridAdapter(SENDER, client, now_s=lambda: NOW_S)
            return await adapter.send(adapter.prepare(outgoing(email or Email(subject="s", content="b"))), to)

    return asyncio.run(run())


def captured(to: Sequence[Recipient], email: Email | None = None) -> list[dict[str, Any]]:
    """The bodies of the requests one call makes when all are accepted."""
    bodies: list[dict[str, Any]] = []

    def accept(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v3/mail/send"
        bodies.append(json.loads(request.content))
        return httpx.Response(202, headers={"X-Message-Id": f"id{len(bodies)}"})

    assert {outcome.action for outcome in send(accept, to, email)} == {Action.ACCEPTED}
    return bodies


def addresses(body: dict[str, Any]) -> list[str]:
    """Whom a request is for, in order."""
    return [person["to"][0]["email"] for person in body["personalizations"]]


def refusing(*bad: str, each: int = 1000) -> Handler:
    """Answers 400 naming the first `each` of these addresses, as SendGrid does, and 202 when none is left."""

    def answer(request: httpx.Request) -> httpx.Response:
        errors = [
            {"message": "Does not contain a valid address.", "field": f"personalizations.{n}.to.0.email", "help": None}
            for n, address in enumerate(addresses(json.loads(request.content)))
            if address in bad
        ]
        if errors:
            return httpx.Response(400, json={"errors": errors[:each]})
        return httpx.Response(202, headers={"X-Message-Id": "id"})

    return answer


def test_every_recipient_has_a_personalization_of_its_own() -> None:
    """A thousand people in one request never see each other."""
    people = recipients(*(f"u{n}@example.com" for n in range(1000)))
    (body,) = captured(people)
    assert len(body["personalizations"]) == 1000
    assert body["personalizations"][7] == {
        "to": [{"email": "u7@example.com"}],
        "headers": {"Message-ID": "<t7@example.org>"},
        "custom_args": {"delivery": "t7"},
    }


def test_the_spliced_request_is_the_one_sendgrids_helper_builds() -> None:
    """Names, text before HTML, attachment, headers and reply-to, as the official library writes them."""
    email = Email(
        subject="Hi", content="<p>b", html=True, text="b", reply_to_email="r@example.org", reply_to_name="R",
        headers={"X-A": "1"}, attachments=(Attachment(filename="a.txt", content_type="text/plain", content=b"x"),),
    )  # fmt: skip
    person = Recipient(target_id=1, address="ann@example.com", tag="t", uuid=str(UUID(int=1)), name="Ann")
    expected = mail.Mail(
        from_email=mail.From("news@example.org", "News"),
        to_emails=mail.To("ann@example.com", "Ann"),
        subject="Hi",
        plain_text_content="b",
        html_content="<p>b",
    )
    expected.reply_to = mail.ReplyTo("r@example.org", "R")
    expected.header = mail.Header("X-A", "1")
    expected.personalizations[0].add_header(mail.Header("Message-ID", "<t@example.org>"))
    expected.personalizations[0].add_custom_arg(mail.CustomArg("delivery", "t"))
    expected.attachment = mail.Attachment("eA==", "a.txt", "text/plain", "attachment")
    assert captured([person], email) == [expected.get()]


def test_the_accounts_reply_to_stands_in_where_the_message_has_none() -> None:
    """And the plain part is made from the markup."""
    (body,) = captured(recipients("a@example.com"), Email(subject="s", content="<p>Hi</p>", html=True))
    assert body["reply_to"] == {"email": "help@example.org"}
    assert body["content"] == [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi</p>"}]


def test_a_copy_is_addressed_to_its_own_reader_only() -> None:
    """SendGrid would send to whoever To or Cc showed."""
    person = Recipient(target_id=1, address="bcc@example.com", tag="t", uuid=str(UUID(int=1)), role=Role.BCC)
    assert personalization(person, mailbox(person.address), "example.org")["to"] == [{"email": "bcc@example.com"}]


def test_an_address_that_occurs_twice_goes_into_a_second_request() -> None:
    """SendGrid takes an address once a request; both deliveries are made."""
    first, second = captured(recipients("a@example.com", "b@example.com", "A@example.com"))
    assert (addresses(first), addresses(second)) == (["a@example.com", "b@example.com"], ["A@example.com"])


@pytest.mark.parametrize("each", [1, 1000])
def test_one_bad_address_fails_alone_and_the_rest_is_sent_at_once(each: int) -> None:
    """Whether SendGrid names the bad ones together or one after the other."""
    people = recipients("a@example.com", "bad1@example.com", "b@example.com", "bad2@example.com")
    found = send(refusing("bad1@example.com", "bad2@example.com", each=each), people)
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED, Action.DISABLE_TARGET
    ]  # fmt: skip
    assert [outcome.provider_message_id for outcome in found] == ["id", None, "id", None]


def test_what_is_no_address_at_all_is_never_sent() -> None:
    """It would refuse the whole request."""
    found = send(refusing(), recipients("a@example.com", "nonsense"))
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.DISABLE_TARGET]


def test_a_server_that_always_finds_another_bad_one_is_not_asked_for_ever() -> None:
    """What is left after twenty requests was certainly not sent and waits for its next attempt."""
    calls = 0

    def refuse_first(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        field = "personalizations.0.to.0.email"
        return httpx.Response(400, json={"errors": [{"message": "no", "field": field}]}, request=request)

    found = send(refuse_first, recipients(*(f"u{n}@example.com" for n in range(50))))
    assert calls == 20
    assert [outcome.action for outcome in found] == [Action.DISABLE_TARGET] * 20 + [Action.RETRY] * 30


def test_a_fault_of_one_recipient_that_is_not_its_address_leaves_the_address_alone() -> None:
    """The message is rejected for it; the target stays good."""

    def answer(request: httpx.Request) -> httpx.Response:
        if b'"t1"' not in request.content:
            return httpx.Response(202)
        return httpx.Response(
            400, json={"errors": [{"message": "too long", "field": "personalizations.1.custom_args"}]}
        )

    found = send(answer, recipients("a@example.com", "b@example.com"))
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.REJECT_MESSAGE]


def test_a_400_about_the_message_fails_it_for_all() -> None:
    """No recipient is to blame, so none is disabled and nothing is sent again."""
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(400, json={"errors": [{"message": "bad", "field": "content.0.value"}]})

    found = send(answer, recipients("a@example.com", "b@example.com"))
    assert [outcome.action for outcome in found] == [Action.REJECT_MESSAGE] * 2
    assert len(calls) == 1
    assert "content.0.value" in found[0].reason


def test_a_refused_sender_stops_the_provider() -> None:
    """Every message would fail: the account's fromEmail is wrong."""
    body = json.dumps(
        {"errors": [{"message": "The from email does not contain a valid address.", "field": "from.email"}]}
    )
    assert classify(400, body.encode(), {}, NOW_S).action is Action.STOP_PROVIDER


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ("The provided authorization grant is invalid, expired, or revoked", Action.STOP_PROVIDER),
        ("Maximum credits exceeded", Action.QUOTA),
    ],
)
def test_a_401_is_read_for_whether_the_key_or_the_credit_is_at_fault(message: str, action: Action) -> None:
    """Both come with the same status."""
    body = json.dumps({"errors": [{"message": message, "field": None}]}).encode()
    assert classify(401, body, {}, NOW_S).action is action


def test_a_429_waits_until_the_limit_is_reset() -> None:
    """X-RateLimit-Reset is a time, Retry-After a duration."""
    outcome = classify(429, b"", httpx.Headers({"X-RateLimit-Reset": str(int(NOW_S) + 17)}), NOW_S)
    assert (outcome.action, outcome.retry_after_s) == (Action.RETRY_AFTER, 17.0)
    assert classify(429, b"", httpx.Headers({"X-RateLimit-Reset": "1"}), NOW_S).retry_after_s == 0.0
    assert classify(429, b"", httpx.Headers({"Retry-After": "3"}), NOW_S).retry_after_s == 3.0
    assert classify(429, b"", {}, NOW_S).retry_after_s is None


@pytest.mark.parametrize(
    ("status", "action"),
    [(204, Action.AMBIGUOUS_RETRY), (302, Action.STOP_PROVIDER), (418, Action.REJECT_MESSAGE),
     (502, Action.AMBIGUOUS_RETRY), (503, Action.RETRY)],
)  # fmt: skip
def test_a_status_in_no_table_has_a_meaning_too(status: int, action: Action) -> None:
    """A positive answer we can't read, or a failing gateway, leaves the outcome unknown."""
    assert classify(status, b"<html>", {}, NOW_S).action is action


def all_errors(kind: type[httpx.HTTPError]) -> list[type[httpx.HTTPError]]:
    """`kind` and every class below it."""
    return [kind, *(below for child in kind.__subclasses__() for below in all_errors(child))]


NEVER_LEFT = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError}


@pytest.mark.parametrize("kind", all_errors(httpx.RequestError))
def test_every_error_of_httpx_says_whether_the_request_may_have_arrived(kind: type[httpx.RequestError]) -> None:
    """No connection: not sent. Anything later: unknown."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("broken", request=request)

    (outcome,) = send(fail, recipients("a@example.com"))
    assert outcome == lost(kind("broken"), "SendGrid")
    if kind in NEVER_LEFT:
        assert outcome.action is Action.RETRY
    elif kind in {httpx.UnsupportedProtocol, DestinationRefusedError}:
        assert outcome.action is Action.STOP_PROVIDER
    else:
        assert outcome.action is Action.AMBIGUOUS_RETRY


@pytest.mark.parametrize(
    "content",
    [
        Sms(content="x"),
        Email(subject="", content="b"),
        Email(subject="x\r\nBcc: y", content="b"),
        Email(subject="s", content=""),
        Email(subject="s", content="b", headers={"X-SG-EID": "x"}),
        Email(subject="s", content="b", headers={"Subject": "x"}),
        Email(subject="s", content="b", headers={"X-A": "x\r\nBcc: y"}),
        Email(
            subject="s",
            content="b",
            attachments=(Attachment(filename="f", content_type="a/b", content=bytes(23_000_000)),),
        ),
    ],
    ids=["sms", "subject", "line end", "content", "reserved", "subject header", "injection", "size"],
)
def test_what_sendgrid_cannot_send_is_refused_before_sending(content: Content) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError):
        SendgridAdapter(SENDER, httpx.AsyncClient()).prepare(outgoing(content))


def test_closing_waits_for_the_answer_of_a_request_in_flight() -> None:
    """A worker that stops doesn't turn what it has sent into something unknown."""

    async def run() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def slow(_: httpx.Request) -> httpx.Response:
            asked.set()
            await answer.wait()
            return httpx.Response(202)

        client = httpx.AsyncClient(transport=httpx.MockTransport(slow), base_url="https://sendgrid.test")
        adapter = SendgridAdapter(SENDER, client)
        prepared = adapter.prepare(outgoing(Email(subject="s", content="b")))
        sending = asyncio.create_task(adapter.send(prepared, recipients("a@example.com")))
        await asked.wait()
        closing = asyncio.create_task(adapter.aclose())
        await asyncio.sleep(0)
        assert not client.is_closed
        answer.set()
        assert [outcome.action for outcome in await sending] == [Action.ACCEPTED]
        await closing
        assert client.is_closed

    asyncio.run(run())


def test_reasons_hold_no_addresses() -> None:
    """SendGrid's words may repeat one."""
    body = json.dumps({"errors": [{"message": "ann@example.com is bad", "field": "subject"}]}).encode()
    assert "ann@" not in classify(400, body, {}, NOW_S).reason


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ({"event": "bounce", "type": "bounce", "bounce_classification": "Invalid Address"}, Action.DISABLE_TARGET),
        ({"event": "bounce", "type": "bounce", "bounce_classification": "Mailbox Unavailable"}, Action.SUPPRESS_TARGET),
        ({"event": "bounce", "type": "blocked"}, Action.NONE),
        ({"event": "dropped", "reason": "Bounced Address"}, Action.DISABLE_TARGET),
        ({"event": "dropped", "reason": "Invalid"}, Action.DISABLE_TARGET),
        ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, Action.REJECT_MESSAGE),
        ({"event": "dropped", "reason": "Spam Content (if Spam Checker app is enabled)"}, Action.REJECT_MESSAGE),
        ({"event": "dropped", "reason": "Recipient List over Package Quota"}, Action.QUOTA),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, Action.SUPPRESS_TARGET),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, Action.SUPPRESS_TARGET),
        ({"event": "something new"}, Action.NONE),
    ],
)
def test_an_event_is_read_for_its_reason(event: dict[str, str], action: Action) -> None:
    """The notes of the event table."""
    assert classify_event(event).action is action


@pytest.mark.parametrize("key", ["", "SG.a b", "SG.ä"])
def test_a_key_that_cannot_stand_in_a_header_is_a_settings_error(key: str) -> None:
    """Told when the account is opened, not at every request."""
    account = Account(
        provider_id=1,
        public_id="p",
        kind="sendgrid",
        credentials={"apiKey": key},
        options={"fromEmail": "a@example.org"},
    )
    with pytest.raises(SettingsError, match="apiKey"):
        open_adapter(account, Context(tokens=NoTokens()))


@pytest.mark.parametrize(
    ("status", "outage"),
    [(500, True), (502, True), (503, True), (504, True), (204, True), (206, True),
     (202, False), (400, False), (401, False), (403, False), (413, False), (429, False), (302, False)],
)  # fmt: skip
def test_only_sendgrids_own_failure_is_an_outage(status: int, outage: bool) -> None:
    """A server error or a yes that can't be read; not what is wrong with an address, the content or the key."""
    assert classify(status, b"", {}, NOW_S).outage is outage


def check(handler: Handler) -> Outcome:
    """What a check says, answered by `handler`."""
    return provider_cases.check(handler, lambda client: SendgridAdapter(SENDER, client))


def test_a_check_asks_what_the_key_may_do() -> None:
    """A GET, which sends nothing."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", "/v3/scopes")
        return httpx.Response(200, json={"scopes": ["mail.send", "alerts.read"]})

    assert check(answer) == Outcome(Action.ACCEPTED, reason="the key may send mail (2 scopes)")


@pytest.mark.parametrize(
    ("status", "body", "action", "outage"),
    [
        (200, b'{"scopes": ["alerts.read"]}', Action.STOP_PROVIDER, False),
        (200, b'{"scopes": []}', Action.STOP_PROVIDER, False),
        (200, b'{"scopes": null}', Action.RETRY, True),
        (200, b"<html>", Action.RETRY, True),
        (200, b"[" * 100_000, Action.RETRY, True),
        (401, b'{"errors": [{"message": "invalid, expired, or revoked"}]}', Action.STOP_PROVIDER, False),
        (403, b"", Action.STOP_PROVIDER, False),
        (429, b"", Action.RETRY_AFTER, False),
        (503, b"", Action.RETRY, True),
    ],
)
def test_what_a_check_is_answered_is_read(status: int, body: bytes, action: Action, outage: bool) -> None:
    """A key without mail.send is of no use here."""
    outcome = classify_scopes(status, body, {}, NOW_S)
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.reason


def test_a_check_never_raises() -> None:
    """An error of the network is an outcome."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("broken", request=request)

    assert check(fail) == lost(httpx.ReadTimeout("broken"), "SendGrid")
