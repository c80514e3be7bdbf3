"""The Textmagic adapter: its request, and what answers and callbacks mean."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from messaging.errors import ContentError, SettingsError
from messaging.message import Content, Email, Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, Receipt, UnreadableReceiptError
from tests.integration.mail_sandbox import NoTokens
from tests.unit import provider_cases
from tests.unit.provider_cases import Handler, account_of, inbound, outgoing, rows
from workers.providers.base import Context
from workers.providers.textmagic import TextmagicAdapter, TextmagicSettings, classify, open_adapter, read_receipts
from workers.providers.textmagic_receipts import classify_status

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
SETTINGS = TextmagicSettings("shop", "key", "447700900000")
TAKEN = {
    "id": 4471, "href": "/api/v2/messages/4471", "type": "message", "sessionId": 9, "bulkId": None, "messageId": 4471,
    "scheduleId": None, "chatId": None,
}  # fmt: skip


def build(client: httpx.AsyncClient) -> TextmagicAdapter:
    """An adapter."""
    return TextmagicAdapter(SETTINGS, client)


def send(handler: Handler, *addresses: str) -> Sequence[Outcome]:
    """The outcomes of one call."""
    return provider_cases.send(handler, build, *addresses, content=Sms(content='Grüße "& 1%\n'))


def test_the_request_has_the_number_without_its_plus() -> None:
    """And no reference: Textmagic's libraries take whole numbers only."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json=TAKEN)

    (outcome,) = send(handler, "+447700900123")
    assert outcome == Outcome(Action.ACCEPTED, provider_message_id="4471")
    assert (seen[0].method, seen[0].url.path) == ("POST", "/api/v2/messages")
    assert json.loads(seen[0].content) == {
        "text": 'Grüße "& 1%\n',
        "phones": "447700900123",
        "from": "447700900000",
    }


def test_every_row_of_the_action_table_leads_to_its_action(shared_dir: Path) -> None:
    """Answers by HTTP status, and the letters of a status."""
    found = rows(shared_dir, "textmagic")
    assert len(found) == 14
    for row in found:
        if row["where"] == "response":
            body = TAKEN if row["http"] == 201 else {"code": row["http"], "message": "Validation Failed"}
            outcomes = [classify(row["http"], json.dumps(body).encode(), {})]
        else:
            outcomes = [classify_status(letter) for letter in row["code"].split("/")]
        assert {outcome.action for outcome in outcomes} == {Action(row["action"])}, row


def refused(common: Sequence[str] = (), **fields: str) -> bytes:
    """The body of a 400."""
    errors = {"common": list(common), "fields": {name: [text] for name, text in fields.items()}}
    return json.dumps({"code": 400, "message": "Validation Failed", "errors": errors}).encode()


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (400, refused(phones="447700900123 is invalid"), Action.DISABLE_TARGET),
        (400, refused(phones="The contact has unsubscribed"), Action.SUPPRESS_TARGET),
        (400, refused(**{"from": "not allowed"}), Action.STOP_PROVIDER),
        (400, refused(text="too long"), Action.REJECT_MESSAGE),
        (400, refused(["Your balance is too low"]), Action.QUOTA),
        (400, refused(["Nothing for 447700900123"]), Action.REJECT_MESSAGE),
        (400, b"", Action.REJECT_MESSAGE),
        (400, b'{"errors": [1]}', Action.REJECT_MESSAGE),
        (401, b"", Action.STOP_PROVIDER),
        (302, b"", Action.STOP_PROVIDER),
        (409, b"", Action.REJECT_MESSAGE),
        (500, b"", Action.AMBIGUOUS_RETRY),
        (503, b"", Action.RETRY),
        (201, b"[" * 100_000, Action.AMBIGUOUS_RETRY),
        (201, b'{"id": true}', Action.AMBIGUOUS_RETRY),
    ],
)
def test_an_answer_leads_to_its_action(status: int, body: bytes, action: Action) -> None:
    """And repeats no number; what can't be read and a server's failure are failures of the provider as such."""
    outcome = classify(status, body, {})
    assert outcome.action is action
    assert outcome.code.startswith(str(status))
    assert "447700900123" not in outcome.reason
    assert outcome.outage is (status >= 500 or status == 201)


def test_an_answer_about_several_has_the_sessions_id() -> None:
    """It is accepted all the same."""
    body = {"id": 9, "type": "session", "sessionId": 9, "messageId": None}
    assert classify(201, json.dumps(body).encode(), {}) == Outcome(Action.ACCEPTED, provider_message_id="9")


def test_a_delay_is_taken_over() -> None:
    """Where one is named."""
    assert classify(429, b"", {"retry-after": "7"}).retry_after_s == 7
    assert classify(429, b"", {}).retry_after_s is None


@pytest.mark.parametrize(
    "content",
    [
        Sms(content=""),
        Sms(content="x" * 919),
        Sms(content="я" * 403),
        Sms(content="\ud800"),
        Email(subject="s", content="c"),
    ],
)
def test_what_textmagic_would_not_take_is_refused_once(content: Content) -> None:
    """More than six parts among it."""
    with pytest.raises(ContentError):
        TextmagicAdapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content))


@pytest.mark.parametrize("content", [Sms(content="x" * 918), Sms(content="я" * 402)])
def test_six_parts_are_taken(content: Content) -> None:
    """In either alphabet."""
    assert TextmagicAdapter(SETTINGS, httpx.AsyncClient()).prepare(outgoing(content)).text


@pytest.mark.parametrize(
    ("status", "body", "action", "said"),
    [
        (200, {"username": "shop", "balance": 12.5, "currency": {"id": "EUR"}}, Action.ACCEPTED, "balance: 12.5 EUR"),
        (200, {}, Action.AMBIGUOUS_RETRY, "without"),
        (401, {"code": 401}, Action.STOP_PROVIDER, "set them anew"),
        (503, {}, Action.RETRY, "unavailable"),
    ],
)
def test_a_check_asks_for_the_account(status: int, body: Mapping[str, object], action: Action, said: str) -> None:
    """Which tells the balance."""
    outcome = provider_cases.check(lambda _: httpx.Response(status, json=body), build)
    assert outcome.action is action
    assert said in outcome.reason


@pytest.mark.parametrize("missing", [{"username": ""}, {"apiKey": " "}, {"from": None}, {"apiKey": "a\nb"}])
def test_what_is_missing_is_named(missing: Mapping[str, object]) -> None:
    """For the operator."""
    fields = {"username": "shop", "apiKey": "key", "from": "+447700900000", **missing}
    account = account_of("textmagic", fields, fields)
    with pytest.raises(SettingsError, match=next(iter(missing))):
        open_adapter(account, Context(tokens=NoTokens()))


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def read(body: bytes, kind: str = JSON) -> Sequence[Receipt]:
    """The receipts of a callback."""
    return provider_cases.read(read_receipts, inbound(body, kind), account_of("textmagic", {}))


def multipart(fields: Mapping[str, str]) -> bytes:
    """A form as a browser with files sends it."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    return ("".join(parts) + "--b--\r\n").encode()


@pytest.mark.parametrize(
    ("letter", "event"),
    [
        ("q", Event.ACCEPTED), ("s", Event.ACCEPTED), ("r", Event.ACCEPTED), ("a", Event.ACCEPTED),
        ("b", Event.DEFERRED), ("d", Event.DELIVERED), ("f", Event.BOUNCED_SOFT), ("e", Event.BOUNCED_SOFT),
        ("j", Event.REJECTED), ("u", Event.ACCEPTED), ("x", Event.ACCEPTED),
    ],
)  # fmt: skip
def test_a_letter_tells_its_event(letter: str, event: Event) -> None:
    """About the message of that id; the target stays as it is."""
    (receipt,) = read(json.dumps({"id": 4471, "status": letter, "timestamp": 1795410000}).encode())
    assert (receipt.event, receipt.action, receipt.provider_message_id) == (event, Action.NONE, "4471")
    assert receipt.tag is None
    assert receipt.address is None
    assert receipt.at == datetime.fromtimestamp(1795410000, UTC)


def test_a_callback_may_be_json_or_a_form_of_either_kind() -> None:
    """The older pages say multipart; the names of the id differ, too."""
    fields = {"message_id": "4471", "status": "d", "timestamp": "1795410000", "credits_cost": "1"}
    as_json = read(json.dumps({"messageId": 4471, "status": "d", "timestamp": 1795410000}).encode())
    assert read(urlencode(fields).encode(), FORM) == as_json
    assert read(multipart(fields), "multipart/form-data; boundary=b") == as_json


@pytest.mark.parametrize(
    ("text", "event", "action"),
    [
        (" Stop. ", Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET),
        ("UNSUBSCRIBE", Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET),
        ("start", Event.RESUBSCRIBED, Action.UNSUPPRESS_TARGET),
    ],
)
def test_a_text_that_opts_out_is_about_the_number_it_came_from(text: str, event: Event, action: Action) -> None:
    """In a callback for incoming messages."""
    said = {"id": 17, "sender": "447700900123", "receiver": "447700900000", "messageTime": "2026-11-23T05:00:00+0000"}
    (receipt,) = read(json.dumps(said | {"text": text}).encode())
    assert (receipt.event, receipt.action, receipt.address) == (event, action, "+447700900123")
    assert (receipt.tag, receipt.provider_message_id) == (None, None)
    assert receipt.at == NOW


def test_another_text_is_no_news() -> None:
    """Stop it, says somebody, and means something else."""
    assert read(b'{"id": 17, "sender": "447700900123", "text": "Stop it, you"}') == []
    assert read(b'{"id": 17, "sender": "447700900123", "text": ""}') == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"status": "d"}', b'{"id": "\\u0000", "status": "d"}', b'{"id": "\\ud800", "status": "d"}',
        b'{"id": 1, "status": "d\\u0000"}', b'{"sender": "nobody", "text": "STOP"}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_says_nothing_is_unreadable(body: bytes) -> None:
    """Or can't be kept."""
    with pytest.raises(UnreadableReceiptError):
        read(body)


@pytest.mark.parametrize("timestamp", ["", "soon", "9" * 40, "0001-01-01T00:00:00+23:00"])
def test_a_time_that_is_none_is_left_out(timestamp: str) -> None:
    """The rest is read."""
    assert read(json.dumps({"id": 1, "status": "d", "timestamp": timestamp}).encode())[0].at is None


def test_what_is_told_again_has_its_key_again() -> None:
    """And another status of the same message another."""
    first, again, other = (read(f'{{"id": 1, "status": "{letter}"}}'.encode())[0].key for letter in "aad")
    assert first == again != other
