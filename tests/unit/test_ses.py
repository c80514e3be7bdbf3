"""The Amazon SES adapter: requests, their signature, what the answers mean. Requests end at httpx's transport."""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from messaging.channel import Role
from messaging.errors import ContentError, SettingsError
from messaging.ids import delivery_tag_prefix
from messaging.message import Attachment, Content, Email, Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens
from tests.unit.provider_cases import Handler, Row, T, acting, recipients, rows
from workers.providers.base import Account, Context, Outgoing, Recipient
from workers.providers.mime import Mailbox, Sender
from workers.providers.ses import SesAdapter, open_adapter
from workers.providers.ses_codes import BULK_STATUS, CODES, classify, error_type
from workers.providers.ses_receipts import receipts_of
from workers.providers.ses_sign import AccessKey, signed_headers

SENDER = Sender(mailbox=Mailbox("news", "example.org"), name="Nüws", reply_to=Mailbox("help", "example.org"))
KEY = AccessKey("AKIAEXAMPLE", "s3cr3t/+", "eu-central-1")
NOW = datetime(2026, 11, 23, 5, 14, 59, tzinfo=UTC)
EMAIL = Email(subject="Grüße", content="there")


def outgoing(content: Content, **visible: tuple[str, ...]) -> Outgoing:
    """A message with this content."""
    return Outgoing(message_id="m1", content=content, expires_at=datetime(2027, 1, 1, tzinfo=UTC), **visible)


def using(handler: Handler, to: Callable[[SesAdapter], Awaitable[T]], *, configuration_set: str = "") -> T:
    """What `to` comes to with an adapter whose requests `handler` answers."""

    def build(client: httpx.AsyncClient) -> SesAdapter:
        return SesAdapter(SENDER, KEY, client, configuration_set=configuration_set, now=lambda: NOW)

    return acting(handler, build, to, base_url="https://email.eu-central-1.amazonaws.com")


def sent(
    to: Sequence[Recipient], content: Content = EMAIL, *, configuration_set: str = "", **visible: tuple[str, ...]
) -> tuple[Sequence[Outcome], list[httpx.Request]]:
    """The outcomes of a call for each recipient, and the requests they made, all of them accepted."""
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"MessageId": f"id{len(requests)}"})

    async def call(adapter: SesAdapter) -> Sequence[Outcome]:
        prepared = adapter.prepare(outgoing(content, **visible))
        return [outcome for one in to for outcome in await adapter.send(prepared, [one])]

    return using(accept, call, configuration_set=configuration_set), requests


def mime_of(request: httpx.Request) -> bytes:
    """The message a request holds."""
    return base64.b64decode(json.loads(request.content)["Content"]["Raw"]["Data"], validate=True)


def test_a_message_to_one_address_goes_out_as_mime_with_our_tag() -> None:
    """Headers are ours to the letter: the name of the sender, Message-ID, Reply-To, unsubscribing."""
    to = [
        replace(one, name="Änn", unsubscribe_url=f"https://mail.example.org/u/{one.tag}")
        for one in recipients("ann@example.com", "bob@bücher.example")
    ]
    outcomes, requests = sent(to, configuration_set="bulk")
    assert [outcome.provider_message_id for outcome in outcomes] == ["id1", "id2"]
    for one, request in zip(to, requests, strict=True):
        body = json.loads(request.content)
        wire = one.address.replace("bücher", "xn--bcher-kva")
        assert (request.method, request.url.path) == ("POST", "/v2/email/outbound-emails")
        assert body["Destination"] == {"ToAddresses": [wire]}
        assert body["EmailTags"] == [{"Name": "delivery", "Value": one.tag}]
        assert body["ConfigurationSetName"] == "bulk"
        assert "FromEmailAddress" not in body, "it would replace From, and its name with it"
        message = message_from_bytes(mime_of(request), policy=default)
        assert message["from"] == "Nüws <news@example.org>"
        assert message["to"] == f"Änn <{wire}>"
        assert message["subject"] == "Grüße"
        assert message["reply-to"] == "help@example.org"
        assert message["message-id"] == f"<{one.tag}@example.org>"
        assert message["list-unsubscribe"] == f"<https://mail.example.org/u/{one.tag}>"
        assert message["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"


def test_without_a_configuration_set_none_is_named() -> None:
    """An empty name would be refused."""
    _, (request,) = sent(recipients("ann@example.com"))
    assert "ConfigurationSetName" not in json.loads(request.content)


def test_a_bcc_copy_shows_the_others_and_goes_to_its_own_address() -> None:
    """Destination decides who gets it, not To."""
    to = recipients("dora@example.com", role=Role.BCC)
    _, (request,) = sent(to, visible_to=("ann@example.com",), visible_cc=("carl@example.com",))
    message = message_from_bytes(mime_of(request), policy=default)
    assert (message["to"], message["cc"], message["bcc"]) == ("ann@example.com", "carl@example.com", None)
    assert json.loads(request.content)["Destination"] == {"ToAddresses": ["dora@example.com"]}


def test_a_big_message_is_the_same_as_a_small_one() -> None:
    """It is put together beside the loop, a few at a time."""
    file = Attachment(filename="a.bin", content_type="application/x-a", content=bytes(range(256)) * 4000)
    outcomes, requests = sent(recipients(*(f"u{n}@example.com" for n in range(5))), replace(EMAIL, attachments=(file,)))
    assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
    assert {json.loads(request.content)["Destination"]["ToAddresses"][0] for request in requests} == {
        f"u{n}@example.com" for n in range(5)
    }
    message = message_from_bytes(mime_of(requests[0]), policy=default)
    (part,) = message.iter_attachments()
    assert part.get_payload(decode=True) == file.content


def test_a_request_follows_the_description(shared_dir: Path) -> None:
    """Whatever the message holds; a misspelt member would be found."""
    document = json.loads((shared_dir / "contracts/ses_v2_send.botocore.json").read_text())
    model = ServiceModel(document, "sesv2").operation_model("SendEmail")
    to = [replace(one, unsubscribe_url="https://mail.example.org/u") for one in recipients("ann@example.com")]
    _, (request,) = sent(to, configuration_set="bulk")
    body = json.loads(request.content)
    body["Content"]["Raw"]["Data"] = mime_of(request)
    assert (request.method, request.url.path) == (model.http["method"], model.http["requestUri"])
    assert not ParamValidator().validate(body, model.input_shape).has_errors()
    assert ParamValidator().validate(body | {"Emailtags": []}, model.input_shape).has_errors()
    named = {shape.name for shape in model.error_shapes}
    assert named <= CODES.keys()


def by_botocore(method: str, url: str, body: bytes, headers: Mapping[str, str], key: AccessKey) -> str:
    """The Authorization that AWS's own signer makes."""
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    signer = SigV4Auth(Credentials(key.key_id, key.secret), key.service, key.region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    names = signer.signed_headers(signer.headers_to_sign(request))
    signature = signer.signature(text, request)
    return f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/v2/email/outbound-emails", b'{"a": "\xc3\xbc"}', {"content-type": "application/json"}),
        ("GET", "/v2/email/account", b"", {}),
        (
            "POST",
            "/ses/v2/email/outbound-emails",
            b"x" * 100_000,
            {"content-type": "application/json", "x-a": "b   c "},
        ),
        ("GET", "/a%20b/~c", b"", {}),
    ],
)
def test_a_signature_is_that_of_awss_own_signer(
    method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> None:
    """Methods, paths, bodies and headers."""
    host = "127.0.0.1:8025"
    ours = signed_headers(KEY, method, path, body, headers={"host": host, **headers}, at=NOW)
    dated = {**headers, "X-Amz-Date": ours["x-amz-date"]}
    assert ours["authorization"] == by_botocore(method, f"http://{host}{path}", body, dated, KEY)


def test_every_request_is_signed_for_where_it_goes() -> None:
    """Host, date, type and body; the secret itself stays here."""
    _, (request,) = sent(recipients("ann@example.com"))
    headers = {"content-type": request.headers["content-type"], "X-Amz-Date": request.headers["x-amz-date"]}
    expected = by_botocore("POST", str(request.url), request.content, headers, KEY)
    assert request.headers["authorization"] == expected
    assert KEY.secret not in str(request.headers)
    assert KEY.secret not in repr(KEY)


def test_a_time_in_another_zone_is_the_same_time() -> None:
    """The date is UTC."""
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert signed_headers(KEY, "GET", "/", b"", headers={"host": "h"}, at=there) == signed_headers(
        KEY, "GET", "/", b"", headers={"host": "h"}, at=NOW
    )


def answer_of(row: Row) -> Outcome:
    """What the answer of a row comes to."""
    code = row["code"].partition(" ")[0]
    if code == "MessageId":
        return classify(200, b'{"MessageId": "1"}', {})
    said = row["code"].partition('"')[2].strip('"') or row["name"].strip('"')
    headers = {"x-amzn-errortype": f"{code}:http://internal.amazon.com/coral/com.amazonaws.sesv2/"} if code else {}
    return classify(row["http"], json.dumps({"message": said if row["http"] != 403 else ""}).encode(), headers)


def test_the_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """Answers, entries of a bulk answer and events."""
    found = rows(shared_dir, "ses")
    assert len(found) == 35
    for row in found:
        match row["where"]:
            case "response" if "MessageRejected" in row["code"]:
                rejected = {"x-amzn-errortype": row["code"]}
                assert classify(400, b'{"message": "Message content was rejected"}', rejected).action == row["action"]
                unverified = classify(400, b'{"message": "Email address is not verified. a@b.c"}', rejected)
                assert unverified.action is Action.STOP_PROVIDER
                assert "a@b.c" not in unverified.reason
            case "response":
                for code in row["code"].split(" / "):
                    assert answer_of(row | {"code": code}).action == row["action"], row
            case "bulk entry Status":
                assert BULK_STATUS[row["code"]][0] == row["action"], row
            case _:
                name, _, kind = row["code"].partition(" bounceType=")
                event = {"eventType": name, "bounce": {"bounceType": kind, "bounceSubType": "General"}}
                (receipt,) = receipts_of(json.dumps(event), "1")
                assert receipt.action == row["action"], row


@pytest.mark.parametrize(
    ("status", "name", "said", "action", "outage"),
    [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", Action.RETRY_AFTER, False),
        (429, "TooManyRequestsException", "Daily message quota exceeded.", Action.QUOTA, False),
        (400, "LimitExceededException", "Daily sending quota exceeded", Action.QUOTA, False),
        (429, "", "", Action.RETRY_AFTER, False),
        (400, "BadRequestException", "Missing final '@domain'", Action.DISABLE_TARGET, False),
        (400, "BadRequestException", "Domain contains illegal character", Action.DISABLE_TARGET, False),
        (400, "BadRequestException", "Invalid MIME", Action.REJECT_MESSAGE, False),
        (400, "SomethingNew", "", Action.REJECT_MESSAGE, False),
        (403, "InvalidSignatureException", "The request signature does not match", Action.STOP_PROVIDER, False),
        (403, "", "", Action.STOP_PROVIDER, False),
        (404, "", "", Action.STOP_PROVIDER, False),
        (302, "", "", Action.STOP_PROVIDER, False),
        (500, "InternalServiceErrorException", "", Action.AMBIGUOUS_RETRY, True),
        (502, "", "", Action.AMBIGUOUS_RETRY, True),
        (503, "ServiceUnavailable", "", Action.RETRY, True),
        (503, "", "", Action.RETRY, True),
        (200, "", "", Action.AMBIGUOUS_RETRY, True),
    ],
)
def test_what_an_answer_means(status: int, name: str, said: str, action: Action, outage: bool) -> None:
    """By its name, else by its status; the words decide where one name stands for several things."""
    outcome = classify(status, json.dumps({"message": said}).encode(), {"x-amzn-errortype": name})
    assert (outcome.action, outcome.outage) == (action, outage), outcome
    assert outcome.code == (name or str(status))
    assert outcome.retry_after_s is None


@pytest.mark.parametrize(
    "said",
    [
        "Signature expired: 20261123T000000Z is now earlier than 20261123T051459Z (20261123T051959Z - 5 min.)",
        "Signature not yet current: 20261123T060000Z is still later than 20261123T051959Z",
    ],
)
def test_a_clock_that_is_wrong_is_called_so(said: str) -> None:
    """Not the key: changing that would not help."""
    headers = {"x-amzn-errortype": "InvalidSignatureException"}
    outcome = classify(403, json.dumps({"message": said}).encode(), headers)
    assert outcome.action is Action.STOP_PROVIDER
    assert "clock" in outcome.reason


def test_what_aws_says_of_a_signature_is_not_repeated() -> None:
    """It quotes the request, key id and all."""
    said = "The request signature we calculated does not match. The Canonical String should have been 'POST host:x'"
    outcome = classify(403, json.dumps({"message": said}).encode(), {"x-amzn-errortype": "SignatureDoesNotMatch"})
    assert "Canonical" not in outcome.reason


@pytest.mark.parametrize(
    ("document", "headers", "name"),
    [
        ({}, {"x-amzn-errortype": "MessageRejected:http://internal.amazon.com/coral/"}, "MessageRejected"),
        ({"__type": "com.amazonaws.sesv2#NotFoundException"}, {}, "NotFoundException"),
        ({"code": "BadRequestException"}, {}, "BadRequestException"),
        ({"__type": None}, {}, ""),
    ],
)
def test_an_errors_name_is_found_wherever_it_stands(
    document: Mapping[str, object], headers: Mapping[str, str], name: str
) -> None:
    """Header or body, with or without a namespace."""
    assert error_type(document, headers) == name


@pytest.mark.parametrize(
    "content",
    [
        Sms(content="x"),
        Email(subject="s", content=""),
        Email(subject="s\r\nBcc: eve@example.org", content="b"),
        Email(subject="s", content="b", headers={"Message-ID": "x"}),
        Email(subject="s", content="b", reply_to_email="jörg@example.org"),
        Email(
            subject="s",
            content="b",
            attachments=(Attachment(filename="a", content_type="a/b", content=bytes(23_000_000)),),
        ),
    ],
    ids=["channel", "empty", "injection", "reserved", "utf8", "big"],
)
def test_what_ses_would_not_take_is_refused_before_sending(content: Content) -> None:
    """Once per message."""

    async def prepare(adapter: SesAdapter) -> object:
        with pytest.raises(ContentError) as caught:
            adapter.prepare(outgoing(content))
        return caught.value.code

    assert using(lambda _: httpx.Response(500), prepare)


def test_addresses_ses_can_not_reach_fail_alone() -> None:
    """It has no SMTPUTF8; a name that would end its header fails its own copy."""
    to = recipients("jörg@example.com", "no address", "ann@example.com", "bob@example.com")
    to[3] = replace(to[3], name="Bob\r\nBcc: eve@example.org")
    outcomes, requests = sent(to)
    assert [outcome.action for outcome in outcomes] == [
        Action.DISABLE_TARGET, Action.DISABLE_TARGET, Action.ACCEPTED, Action.REJECT_MESSAGE
    ]  # fmt: skip
    assert "SMTPUTF8" in outcomes[0].reason
    assert len(requests) == 1
    copies, _ = sent(recipients("dora@example.com", role=Role.BCC), visible_to=("jörg@example.com",))
    assert [outcome.action for outcome in copies] == [Action.REJECT_MESSAGE]


def test_our_tags_are_tags_ses_takes() -> None:
    """Letters, digits, _ and - only."""
    tag = f"{delivery_tag_prefix(datetime(2026, 11, 1, tzinfo=UTC).date(), 2**62)}{2**40:x}"
    assert tag.replace("-", "").replace("_", "").isalnum()
    assert tag.isascii()


ACCOUNT = {
    "SendQuota": {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 1234.0},
    "SendingEnabled": True,
    "ProductionAccessEnabled": True,
}


def checked(response: httpx.Response) -> Outcome:
    """What a check comes to when it is answered so."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", "/v2/email/account")
        assert request.headers["authorization"] == by_botocore(
            "GET", str(request.url), b"", {"X-Amz-Date": request.headers["x-amz-date"]}, KEY
        )
        return response

    outcome: Outcome = using(answer, lambda adapter: adapter.check())
    return outcome


def test_a_check_tells_the_quota_and_whether_the_account_may_send_to_everybody() -> None:
    """Region, access, rate, what is used up."""
    good = checked(httpx.Response(200, json=ACCOUNT))
    assert good.action is Action.ACCEPTED
    said = "eu-central-1, production access, 14 a second, 1,234 of 50,000 sent in the last 24 hours"
    assert good.reason == said
    unlimited = ACCOUNT | {"SendQuota": {"Max24HourSend": -1, "MaxSendRate": 1}, "ProductionAccessEnabled": False}
    assert checked(httpx.Response(200, json=unlimited)).reason == (
        "eu-central-1, AWS's sandbox: only to verified addresses, 1 a second, 0 of unlimited sent in the last 24 hours"
    )


@pytest.mark.parametrize(
    ("response", "action"),
    [
        (httpx.Response(200, json=ACCOUNT | {"SendingEnabled": False}), Action.STOP_PROVIDER),
        (httpx.Response(200, content=b"<html>"), Action.RETRY),
        (httpx.Response(200, json=[]), Action.RETRY),
        (httpx.Response(200, json={"SendQuota": {"MaxSendRate": "many"}}), Action.RETRY),
        (httpx.Response(403, headers={"x-amzn-errortype": "UnrecognizedClientException"}), Action.STOP_PROVIDER),
        (httpx.Response(429, headers={"x-amzn-errortype": "TooManyRequestsException"}), Action.RETRY_AFTER),
        (httpx.Response(500), Action.AMBIGUOUS_RETRY),
    ],
)
def test_a_check_that_fails_says_why(response: httpx.Response, action: Action) -> None:
    """Sending switched off, a key refused, an answer that is none."""
    outcome = checked(response)
    assert outcome.action is action
    assert outcome.reason


CREDENTIALS = {"accessKey": "AKIAEXAMPLE", "secretKey": "s3cr3t", "region": "eu-central-1"}
OPTIONS = {"fromEmail": "news@example.org"}


def opened(credentials: Mapping[str, object], options: Mapping[str, object], **context: Any) -> SesAdapter:
    """The adapter of an account."""
    account = Account(provider_id=1, public_id="ses", kind="ses", credentials=credentials, options=options)
    adapter = open_adapter(account, Context(tokens=NoTokens(), **context))
    assert isinstance(adapter, SesAdapter)
    return adapter


@pytest.mark.parametrize(
    ("credentials", "options", "named"),
    [
        ({"accessKey": ""}, {}, "accessKey"),
        ({"accessKey": "a b"}, {}, "accessKey"),
        ({"secretKey": ""}, {}, "secretKey"),
        ({"region": "Frankfurt"}, {}, "region"),
        ({"region": "eu-central-1.evil.example/"}, {}, "region"),
        ({}, {"configurationSet": "a b"}, "configurationSet"),
        ({}, {"fromEmail": "x"}, "fromEmail"),
        ({}, {"fromEmail": "jörg@example.org"}, "fromEmail"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    credentials: Mapping[str, object], options: Mapping[str, object], named: str
) -> None:
    """The error says what to correct, and never the secret."""
    with pytest.raises(SettingsError, match=named) as caught:
        opened({**CREDENTIALS, **credentials}, {**OPTIONS, **options})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("region", "endpoints", "base"),
    [
        ("eu-central-1", {}, "https://email.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", {}, "https://email.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", {}, "https://email.cn-north-1.amazonaws.com.cn"),
        ("eu-central-1", {"ses": "http://127.0.0.1:1/ses"}, "http://127.0.0.1:1/ses/"),
    ],
)
def test_the_region_decides_where_requests_go(region: str, endpoints: dict[str, str], base: str) -> None:
    """Unless the settings name another place."""
    adapter = opened(CREDENTIALS | {"region": region}, OPTIONS, endpoints=endpoints)
    assert str(adapter._client.base_url) == base
