"""The Mailgun adapter: requests, halving, and what the answers mean. Requests are captured at httpx's transport."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.channel import Role
from messaging.errors import ContentError, SettingsError
from messaging.local.sandbox.mailgun_form import Form, check_form, contents, read_form
from messaging.message import Attachment, Content, Email, Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens
from tests.unit.provider_cases import Handler, client, recipients, rows
from workers.providers.base import Account, Context, Outgoing, Recipient
from workers.providers.mailgun import EU_ENDPOINT, MailgunAdapter, literal, open_adapter, variables_of
from workers.providers.mailgun_codes import classify
from workers.providers.mime import Mailbox, Sender

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENDER = Sender(mailbox=Mailbox("news", "example.org"), name="News", reply_to=Mailbox("help", "example.org"))
BAD_ADDRESS = {"message": "'to' parameter is not a valid address. please check documentation"}


def outgoing(content: Content, expires_at: datetime = NOW + timedelta(days=3)) -> Outgoing:
    """A message with this content."""
    return Outgoing(message_id="m1", content=content, expires_at=expires_at)


def adapter(client: httpx.AsyncClient) -> MailgunAdapter:
    """An adapter that believes it is `NOW`."""
    return MailgunAdapter("mg.example.org", SENDER, client, now=lambda: NOW)


def send(handler: Handler, to: Sequence[Recipient], message: Outgoing | None = None) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""

    async def run() -> Sequence[Outcome]:
        async with client(handler) as opened:
            mailgun = adapter(opened)
            return await mailgun.send(mailgun.prepare(message or outgoing(Email(subject="s", content="b"))), to)

    return asyncio.run(run())


def form_of(request: httpx.Request) -> Form:
    """The fields of a request, read and checked as the sandbox does."""
    form = read_form(request.headers["content-type"], request.content)
    check_form(form)
    return form


def captured(to: Sequence[Recipient], message: Outgoing | Email | None = None) -> list[httpx.Request]:
    """The requests one call makes when all are accepted."""
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v3/mg.example.org/messages"
        requests.append(request)
        return httpx.Response(200, json={"id": "<1@mg.example.org>", "message": "Queued. Thank you."})

    message = outgoing(message) if isinstance(message, Email) else message
    assert {outcome.action for outcome in send(accept, to, message)} == {Action.ACCEPTED}
    return requests


def read_by(to: Sequence[Recipient], message: Outgoing | Email | None = None) -> dict[str, dict[str, Any]]:
    """What the reader at each address gets."""
    return {address: mail for request in captured(to, message) for address, mail in contents(form_of(request))}


def refusing(*bad: str) -> Handler:
    """Refuses a request while one of these addresses is in it."""

    def answer(request: httpx.Request) -> httpx.Response:
        if set(bad) & set(form_of(request).recipients()):
            return httpx.Response(400, json=BAD_ADDRESS)
        return httpx.Response(200, json={"id": "<1@mg.example.org>", "message": "Queued. Thank you."})

    return answer


def test_a_thousand_people_in_one_request_get_a_copy_each() -> None:
    """Nobody sees another, and each copy has the delivery's tag and Message-ID."""
    people = recipients(*(f"u{n}@example.com" for n in range(1000)))
    (request,) = captured(people)
    mails = dict(contents(form_of(request)))
    assert len(mails) == 1000
    assert mails["u7@example.com"]["to"] == "u7@example.com"
    assert mails["u7@example.com"]["variables"] == {"delivery": "t7"}
    assert mails["u7@example.com"]["headers"]["Message-Id"] == "<t7@example.org>"


def test_a_request_says_what_the_message_says() -> None:
    """Names, reply-to, headers, text beside HTML, and the file: only then it is multipart."""
    email = Email(
        subject="Grüße", content="<p>b</p>", html=True, text="b", reply_to_email="r@example.org", reply_to_name="R, S",
        headers={"X-A": "1"}, attachments=(Attachment(filename="ü.txt", content_type="text/plain", content=b"xyz"),),
    )  # fmt: skip
    (person,) = recipients("ann@example.com", name="Ann, A")
    (request,) = captured([person], email)
    assert request.headers["content-type"].startswith("multipart/form-data")
    ((_, mail),) = contents(form_of(request))
    assert mail["from"] == "News <news@example.org>"
    assert mail["to"] == '"Ann, A" <ann@example.com>'
    assert (mail["subject"], mail["text"], mail["html"]) == ("Grüße", "b", "<p>b</p>")
    assert mail["headers"] == {"Message-Id": "<t0@example.org>", "Reply-To": '"R, S" <r@example.org>', "X-A": "1"}
    assert mail["attachments"] == [{"filename": "ü.txt", "type": "text/plain", "bytes": 3}]
    (plain,) = captured([person])
    assert plain.headers["content-type"] == "application/x-www-form-urlencoded"
    assert form_of(plain).one("h:Reply-To") == "help@example.org"


MARKS = "100 %recipient% %recipient.delivery_tag% %recipient.name% %recipient.letter_e% %recipient"


@pytest.mark.parametrize("addresses", [["ann@example.com"], ["ann@example.com", "bob@example.com"]])
def test_what_a_message_writes_like_a_mark_arrives_as_written(addresses: list[str]) -> None:
    """In subject, text, HTML and headers, in a batch and to a single reader."""
    mails = read_by(
        recipients(*addresses),
        Email(subject=MARKS, content=f"<p>{MARKS}</p>", html=True, text=MARKS, headers={"X-A": MARKS}),
    )
    for mail in mails.values():
        assert (mail["subject"], mail["text"], mail["html"]) == (MARKS, MARKS, f"<p>{MARKS}</p>")
        assert mail["headers"]["X-A"] == MARKS


def test_mail_to_one_reader_leaves_nothing_to_mailguns_replacing() -> None:
    """The request says what he gets; so does what is left alone of a batch that was halved."""
    (person,) = recipients("a@example.com", unsubscribe_url="https://example.org/u")
    (request,) = captured([person])
    form = form_of(request)
    assert "recipient-variables" not in form.fields
    assert not [value for values in form.fields.values() for value in values if "%recipient" in value]
    assert form.one("v:delivery") == "t0"
    assert form.one("h:List-Unsubscribe") == "<https://example.org/u>"


def test_a_mark_taken_apart_holds_no_other_mark_than_ours() -> None:
    """So it arrives as written whether marks are replaced in one go or one name after the other, in any order."""
    (person,) = recipients("a@example.com", unsubscribe_url="https://example.org/u")
    for order in itertools.permutations(variables_of(person).items()):
        text = literal("Dear %recipient.name%, %recipient%")
        for name, value in order:
            text = text.replace(f"%recipient.{name}%", value)
        assert text == "Dear %recipient.name%, %recipient%"


def test_an_address_that_occurs_twice_goes_into_a_second_request() -> None:
    """Variables go by address, and Mailgun ignores repeated ones; both deliveries are made."""
    requests = captured(recipients("a@example.com", "b@example.com", "A@example.com"))
    assert [form_of(request).recipients() for request in requests] == [
        ["a@example.com", "b@example.com"],
        ["A@example.com"],
    ]


def test_bulk_mail_is_unsubscribed_from_with_a_click() -> None:
    """Each with its own address; mail that has none goes into another request, without the headers."""
    first, second = recipients("a@example.com", "b@example.com")
    first = replace(first, unsubscribe_url="https://example.org/u/1")
    mails = read_by([first, second])
    assert mails["a@example.com"]["headers"]["List-Unsubscribe"] == "<https://example.org/u/1>"
    assert mails["a@example.com"]["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert not [name for name in mails["b@example.com"]["headers"] if name.startswith("List-")]
    own = Email(subject="s", content="b", headers={"list-unsubscribe": "<mailto:x@example.org>"})
    headers = read_by([first], own)["a@example.com"]["headers"]
    assert [name for name in headers if name.lower() == "list-unsubscribe"] == ["list-unsubscribe"]


def test_a_copy_is_addressed_to_its_own_reader_only() -> None:
    """Mailgun would send to whoever Cc showed."""
    mails = read_by(recipients("bcc@example.com", role=Role.BCC))
    assert mails["bcc@example.com"]["to"] == "bcc@example.com"


@pytest.mark.parametrize(
    ("left", "within"),
    [(timedelta(seconds=20), "5m"), (timedelta(minutes=30), "30m"), (timedelta(minutes=90), "1h30m"),
     (timedelta(hours=23), "23h0m"), (timedelta(hours=24), ""), (timedelta(days=3), ""), (timedelta(days=-1), "5m")],
)  # fmt: skip
def test_mailgun_gives_up_when_the_message_expires(left: timedelta, within: str) -> None:
    """As far as it can: five minutes at least, a day at most."""
    (request,) = captured(recipients("a@example.com"), outgoing(Email(subject="s", content="b"), NOW + left))
    assert form_of(request).one("o:deliver-within") == within


def test_one_bad_address_fails_alone_and_the_rest_is_sent_at_once() -> None:
    """Mailgun refuses the whole request and doesn't say which."""
    people = recipients("a@example.com", "bad1@example.com", "b@example.com", "bad2@example.com")
    found = send(refusing("bad1@example.com", "bad2@example.com"), people)
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED, Action.DISABLE_TARGET
    ]  # fmt: skip
    assert [outcome.provider_message_id for outcome in found] == ["<1@mg.example.org>", None] * 2


def test_what_is_no_address_or_no_name_is_never_sent() -> None:
    """The first is a dead address; the second fails the message for this reader only."""
    good, nonsense, named = recipients("a@example.com", "nonsense", "b@example.com")
    found = send(refusing(), [good, nonsense, replace(named, name="B\r\nBcc: c@example.com")])
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.DISABLE_TARGET, Action.REJECT_MESSAGE]


def test_a_400_about_the_message_fails_it_for_all() -> None:
    """No recipient is to blame, so none is disabled and nothing is sent again."""
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(400, json={"message": "Only one parameters 'html' or 'template' is allowed."})

    found = send(answer, recipients("a@example.com", "b@example.com"))
    assert [outcome.action for outcome in found] == [Action.REJECT_MESSAGE] * 2
    assert len(calls) == 1


def test_the_id_is_ours_where_mailgun_takes_the_message_id_for_it() -> None:
    """Then it holds the mark."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": form_of(request).one("h:Message-Id"), "message": "Queued. Thank you."})

    found = send(answer, recipients("a@example.com", "b@example.com"))
    assert [outcome.provider_message_id for outcome in found] == ["<t0@example.org>", "<t1@example.org>"]


def test_the_rows_of_answers_lead_to_their_actions(shared_dir: Path) -> None:
    """Each, in Mailgun's words."""
    found = rows(shared_dir, "mailgun", "response")
    assert len(found) == 17
    for row in found:
        answer = {"id": "<1@example.org>", "message": row["code"]} if row["http"] == 200 else {"message": row["code"]}
        body = json.dumps(answer).encode()
        if row["code"] in {"Mailgun Magnificent API", "Forbidden"}:
            body = row["code"].encode()  # these two come as plain text
        outcome = classify(row["http"], body, {}, NOW)
        assert outcome.action == row["action"], row
        assert outcome.outage is (row["http"] >= 500), row


@pytest.mark.parametrize(
    ("message", "headers", "delay_s"),
    [
        ("Domain x is not allowed to send: account-requests-per-sec limit exceeded, try again after 120 seconds",
         {"retry-after": "3"}, 120),
        ("Domain x is not allowed to send: recipient limit exceeded, try again after Sun, 01 Mar 2026 12:00:21 UTC",
         {}, 21),
        ("recipient limit exceeded, try again after Sun, 01 Mar 2026 11:00:00 GMT", {}, 0),
        ("try again after Xyz, 99 Abc 2026 12:00:21 UTC", {}, None),
        ("too many", {"retry-after": "3"}, 3),
        ("too many", {"retry-after": "soon"}, None),
        ("too many", {}, None),
    ],
)  # fmt: skip
def test_a_limit_is_waited_for_as_long_as_told(message: str, headers: dict[str, str], delay_s: float | None) -> None:
    """In words, of two forms, or in the header."""
    outcome = classify(429, json.dumps({"message": message}).encode(), headers, NOW)
    assert (outcome.action, outcome.retry_after_s) == (Action.RETRY_AFTER, delay_s)


@pytest.mark.parametrize(
    ("status", "body", "action", "outage"),
    [
        (400, {"message": "'from' parameter is not a valid address. please check"}, Action.STOP_PROVIDER, False),
        (400, {"message": "from parameter is missing"}, Action.STOP_PROVIDER, False),
        (200, {"message": "Queued. Thank you."}, Action.AMBIGUOUS_RETRY, True),
        (204, {}, Action.AMBIGUOUS_RETRY, True),
        (302, {}, Action.STOP_PROVIDER, False),
        (418, {}, Action.REJECT_MESSAGE, False),
        (599, {}, Action.AMBIGUOUS_RETRY, True),
    ],
)
def test_what_stands_in_no_row_has_a_meaning_too(
    status: int, body: dict[str, str], action: Action, outage: bool
) -> None:
    """A sender at fault is the account's; a positive answer without an id is unknown."""
    outcome = classify(status, json.dumps(body).encode(), {}, NOW)
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.code
    assert outcome.reason


def test_reasons_hold_no_addresses() -> None:
    """Mailgun's words may repeat one."""
    body = json.dumps({"message": "'to' parameter ann@example.com is bad"}).encode()
    assert "ann@" not in classify(400, body, {}, NOW).reason


def checked(*answers: httpx.Response | httpx.HTTPError) -> tuple[Outcome, list[str]]:
    """What `check` makes of these answers, in order, and whom it asked."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        found = answers[len(asked) - 1]
        if isinstance(found, httpx.HTTPError):
            raise found
        return found

    async def run() -> Outcome:
        async with client(answer) as opened:
            return await adapter(opened).check()

    return asyncio.run(run()), asked


DOMAIN, MESSAGES = "GET /v4/domains/mg.example.org", "POST /v3/mg.example.org/messages"


@pytest.mark.parametrize(
    ("answers", "action", "asked"),
    [
        ([httpx.Response(200, json={"domain": {"state": "active"}})], Action.ACCEPTED, [DOMAIN]),
        ([httpx.Response(200, json={"domain": {"state": "unverified"}})], Action.STOP_PROVIDER, [DOMAIN]),
        ([httpx.Response(200, text="<html>")], Action.AMBIGUOUS_RETRY, [DOMAIN]),
        ([httpx.Response(404, json={"message": "Domain not found"})], Action.STOP_PROVIDER, [DOMAIN]),
        ([httpx.Response(503)], Action.RETRY, [DOMAIN]),
        ([httpx.ConnectError("no")], Action.RETRY, [DOMAIN]),
        ([httpx.Response(401, text="Forbidden"), httpx.Response(400, json={"message": "from parameter is missing"})],
         Action.ACCEPTED, [DOMAIN, MESSAGES]),
        ([httpx.Response(401, text="Forbidden"), httpx.Response(401, text="Forbidden")],
         Action.STOP_PROVIDER, [DOMAIN, MESSAGES]),
        ([httpx.Response(401, text="Forbidden"), httpx.ReadTimeout("slow")],
         Action.AMBIGUOUS_RETRY, [DOMAIN, MESSAGES]),
    ],
)  # fmt: skip
def test_a_check_sends_nothing_and_says_how_the_account_stands(
    answers: list[httpx.Response], action: Action, asked: list[str]
) -> None:
    """A key that may only send can't see the domain; an empty message shows that it is one."""
    outcome, requests = checked(*answers)
    assert outcome.action is action
    assert outcome.reason
    assert requests == asked


def with_file(*, filename: str = "f", content_type: str = "a/b", content: bytes = b"") -> Email:
    """A message with one file."""
    file = Attachment(filename=filename, content_type=content_type, content=content)
    return Email(subject="s", content="b", attachments=(file,))


@pytest.mark.parametrize(
    "content",
    [
        Sms(content="x"),
        Email(subject=" ", content="b"),
        Email(subject="x\r\nBcc: y", content="b"),
        Email(subject="s", content=""),
        Email(subject="s", content="half \ud800"),
        Email(subject="s", content="b", headers={"X-Mailgun-Drop-Message": "yes"}),
        Email(subject="s", content="b", headers={"Subject": "x"}),
        Email(subject="s", content="b", headers={"X-A": "x\r\nBcc: y"}),
        Email(subject="s", content="b", headers={"X-A": "ü" * 9000}),
        with_file(content_type="a/b\r\nX: y"),
        with_file(filename="f\n"),
        with_file(content=bytes(19_000_000)),
    ],
    ids=["sms", "subject", "line end", "content", "surrogate", "steering", "subject header", "injection", "options",
         "type", "filename", "size"],
)  # fmt: skip
def test_what_mailgun_cannot_send_is_refused_before_sending(content: Content) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError):
        adapter(httpx.AsyncClient()).prepare(outgoing(content))


def opened(**fields: object) -> MailgunAdapter:
    """The adapter of an account with these credentials."""
    credentials = {"apiKey": "key-1", "domain": "mg.example.org", "isEuRegion": False} | fields
    account = Account(
        provider_id=1, public_id="p", kind="mailgun", credentials=credentials, options={"fromEmail": "n@example.org"}
    )
    found = open_adapter(account, Context(tokens=NoTokens()))
    assert isinstance(found, MailgunAdapter)
    return found


def test_the_region_decides_whom_to_ask() -> None:
    """Accounts of one are unknown in the other."""
    assert opened()._client.base_url == "https://api.mailgun.net"
    assert opened(isEuRegion=True)._client.base_url == EU_ENDPOINT


@pytest.mark.parametrize("missing", ["apiKey", "domain"])
def test_an_account_that_is_not_set_up_says_what_is_missing(missing: str) -> None:
    """By its name."""
    with pytest.raises(SettingsError, match=missing):
        opened(**{missing: ""})


@pytest.mark.parametrize("domain", ["mg.example.org/messages", "..", "a b", "ü.example"])
def test_what_is_no_domain_is_refused(domain: str) -> None:
    """A slash would lead to another resource, which answers 200."""
    with pytest.raises(SettingsError, match="domain"):
        opened(domain=domain)


def test_a_closed_adapter_neither_sends_nor_checks() -> None:
    """What still comes to it goes back unsent."""

    async def run() -> None:
        mailgun = adapter(client(refusing()))
        prepared = mailgun.prepare(outgoing(Email(subject="s", content="b")))
        await mailgun.aclose()
        assert [o.action for o in await mailgun.send(prepared, recipients("a@example.com"))] == [Action.RECONNECT_RETRY]
        assert (await mailgun.check()).action is Action.RECONNECT_RETRY

    asyncio.run(run())
