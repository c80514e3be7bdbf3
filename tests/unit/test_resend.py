"""The Resend adapter: requests, halving, repeating, and what the answers mean, captured at httpx's transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from messaging.channel import Role
from messaging.errors import ContentError, SettingsError
from messaging.local.sandbox.resend_email import check_email
from messaging.message import Attachment, Content, Email, Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens
from tests.unit.provider_cases import Handler, client, rows
from workers.providers import resend
from workers.providers.base import Account, Context, Outgoing, Recipient
from workers.providers.mime import Mailbox, Sender
from workers.providers.resend import ResendAdapter, address_text, open_adapter, sender_text
from workers.providers.resend_codes import classify, classify_batch

SENDER = Sender(mailbox=Mailbox("news", "example.org"), name="News Ünd", reply_to=Mailbox("help", "example.org"))
ANN = Mailbox("ann", "example.com")
BAD_TO = "Invalid `to` field. The email address needs to follow the `email@example.com` format."
REFUSED = {"statusCode": 422, "name": "validation_error", "message": BAD_TO}
FILE = Attachment(filename="a.txt", content_type="text/plain", content=b"xyz")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "_PAUSE_S", 0)


def recipients(*addresses: str, **settings: Any) -> list[Recipient]:
    """Deliveries to these addresses, tagged t000, t001 and so on."""
    return [
        Recipient(target_id=n, address=address, tag=f"t{n:03}", uuid=str(UUID(int=n)), **settings)
        for n, address in enumerate(addresses)
    ]


def outgoing(content: Content, message_id: str = "m1") -> Outgoing:
    """A message with this content."""
    return Outgoing(message_id=message_id, content=content, expires_at=datetime(2027, 1, 1, tzinfo=UTC))


def send(handler: Handler, to: Sequence[Recipient], message: Email | Outgoing | None = None) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""
    message = message or Email(subject="s", content="b")

    async def run() -> Sequence[Outcome]:
        async with client(handler) as opened:
            adapter = ResendAdapter(SENDER, opened, concurrency=2)
            prepared = adapter.prepare(message if isinstance(message, Outgoing) else outgoing(message))
            return await adapter.send(prepared, to)

    return asyncio.run(run())


def emails_of(request: httpx.Request) -> list[dict[str, Any]]:
    """The emails of a request, each as Resend takes it."""
    document = json.loads(request.content)
    emails: list[dict[str, Any]] = document if isinstance(document, list) else [document]
    for email in emails:
        assert check_email(email, batch=isinstance(document, list)) is None
    return emails


def accepting(requests: list[httpx.Request]) -> Handler:
    """Takes everything; an email's id is made of its tag."""

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        ids = [{"id": f"id-{email['tags'][0]['value']}"} for email in emails_of(request)]
        return httpx.Response(200, json={"data": ids} if request.url.path == "/emails/batch" else ids[0])

    return answer


def captured(to: Sequence[Recipient], message: Email | Outgoing | None = None) -> list[httpx.Request]:
    """The requests one call makes when all are accepted."""
    requests: list[httpx.Request] = []
    found = send(accepting(requests), to, message)
    assert [outcome.provider_message_id for outcome in found] == [f"id-{one.tag}" for one in to]
    return requests


def refusing(*bad: str, permissive: bool = False) -> Handler:
    """Refuses these addresses: by their place where it is permissive, else the whole request."""

    def answer(request: httpx.Request) -> httpx.Response:
        wrong = [n for n, email in enumerate(json.loads(request.content)) if email["to"][0] in bad]
        if wrong and not permissive:
            return httpx.Response(422, json=REFUSED)
        count = len(json.loads(request.content)) - len(wrong)
        errors = [{"index": n, "message": BAD_TO} for n in wrong]
        return httpx.Response(200, json={"data": [{"id": f"id{n}"} for n in range(count)], "errors": errors})

    return answer


def test_a_hundred_people_in_one_request_get_an_email_each() -> None:
    """With our tag, which comes back with every event."""
    (request,) = captured(recipients(*(f"u{n}@example.com" for n in range(100))))
    assert request.url.path == "/emails/batch"
    assert request.headers["x-batch-validation"] == "permissive"
    assert emails_of(request)[7] == {
        "from": "News Ünd <news@example.org>",
        "to": ["u7@example.com"],
        "subject": "s",
        "text": "b",
        "reply_to": ["help@example.org"],
        "tags": [{"name": "delivery", "value": "t007"}],
    }


def test_an_email_says_what_the_message_says() -> None:
    """Text beside HTML, reply-to, headers, and the way out of bulk mail."""
    email = Email(
        subject="Grüße", content="<p>b</p>", html=True, text="b", reply_to_email="r@example.org", reply_to_name="R, S",
        headers={"X-A": "1"},
    )  # fmt: skip
    (request,) = captured(recipients("ann@example.com", name="Ann", unsubscribe_url="https://example.org/u"), email)
    (sent,) = emails_of(request)
    assert (sent["subject"], sent["text"], sent["html"]) == ("Grüße", "b", "<p>b</p>")
    assert sent["to"] == ["Ann <ann@example.com>"]
    assert sent["reply_to"] == ["=?utf-8?q?R=2C_S?= <r@example.org>"]
    assert sent["headers"] == {
        "X-A": "1",
        "List-Unsubscribe": "<https://example.org/u>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def test_a_message_with_files_goes_one_by_one() -> None:
    """A batch can't have any. Each request has a key of its own."""
    requests = captured(
        recipients("a@example.com", "b@example.com"), Email(subject="s", content="b", attachments=(FILE,))
    )
    assert [request.url.path for request in requests] == ["/emails"] * 2
    assert len({request.headers["idempotency-key"] for request in requests}) == 2
    (email,) = emails_of(requests[0])
    assert email["attachments"] == [{"filename": "a.txt", "content": "eHl6", "content_type": "text/plain"}]


@pytest.mark.parametrize(
    ("filename", "declared", "told"),
    [("a.pdf", "application/pdf", True), ("a.pdf", "application/octet-stream", False),
     ("a.odd-one", "application/x", True), ("a.txt", "Text/Plain; charset=utf-8", True)],
)  # fmt: skip
def test_a_type_the_name_contradicts_is_not_told(filename: str, declared: str, told: bool) -> None:
    """Resend would drop the file in silence."""
    file = Attachment(filename=filename, content_type=declared, content=b"")
    (request,) = captured(recipients("a@example.com"), Email(subject="s", content="b", attachments=(file,)))
    (attachment,) = emails_of(request)[0]["attachments"]
    assert ("content_type" in attachment) is told


def test_one_throttled_email_holds_up_the_others_with_files() -> None:
    """They are not asked for."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 3:
            return httpx.Response(429, headers={"retry-after": "2"}, json={"name": "rate_limit_exceeded"})
        return httpx.Response(200, json={"id": "id"})

    people = recipients(*(f"u{n}@example.com" for n in range(50)))
    found = send(answer, people, Email(subject="s", content="b", attachments=(FILE,)))
    actions = [outcome.action for outcome in found]
    assert set(actions) == {Action.ACCEPTED, Action.RETRY_AFTER}
    assert actions.count(Action.ACCEPTED) == len(asked) - 1
    assert len(asked) <= 4
    assert found[-1].retry_after_s == 2


def key_of(to: Sequence[Recipient], message: Outgoing) -> str:
    """The idempotency key of the one request of a call."""
    (request,) = captured(to, message)
    return request.headers["idempotency-key"]


def test_the_key_is_the_same_for_the_same_request_alone() -> None:
    """In whatever order the deliveries come, whichever attempt it is; other content or company makes another."""
    people = recipients("a@example.com", "b@example.com")
    message = outgoing(Email(subject="s", content="b"))
    key = key_of(people, message)
    assert 1 <= len(key) <= 256
    assert key_of([replace(one, attempt=2) for one in reversed(people)], message) == key
    others = (
        key_of(people[:1], message),
        key_of(people, outgoing(Email(subject="s", content="c"))),
        key_of(people, outgoing(Email(subject="s", content="b"), "m2")),
        key_of([replace(people[0], tag="t9"), people[1]], message),
    )
    assert len({key, *others}) == 5


@pytest.mark.parametrize("permissive", [True, False])
def test_one_bad_address_fails_alone_and_the_rest_is_sent_at_once(permissive: bool) -> None:
    """Whether Resend names its place or refuses the whole request."""
    people = recipients("a@example.com", "bad1@example.com", "b@example.com", "bad2@example.com")
    found = send(refusing("bad1@example.com", "bad2@example.com", permissive=permissive), people)
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED, Action.DISABLE_TARGET
    ]  # fmt: skip
    assert "example.com" not in found[1].reason


def test_what_is_no_address_or_no_name_is_never_sent() -> None:
    """The first is a dead address; the second fails the message for this reader only."""
    good, nonsense, named = recipients("a@example.com", "nonsense", "b@example.com")
    found = send(accepting([]), [good, nonsense, replace(named, name="B\r\nBcc: c@example.com")])
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.DISABLE_TARGET, Action.REJECT_MESSAGE]


def in_turn(*answers: httpx.Response | httpx.HTTPError) -> tuple[Handler, list[httpx.Request]]:
    """Gives these answers one after the other, and keeps the requests."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = answers[len(asked) - 1]
        if isinstance(found, httpx.HTTPError):
            raise found
        return found

    return answer, asked


TAKEN = httpx.Response(200, json={"data": [{"id": "id1"}]})
GARBLED = httpx.Response(200, text="<html>")
BROKEN = httpx.Response(500, json={"name": "application_error", "message": "oh"})
THROTTLED = httpx.Response(429, json={"name": "rate_limit_exceeded"})
WRONG_KEY = httpx.Response(403, json={"name": "invalid_api_key"})
BAD = httpx.Response(422, json={"name": "invalid_parameter", "message": "x"})
LOST = httpx.ReadError("gone")


@pytest.mark.parametrize(
    ("answers", "action"),
    [
        ([LOST, TAKEN], Action.ACCEPTED),
        ([GARBLED, TAKEN], Action.ACCEPTED),
        ([BROKEN, TAKEN], Action.ACCEPTED),
        ([LOST, LOST], Action.AMBIGUOUS_RETRY),
        ([BROKEN, BROKEN], Action.RETRY),
        ([BROKEN, LOST], Action.AMBIGUOUS_RETRY),
        ([LOST, BROKEN], Action.AMBIGUOUS_RETRY),
        ([LOST, THROTTLED], Action.AMBIGUOUS_RETRY),
        ([LOST, WRONG_KEY], Action.AMBIGUOUS_RETRY),
        ([LOST, httpx.ConnectError("no")], Action.AMBIGUOUS_RETRY),
        ([LOST, BAD], Action.REJECT_MESSAGE),
        ([LOST, httpx.Response(422, json=REFUSED)], Action.DISABLE_TARGET),
        ([BROKEN, THROTTLED], Action.RETRY_AFTER),
        ([BROKEN, WRONG_KEY], Action.STOP_PROVIDER),
    ],
)
def test_a_request_without_a_clear_answer_is_made_once_more(
    answers: list[httpx.Response | httpx.HTTPError], action: Action
) -> None:
    """With the same key; a refusal that isn't about the email doesn't say that the first was not taken."""
    handler, asked = in_turn(*answers)
    (outcome,) = send(handler, recipients("a@example.com"))
    assert outcome.action is action
    assert len(asked) == 2
    assert len({(request.headers["idempotency-key"], request.content) for request in asked}) == 1


@pytest.mark.parametrize(
    "answer",
    [httpx.ReadTimeout("slow"), httpx.WriteTimeout("slow"), httpx.ConnectError("no"), httpx.ConnectTimeout("slow"),
     httpx.Response(503), THROTTLED, WRONG_KEY, BAD],
)  # fmt: skip
def test_others_are_not_made_again(answer: httpx.Response | httpx.HTTPError) -> None:
    """For want of time, or because the answer is clear, or there was nobody."""
    handler, asked = in_turn(answer)
    send(handler, recipients("a@example.com"))
    assert len(asked) == 1


def test_a_lost_batch_with_a_bad_address_is_halved_once_that_is_known() -> None:
    """The repetition is refused for one address, so the first was, too."""
    refused = httpx.Response(422, json=REFUSED)
    handler, asked = in_turn(LOST, refused, TAKEN, refused)
    found = send(handler, recipients("a@example.com", "bad@example.com"))
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.DISABLE_TARGET]
    assert len(asked) == 4


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"data": {}}', b'{"data": [{"id": "1"}]}', b'{"data": [1, 2, 3]}',
     b'{"data": [{"id": "1"}], "errors": [{"index": 2, "message": ""}]}',
     b'{"data": [{"id": "1"}], "errors": [{"index": "1", "message": ""}]}', b'{"data": [], "errors": [1, 2]}',
     b"[" * 100_000],
)  # fmt: skip
def test_a_batch_whose_answer_does_not_add_up_is_unknown(body: bytes) -> None:
    """Nobody can say which email an id belongs to."""
    found = classify_batch(200, body, {}, 2)
    assert [(outcome.action, outcome.outage) for outcome in found] == [(Action.AMBIGUOUS_RETRY, True)] * 2


def test_an_id_that_is_missing_leaves_one_email_unknown() -> None:
    """The others have theirs."""
    found = classify_batch(200, b'{"data": [{"id": "1"}, {"id": null}, {"id": "3"}]}', {}, 3)
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.AMBIGUOUS_RETRY, Action.ACCEPTED]


def test_errors_by_place_say_what_is_wrong_with_each_email() -> None:
    """A sender at fault is the account's, a field is the message's."""
    errors = [
        {"index": 1, "message": "Invalid `from` field."},
        {"index": 2, "message": "Missing `subject` field."},
        {"index": 3, "message": "Invalid `to` field: ann@example.com"},
    ]
    found = classify_batch(200, json.dumps({"data": [{"id": "1"}], "errors": errors}).encode(), {}, 4)
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.STOP_PROVIDER, Action.REJECT_MESSAGE, Action.DISABLE_TARGET
    ]  # fmt: skip
    assert all(outcome.code and "ann@" not in outcome.reason for outcome in found[1:])


def test_the_rows_of_answers_lead_to_their_actions(shared_dir: Path) -> None:
    """Each, for a single email and for one of a batch."""
    found = rows(shared_dir, "resend", "response")
    assert len(found) == 23
    for row in found:
        if row["code"] == "id":
            one, many = b'{"id": "1"}', b'{"data": [{"id": "1"}]}'
        else:
            one = many = json.dumps({"statusCode": row["http"], "name": row["code"], "message": "said"}).encode()
        outcome = classify(row["http"], one, {})
        assert outcome.action == row["action"], row
        assert outcome.outage is (row["http"] >= 500), row
        assert list(classify_batch(row["http"], many, {}, 1)) == [outcome], row


@pytest.mark.parametrize(
    ("status", "action", "outage"),
    [(302, Action.STOP_PROVIDER, False), (401, Action.STOP_PROVIDER, False), (403, Action.STOP_PROVIDER, False),
     (413, Action.REJECT_MESSAGE, False), (418, Action.REJECT_MESSAGE, False), (429, Action.RETRY_AFTER, False),
     (500, Action.AMBIGUOUS_RETRY, True), (502, Action.AMBIGUOUS_RETRY, True), (503, Action.RETRY, True)],
)  # fmt: skip
def test_a_status_without_a_name_has_a_meaning_too(status: int, action: Action, outage: bool) -> None:
    """A page of a gateway's, mostly."""
    outcome = classify(status, b"<html>", {})
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.reason


@pytest.mark.parametrize(
    ("headers", "delay_s"),
    [({"retry-after": "3", "ratelimit-reset": "1"}, 3), ({"ratelimit-reset": "1"}, 1), ({"retry-after": "x"}, None)],
)
def test_a_limit_is_waited_for_as_long_as_told(headers: dict[str, str], delay_s: float | None) -> None:
    """Retry-After before the reset."""
    outcome = classify(429, b'{"name": "rate_limit_exceeded"}', headers)
    assert (outcome.action, outcome.retry_after_s) == (Action.RETRY_AFTER, delay_s)


@pytest.mark.parametrize(
    ("name", "text"),
    [("", "ann@example.com"), ("Ann", "Ann <ann@example.com>"), ("Änn  Lee", "Änn Lee <ann@example.com>"),
     ("Lee, Ann", "=?utf-8?q?Lee=2C_Ann?= <ann@example.com>"),
     ("=?x?= y", "=?utf-8?b?PT94Pz0geQ==?= <ann@example.com>"),
     ('A "B" C', "=?utf-8?q?A_=22B=22_C?= <ann@example.com>")],
)  # fmt: skip
def test_a_name_that_would_need_quotes_is_encoded(name: str, text: str) -> None:
    """Resend refuses quoted ones."""
    assert address_text(name, ANN) == text
    assert check_email({"from": "a@b.example", "to": [text], "subject": "s", "text": "t"}, batch=True) is None


@pytest.mark.parametrize("letter", list('<>",;:@\\'))
def test_a_senders_name_resend_would_refuse_is_said(letter: str) -> None:
    """It takes that one neither quoted nor encoded."""
    with pytest.raises(SettingsError, match="fromName"):
        sender_text(replace(SENDER, name=f"News{letter} Inc"))


@pytest.mark.parametrize(
    "content",
    [
        Sms(content="x"),
        Email(subject=" ", content="b"),
        Email(subject="x\r\nBcc: y", content="b"),
        Email(subject="s", content=""),
        Email(subject="s", content="half \ud800"),
        Email(subject="s", content="b", headers={"Subject": "x"}),
        Email(subject="s", content="b", headers={"X-A": "x\r\nBcc: y"}),
        Email(subject="s", content="b", attachments=(replace(FILE, filename="a\n"),)),
        Email(subject="s", content="b", attachments=(replace(FILE, content_type="a/b\r\nX: y"),)),
        Email(subject="s", content="b", attachments=(replace(FILE, content=bytes(30_000_001)),)),
    ],
    ids=[
        "sms",
        "subject",
        "line end",
        "content",
        "surrogate",
        "subject header",
        "injection",
        "filename",
        "type",
        "size",
    ],
)
def test_what_resend_cannot_send_is_refused_before_sending(content: Content) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError):
        ResendAdapter(SENDER, httpx.AsyncClient()).prepare(outgoing(content))


def test_big_messages_go_in_smaller_batches() -> None:
    """No request is over the limit of one email."""
    requests = captured(
        recipients(*(f"u{n}@example.com" for n in range(5))), Email(subject="s", content="x" * 15_000_000)
    )
    assert [len(emails_of(request)) for request in requests] == [2, 2, 1]


def test_a_copy_is_addressed_to_its_own_reader_only() -> None:
    """Resend would send to whoever Cc showed."""
    (request,) = captured(recipients("bcc@example.com", role=Role.BCC))
    assert emails_of(request)[0]["to"] == ["bcc@example.com"]
    assert not {"cc", "bcc"} & set(emails_of(request)[0])


def listed(status: str, name: str = "example.org") -> httpx.Response:
    """A list of one domain."""
    return httpx.Response(200, json={"object": "list", "data": [{"id": "1", "name": name, "status": status}]})


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        (listed("verified"), Action.ACCEPTED),
        (listed("temporary_failure"), Action.ACCEPTED),
        (listed("verified", "other.example"), Action.ACCEPTED),
        (listed("pending"), Action.STOP_PROVIDER),
        (listed("failed", "EXAMPLE.org"), Action.STOP_PROVIDER),
        (GARBLED, Action.AMBIGUOUS_RETRY),
        (httpx.Response(401, json={"name": "restricted_api_key", "message": "sending only"}), Action.ACCEPTED),
        (WRONG_KEY, Action.STOP_PROVIDER),
        (httpx.Response(503), Action.RETRY),
        (LOST, Action.AMBIGUOUS_RETRY),
        (httpx.ConnectError("no"), Action.RETRY),
    ],
)
def test_a_check_sends_nothing_and_says_how_the_account_stands(
    answer: httpx.Response | httpx.HTTPError, action: Action
) -> None:
    """A key that may only send may not look at domains, which says what it may."""
    handler, asked = in_turn(answer)

    async def run() -> Outcome:
        async with client(handler) as opened:
            return await ResendAdapter(SENDER, opened).check()

    outcome = asyncio.run(run())
    assert outcome.action is action
    assert outcome.reason
    assert [(request.method, request.url.path) for request in asked] == [("GET", "/domains")]


@pytest.mark.parametrize("key", ["", "re_ 1", "ü"])
def test_an_account_without_a_key_says_so(key: str) -> None:
    """By its name."""
    account = Account(
        provider_id=1,
        public_id="p",
        kind="resend",
        credentials={"apiKey": key},
        options={"fromEmail": "n@example.org"},
    )
    with pytest.raises(SettingsError, match="apiKey"):
        open_adapter(account, Context(tokens=NoTokens()))
