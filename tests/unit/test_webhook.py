"""Our webhook protocol: what is posted and signed, what answers and receipts mean."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import standardwebhooks

from messaging.channel import Channel, Role
from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Email, Push, Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import (
    Event,
    ForgedReceiptError,
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    UnreadableReceiptError,
)
from tests.integration.mail_sandbox import NoTokens, outgoing, people
from workers.providers import webhook, webhook_codes, webhook_receipts, webhook_signature
from workers.providers.base import Account, Context, Recipient
from workers.providers.destinations import Destinations

SECRET = "whsec_" + b64encode(b"twenty-four bytes of key").decode()
SENDER = {"fromEmail": "news@example.org", "fromName": "News"}
NOW = datetime.now(UTC).replace(microsecond=0)
"""Of today, for the library that verifies our signatures asks the clock."""


def account(channel: str = "sms", **changed: object) -> Account:
    """An account of a channel."""
    credentials = {"url": "https://hooks.example.org/messages?x=1", "secret": SECRET} | changed
    options = SENDER if channel == "email" else {}
    return Account(provider_id=1, public_id="p", kind=f"webhook_{channel}", credentials=credentials, options=options)


def opened(
    given: Account, receive: Callable[[httpx.Request], httpx.Response], **context: Any
) -> webhook.WebhookAdapter:
    """The account's adapter, its requests answered by `receive`."""
    adapter = webhook.open_adapter(given, Context(tokens=NoTokens(), **context))
    assert isinstance(adapter, webhook.WebhookAdapter)
    adapter._client = httpx.AsyncClient(transport=httpx.MockTransport(receive))
    return adapter


class Receiver:
    """Gives the next answer, keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else httpx.Response(204)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was posted."""
        return [json.loads(request.content) for request in self.requests]


def sent(
    receive: Callable[[httpx.Request], httpx.Response],
    recipients: Sequence[Recipient],
    content: Any = None,
    *,
    channel: str = "sms",
    receipts_url: str | None = None,
    **visible: tuple[str, ...],
) -> list[Outcome]:
    """The outcomes of one call."""

    async def sending() -> list[Outcome]:
        adapter = opened(account(channel), receive, receipts_url=receipts_url)
        outcomes = await adapter.send(
            adapter.prepare(outgoing(content or Sms(content="Code: 1234"), **visible)), recipients
        )
        await adapter.aclose()
        return list(outcomes)

    return asyncio.run(sending())


NUMBERS = ("+15005550006", "+15005550007", "+15005550008")


def test_a_request_is_what_the_protocol_says() -> None:
    """One POST to the url as it stands, with everything a receiver needs."""
    receiver = Receiver()
    to = people(*NUMBERS[:2], unsubscribe_url="https://example.org/u")
    outcomes = sent(receiver, to, receipts_url="https://example.org/v1/receipts/k")
    assert outcomes == [Outcome(Action.ACCEPTED)] * 2
    (request,) = receiver.requests
    assert (request.method, str(request.url)) == ("POST", "https://hooks.example.org/messages?x=1")
    assert request.headers["content-type"] == "application/json"
    (body,) = receiver.bodies
    assert datetime.fromisoformat(body.pop("expiresAt")).tzinfo is not None
    assert body == {
        "type": "messages.send",
        "channel": "sms",
        "messageId": "m1",
        "receiptsUrl": "https://example.org/v1/receipts/k",
        "content": {"content": "Code: 1234"},
        "recipients": [
            {"delivery": one.tag, "to": one.address, "unsubscribeUrl": "https://example.org/u"} for one in to
        ],
    }


def test_an_email_has_its_sender_its_parts_and_its_attachments() -> None:
    """Names, roles, who is shown; the reply address of the message or of the account."""
    receiver = Receiver()
    content = Email(
        subject="Hello", content="<p>thére</p>", html=True, reply_to_email="help@bücher.example", headers={"X-A": "b"},
        attachments=(Attachment(filename="a.txt", content_type="text/plain", content=b"\x00\xff"),),
    )  # fmt: skip
    to = [replace(people("ada@bücher.example")[0], name="Ada", role=Role.CC)]
    sent(receiver, to, content, channel="email", visible_to=("b@example.org",), visible_cc=("c@example.org",))
    (body,) = receiver.bodies
    assert body["from"] == {"email": "news@example.org", "name": "News"}
    assert body["replyTo"] == {"email": "help@xn--bcher-kva.example"}
    assert (body["visibleTo"], body["visibleCc"]) == (["b@example.org"], ["c@example.org"])
    assert body["recipients"] == [
        {"delivery": to[0].tag, "to": "ada@xn--bcher-kva.example", "name": "Ada", "role": "cc"}
    ]
    (attachment,) = body["content"].pop("attachments")
    assert b64decode(attachment.pop("content")) == b"\x00\xff"
    assert attachment == {"filename": "a.txt", "contentType": "text/plain"}
    assert body["content"] == {
        "subject": "Hello",
        "content": "<p>thére</p>",
        "html": True,
        "text": "thére",
        "headers": {"X-A": "b"},
    }


def test_a_push_message_has_every_field_that_was_given_and_no_other() -> None:
    """Under the names the HTTP API has for them."""
    receiver = Receiver()
    content = Push(
        title="t", body="b", data={"k": "v"}, action="a", image="i", icon="c", sound="s", color="#fff", tag="g",
        badge=0, content_available=True, critical=True, priority="normal", channel_id="n",
        collapse_id="o", push_type="alert",
    )  # fmt: skip
    sent(receiver, people("token-1"), content, channel="push")
    sent(receiver, people("token-1"), Push(title="t"), channel="push")
    full, short = (body["content"] for body in receiver.bodies)
    assert full == {
        "title": "t", "body": "b", "data": {"k": "v"}, "action": "a", "image": "i", "icon": "c", "sound": "s",
        "color": "#fff", "tag": "g", "badge": 0, "contentAvailable": True, "critical": True, "priority": "normal",
        "channelId": "n", "collapseId": "o", "pushType": "alert",
    }  # fmt: skip
    assert short == {"title": "t", "priority": "high"}


def test_somebody_elses_library_verifies_our_signature() -> None:
    """And refuses the same request with another secret or another byte."""
    receiver = Receiver()
    sent(receiver, people(*NUMBERS))
    (request,) = receiver.requests
    headers = dict(request.headers)
    assert standardwebhooks.Webhook(SECRET).verify(request.content, headers) == receiver.bodies[0]
    for secret, body in (("whsec_AAAA", request.content), (SECRET, request.content + b" ")):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(secret).verify(body, headers)


def test_a_repeated_request_has_the_same_id_and_a_signature_of_its_own() -> None:
    """So that a receiver takes it once; other recipients or another message make another request."""
    receiver = Receiver()
    to = people(*NUMBERS)
    for recipients in (to, [replace(one, attempt=2) for one in to], to[:2]):
        sent(receiver, recipients)
    first, second, fewer = (request.headers["webhook-id"] for request in receiver.requests)
    assert first == second != fewer
    assert all(request.headers["idempotency-key"] == request.headers["webhook-id"] for request in receiver.requests)
    other = replace(outgoing(Sms(content="x")), message_id="m2")
    adapter = opened(account(), receiver)
    asyncio.run(adapter.send(adapter.prepare(other), to))
    assert receiver.requests[-1].headers["webhook-id"] not in {first, fewer}


@pytest.mark.parametrize(
    ("channel", "content"),
    [
        ("sms", Push(title="x")), ("push", Sms(content="x")), ("email", Sms(content="x")), ("sms", Sms(content="")),
        ("sms", Sms(content="\ud83d")), ("email", Email(subject="a\nb", content="c")),
        ("email", Email(subject="a", content="c", headers={"Subject": "b"})),
        ("email", Email(subject="a", content="c", reply_to_email="nobody")),
    ],
)  # fmt: skip
def test_content_nobody_could_deliver_is_refused_before_sending(channel: str, content: Any) -> None:
    """Another channel's, half characters, header lines."""
    with pytest.raises(ContentError):
        opened(account(channel), Receiver()).prepare(outgoing(content))


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("sms", ""), ("sms", "15005550006"), ("sms", "+٣٣٣٣٣٣٣"), ("sms", "+1500555000699999999"), ("push", ""),
        ("push", "a b"), ("push", "\ud800"), ("push", "x" * 5000), ("email", "a"), ("email", "a@b@"),
        ("email", "\ud800@x.org"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_retired_and_the_rest_is_sent(channel: str, address: str) -> None:
    """Without bothering the receiver with it."""
    receiver = Receiver()
    good = {"sms": NUMBERS[0], "push": "token-1", "email": "a@example.org"}[channel]
    contents = {"sms": Sms(content="x"), "push": Push(title="x"), "email": Email(subject="s", content="x")}
    bad, fine = sent(receiver, people(address, good), contents[channel], channel=channel)
    assert (bad.action, bad.code) == (Action.DISABLE_TARGET, "address_invalid")
    assert fine.action is Action.ACCEPTED
    assert [one["to"] for one in receiver.bodies[0]["recipients"]] == [good]


def answer(status: int, to: Sequence[Recipient], *results: Mapping[str, object] | None) -> httpx.Response:
    """An answer with one result per recipient; None leaves one out."""
    found = [
        {"delivery": one.tag} | dict(result) for one, result in zip(to, results, strict=True) if result is not None
    ]
    return httpx.Response(status, json={"results": found[::-1]})


def test_each_result_is_read_in_its_recipients_place() -> None:
    """Whatever order they come in; an accepted one brings the receiver's id."""
    to = people(*(f"+1500555{n:04}" for n in range(7)))
    results: list[Mapping[str, object]] = [
        {"status": "accepted", "id": "r1"},
        {"status": "failed", "code": "E7", "reason": "no route"},
        {"status": "retry", "retryAfterSeconds": 7},
        {"status": "suppressed"},
        {"status": "dead"},
        {"status": "rejected"},
        {"status": "who knows"},
    ]
    outcomes = sent(Receiver(answer(202, to, *results)), to)
    assert [outcome.action for outcome in outcomes] == [
        Action.ACCEPTED, Action.REJECT_MESSAGE, Action.RETRY, Action.SUPPRESS_TARGET, Action.DISABLE_TARGET,
        Action.REJECT_MESSAGE, Action.AMBIGUOUS_RETRY,
    ]  # fmt: skip
    assert outcomes[0] == Outcome(Action.ACCEPTED, provider_message_id="r1")
    assert (outcomes[1].code, outcomes[1].reason) == ("E7", "the receiver could not send it: no route")
    assert outcomes[2].retry_after_s == 7
    assert not any(outcome.outage for outcome in outcomes)


def test_every_status_of_the_protocol_has_its_action() -> None:
    """The table holds no others."""
    assert set(webhook_codes.STATUSES) == {"accepted", "failed", "retry", "suppressed", "dead", "rejected"}


def test_a_delivery_the_answer_leaves_out_is_unknown_and_no_outage() -> None:
    """An answer that names none of them can't be read at all."""
    to = people(*NUMBERS[:2])
    one, other = sent(Receiver(answer(200, to, {"status": "accepted"}, None)), to)
    assert (one.action, other.action, other.outage) == (Action.ACCEPTED, Action.AMBIGUOUS_RETRY, False)
    assert {(o.action, o.outage) for o in sent(Receiver(answer(200, to, None, None)), to)} == {
        (Action.AMBIGUOUS_RETRY, True)
    }


@pytest.mark.parametrize(
    "result", [{"status": None}, {"status": ["accepted"]}, {"status": {}}, {}, {"status": "ACCEPTED"}]
)
def test_a_result_without_a_status_we_know_is_unknown(result: Mapping[str, object]) -> None:
    """Never accepted on a guess."""
    to = people(NUMBERS[0])
    assert sent(Receiver(answer(200, to, result)), to)[0].action is Action.AMBIGUOUS_RETRY


@pytest.mark.parametrize(
    "results",
    [None, 7, "accepted", {}, [None], ["accepted"], [{"delivery": None}], [{"delivery": []}], {"delivery": "x"}, [[]]],
)
def test_results_of_another_shape_leave_it_unknown(results: object) -> None:
    """Nothing is raised."""
    (outcome,) = sent(Receiver(httpx.Response(200, json={"results": results})), people(NUMBERS[0]))
    assert (outcome.action, outcome.outage) == (Action.AMBIGUOUS_RETRY, True)


def test_a_receivers_words_are_kept_without_addresses_numbers_and_tokens() -> None:
    """Whatever it writes into a reason or a code."""
    token = "dGhpcyBpcyBhIGRldmljZSB0b2tlbiBvZiBzb21lYm9keQ"
    to = people(NUMBERS[0])
    said = f"{NUMBERS[0]} or +44 7700 900123, ada@example.org, {token}: " + "no " * 200
    (outcome,) = sent(Receiver(answer(200, to, {"status": "dead", "reason": said, "code": NUMBERS[0]})), to)
    for secret in (NUMBERS[0], "900123", "ada", token):
        assert secret not in outcome.reason + outcome.code
    assert len(outcome.reason) < 260


@pytest.mark.parametrize(
    ("status", "action", "outage"),
    [
        (200, Action.ACCEPTED, False), (202, Action.ACCEPTED, False), (204, Action.ACCEPTED, False),
        (301, Action.STOP_PROVIDER, False), (400, Action.REJECT_MESSAGE, False), (401, Action.STOP_PROVIDER, False),
        (402, Action.QUOTA, False), (403, Action.STOP_PROVIDER, False), (404, Action.STOP_PROVIDER, False),
        (405, Action.STOP_PROVIDER, False), (408, Action.RETRY, False), (409, Action.AMBIGUOUS_RETRY, False),
        (410, Action.STOP_PROVIDER, False), (418, Action.REJECT_MESSAGE, False), (422, Action.REJECT_MESSAGE, False),
        (425, Action.RETRY, False), (429, Action.RETRY_AFTER, False), (500, Action.AMBIGUOUS_RETRY, True),
        (502, Action.AMBIGUOUS_RETRY, True), (503, Action.RETRY, True),
    ],
)  # fmt: skip
def test_an_answer_without_results_is_for_all(status: int, action: Action, outage: bool) -> None:
    """By its status; what the account must correct is said in words."""
    outcomes = sent(Receiver(httpx.Response(status)), people(*NUMBERS))
    assert {(outcome.action, outcome.outage) for outcome in outcomes} == {(action, outage)}
    assert all(outcome.reason for outcome in outcomes) is (action is not Action.ACCEPTED)


@pytest.mark.parametrize(
    ("given", "delay_s"), [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("inf", None), ("nan", None)]
)
def test_a_delay_is_taken_over_where_it_is_one(given: str, delay_s: float | None) -> None:
    """In seconds."""
    (outcome,) = sent(Receiver(httpx.Response(429, headers={"retry-after": given})), people(NUMBERS[0]))
    assert outcome.retry_after_s == delay_s


def takes_at_most(most: int) -> Callable[[httpx.Request], httpx.Response]:
    """A receiver that finds more recipients than `most` too large."""

    def receive(request: httpx.Request) -> httpx.Response:
        people_of = json.loads(request.content)["recipients"]
        if len(people_of) > most:
            return httpx.Response(413)
        return httpx.Response(
            200, json={"results": [{"delivery": one["delivery"], "status": "accepted"} for one in people_of]}
        )

    return receive


@pytest.mark.parametrize("most", [1, 3, 50])
def test_a_batch_that_is_too_large_goes_in_parts(most: int) -> None:
    """Halved until it fits; everybody once."""
    to = people(*(f"+1500555{n:04}" for n in range(100)))
    taken: list[str] = []

    def receive(request: httpx.Request) -> httpx.Response:
        said = takes_at_most(most)(request)
        if said.status_code == 200:
            taken.extend(one["delivery"] for one in json.loads(request.content)["recipients"])
        return said

    assert [outcome.action for outcome in sent(receive, to)] == [Action.ACCEPTED] * 100
    assert taken == [one.tag for one in to]


def test_a_message_too_large_for_one_recipient_is_asked_about_a_few_times_only() -> None:
    """It is too large for the others as well."""
    receiver = Receiver(*[httpx.Response(413)] * 300)
    outcomes = sent(receiver, people(*(f"+1500555{n:04}" for n in range(100))))
    assert {outcome.action for outcome in outcomes} == {Action.REJECT_MESSAGE}
    assert [len(body["recipients"]) for body in receiver.bodies] == [100, 50, 25, 12, 6, 3, 1]


@pytest.mark.parametrize(
    ("trouble", "part", "rest"),
    [
        (httpx.Response(500), Action.AMBIGUOUS_RETRY, Action.RETRY),
        (httpx.ReadError("gone"), Action.AMBIGUOUS_RETRY, Action.RETRY),
        (httpx.ConnectError("nobody"), Action.RETRY, Action.RETRY),
        (httpx.Response(401), Action.STOP_PROVIDER, Action.STOP_PROVIDER),
    ],
)
def test_trouble_with_one_part_leaves_the_next_parts_unsent(trouble: Any, part: Action, rest: Action) -> None:
    """Only what left can be unknown."""
    receiver = Receiver(httpx.Response(413), trouble)
    outcomes = sent(receiver, people(*(f"+1500555{n:04}" for n in range(4))))
    assert [outcome.action for outcome in outcomes] == [part, part, rest, rest]
    assert len(receiver.requests) == 2


def test_a_check_is_a_signed_ping() -> None:
    """Which any 2xx answers well."""
    receiver = Receiver(httpx.Response(200, text="pong"), httpx.Response(401), httpx.ConnectError("nobody"))
    adapter = opened(account(), receiver)
    good, refused, away = (asyncio.run(adapter.check()) for _ in range(3))
    assert (good.action, refused.action, away.action, away.outage) == (
        Action.ACCEPTED, Action.STOP_PROVIDER, Action.RETRY, True,
    )  # fmt: skip
    assert "200" in good.reason
    first = receiver.requests[0]
    assert standardwebhooks.Webhook(SECRET).verify(first.content, dict(first.headers)) == {"type": "ping"}


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.org", "http://hooks.example.org/x", "ftp://example.org", "https://", "https://u:p@example.org/x",
        "http://127.0.0.1.example.org/", "http://[::1",
        "http://127.0.0.1:8080/x", "http://localhost/x", "https://exa mple.org/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_an_address_nothing_should_be_posted_to_is_named(url: str) -> None:
    """Https only, unless the operator allows the host; no password in it."""
    with pytest.raises(SettingsError, match="url"):
        opened(account(url=url), Receiver())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/", "http://gate/", "https://a.example"]
)
def test_https_and_what_the_operator_allows_are_posted_to(url: str) -> None:
    """As they stand."""
    assert webhook.checked_url(f" {url} ", Destinations(("127.0.0.0/8", "::1", "gate"))) == url


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_!!!!", None])
def test_a_secret_that_is_none_is_named(secret: str | None) -> None:
    """Missing, or not the base64 it says it is."""
    with pytest.raises(SettingsError, match="secret"):
        opened(account(secret=secret), Receiver())


def test_a_secret_may_be_any_text() -> None:
    """Its bytes are the key; base64 may lack its padding."""
    assert webhook_signature.signing_key("grüße") == "grüße".encode()
    assert webhook_signature.signing_key("whsec_YWI") == webhook_signature.signing_key("whsec_YWI=") == b"ab"


def signed(document: object, *, secret: str = SECRET, at: datetime = NOW, message_id: str = "evt_1") -> Inbound:
    """A receipt request, signed by somebody else's library."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    signature = standardwebhooks.Webhook(secret).sign(message_id, at, body.decode())
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }
    return Inbound(method="POST", url="https://example.org/v1/receipts/k", headers=headers, body=body, received_at=NOW)


async def nothing(url: str) -> bytes:
    """Never asked."""
    raise AssertionError(url)


def read(inbound: Inbound, given: Account | None = None) -> Sequence[Receipt]:
    """The receipts of a request."""
    return asyncio.run(webhook.read_receipts(inbound, given or account(), nothing))


def event(word: str = "delivered", **fields: object) -> dict[str, object]:
    """One event."""
    return {"id": "e1", "delivery": "t1", "event": word} | fields


def test_events_become_receipts_in_order() -> None:
    """With tag, key, time, code and reason."""
    first, second, third = read(
        signed(
            {
                "events": [
                    event(at="2030-01-31T12:00:00+01:00"),
                    event("bounced_hard", id="e2", code="550", reason="no such user ada@example.org"),
                    {"id": "e3", "to": "+15005550006", "event": "unsubscribed", "reason": "STOP from +15005550006"},
                ]
            }
        )
    )
    at = datetime(2030, 1, 31, 11, tzinfo=UTC)
    assert first == Receipt(event=Event.DELIVERED, key="e1", tag="t1", at=at)
    assert second == Receipt(
        event=Event.BOUNCED_HARD, key="e2", tag="t1", action=Action.DISABLE_TARGET, code="550",
        reason="no such user <address>",
    )  # fmt: skip
    assert third == Receipt(
        event=Event.UNSUBSCRIBED, key="e3", address="+15005550006", action=Action.SUPPRESS_TARGET, code="unsubscribed",
        reason="STOP from <address>",
    )  # fmt: skip


@pytest.mark.parametrize("word", list(Event))
def test_every_event_has_its_action_and_suppress_overrides_it(word: Event) -> None:
    """Dead addresses are disabled, opt-outs suppressed, the rest is recorded."""
    expected = {
        Event.BOUNCED_HARD: Action.DISABLE_TARGET,
        Event.COMPLAINED: Action.SUPPRESS_TARGET,
        Event.UNSUBSCRIBED: Action.SUPPRESS_TARGET,
        Event.RESUBSCRIBED: Action.UNSUPPRESS_TARGET,
    }.get(word, Action.NONE)
    plain, suppressing = read(signed({"events": [event(word), event(word, suppress=True)]}))
    assert (plain.event, plain.action, suppressing.action) == (word, expected, Action.SUPPRESS_TARGET)


@pytest.mark.parametrize(
    "document",
    [
        b"", b"null", b"[]", b"{}", b'{"events": {}}', b"[" * 10_000, {"events": ["x"]}, {"events": [event("arrived")]},
        {"events": [{"delivery": "t1", "event": "delivered"}]}, {"events": [{"id": "e1", "event": "delivered"}]},
        {"events": [event(id=7)]}, {"events": [event(id="x" * 300)]}, {"events": [event(at="2030-01-31T12:00:00")]},
        {"events": [event(at="soon")]}, {"events": [event(delivery=["t1"])]}, {"events": [event(), event("arrived")]},
    ],
)  # fmt: skip
def test_what_is_signed_and_can_not_be_read_is_refused_whole(document: object) -> None:
    """So that the receiver's people see it at once, and nothing is taken by half."""
    with pytest.raises(UnreadableReceiptError):
        read(signed(document))


def test_an_empty_list_is_no_news() -> None:
    """And no error."""
    assert read(signed({"events": []})) == []


def tampered(inbound: Inbound, **headers: str) -> Inbound:
    """The request with other headers."""
    return replace(inbound, headers=dict(inbound.headers) | headers)


def test_a_request_that_was_not_signed_by_the_receiver_is_forged() -> None:
    """Another body, another id, another time, another secret, another scheme, no signature."""
    good = signed({"events": [event()]})
    assert read(good)
    signature = good.headers["webhook-signature"]
    later = str(int(NOW.timestamp()) + 1)
    for forged in (
        replace(good, body=good.body.replace(b"delivered", b"complained")),
        replace(good, headers={}),
        tampered(good, **{"webhook-id": "evt_2"}),
        tampered(good, **{"webhook-timestamp": later}),
        tampered(good, **{"webhook-timestamp": "now"}),
        tampered(good, **{"webhook-timestamp": "9" * 5000}),
        tampered(good, **{"webhook-signature": signature.replace("v1,", "v1a,")}),
        tampered(good, **{"webhook-signature": signature.removeprefix("v1,")}),
        tampered(good, **{"webhook-signature": "v1,"}),
        tampered(good, **{"webhook-signature": "\ud800"}),
        signed({"events": [event()]}, secret="whsec_AAAA"),
    ):
        with pytest.raises(ForgedReceiptError):
            read(forged)


@pytest.mark.parametrize(("seconds", "near"), [(-301, -299), (301, 299), (-86_400, 0)])
def test_a_request_signed_over_five_minutes_away_is_forged(seconds: int, near: int) -> None:
    """Else whoever once heard it could say it again."""
    with pytest.raises(ForgedReceiptError, match="five minutes"):
        read(signed({"events": [event()]}, at=NOW + timedelta(seconds=seconds)))
    assert read(signed({"events": [event()]}, at=NOW + timedelta(seconds=near)))


def test_one_of_several_signatures_is_enough() -> None:
    """While a secret is changed, a receiver signs with both."""
    good = signed({"events": [event()]})
    both = f"v1,{b64encode(b'x' * 32).decode()} v2,abc {good.headers['webhook-signature']}"
    assert read(tampered(good, **{"webhook-signature": both}))


@pytest.mark.parametrize("secret", [None, "", "whsec_!!!!"])
def test_without_a_secret_receipts_wait_for_one(secret: str | None) -> None:
    """Nothing is taken unverified."""
    with pytest.raises(ReceiptKeyMissingError, match="secret"):
        read(signed({"events": [event()]}), account(secret=secret))


def test_actions_follow_from_events_only_where_somebody_is_concerned() -> None:
    """The table names no other event."""
    assert set(webhook_receipts.ACTIONS) == {
        Event.BOUNCED_HARD, Event.COMPLAINED, Event.UNSUBSCRIBED, Event.RESUBSCRIBED,
    }  # fmt: skip
    assert [channel.value for channel in Channel] == ["push", "email", "sms"]
