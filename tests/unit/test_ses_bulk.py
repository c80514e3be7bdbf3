"""SendBulkEmail: which messages go that way, what the requests hold, and what the answers mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from messaging.channel import Role
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.unit.provider_cases import acting, recipients
from tests.unit.test_ses import KEY, NOW, SENDER, outgoing
from workers.providers.base import Recipient
from workers.providers.ses import SesAdapter
from workers.providers.ses_bulk import PATH
from workers.providers.ses_codes import BULK_STATUS, classify_entries

SINGLE = "/v2/email/outbound-emails"
EMAIL = Email(subject="Grüße", content="<p>there</p>", html=True)
TWO = recipients("ann@example.com", "bob@bücher.example")


def file(**changes: Any) -> Attachment:
    """An attachment a bulk can carry, but for these changes."""
    return replace(Attachment(filename="a b.pdf", content_type="application/pdf", content=b"\x00\xff"), **changes)


def accepted(request: httpx.Request) -> httpx.Response:
    """An answer that accepts all of it."""
    if request.url.path == SINGLE:
        return httpx.Response(200, json={"MessageId": "alone"})
    tags = [entry["ReplacementTags"][0]["Value"] for entry in json.loads(request.content)["BulkEmailEntries"]]
    return httpx.Response(
        200, json={"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": f"id-{tag}"} for tag in tags]}
    )


class Ses:
    """Answers bulks with `answer`, and single mails by accepting them; keeps the requests."""

    def __init__(self, answer: httpx.Response | httpx.HTTPError | None = None) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        self.requests.append(request)
        if self._answer is None or request.url.path != PATH:
            return accepted(request)
        if isinstance(self._answer, httpx.HTTPError):
            raise self._answer
        return self._answer

    @property
    def paths(self) -> list[str]:
        """Where the requests went."""
        return [request.url.path for request in self.requests]


def sent(
    ses: Ses,
    to: Sequence[Recipient],
    email: Email = EMAIL,
    *,
    calls: int = 1,
    configuration_set: str = "",
    **visible: tuple[str, ...],
) -> Sequence[Outcome]:
    """The outcomes of the last of so many calls."""

    async def call(adapter: SesAdapter) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = []
        for _ in range(calls):
            outcomes = await adapter.send(adapter.prepare(outgoing(email, **visible)), to)
        return outcomes

    def build(client: httpx.AsyncClient) -> SesAdapter:
        return SesAdapter(SENDER, KEY, client, configuration_set=configuration_set, now=lambda: NOW)

    return acting(ses, build, call, base_url="https://email.eu-central-1.amazonaws.com")


def test_several_recipients_are_one_request_with_an_entry_each() -> None:
    """Name, tag and unsubscribe address are each recipient's own; the rest is said once."""
    to = [replace(one, name="Änn", unsubscribe_url=f"https://mail.example.org/u/{one.tag}") for one in TWO]
    ses = Ses()
    outcomes = sent(ses, to, replace(EMAIL, headers={"X-A": "b"}), configuration_set="news")
    assert [outcome.provider_message_id for outcome in outcomes] == ["id-t0", "id-t1"]
    (request,) = ses.requests
    assert (request.method, request.url.path) == ("POST", PATH)
    assert json.loads(request.content) == {
        "FromEmailAddress": "=?utf-8?b?TsO8d3M=?= <news@example.org>",
        "ReplyToAddresses": ["help@example.org"],
        "ConfigurationSetName": "news",
        "DefaultContent": {
            "Template": {
                "TemplateContent": {"Subject": "Grüße", "Text": "there", "Html": "<p>there</p>"},
                "TemplateData": "{}",
                "Headers": [{"Name": "X-A", "Value": "b"}],
            }
        },
        "BulkEmailEntries": [
            {
                "Destination": {"ToAddresses": [f"=?utf-8?q?=C3=84nn?= <{address}>"]},
                "ReplacementTags": [{"Name": "delivery", "Value": tag}],
                "ReplacementHeaders": [
                    {"Name": "List-Unsubscribe", "Value": f"<https://mail.example.org/u/{tag}>"},
                    {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
                ],
            }
            for tag, address in (("t0", "ann@example.com"), ("t1", "bob@xn--bcher-kva.example"))
        ],
    }


@pytest.mark.parametrize(
    ("email", "content"),
    [
        (Email(subject="s", content="b"), {"Subject": "s", "Text": "b"}),
        (Email(subject="a  b\tc ", content="b"), {"Subject": "a b c", "Text": "b"}),
        (Email(subject="s", content="<img>", html=True), {"Subject": "s", "Html": "<img>"}),
        (
            Email(subject="s", content="<b>", html=True, text="{ } }}"),
            {"Subject": "s", "Text": "{ } }}", "Html": "<b>"},
        ),
    ],
    ids=["text", "blanks", "no words", "single braces"],
)
def test_a_part_the_message_lacks_is_left_out(email: Email, content: Mapping[str, str]) -> None:
    """The others stand there word for word."""
    ses = Ses()
    sent(ses, TWO, email)
    assert json.loads(ses.requests[0].content)["DefaultContent"]["Template"]["TemplateContent"] == content


def test_a_request_follows_the_description(shared_dir: Path) -> None:
    """Whatever the message holds; a misspelt member would be found."""
    document = json.loads((shared_dir / "contracts/ses_v2_send.botocore.json").read_text())
    model = ServiceModel(document, "sesv2").operation_model("SendBulkEmail")
    to = recipients(*(f"u{n}@example.com" for n in range(50)), unsubscribe_url="https://mail.example.org/u", name="Ö")
    ses = Ses()
    email = replace(EMAIL, attachments=(file(),), headers={f"X-{n}": "v" for n in range(13)})
    assert {outcome.action for outcome in sent(ses, to, email, configuration_set="news")} == {Action.ACCEPTED}
    (request,) = ses.requests
    body = json.loads(request.content)
    assert (request.method, request.url.path) == (model.http["method"], model.http["requestUri"])
    (attachment,) = body["DefaultContent"]["Template"]["Attachments"]
    attachment["RawContent"] = base64.b64decode(attachment["RawContent"], validate=True)
    assert attachment["RawContent"] == b"\x00\xff"
    assert not ParamValidator().validate(body, model.input_shape).has_errors()
    body["BulkEmailEntries"][0]["ReplacementTag"] = []
    assert ParamValidator().validate(body, model.input_shape).has_errors()


def test_a_table_of_statuses_is_whole(shared_dir: Path) -> None:
    """Every status an entry can have."""
    document = json.loads((shared_dir / "contracts/ses_v2_send.botocore.json").read_text())
    assert set(document["shapes"]["BulkEmailStatus"]["enum"]) == set(BULK_STATUS)


def test_one_recipient_is_no_bulk() -> None:
    """Nor are two of whom one can't be reached."""
    ses = Ses()
    sent(ses, TWO[:1])
    sent(ses, [TWO[0], *recipients("jörg@example.com")])
    assert ses.paths == [SINGLE, SINGLE]


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "{{name}}"},
        {"content": "<p>{{name}}</p>"},
        {"text": "{{{name}}}"},
        {"subject": " "},
        {"headers": {"X-A": "{{a}}"}},
        {"headers": {"X-A": "ü"}},
        {"headers": {"X-A": ""}},
        {"headers": {"X-A": "=?utf-8?q?a?="}},
        {"headers": {"X-A": "a", "x-a": "b"}},
        {"headers": {"Content-Language": "de"}},
        {"headers": {"X-SES-MESSAGE-TAGS": "a=b"}},
        {"headers": {f"X-{n}": "v" for n in range(14)}},
        {"attachments": (file(filename="ü.pdf"),)},
        {"attachments": (file(filename="noextension"),)},
        {"attachments": (file(content_type="text/plain; charset=utf-8"),)},
        {"attachments": (file(content_type="message/rfc822"),)},
        {"attachments": (file(content_type=f"application/{'x' * 90}"),)},
        {"content": "<p>" + "ü" * 450_000, "text": "t"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_what_a_bulk_cannot_carry_as_it_is_goes_as_mime(changes: dict[str, Any]) -> None:
    """What a template would read as a variable, header lines it would refuse or alter, odd files, too much text."""
    ses = Ses()
    outcomes = sent(ses, TWO, replace(EMAIL, **changes))
    assert [outcome.provider_message_id for outcome in outcomes] == ["alone"] * 2
    assert ses.paths == [SINGLE, SINGLE]


def test_copies_that_show_other_recipients_go_as_mime() -> None:
    """A bulk would send to whom it shows: all of them with Cc, or those who get cc and bcc copies."""
    ses = Ses()
    sent(ses, TWO, visible_cc=("carl@example.com",))
    assert ses.paths == [SINGLE] * 2
    mixed = Ses()
    sent(mixed, [*TWO, replace(recipients("dora@example.com", role=Role.BCC)[0], tag="t2")], visible_to=("a@b.c",))
    assert sorted(mixed.paths) == [PATH, SINGLE]


def test_a_recipient_whose_name_is_too_long_for_a_bulk_goes_as_mime() -> None:
    """The others don't."""
    ses = Ses()
    outcomes = sent(ses, [*TWO, *recipients("dora@example.com", name="Dora " * 100)])
    assert sorted(ses.paths) == [PATH, SINGLE]
    assert [outcome.provider_message_id for outcome in outcomes] == ["id-t0", "id-t1", "alone"]


def test_addresses_ses_can_not_reach_are_left_out_of_a_bulk() -> None:
    """A name that would end its header fails its own copy."""
    to = [*recipients("jörg@example.com", "no address", "ann@example.com", "bob@example.com"), *TWO]
    to[3] = replace(to[3], name="Bob\r\nBcc: eve@example.org")
    ses = Ses()
    outcomes = sent(ses, to)
    assert [outcome.action for outcome in outcomes] == [
        Action.DISABLE_TARGET, Action.DISABLE_TARGET, Action.ACCEPTED, Action.REJECT_MESSAGE,
        Action.ACCEPTED, Action.ACCEPTED,
    ]  # fmt: skip
    assert len(json.loads(ses.requests[0].content)["BulkEmailEntries"]) == 3


def test_a_big_bulk_is_the_same_as_a_small_one() -> None:
    """It is put together beside the loop; files count to the message's size, not to the template's."""
    content = bytes(range(256)) * 8000
    ses = Ses()
    outcomes = sent(ses, TWO, replace(EMAIL, attachments=(file(content=content),)))
    assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
    (request,) = ses.requests
    (attachment,) = json.loads(request.content)["DefaultContent"]["Template"]["Attachments"]
    assert base64.b64decode(attachment["RawContent"]) == content


@pytest.mark.parametrize(
    ("results", "actions"),
    [
        ([{"Status": "SUCCESS", "MessageId": "1"}], [Action.ACCEPTED, Action.AMBIGUOUS_RETRY]),
        ([{"Status": "SUCCESS"}, {"Status": "NEW"}], [Action.AMBIGUOUS_RETRY] * 2),
        ([None, {"Status": 1}], [Action.AMBIGUOUS_RETRY] * 2),
        ([{"Status": "SUCCESS", "MessageId": "1"}] * 3, [Action.AMBIGUOUS_RETRY] * 2),
        ({"Status": "SUCCESS"}, [Action.AMBIGUOUS_RETRY] * 2),
        (None, [Action.AMBIGUOUS_RETRY] * 2),
        ([{"Status": "FAILED"}, {"Status": "SUCCESS", "MessageId": "1"}], [Action.RETRY, Action.ACCEPTED]),
    ],
    ids=["fewer", "no id, unknown", "no objects", "more", "no list", "none", "failed"],
)
def test_each_entry_has_the_outcome_of_its_result(results: object, actions: list[Action]) -> None:
    """What the answer doesn't say of an entry is unknown."""
    outcomes = sent(Ses(httpx.Response(200, json={"BulkEmailEntryResults": results})), TWO)
    assert [outcome.action for outcome in outcomes] == actions
    assert all(outcome.outage for outcome in outcomes if outcome.action is Action.AMBIGUOUS_RETRY)


@pytest.mark.parametrize(
    ("status", "said", "action"),
    [
        ("INVALID_PARAMETER", "Missing final '@domain'", Action.DISABLE_TARGET),
        ("INVALID_PARAMETER", "Invalid template", Action.REJECT_MESSAGE),
        ("MESSAGE_REJECTED", "Email address is not verified: ann@example.com", Action.STOP_PROVIDER),
        ("MESSAGE_REJECTED", "Content of ann@example.com", Action.REJECT_MESSAGE),
        ("ACCOUNT_THROTTLED", "Maximum sending rate exceeded.", Action.RETRY_AFTER),
    ],
)
def test_the_words_decide_where_a_status_stands_for_several_things(status: str, said: str, action: Action) -> None:
    """As for a request; no address is repeated."""
    body = json.dumps({"BulkEmailEntryResults": [{"Status": status, "Error": said}]}).encode()
    (outcome,) = classify_entries(body, 1)
    assert (outcome.action, outcome.code) == (action, status)
    assert "ann@" not in outcome.reason


@pytest.mark.parametrize(
    ("status", "name", "said", "action"),
    [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", Action.RETRY_AFTER),
        (400, "LimitExceededException", "", Action.QUOTA),
        (403, "InvalidSignatureException", "", Action.STOP_PROVIDER),
        (404, "NotFoundException", "Configuration set <x> does not exist.", Action.STOP_PROVIDER),
        (500, "InternalServiceErrorException", "", Action.AMBIGUOUS_RETRY),
        (503, "ServiceUnavailable", "", Action.RETRY),
        (200, "", "", Action.AMBIGUOUS_RETRY),
    ],
)
def test_what_is_nobodys_fault_counts_for_all(status: int, name: str, said: str, action: Action) -> None:
    """In one request, and no other."""
    ses = Ses(httpx.Response(status, json={"message": said}, headers={"x-amzn-errortype": name}))
    outcomes = sent(ses, TWO)
    assert [outcome.action for outcome in outcomes] == [action] * 2
    assert ses.paths == [PATH]


def test_a_bulk_without_an_answer_is_unknown_for_all_of_it() -> None:
    """It is not repeated."""
    ses = Ses(httpx.ReadTimeout("nothing came"))
    outcomes = sent(ses, TWO)
    assert [outcome.action for outcome in outcomes] == [Action.AMBIGUOUS_RETRY] * 2
    assert ses.paths == [PATH]


@pytest.mark.parametrize(
    ("name", "said"),
    [("BadRequestException", "Missing final '@domain'"), ("BadRequestException", "x"), ("MessageRejected", "x")],
)
def test_what_may_be_the_fault_of_one_is_asked_of_each(name: str, said: str) -> None:
    """Nothing was sent; SES doesn't say whom it means."""
    ses = Ses(httpx.Response(400, json={"message": said}, headers={"x-amzn-errortype": name}))
    outcomes = sent(ses, TWO, calls=2)
    assert [outcome.provider_message_id for outcome in outcomes] == ["alone"] * 2
    assert ses.paths == [PATH, SINGLE, SINGLE] * 2


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(403, headers={"x-amzn-errortype": "AccessDeniedException"}),
        httpx.Response(404, headers={"x-amzn-errortype": "UnknownOperationException"}),
        httpx.Response(404, content=b"<html>"),
    ],
    ids=["forbidden", "unknown", "no SES of today"],
)
def test_where_there_is_no_bulk_it_is_not_asked_for_again(response: httpx.Response) -> None:
    """A key may have the permission for SendEmail alone; emulations lack the operation."""
    ses = Ses(response)
    outcomes = sent(ses, TWO, calls=2)
    assert [outcome.provider_message_id for outcome in outcomes] == ["alone"] * 2
    assert ses.paths == [PATH] + [SINGLE] * 4
