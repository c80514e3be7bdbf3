"""The MSG91 adapter: its requests, how they are halved, and what answers and reports mean."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.errors import ContentError, SettingsError
from messaging.message import Content, Email, Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, Receipt, UnreadableReceiptError
from tests.integration.mail_sandbox import NoTokens
from tests.unit import provider_cases
from tests.unit.provider_cases import Handler, account_of, inbound, outgoing, rows
from workers.providers.base import Context
from workers.providers.halving import REQUESTS
from workers.providers.msg91 import Msg91Adapter, Msg91Settings, classify, open_adapter, read_receipts
from workers.providers.msg91_receipts import classify_status

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
SETTINGS = Msg91Settings("key", "template", "ABCDEF")
TAKEN = {"type": "success", "message": "346b6b"}
BAD_NUMBER = {"type": "error", "message": "Invalid mobile number", "code": "202"}


def build(client: httpx.AsyncClient) -> Msg91Adapter:
    """An adapter."""
    return Msg91Adapter(SETTINGS, client)


def send(handler: Handler, *addresses: str) -> Sequence[Outcome]:
    """The outcomes of one call."""
    return provider_cases.send(handler, build, *addresses, content=Sms(content="Grüße & 1%"))


def numbers(count: int) -> list[str]:
    """So many numbers in India."""
    return [f"+9198123{n:05}" for n in range(count)]


class Provider:
    """Refuses a request with a number of `dead` in it."""

    def __init__(self, dead: Sequence[str] = ()) -> None:
        self.dead = {number[1:] for number in dead}
        self.requests: list[list[str]] = []
        self.taken: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        named = [entry["mobiles"] for entry in json.loads(request.content)["recipients"]]
        self.requests.append(named)
        if self.dead & set(named):
            return httpx.Response(200, json=BAD_NUMBER)
        self.taken += named
        return httpx.Response(200, json=TAKEN)


def test_one_request_has_the_text_as_variables_and_each_number_with_its_tag() -> None:
    """The template decides which variable it shows."""
    seen: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=TAKEN)

    outcomes = send(handler, *numbers(2))
    assert outcomes == [Outcome(Action.ACCEPTED, provider_message_id="346b6b")] * 2
    assert [request.url.path for request in seen] == ["/api/v5/flow"]
    assert json.loads(seen[0].content) == {
        "template_id": "template",
        "sender": "ABCDEF",
        "short_url": "0",
        "recipients": [
            {"mobiles": "919812300000", "CRQID": "t0", "message": "Grüße & 1%", "VAR1": "Grüße & 1%"},
            {"mobiles": "919812300001", "CRQID": "t1", "message": "Grüße & 1%", "VAR1": "Grüße & 1%"},
        ],
    }


@given(bad=st.sets(st.integers(0, 39), max_size=5))
@settings(deadline=None, max_examples=25)
def test_bad_numbers_are_found_by_halving_and_the_rest_is_sent_once(bad: set[int]) -> None:
    """Whichever they are; the answer names none."""
    people = numbers(40)
    provider = Provider([people[n] for n in bad])
    outcomes = send(provider, *people)
    expected = [Action.DISABLE_TARGET if n in bad else Action.ACCEPTED for n in range(40)]
    assert [outcome.action for outcome in outcomes] == expected
    assert sorted(provider.taken) == sorted(people[n][1:] for n in range(40) if n not in bad)


def test_the_search_for_bad_numbers_ends() -> None:
    """What was not sent by then waits for its next attempt."""
    people = numbers(100)
    provider = Provider(people)
    outcomes = send(provider, *people)
    assert len(provider.requests) == REQUESTS
    assert {outcome.action for outcome in outcomes} == {Action.DISABLE_TARGET, Action.RETRY}
    assert not any(outcome.outage for outcome in outcomes)


def test_a_number_occurs_once_in_a_request() -> None:
    """Each time under its own tag, in a request of its own."""
    provider = Provider()
    outcomes = send(provider, "+919812300000", "+919812300001", "+919812300000")
    assert [len(named) for named in provider.requests] == [2, 1]
    assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}


def test_what_is_no_number_is_not_requested() -> None:
    """And does not keep the others."""
    provider = Provider()
    outcomes = send(provider, "nobody", "+919812300000", "+0")
    assert [outcome.action for outcome in outcomes] == [Action.DISABLE_TARGET, Action.ACCEPTED, Action.DISABLE_TARGET]
    assert provider.requests == [["919812300000"]]


def test_every_row_of_the_action_table_leads_to_its_action(shared_dir: Path) -> None:
    """Answers, and the statuses of a report."""
    found = rows(shared_dir, "msg91")
    assert len(found) == 14
    for row in found:
        if row["where"] == "response":
            kind = row["code"].removeprefix("type=") if row["code"].startswith("type=") else "error"
            body = {"type": kind, "message": "message text"}
            if row["http"] is None:
                body["code"] = row["code"]
            outcomes = [classify(row["http"] or 200, json.dumps(body).encode(), {})]
        else:
            outcomes = [classify_status(code.split()[0]) for code in row["code"].split(" / ")]
        assert {outcome.action for outcome in outcomes} == {Action(row["action"])}, row


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (200, {"type": "error", "message": "Invalid authkey"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "IP is not whitelisted"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "Insufficient balance"}, Action.QUOTA),
        (200, {"type": "error", "message": "Template not found"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "Invalid sender id"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "Mobile 919812345678 is invalid"}, Action.DISABLE_TARGET),
        (200, {"type": "error", "message": "What about 919812345678"}, Action.REJECT_MESSAGE),
        (400, {"type": "error", "message": "Nothing"}, Action.REJECT_MESSAGE),
        (418, {}, Action.STOP_PROVIDER),
        (401, {}, Action.STOP_PROVIDER),
        (429, {}, Action.RETRY_AFTER),
        (302, {}, Action.STOP_PROVIDER),
        (500, {}, Action.AMBIGUOUS_RETRY),
        (503, {}, Action.RETRY),
        (200, {}, Action.AMBIGUOUS_RETRY),
        (200, {"type": "success"}, Action.AMBIGUOUS_RETRY),
    ],
)
def test_an_answer_leads_to_its_action(status: int, body: Mapping[str, str], action: Action) -> None:
    """And repeats no number."""
    outcome = classify(status, json.dumps(body).encode(), {})
    assert outcome.action is action
    assert outcome.code
    assert "919812345678" not in outcome.reason
    assert outcome.outage is (status >= 500 or action is Action.AMBIGUOUS_RETRY)


def test_a_delay_is_taken_over() -> None:
    """Where one is named."""
    assert classify(429, b"", {"retry-after": "7"}).retry_after_s == 7
    assert classify(429, b"[" * 100_000, {"retry-after": "later"}).retry_after_s is None


@pytest.mark.parametrize(
    "content", [Sms(content=""), Sms(content="x" * 1601), Sms(content="\ud800"), Email(subject="s", content="c")]
)
def test_what_msg91_would_not_take_is_refused_once(content: Content) -> None:
    """Before any request."""
    with pytest.raises(ContentError):
        Msg91Adapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content))


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (200, {"type": "error", "message": "Recipients are missing", "code": "101"}, Action.ACCEPTED),
        (400, {"type": "error", "message": "Please provide recipients"}, Action.ACCEPTED),
        (401, {"type": "error", "message": "Invalid authkey"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "IP is not whitelisted", "code": "418"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "Invalid template"}, Action.STOP_PROVIDER),
        (200, {"type": "error", "message": "Insufficient balance"}, Action.QUOTA),
    ],
)
def test_a_check_asks_for_a_message_to_nobody(status: int, body: Mapping[str, str], action: Action) -> None:
    """To be refused for want of recipients alone says that the rest is good; the key stays out of the address."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=body)

    outcome = provider_cases.check(handler, build)
    assert outcome.action is action
    assert outcome.reason
    assert json.loads(seen[0].content)["recipients"] == []
    assert seen[0].url.query == b""


@pytest.mark.parametrize("missing", [{"authKey": ""}, {"templateId": " "}, {"senderId": None}, {"authKey": "a b"}])
def test_what_is_missing_is_named(missing: Mapping[str, object]) -> None:
    """For the operator."""
    fields = {"authKey": "key", "templateId": "t", "senderId": "ABCDEF", **missing}
    account = account_of("msg91", fields)
    with pytest.raises(SettingsError, match=next(iter(missing))):
        open_adapter(account, Context(tokens=NoTokens()))


FORM = "application/x-www-form-urlencoded"


def read(body: bytes, kind: str = "application/json") -> Sequence[Receipt]:
    """The receipts of a report."""
    return provider_cases.read(read_receipts, inbound(body, kind), account_of("msg91", {}))


def report(status: str = "1", tag: str | None = "d1-2-3", **more: str) -> dict[str, str]:
    """A report as MSG91's page shows it."""
    said = {"date": "2026-11-23 10:30:00", "number": "919812345678", "status": status, "desc": "…", "failedReason": ""}
    return said | ({} if tag is None else {"CRQID": tag}) | more


def version_2(*reports: Mapping[str, str]) -> bytes:
    """A form whose `data` is JSON."""
    return urlencode({"data": json.dumps([{"requestId": "346b6b", "senderId": "ABCDEF", "report": reports}])}).encode()


@pytest.mark.parametrize(
    ("status", "events", "action"),
    [
        ("1", [Event.DELIVERED], Action.NONE),
        ("2", [Event.BOUNCED_SOFT], Action.NONE),
        ("9", [Event.REJECTED, Event.UNSUBSCRIBED], Action.SUPPRESS_TARGET),
        ("16", [Event.REJECTED], Action.SUPPRESS_TARGET),
        ("17", [Event.REJECTED], Action.SUPPRESS_TARGET),
        ("25", [Event.REJECTED], Action.SUPPRESS_TARGET),
        ("8", [Event.ACCEPTED], Action.NONE),
    ],
)
def test_a_status_tells_its_events(status: str, events: Sequence[Event], action: Action) -> None:
    """About the delivery whose tag comes back; a time without a zone is India's."""
    receipts = read(version_2(report(status)), FORM)
    assert [receipt.event for receipt in receipts] == events
    assert receipts[-1].action is action
    assert {receipt.tag for receipt in receipts} == {"d1-2-3"}
    assert receipts[0].at == NOW


def test_each_report_of_a_request_is_told() -> None:
    """But for messages that are not ours."""
    receipts = read(version_2(report(tag="a"), report(tag="0"), report(tag=None), report(tag="b")), FORM)
    assert [receipt.tag for receipt in receipts] == ["a", "b"]
    assert len({receipt.key for receipt in receipts}) == 2


def test_both_versions_with_a_tag_are_read_alike() -> None:
    """Version 3 is the report itself, as JSON."""
    alone = json.dumps(report(requestId="346b6b")).encode()
    assert read(alone) == read(version_2(report()), FORM)
    wrapped = json.dumps({"data": json.dumps([{"requestId": "346b6b", "report": [report()]}])}).encode()
    assert read(wrapped) == read(alone)


def test_version_4_names_no_delivery() -> None:
    """It has no tag."""
    assert (
        read(b'[{"data":[{"meta":"0","INMSID":"0","description":"DELIVERED","ts":1726729500}],"event":"delivered"}]')
        == []
    )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'["a"]', b'[{"report": [1]}]', b'{"data": "{"}', b'{"CRQID": "t", "status": ""}', b"[" * 100_000,
        b'{"CRQID": "t", "status": "\\u0000"}', b'{"CRQID": "t", "status": "1", "requestId": "\\ud800"}',
    ],
)  # fmt: skip
def test_what_says_nothing_is_unreadable(body: bytes) -> None:
    """Or can't be kept."""
    with pytest.raises(UnreadableReceiptError):
        read(body)


@pytest.mark.parametrize("body", [b"", b"data=", b"data=%7B", b"other=1", b"data=%5B%5D&data=%5B%5D"])
def test_a_form_without_its_data_is_unreadable(body: bytes) -> None:
    """Version 2 has one field."""
    with pytest.raises(UnreadableReceiptError):
        read(body, FORM)
