"""Web Push: what is encrypted, signed and asked of whom, and what answers mean."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from messaging.errors import ContentError, SettingsError
from messaging.local.sandbox.web_push_subscriptions import (
    UndecipherableError,
    auth_secret,
    browser_key,
    decipher,
    subscription,
)
from messaging.message import Push, Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens, people
from workers.providers import webpush, webpush_codes, webpush_crypto, webpush_payload, webpush_subscription
from workers.providers.base import Account, Context, Outgoing

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def b64(value: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def pair() -> tuple[str, str, ec.EllipticCurvePrivateKey]:
    """A public key, its private key, and the key itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    return b64(webpush_crypto.point(key.public_key())), b64(scalar), key


def browser(endpoint: object, **keys: str) -> str:
    """A subscription at that endpoint."""
    good = json.loads(subscription("t1"))["keys"]
    return json.dumps({"endpoint": endpoint, "keys": good | keys})


def message(content: Any = None, *, lasts: timedelta = timedelta(hours=1)) -> Outgoing:
    """A message that expires after `lasts`."""
    return Outgoing(message_id="m1", content=content or Push(title="Hello", body="there"), expires_at=NOW + lasts)


def said(status: int) -> httpx.Response:
    """An answer as it comes from a socket: not read yet."""
    return httpx.Response(status, stream=httpx.ByteStream(b""))


class Service:
    """A push service without a socket: gives the next answer, keeps the requests."""

    def __init__(self, *answers: int | httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else 201
        if isinstance(answer, Exception):
            raise answer
        return said(answer) if isinstance(answer, int) else answer


def sent(service: Service, *addresses: str, content: Any = None, base: str = "", **kwargs: Any) -> list[Outcome]:
    """The outcomes of one call."""

    async def sending() -> list[Outcome]:
        vapid = webpush_crypto.Vapid(pair()[2], "mailto:a@example.org", now_s=NOW.timestamp)
        client = httpx.AsyncClient(transport=httpx.MockTransport(service))
        adapter = webpush.WebpushAdapter(vapid, client, base=base, now=lambda: NOW)
        outcomes = await adapter.send(adapter.prepare(message(content, **kwargs)), people(*addresses))
        await adapter.aclose()
        return list(outcomes)

    return asyncio.run(sending())


@pytest.fixture
def vector(shared_dir: Path) -> dict[str, Any]:
    """The example of RFC 8291."""
    document: dict[str, Any] = json.loads((shared_dir / "contracts/vectors/webpush_rfc8291.json").read_text())
    return document


def scalar(text: str) -> ec.EllipticCurvePrivateKey:
    """The key with that private number."""
    return ec.derive_private_key(int.from_bytes(webpush_crypto.from_base64url(text), "big"), ec.SECP256R1())


def test_the_example_of_rfc_8291_is_encrypted_byte_by_byte(vector: Mapping[str, str]) -> None:
    """With the example's keys and salt."""
    reader = ec.EllipticCurvePublicKey.from_encoded_point(
        ec.SECP256R1(), webpush_crypto.from_base64url(vector["ua_public"])
    )
    body = webpush_crypto.encrypt(
        vector["plaintext"].encode(),
        reader,
        webpush_crypto.from_base64url(vector["auth_secret"]),
        own=scalar(vector["as_private"]),
        salt=webpush_crypto.from_base64url(vector["salt"]),
    )
    assert b64(body) == vector["body"]


def test_the_example_of_rfc_8291_is_read_by_the_sandbox(vector: Mapping[str, str]) -> None:
    """Which reads what we send in other tests."""
    body = webpush_crypto.from_base64url(vector["body"])
    auth = webpush_crypto.from_base64url(vector["auth_secret"])
    assert decipher(body, scalar(vector["ua_private"]), auth).decode() == vector["plaintext"]


def test_a_body_is_for_its_own_browser_only_and_never_the_same_twice() -> None:
    """A changed byte, another browser's key or secret: nothing is read."""
    key, auth = browser_key("t1"), auth_secret("t1")
    one, two = (webpush_crypto.encrypt(b"hello", key.public_key(), auth) for _ in range(2))
    assert one != two
    assert decipher(one, key, auth) == decipher(two, key, auth) == b"hello"
    for wrong in (one[:-1] + bytes([one[-1] ^ 1]), one[:16] + b"\0\0\0\x10" + one[20:], b"", one[:50]):
        with pytest.raises(UndecipherableError):
            decipher(wrong, key, auth)
    for other_key, other_auth in ((browser_key("t2"), auth), (key, auth_secret("t2"))):
        with pytest.raises(UndecipherableError):
            decipher(one, other_key, other_auth)


def test_a_full_record_fits_and_one_byte_more_is_refused_before_sending() -> None:
    """3993 bytes of plaintext make a body of 4096."""
    key = browser_key("t1").public_key()
    assert webpush_crypto.PLAINTEXT_LIMIT_BYTES == 3993
    assert len(webpush_crypto.encrypt(b"x" * 3993, key, auth_secret("t1"))) == 4096
    room = 3993 - len(webpush_payload.render(message(Push(body=""))).payload)
    assert len(webpush_payload.render(message(Push(body="x" * room))).payload) == 3993
    with pytest.raises(ContentError, match="3994 bytes"):
        webpush_payload.render(message(Push(body="x" * (room + 1))))


def test_a_token_says_who_sends_to_which_push_service_and_for_how_long() -> None:
    """RFC 8292: aud is the origin, exp at most a day ahead, k the key browsers subscribed with."""
    public, _, key = pair()
    vapid = webpush_crypto.Vapid(key, "mailto:a@example.org", now_s=NOW.timestamp)
    scheme, token, shown = vapid.authorization("https://push.example.org:8443").split(" ")
    assert (scheme, shown) == ("vapid", f"k={public}")
    token = token.removeprefix("t=").removesuffix(",")
    assert jwt.get_unverified_header(token)["alg"] == "ES256"
    claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], audience="https://push.example.org:8443")
    assert claims["sub"] == "mailto:a@example.org"
    assert NOW.timestamp() < claims["exp"] <= (NOW + timedelta(hours=24)).timestamp()


def test_a_token_is_signed_once_for_hours_and_push_service() -> None:
    """And anew well before it ends; made-up push services don't fill the memory."""
    clock = [NOW.timestamp()]
    vapid = webpush_crypto.Vapid(pair()[2], "mailto:a@example.org", now_s=lambda: clock[0])
    first = vapid.authorization("https://a.example.org")
    clock[0] += 5 * 3600
    assert vapid.authorization("https://a.example.org") == first
    assert vapid.authorization("https://b.example.org") != first
    clock[0] += 2 * 3600
    assert vapid.authorization("https://a.example.org") != first
    for number in range(1000):
        vapid.authorization(f"https://{number}.example.org")
    assert len(vapid._headers) <= 256


def test_a_request_has_the_headers_of_the_rfcs_and_the_payload_a_service_worker_reads() -> None:
    """POST to the endpoint itself; nothing of the message is readable on the way."""
    service = Service()
    content = Push(
        title="Hello", body="thére", data={"order": "1"}, action="/orders/1", image="https://i.example.org/i.png",
        icon="https://i.example.org/c.png", tag="order", badge=3, collapse_id="order-1", color="#fff", sound="ping",
    )  # fmt: skip
    address = browser("https://fcm.googleapis.com/fcm/send/abc:def?x=1")
    (outcome,) = sent(service, address, content=content)
    assert outcome == Outcome(Action.ACCEPTED)
    (request,) = service.requests
    assert request.method == "POST"
    assert str(request.url) == "https://fcm.googleapis.com/fcm/send/abc:def?x=1"
    expected = {"ttl": "3600", "urgency": "high", "topic": "order-1", "content-encoding": "aes128gcm"}
    assert expected.items() <= dict(request.headers).items()
    assert request.headers["content-type"] == "application/octet-stream"
    token = request.headers["authorization"].split(" ")[1].removeprefix("t=").removesuffix(",")
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://fcm.googleapis.com"
    assert b"Hello" not in request.content
    payload = json.loads(decipher(request.content, browser_key("t1"), auth_secret("t1")))
    assert payload == {
        "id": "m1",
        "title": "Hello",
        "body": "thére",
        "icon": "https://i.example.org/c.png",
        "image": "https://i.example.org/i.png",
        "tag": "order",
        "badge": 3,
        "action": "/orders/1",
        "url": "/orders/1",
        "color": "#fff",
        "sound": "ping",
        "data": {"order": "1"},
    }


def test_what_is_not_an_address_is_an_action_and_no_url() -> None:
    """A click action of an app is no place to go to."""
    payload = json.loads(webpush_payload.render(message(Push(title="x", action="OPEN_ORDER"))).payload)
    assert payload == {"id": "m1", "title": "x", "action": "OPEN_ORDER"}


@pytest.mark.parametrize(
    ("lasts", "ttl"), [(timedelta(hours=1), "3600"), (timedelta(days=60), "2419200"), (timedelta(seconds=-5), "0")]
)
def test_a_push_service_keeps_it_as_long_as_it_is_of_use(lasts: timedelta, ttl: str) -> None:
    """Four weeks at most, and no negative time."""
    service = Service()
    sent(service, browser("https://web.push.apple.com/a"), lasts=lasts)
    assert service.requests[0].headers["ttl"] == ttl


def test_urgency_follows_priority() -> None:
    """`normal` is RFC 8030's word too."""
    service = Service()
    sent(service, browser("https://web.push.apple.com/a"), content=Push(title="x", priority="normal"))
    assert service.requests[0].headers["urgency"] == "normal"
    assert "topic" not in service.requests[0].headers


@pytest.mark.parametrize("collapse_id", ["a" * 33, "with blanks", "ümlaut", "a.b", "x" * 64])
def test_a_topic_that_does_not_fit_becomes_a_digest_of_it(collapse_id: str) -> None:
    """32 characters of base64url at most; the same for the same id, another for another."""
    found = webpush_payload.topic(collapse_id)
    assert len(found) == 32
    assert set(found) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert found == webpush_payload.topic(collapse_id)
    assert found != webpush_payload.topic(collapse_id + "x")


@pytest.mark.parametrize(
    "content", [Sms(content="x"), Push(title="half a character: \ud83d"), Push(title="x", data={"a": "\udc00"})]
)
def test_content_no_browser_can_get_is_refused_before_sending(content: Any) -> None:
    """Another channel's, or no text."""
    with pytest.raises(ContentError):
        webpush_payload.render(message(content))


@pytest.mark.parametrize(
    "address",
    [
        "", "null", "[]", "{}", '"https://push.example.org/a"', "[" * 4000, '{"endpoint": "https://p.example.org/a"}',
        browser(None), browser(7), browser(["https://p.example.org/a"]), browser("ftp://p.example.org/a"),
        browser("https://p.example.org"), browser("https://user@p.example.org/a"), browser("https://p.example.org/a#b"),
        browser("https://p.example.org/a b"), browser("https://p.example.org/a\r\nx: y"), browser("https:///a"),
        browser("https://p.example.org:123456/a"), browser("https://pü.example.org/a"), browser("//p.example.org/a"),
        browser("https://p.example.org/a", p256dh="AAAA"), browser("https://p.example.org/a", auth="AAAA"),
        browser("https://p.example.org/a", p256dh=b64(b"\x04" + b"\x01" * 64)),
        browser("https://p.example.org/a", p256dh=b64(b"\x02" * 65)), browser("https://p.example.org/a", auth="é" * 22),
        browser("https://p.example.org/a", auth="!" * 22),
    ],
)  # fmt: skip
def test_an_address_that_is_no_subscription_is_retired_without_a_call(address: str) -> None:
    """Whatever is wrong with it, and the reason repeats nothing of it."""
    service = Service()
    (outcome,) = sent(service, address)
    assert (outcome.action, outcome.code) == (Action.DISABLE_TARGET, "subscription_invalid")
    assert "example" not in outcome.reason
    assert service.requests == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example.org/a", "https://localhost/a", "https://127.0.0.1/a", "https://127.1/a", "https://2130706433/a",
        "https://0x7f.0.0.1/a", "https://0177.0.0.1/a", "https://[::1]/a", "https://[::ffff:10.0.0.1]/a", "https://10.0.0.8/a",
        "https://169.254.169.254/latest/meta-data", "https://192.168.1.1:8443/a", "https://8.8.8.8/a", "https://intranet/a",
        "https://db.internal/a", "https://printer.local/a", "https://x.localhost/a", "https://router.lan/a",
        "https://1.0.0.127.in-addr.arpa/a", "https://push.example.org./a", "https://a..b.org/a", "https://10.0.0.8./a",
        "https://-/a", "https://./a",
    ],
)  # fmt: skip
def test_an_endpoint_in_our_own_network_is_never_called(endpoint: str) -> None:
    """A subscription comes from a stranger: only https at a public name, in whatever spelling it is hidden."""
    service = Service()
    (outcome,) = sent(service, browser(endpoint))
    assert (outcome.action, outcome.code) == (Action.DISABLE_TARGET, "endpoint_refused"), outcome
    assert service.requests == []


def test_a_replaced_endpoint_gets_everything_and_tokens_still_name_the_real_one() -> None:
    """With the endpoint's own path and query, wherever it leads."""
    service = Service()
    sent(
        service,
        browser("http://localhost:8090/notify/abc"),
        browser("https://push.example.org//evil.example.org/x?y=1"),
        base="http://127.0.0.1:9/webpush/",
    )
    assert [str(request.url) for request in service.requests] == [
        "http://127.0.0.1:9/webpush/notify/abc",
        "http://127.0.0.1:9/webpush//evil.example.org/x?y=1",
    ]
    tokens = [request.headers["authorization"].split(" ")[1][2:-1] for request in service.requests]
    audiences = [jwt.decode(token, options={"verify_signature": False})["aud"] for token in tokens]
    assert audiences == ["http://localhost:8090", "https://push.example.org"]


def test_rows_of_the_table_lead_to_their_actions(shared_dir: Path) -> None:
    """Each row, and the table holds no status beside them but Microsoft's 406."""
    document = json.loads((shared_dir / "contracts/actions/error_actions.json").read_text())
    rows = [row for row in document["rows"] if row["provider"] == "webpush"]
    assert len(rows) == 12
    for row in rows:
        assert webpush_codes.classify(row["http"], b"", {}).action == row["action"], row
    assert set(webpush_codes.CODES) == {row["http"] for row in rows} - {201, 202} | {406}


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (403, b'{"reason":"BadJwtToken"}', Action.STOP_PROVIDER),
        (400, b'{"reason":"VapidPkHashMismatch"}', Action.DISABLE_TARGET),
        (401, b'{"code":401,"errno":109,"error":"Unauthorized","message":"VAPID public key mismatch"}',
         Action.DISABLE_TARGET),
        (403, b"the VAPID credentials in the authorization header do not correspond to", Action.DISABLE_TARGET),
        (400, b"UnauthorizedRegistration", Action.STOP_PROVIDER),
        (400, b'{"reason": ["x"]}', Action.REJECT_MESSAGE),
        (400, b"[" * 4000, Action.REJECT_MESSAGE),
        (500, b'{"reason":"BadJwtToken"}', Action.RETRY),
        (307, b"", Action.DISABLE_TARGET),
        (418, b"", Action.REJECT_MESSAGE),
        (504, b"", Action.AMBIGUOUS_RETRY),
        (200, b"", Action.AMBIGUOUS_RETRY),
    ],
)  # fmt: skip
def test_a_push_services_own_words_say_more_than_its_status(status: int, body: bytes, action: Action) -> None:
    """A key mismatch is one subscription's trouble, a refused token the account's."""
    outcome = webpush_codes.classify(status, body, {})
    assert outcome.action is action
    assert outcome.code
    assert outcome.reason


@pytest.mark.parametrize(
    ("status", "outage"),
    [(500, True), (503, True), (504, True), (204, True), (429, False), (401, False), (410, False)],
)
def test_only_a_push_service_that_fails_as_such_tells_of_an_outage(status: int, outage: bool) -> None:
    """Neither throttling nor refusals."""
    assert webpush_codes.classify(status, b"", {}).outage is outage


@pytest.mark.parametrize(
    ("given", "delay_s"),
    [
        ("7", 7.0),
        ("Thu, 31 Jan 2030 12:02:00 GMT", 120.0),
        ("Thu, 31 Jan 2030 11:00:00 GMT", 0.0),
        ("soon", None),
        ("٣", None),
    ],
)
def test_a_delay_is_read_as_seconds_or_as_a_date(given: str, delay_s: float | None) -> None:
    """RFC 9110 §10.2.3."""
    outcome = webpush_codes.classify(429, b"", {"retry-after": given}, lambda: NOW)
    assert outcome.retry_after_s == delay_s


@pytest.mark.parametrize(
    ("answer", "known", "unknown"),
    [
        (401, Action.STOP_PROVIDER, Action.REJECT_MESSAGE),
        (429, Action.RETRY_AFTER, Action.RETRY),
        (503, Action.RETRY_AFTER, Action.RETRY),
        (httpx.ConnectError("no"), Action.RETRY, Action.RETRY),
        (httpx.ReadError("no"), Action.AMBIGUOUS_RETRY, Action.AMBIGUOUS_RETRY),
        (410, Action.DISABLE_TARGET, Action.DISABLE_TARGET),
    ],
)
def test_a_strangers_push_service_stops_nobody_else(answer: Any, known: Action, unknown: Action) -> None:
    """Whoever subscribes from a server of their own can neither stop nor pause the account, nor fake an outage."""
    (trusted,) = sent(Service(answer), browser("https://updates.push.services.mozilla.com/a"))
    (stranger,) = sent(Service(answer), browser("https://push.example.org/a"))
    assert (trusted.action, stranger.action) == (known, unknown)
    assert not stranger.outage


@pytest.mark.parametrize("host", ["fcm.googleapis.com.example.org", "notify.windows.com", "xnotify.windows.com"])
def test_a_name_that_resembles_a_push_service_is_a_strangers(host: str) -> None:
    """The whole name counts."""
    assert not webpush_subscription.parse(browser(f"https://{host}/a")).is_well_known
    assert webpush_subscription.parse(browser("https://db5p.notify.windows.com/w/?token=a")).is_well_known


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    """A few kilobytes tell all there is to tell."""
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1000
            yield b"x" * 1000

    (outcome,) = sent(Service(httpx.Response(410, content=endless())), browser("https://push.example.org/a"))
    assert outcome.action is Action.DISABLE_TARGET
    assert read <= 10_000


def opened(**changed: str | None) -> webpush.WebpushAdapter:
    """The adapter of an account whose credentials are good but for those given."""
    public, private, _ = pair()
    good: dict[str, str | None] = {
        "vapidPublicKey": public,
        "vapidPrivateKey": private,
        "subject": "mailto:a@example.org",
    }
    account = Account(provider_id=1, public_id="p", kind="webpush", credentials=good | changed)
    adapter = webpush.open_adapter(account, Context(tokens=NoTokens()))
    assert isinstance(adapter, webpush.WebpushAdapter)
    return adapter


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"vapidPublicKey": None}, "vapidPublicKey"),
        ({"vapidPrivateKey": " "}, "vapidPrivateKey"),
        ({"subject": ""}, "subject"),
        ({"subject": "a@example.org"}, "subject"),
        ({"subject": "mailto: <a@example.org>"}, "subject"),
        ({"vapidPrivateKey": "AAAA"}, "vapidPrivateKey"),
        ({"vapidPrivateKey": "é"}, "vapidPrivateKey"),
        ({"vapidPrivateKey": b64(bytes(32))}, "vapidPrivateKey"),
        ({"vapidPrivateKey": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "vapidPrivateKey"),
        ({"vapidPublicKey": pair()[0]}, "vapidPublicKey"),
        ({"vapidPublicKey": "!"}, "vapidPublicKey"),
    ],
)
def test_an_account_that_can_not_sign_names_what_is_wrong(changed: dict[str, str | None], named: str) -> None:
    """And keys of two pairs are told before anything is sent."""
    with pytest.raises(SettingsError, match=named):
        opened(**changed)


def test_a_private_key_may_be_pem() -> None:
    """As other libraries write it."""
    public, _, key = pair()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    outcome = asyncio.run(opened(vapidPublicKey=public, vapidPrivateKey=pem).check())
    assert outcome.action is Action.ACCEPTED
    assert "no push service was asked" in outcome.reason
