"""The sandbox as Google's push service, driven by google-auth, firebase-admin and httpx."""

import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import firebase_admin
import httpx
import jwt
import pytest
from firebase_admin import credentials, messaging

from messaging.local.sandbox.credentials import fcm_credentials
from messaging.local.sandbox.oauth import GRANT_TYPE
from messaging.local.sandbox.server import SandboxAddresses
from messaging.local.sandbox.threaded import sandbox_in_thread

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
PATIENCE_S = 60.0
"""For whatever is answered at all: a busy machine may stand still for seconds."""
UNANSWERED = httpx.Timeout(PATIENCE_S, read=0.3)
"""For what is not answered: connecting, with its handshake, has time."""
PATH = "/v1/projects/sandbox-project/messages:send"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A running sandbox."""
    with sandbox_in_thread(tmp_path_factory.mktemp("fcm")) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def account(sandbox: SandboxAddresses) -> dict[str, Any]:
    """A registered service account."""
    found: dict[str, Any] = fcm_credentials(sandbox.control, sandbox.fcm_token)["serviceAccountJSON"]
    return found


@pytest.fixture(scope="module")
def authorization(sandbox: SandboxAddresses, account: dict[str, Any]) -> dict[str, str]:
    """A header with a token of the token endpoint."""
    answer = ask_token(sandbox, assertion(account))
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["expires_in"] > 3000
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture(params=["HTTP/2", "HTTP/1.1"])
def client(sandbox: SandboxAddresses, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client for each protocol that ALPN may agree on."""
    trust = ssl.create_default_context(cafile=sandbox.ca_file)
    with httpx.Client(
        http2=request.param == "HTTP/2", verify=trust, base_url=sandbox.fcm, timeout=PATIENCE_S
    ) as client:
        yield client


def assertion(account: dict[str, Any], **claims: object) -> str:
    """A service account's signed request for a token."""
    now = int(time.time())
    usual = {"iss": account["client_email"], "aud": account["token_uri"], "iat": now, "exp": now + 600, "scope": SCOPE}
    return jwt.encode(usual | claims, account["private_key"], "RS256")


def ask_token(sandbox: SandboxAddresses, signed: str) -> httpx.Response:
    """The token endpoint's answer."""
    asked = {"grant_type": GRANT_TYPE, "assertion": signed}
    return httpx.post(sandbox.fcm_token, data=asked, timeout=PATIENCE_S)


def message(token: str, **parts: object) -> dict[str, object]:
    """A request body."""
    return {"message": {"token": token, "notification": {"title": "Order 17", "body": "Ready"}, **parts}}


def test_a_send_is_accepted_and_recorded(
    sandbox: SandboxAddresses, client: httpx.Client, authorization: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """The answer names the message; the record has token, label and content."""
    token = f"token-{request.node.name}"
    body = message(token, fcm_options={"analytics_label": "m17"})
    answer = client.post(PATH, headers=authorization, json=body)
    assert (answer.http_version, answer.status_code) == (request.node.callspec.params["client"], 200)
    assert answer.json()["name"].startswith("projects/sandbox-project/messages/")
    text = httpx.get(f"{sandbox.control}/record", params={"protocol": "fcm"}, timeout=PATIENCE_S).text
    (line,) = (line for line in map(json.loads, text.splitlines()) if line["recipient"] == token)
    assert (line["outcome"], line["id"], line["tag"]) == ("accepted", answer.json()["name"], "m17")
    assert line["payload"] == body["message"]


@pytest.mark.parametrize(
    ("token", "status", "code", "status_name"),
    [
        ("magic-invalid-token", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("magic-third-party-auth-1", 401, "THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED"),
        ("magic-sender-mismatch-1", 403, "SENDER_ID_MISMATCH", "PERMISSION_DENIED"),
        ("magic-permission-denied", 403, None, "PERMISSION_DENIED"),
        ("magic-unregistered-77", 404, "UNREGISTERED", "NOT_FOUND"),
        ("magic-not-found", 404, None, "NOT_FOUND"),
        ("magic-quota-1", 429, "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"),
        ("magic-internal-1", 500, "INTERNAL", "INTERNAL"),
        ("magic-unavailable-1", 503, "UNAVAILABLE", "UNAVAILABLE"),
    ],
)
def test_refusals_have_googles_error_body(
    client: httpx.Client, authorization: dict[str, str], token: str, status: int, code: str | None, status_name: str
) -> None:
    """`details[].errorCode` says what it is, `status` only which family."""
    answer = client.post(PATH, headers=authorization, json=message(token))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, status_name)
    codes = [detail["errorCode"] for detail in error.get("details", []) if "errorCode" in detail]
    assert codes == ([code] if code else [])


def test_a_broken_message_is_refused_with_the_field(client: httpx.Client, authorization: dict[str, str]) -> None:
    """INVALID_ARGUMENT comes with a BadRequest that names the field."""
    answer = client.post(PATH, headers=authorization, json=message("t", data={"n": 1}))
    violations = [detail.get("fieldViolations") for detail in answer.json()["error"]["details"]]
    assert answer.status_code == 400
    assert violations[1][0]["field"] == "message.data"


def test_strangers_are_unauthenticated(client: httpx.Client, authorization: dict[str, str]) -> None:
    """No token, a made-up one and one with a changed signature are all 401."""
    token = authorization["authorization"]
    for forged in ("", "Bearer ya29.nobody", token[:-6] + "AAAAA="):
        answer = client.post(PATH, headers={"authorization": forged}, json=message("t"))
        assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_silence_and_resets_reach_the_client(client: httpx.Client, authorization: dict[str, str]) -> None:
    """A token may stay without an answer, and a stream may be reset."""
    with pytest.raises(httpx.ReadTimeout):
        client.post(PATH, headers=authorization, json=message("magic-timeout"), timeout=UNANSWERED)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(PATH, headers=authorization, json=message("magic-reset"))


def test_the_token_endpoint_checks_who_signs(sandbox: SandboxAddresses, account: dict[str, Any]) -> None:
    """An unknown account, another's signature, an old assertion and a wrong scope get OAuth2's errors."""
    other = fcm_credentials(sandbox.control, sandbox.fcm_token)["serviceAccountJSON"]
    old = int(time.time()) - 7200
    refused = {
        "unknown": assertion(account, iss="nobody@example.com"),
        "forged": assertion(other, iss=account["client_email"]),
        "expired": assertion(account, iat=old, exp=old + 600),
        "nonsense": "a.b.c",
    }
    for name, signed in refused.items():
        answer = ask_token(sandbox, signed)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), name
    scope = ask_token(sandbox, assertion(account, scope="https://www.googleapis.com/auth/drive"))
    assert scope.json()["error"] == "invalid_scope"
    grant = httpx.post(sandbox.fcm_token, data={"grant_type": "password"}, timeout=PATIENCE_S)
    assert grant.json()["error"] == "unsupported_grant_type"


def test_firebase_admin_sends_and_understands_refusals(
    sandbox: SandboxAddresses, account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's own SDK gets its token here, sends here, and raises the right exceptions."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    monkeypatch.setattr(messaging._MessagingService, "FCM_URL", sandbox.fcm + "/v1/projects/{0}/messages:send")
    app = firebase_admin.initialize_app(credentials.Certificate(account), name="sandbox-test")
    try:
        target = {"notification": messaging.Notification(title="Hi"), "android": messaging.AndroidConfig(ttl=60)}
        tokens = ["sdk-token", "magic-unregistered-1", "magic-sender-mismatch-1"]
        with pytest.warns(DeprecationWarning, match="token"):
            messages = [messaging.Message(token=token, **target) for token in tokens]
        name, *errors = [
            response.message_id or response.exception for response in messaging.send_each(messages, app=app).responses
        ]
    finally:
        firebase_admin.delete_app(app)
    assert str(name).startswith("projects/sandbox-project/messages/")
    assert [type(error) for error in errors] == [messaging.UnregisteredError, messaging.SenderIdMismatchError]
