"""The Infobip adapter: its requests, what the answers mean, its ids and reports. Nothing leaves httpx."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.errors import ContentError, SettingsError
from messaging.message import Content, Email, Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, Receipt, UnreadableReceiptError
from tests.integration.mail_sandbox import NoTokens
from tests.unit import provider_cases
from tests.unit.provider_cases import NOW, Handler, Row, account_of, inbound, outgoing, rows, without
from workers.providers.base import Account, Context
from workers.providers.infobip import (
    IDS,
    InfobipAdapter,
    InfobipSettings,
    base_address,
    classify,
    open_adapter,
    read_receipts,
)
from workers.providers.infobip_codes import ERRORS, LIMITS, STATUSES, classify_report, classify_status

SETTINGS = InfobipSettings("Acme", "key", "https://example.org/r")
Message = dict[str, Any]


def send(handler: Handler, *addresses: str, settings: InfobipSettings = SETTINGS, **message: Any) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""
    return provider_cases.send(
        handler, lambda client: InfobipAdapter(settings, client, now=lambda: NOW), *addresses, **message
    )


def status(number: int, group: int) -> dict[str, object]:
    """A status object."""
    return {"groupId": group, "groupName": "", "id": number, "name": "", "description": ""}


PENDING = status(26, 1)
DUPLICATE = status(23, 5)


@dataclass
class Server:
    """Answers each message by the rows of `statuses` for its number, else that it is pending; the log has `log`."""

    statuses: Mapping[str, dict[str, object]] = field(default_factory=dict)
    log: Sequence[Mapping[str, object]] | None = ()
    """None: it can't be asked."""
    seen: set[str] = field(default_factory=set)
    """Message ids that are refused as duplicates."""
    requests: list[list[Message]] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        if request.url.path == "/sms/3/logs":
            self.asked.append(request.url.params.get_list("messageId"))
            if self.log is None:
                return httpx.Response(503)
            return httpx.Response(200, json={"results": self.log})
        assert request.url.path == "/sms/3/messages"
        messages = json.loads(request.content)["messages"]
        self.requests.append(messages)
        return httpx.Response(200, json={"bulkId": "b", "messages": [self._answer(message) for message in messages]})

    def _answer(self, message: Message) -> dict[str, object]:
        (to,) = message["destinations"]
        told = DUPLICATE if to["messageId"] in self.seen else self.statuses.get(to["to"], PENDING)
        return {"messageId": to["messageId"], "destination": to["to"], "status": told, "details": {"messageCount": 1}}

    def ids(self) -> list[list[str]]:
        """The message ids of each request."""
        return [[message["destinations"][0]["messageId"] for message in request] for request in self.requests]


def test_a_call_is_one_request_with_a_message_for_each() -> None:
    """Each has its own id and callback data: our tag."""
    server = Server()
    outcomes = send(server, "+41793026727", "+41793026728", content=Sms(content="Grüße 😀"))
    assert outcomes == [Outcome(Action.ACCEPTED, provider_message_id=f"t{n}") for n in range(2)]
    (messages,) = server.requests
    assert messages[0] == {
        "sender": "Acme",
        "destinations": [{"to": "41793026727", "messageId": "t0"}],
        "content": {"text": "Grüße 😀"},
        "options": {"validityPeriod": {"amount": 600, "timeUnit": "SECONDS"}},
        "webhooks": {
            "delivery": {"url": "https://example.org/r", "intermediateReport": True},
            "contentType": "application/json",
            "callbackData": "t0",
        },
    }
    assert messages[1]["destinations"] == [{"to": "41793026728", "messageId": "t1"}]


def test_without_a_public_address_the_tag_goes_along_all_the_same() -> None:
    """The account's own subscription may report."""
    server = Server()
    send(server, "+41793026727", settings=replace(SETTINGS, callback=""))
    assert server.requests[0][0]["webhooks"] == {"contentType": "application/json", "callbackData": "t0"}


@pytest.mark.parametrize(("left", "amount"), [(-5, 60), (59, 60), (599.9, 599), (10**6, 172_800)])
def test_the_validity_period_stays_within_limits(left: float, amount: int) -> None:
    """A minute to two days."""
    server = Server()
    send(server, "+41793026727", expires_at=NOW + timedelta(seconds=left))
    assert server.requests[0][0]["options"]["validityPeriod"]["amount"] == amount


def test_each_message_has_its_own_outcome() -> None:
    """In the order of the recipients, whatever order the answer has; what is no number is not sent."""
    server = Server({"4179302672": status(52, 5), "4179302673": status(10, 5), "4179302674": status(20, 5)})
    found = send(server, "+4179302671", "+4179302672", "12345", "+4179302673", "+4179302674")
    assert [outcome.action for outcome in found] == [
        Action.ACCEPTED, Action.DISABLE_TARGET, Action.DISABLE_TARGET, Action.SUPPRESS_TARGET, Action.RETRY
    ]  # fmt: skip
    assert found[4].retry_after_s == 3600
    assert [len(request) for request in server.requests] == [4]


def test_a_message_the_answer_leaves_out_is_unknown() -> None:
    """The others are as they are said to be."""

    def reply(request: httpx.Request) -> httpx.Response:
        answer = Server()(request).json()
        del answer["messages"][1]
        return httpx.Response(200, json=answer)

    found = send(reply, "+4179302671", "+4179302672", "+4179302673")
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.AMBIGUOUS_RETRY, Action.ACCEPTED]


LOGGED = [{"messageId": "t0", "status": status(5, 3)}]


@pytest.mark.parametrize(
    "log",
    [
        LOGGED,
        [{"messageId": "t0", "status": PENDING}, {"messageId": "t0", "status": DUPLICATE}],
        [],
        [{"messageId": "another", "status": status(12, 5)}],
        [{"messageId": "t0", "status": DUPLICATE}],
    ],
    ids=["delivered", "pending", "too old", "another's", "refused as a duplicate only"],
)
def test_an_id_seen_before_is_accepted_where_the_first_message_stands(log: Sequence[Mapping[str, object]]) -> None:
    """A repetition after a lost answer sends nothing twice."""
    server = Server(log=log, seen={"t0"})
    outcomes = send(server, "+4179302671", "+4179302672")
    assert outcomes == [Outcome(Action.ACCEPTED, provider_message_id=f"t{n}") for n in range(2)]
    assert server.ids() == [["t0", "t1"]]
    assert server.asked == [["t0"]]


def test_a_rejected_message_is_sent_again_under_a_further_id() -> None:
    """Else it would pass for accepted, and nobody would get it."""
    log = [{"messageId": "t0", "status": status(12, 5)}, {"messageId": "t0.2", "status": status(21, 5)}]
    server = Server(log=log, seen={"t0", "t0.2"})
    outcomes = send(server, "+4179302671", "+4179302672")
    assert outcomes == [
        Outcome(Action.ACCEPTED, provider_message_id="t0.3"), Outcome(Action.ACCEPTED, provider_message_id="t1")
    ]  # fmt: skip
    assert server.ids() == [["t0", "t1"], ["t0.2"], ["t0.3"]]
    assert server.requests[-1][0]["webhooks"]["callbackData"] == "t0"


def test_a_further_id_whose_answer_was_lost_is_found_again() -> None:
    """The chain of ids is the same in every attempt."""
    log = [{"messageId": "t0", "status": status(12, 5)}, {"messageId": "t0.2", "status": PENDING}]
    server = Server(log=log, seen={"t0", "t0.2"})
    assert send(server, "+4179302671") == [Outcome(Action.ACCEPTED, provider_message_id="t0.2")]


def test_ids_are_not_tried_without_end() -> None:
    """It waits for its next attempt, certainly not sent."""
    seen = {"t0", *(f"t0.{n}" for n in range(2, 100))}
    server = Server(log=[{"messageId": each, "status": status(21, 5)} for each in sorted(seen)], seen=seen)
    (outcome,) = send(server, "+4179302671")
    assert outcome.action is Action.RETRY
    assert outcome.reason
    assert len(server.requests) == IDS


def test_a_log_that_cannot_be_asked_leaves_it_unknown() -> None:
    """The first message may stand; the others are as they are."""
    found = send(Server(log=None, seen={"t0"}), "+4179302671", "+4179302672")
    assert [outcome.action for outcome in found] == [Action.AMBIGUOUS_RETRY, Action.ACCEPTED]
    assert found[0].provider_message_id == "t0"


NEW_FORM = {"errorCode": "E400", "violations": [{"property": "messages[1].destinations[0].to", "violation": "bad"}]}
OLD_FORM = {
    "requestError": {
        "serviceException": {"text": "Bad", "validationErrors": {"messages[1].destinations[0].to": ["bad"]}}
    }
}


@pytest.mark.parametrize("body", [NEW_FORM, OLD_FORM])
def test_a_recipient_who_is_refused_by_name_fails_alone(body: Mapping[str, object]) -> None:
    """The rest is sent again without it."""
    server = Server()

    def reply(request: httpx.Request) -> httpx.Response:
        if len(json.loads(request.content)["messages"]) == 3:
            return httpx.Response(400, json=body)
        return server(request)

    found = send(reply, "+4179302671", "+4179302672", "+4179302673")
    assert [outcome.action for outcome in found] == [Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED]
    assert server.ids() == [["t0", "t2"]]


def test_a_single_recipient_who_is_refused_by_name_is_at_fault() -> None:
    """There is no rest."""
    body = json.dumps(NEW_FORM).replace("[1]", "[0]")
    (outcome,) = send(lambda _: httpx.Response(400, content=body), "+4179302671")
    assert (outcome.action, outcome.code) == (Action.DISABLE_TARGET, "400 to")


def test_a_recipient_nobody_names_is_found_by_halving() -> None:
    """One of eight; the others are sent, once each."""
    server = Server()

    def reply(request: httpx.Request) -> httpx.Response:
        if '"41793026725"' in request.content.decode():
            return httpx.Response(400, json={"requestError": {"serviceException": {"text": "Bad Request"}}})
        return server(request)

    found = send(reply, *(f"+4179302672{n}" for n in range(8)))
    assert [outcome.action for outcome in found] == [
        Action.REJECT_MESSAGE if n == 5 else Action.ACCEPTED for n in range(8)
    ]
    assert sorted(each for request in server.ids() for each in request) == [f"t{n}" for n in range(8) if n != 5]


def test_one_numbers_trouble_holds_up_no_other_while_halving() -> None:
    """The texts one number had too many of are its own affair."""
    server = Server({"41793026720": status(20, 5)})

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400) if '"41793026723"' in request.content.decode() else server(request)

    found = send(reply, *(f"+4179302672{n}" for n in range(4)))
    assert [outcome.action for outcome in found] == [
        Action.RETRY, Action.ACCEPTED, Action.ACCEPTED, Action.REJECT_MESSAGE
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "action"),
    [
        ("messages[0].sender", Action.STOP_PROVIDER),
        ("messages[0].content.text", Action.REJECT_MESSAGE),
        ("messages", Action.REJECT_MESSAGE),
        ("messages[7].destinations[0].to", Action.REJECT_MESSAGE),
    ],
)
def test_what_all_share_is_blamed_on_no_recipient(where: str, action: Action) -> None:
    """The sender stops the account, the text fails the message."""
    body = {"violations": [{"property": where, "violation": "must not be 41793026727"}]}
    found = send(lambda _: httpx.Response(400, json=body), "+4179302671", "+4179302672")
    assert [outcome.action for outcome in found] == [action] * 2
    assert "41793026727" not in found[0].reason


@pytest.mark.parametrize(
    ("code", "action", "outage"),
    [
        (301, Action.STOP_PROVIDER, False),
        (404, Action.STOP_PROVIDER, False),
        (418, Action.REJECT_MESSAGE, False),
        (429, Action.RETRY_AFTER, False),
        (502, Action.AMBIGUOUS_RETRY, True),
        (503, Action.RETRY, True),
    ],
)
def test_an_answer_without_messages_is_read_by_its_status(code: int, action: Action, outage: bool) -> None:
    """And the delay it asks for is kept."""
    outcome = classify(code, b"<html>", {"retry-after": "7"})
    assert (outcome.action, outcome.outage) == (action, outage)
    assert outcome.retry_after_s == (7 if action in {Action.RETRY, Action.RETRY_AFTER} else None)


@pytest.mark.parametrize(
    ("content", "code"),
    [(Sms(content="x" * 3826), "25"), (Sms(content="ж" * 1676), "25"), (Sms(content=""), "400"),
     (Email(subject="s", content="b"), "wrong_channel"), (Sms(content="\ud83d"), "content_invalid")],
    ids=["long", "long in UCS-2", "empty", "email", "surrogate"],
)  # fmt: skip
def test_what_infobip_cannot_send_is_refused_before_sending(content: Content, code: str) -> None:
    """Once per message, with the reason."""
    with pytest.raises(ContentError) as caught:
        InfobipAdapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content))
    assert caught.value.code == code


def check(answer: httpx.Response) -> Outcome:
    """What a check says of this answer."""
    return provider_cases.check(lambda _: answer, lambda client: InfobipAdapter(SETTINGS, client))


def test_a_check_tells_the_balance() -> None:
    """And takes another's page for no account."""
    told = check(httpx.Response(200, json={"balance": 47.79, "currency": "EUR"}))
    assert told == Outcome(Action.ACCEPTED, reason="balance 47.79 EUR")
    assert check(httpx.Response(200, content=b"<html>")).action is Action.AMBIGUOUS_RETRY
    assert check(httpx.Response(401, content=b"{}")).action is Action.STOP_PROVIDER


def error(number: int, *, permanent: bool) -> dict[str, object]:
    """An error object."""
    return {"groupId": 1, "groupName": "", "id": number, "name": "", "description": "", "permanent": permanent}


def outcomes_of(row: Row) -> list[Outcome]:
    """The outcomes of every code a row names, where it comes."""
    if row["http"] == 200:
        numbers = [int(each) for each in re.findall(r"(?<![A-Z_\d(])\d+", row["code"].replace("(group 1)", ""))]
        if row["action"] in {"none", "delivered"}:
            return [classify_report(status(number, 0), {}) for number in numbers]
        return [classify_status(status(number, 0), "t") for number in numbers]
    if row["http"] is not None:
        return [classify(row["http"], b"{}", {})]
    numbers = [int(each) for each in re.findall(r"\s(\d+)", row["code"])] or [7777]
    permanents = [True] if "permanent=true" in row["code"] else [False] if "=false" in row["code"] else [True, False]
    return [
        classify_report(status(9, 2), error(number, permanent=permanent))
        for number in numbers
        for permanent in permanents
    ]


def test_the_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """Answers and reports, and the tables hold no other code.

    One differs: the filter against flooding counts a single number's texts, and the table's pause would hold up the
    account for all others.
    """
    found = rows(shared_dir, "infobip")
    assert len(found) == 35
    for row in found:
        expected = "retry" if row["code"].startswith("REJECTED_FLOODING_FILTER") else row["action"]
        outcomes = outcomes_of(row)
        assert outcomes
        for outcome in outcomes:
            assert outcome.action == expected, (row, outcome)
    named = {each for row in found if row["http"] == 200 for each in re.findall(r"(?<![A-Z_\d(])\d+", row["code"])}
    assert named - {"1"} == set(STATUSES)
    reported = {each for row in found if row["http"] is None for each in re.findall(r"\s(\d+)", row["code"])}
    assert reported == {*ERRORS, *LIMITS}


@pytest.mark.parametrize(
    ("told", "action"),
    [
        (status(999, 1), Action.ACCEPTED),
        (status(999, 3), Action.ACCEPTED),
        (status(5, 3), Action.ACCEPTED),
        (status(9, 2), Action.RETRY),
        (status(999, 2), Action.RETRY),
        (status(999, 4), Action.RETRY),
        (status(999, 5), Action.REJECT_MESSAGE),
        (status(999, 9), Action.AMBIGUOUS_RETRY),
        ({}, Action.AMBIGUOUS_RETRY),
        ({"id": [], "groupId": {}}, Action.AMBIGUOUS_RETRY),
    ],
)
def test_a_status_in_no_table_is_read_by_its_group(told: Mapping[str, object], action: Action) -> None:
    """An answer that says nothing leaves it unknown."""
    assert classify_status(told, "t").action is action


def report(told: Mapping[str, object], failure: Mapping[str, object] | None = None, **more: object) -> bytes:
    """A report of one message."""
    result = {
        "bulkId": "b", "messageId": "t1.2", "to": "41793026727", "sender": "Acme", "callbackData": "t1",
        "doneAt": "2026-11-23T01:00:00.000+0100", "status": told, "error": failure or error(0, permanent=False),
    }  # fmt: skip
    return json.dumps({"results": [result | more]}).encode()


def account() -> Account:
    """An account."""
    return account_of("infobip", {"baseUrl": "xyz.api.infobip.com", "apiKey": "key"}, {"from": "Acme"})


def read(body: bytes) -> Sequence[Receipt]:
    """What the reader makes of a request with this body."""
    return provider_cases.read(read_receipts, inbound(body), account())


def test_a_report_is_read_under_its_tag_at_its_time() -> None:
    """The message's id may be a further one of the same delivery."""
    assert read(report(status(5, 3))) == [
        Receipt(event=Event.DELIVERED, key="t1.2:5:0", tag="t1", provider_message_id="t1.2", at=NOW)
    ]


def test_a_report_without_callback_data_is_read_by_its_id() -> None:
    """It begins with the tag."""
    (receipt,) = read(report(status(5, 3), callbackData=None))
    assert receipt.tag == "t1"


@pytest.mark.parametrize(
    ("told", "failure", "event", "action"),
    [
        (status(2, 3), (0, False), Event.DELIVERED, Action.NONE),
        (status(999, 3), (0, False), Event.DELIVERED, Action.NONE),
        (status(3, 1), (0, False), Event.ACCEPTED, Action.NONE),
        (status(999, 1), (0, False), Event.ACCEPTED, Action.NONE),
        (status(3, 1), (27, False), Event.DEFERRED, Action.NONE),
        (status(23, 5), (0, False), Event.ACCEPTED, Action.NONE),
        (status(9, 2), (0, False), Event.BOUNCED_SOFT, Action.NONE),
        (status(9, 2), (27, False), Event.BOUNCED_SOFT, Action.NONE),
        (status(9, 2), (1, True), Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        (status(9, 2), (1, False), Event.BOUNCED_SOFT, Action.NONE),
        (status(9, 2), (7777, True), Event.REJECTED, Action.NONE),
        (status(9, 2), (542, False), Event.REJECTED, Action.QUOTA),
        (status(15, 4), (27, False), Event.BOUNCED_SOFT, Action.NONE),
        (status(29, 4), (1, True), Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        (status(52, 5), (0, False), Event.BOUNCED_HARD, Action.DISABLE_TARGET),
        (status(12, 5), (7777, True), Event.REJECTED, Action.QUOTA),
        (status(13, 5), (0, False), Event.REJECTED, Action.STOP_PROVIDER),
        (status(999, 5), (0, False), Event.REJECTED, Action.NONE),
    ],
)
def test_a_report_becomes_an_event(
    told: Mapping[str, object], failure: tuple[int, bool], event: Event, action: Action
) -> None:
    """What is permanent is Infobip's to say; good news has no code."""
    (receipt,) = read(report(told, error(failure[0], permanent=failure[1])))
    assert (receipt.event, receipt.action) == (event, action)
    assert bool(receipt.code) == (event not in {Event.DELIVERED, Event.ACCEPTED})


@pytest.mark.parametrize(("told", "failure"), [(status(10, 5), 0), (status(4, 2), 603)])
def test_a_recipient_who_opted_out_is_a_failure_and_an_opt_out(told: Mapping[str, object], failure: int) -> None:
    """Two events of one report."""
    refused, opted_out = read(report(told, error(failure, permanent=True)))
    assert (refused.event, refused.action) == (Event.REJECTED, Action.NONE)
    assert (opted_out.event, opted_out.action) == (Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET)
    assert refused.tag == opted_out.tag == "t1"


@pytest.mark.parametrize(
    ("text", "keyword", "event"),
    [("STOP", None, Event.UNSUBSCRIBED), ("stop", "STOP", Event.UNSUBSCRIBED), ("Start", None, Event.RESUBSCRIBED),
     ("Stop it please", None, None), ("Hello", None, None), ("", None, None)],
)  # fmt: skip
def test_an_inbound_message_may_be_an_opt_out(text: str, keyword: str | None, event: Event | None) -> None:
    """By number, for no message of ours caused it; other messages are no news."""
    message = {"messageId": "m", "from": "41793026727", "to": "41793026700", "text": text, "keyword": keyword,
               "receivedAt": "2026-11-23T00:00:00.000+0000"}  # fmt: skip
    found = read(json.dumps({"results": [message], "messageCount": 1}).encode())
    assert [receipt.event for receipt in found] == ([] if event is None else [event])
    for receipt in found:
        assert (receipt.address, receipt.tag, receipt.provider_message_id) == ("+41793026727", None, None)
        assert receipt.at == NOW
        stops = receipt.event is Event.UNSUBSCRIBED
        assert receipt.action is (Action.SUPPRESS_TARGET if stops else Action.UNSUPPRESS_TARGET)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"results": {}}',
        b'{"results": ["x"]}',
        b'{"results": [{"hello": 1}]}',
        b'{"results": [{"status": {"id": 5, "groupId": 3}}]}',
        b'{"results": [{"status": {}, "messageId": "t1"}]}',
        b'{"results": [{"from": "Acme", "text": "STOP"}]}',
    ],
)
def test_what_is_no_report_is_unreadable(body: bytes) -> None:
    """It changes nothing."""
    with pytest.raises(UnreadableReceiptError):
        read(body)


@pytest.mark.parametrize(
    "given", ["xyz.api.infobip.com", "https://xyz.api.infobip.com", "https://xyz.api.infobip.com/"]
)
def test_the_accounts_address_is_taken_with_or_without_its_scheme(given: str) -> None:
    """As people copy it."""
    assert base_address(given) == "https://xyz.api.infobip.com"


@pytest.mark.parametrize("given", ["http://xyz.api.infobip.com", "xyz/api", "a b", "user@host", "xyz?x", "-", "x:y"])
def test_an_address_that_is_none_is_refused(given: str) -> None:
    """The API key goes there with every message."""
    with pytest.raises(SettingsError, match="baseUrl"):
        base_address(given)


@pytest.mark.parametrize("missing", ["baseUrl", "apiKey", "from"])
def test_a_setting_that_is_missing_is_named(missing: str) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError, match=missing):
        open_adapter(without(account(), missing), Context(tokens=NoTokens()))


def test_a_key_that_can_stand_in_no_header_is_refused() -> None:
    """A line end would make two of it."""
    with pytest.raises(SettingsError, match="apiKey"):
        open_adapter(
            replace(account(), credentials={"baseUrl": "x.test", "apiKey": "a\r\nb"}), Context(tokens=NoTokens())
        )


def test_secrets_do_not_print() -> None:
    """In a log or a traceback."""
    assert "hush" not in repr(replace(SETTINGS, api_key="hush"))
