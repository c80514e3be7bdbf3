"""The tutorial's steps as the Kotlin and Swift SDKs ask for them, on servers and on devices.

Those SDKs need a compiler of their own; their requests don't.
"""

from __future__ import annotations

import pytest

from tests.integration.http.api import Api, query
from tests.sdk.contract_calls import SERVICE_ACCOUNT
from tests.sdk.mobile import Dialect, Kotlin, Mobile, Swift

PASSWORD = "correct horse"


@pytest.fixture(scope="module", params=[Kotlin(), Swift()], ids=["kotlin", "swift"])
def server(request: pytest.FixtureRequest, api: Api) -> Mobile:
    """A client with a server's key; the newer SDKs name the project twice."""
    project = ("x-appwrite-project", api.project)
    headers = [project, ("X-Appwrite-Key", api.key), ("X-Appwrite-Project", api.project)]
    return Mobile(endpoint=api.url, dialect=request.param, headers=headers)


@pytest.fixture(scope="module", params=[Kotlin(android=True), Swift(apple=True)], ids=["android", "apple"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """A device's."""
    found: Dialect = request.param
    return found


@pytest.fixture
def device(api: Api, dialect: Dialect) -> Mobile:
    """A device nobody has signed in on."""
    return Mobile(endpoint=api.url, dialect=dialect, headers=[("x-appwrite-project", api.project)])


def named(server: Mobile, word: str) -> str:
    """An id of this SDK's own."""
    return f"{word}-{type(server.dialect).__name__.lower()}"


@pytest.fixture(scope="module", autouse=True)
def _configured(api: Api) -> None:
    """Push messages have a way out."""
    made = {"providerId": "main", "name": "Main", "serviceAccountJSON": SERVICE_ACCOUNT, "enabled": True}
    api.ok("POST", "/messaging/providers/fcm", made)


@pytest.fixture(scope="module")
def ada(server: Mobile) -> str:
    """A user with an email address; her id."""
    reply = server.call("POST", "/users", userId=named(server, "ada"), email=f"{named(server, 'ada')}@shop.example")
    assert reply.status == 201, reply.content
    return str(reply.json["$id"])


@pytest.fixture(scope="module")
def topic(server: Mobile) -> str:
    """A topic; its id."""
    reply = server.call(
        "POST", "/messaging/topics", topicId=named(server, "news"), name="News & more", subscribe=["any"]
    )
    assert (reply.status, reply.json["name"]) == (201, "News & more")
    return str(reply.json["$id"])


def test_a_server_gives_a_user_a_target_and_sends_a_push(server: Mobile, ada: str) -> None:
    """`users.createTarget` and `messaging.createPush(users:)`."""
    target = server.call(
        "POST",
        f"/users/{ada}/targets",
        targetId=named(server, "phone"),
        providerType="push",
        identifier=f"fcm/{named(server, 'token')}:=&<>'",
    )
    assert (target.status, target.json["identifier"]) == (201, f"fcm/{named(server, 'token')}:=&<>'")
    push = server.call(
        "POST",
        "/messaging/messages/push",
        messageId=named(server, "push"),
        title="Tom & Jerry's <b>",
        body="https://shop.example/a?b=c",
        users=[ada],
        data={"order": "17", "url": "https://shop.example/"},
        badge=1,
        draft=False,
        priority="high",
        scheduledAt=None,
    )
    assert (push.status, push.json["status"]) == (201, "processing")
    assert push.json["data"]["title"] == "Tom & Jerry's <b>"
    assert push.json["data"]["body"] == "https://shop.example/a?b=c"
    assert push.json["data"]["data"] == {"order": "17", "url": "https://shop.example/"}


def test_a_server_writes_to_topics_now_and_later(server: Mobile, topic: str) -> None:
    """`createPush(topics:)`, `createEmail(users:)` with markup, `createEmail(topics:, scheduledAt:)`, `createSMS`."""
    push = server.call("POST", "/messaging/messages/push", messageId="unique()", title="T", body="B", topics=[topic])
    assert (push.status, push.json["topics"]) == (201, [topic])
    email = server.call(
        "POST",
        "/messaging/messages/email",
        messageId=named(server, "later"),
        subject="News",
        content="<p class='x'>a & b</p>",
        topics=[topic],
        scheduledAt="2099-01-02T03:04:05.678+02:00",
    )
    assert (email.status, email.json["status"]) == (201, "scheduled")
    assert email.json["scheduledAt"] == "2099-01-02T01:04:05.678+00:00"
    assert email.json["data"]["content"] == "<p class='x'>a & b</p>"
    moved = server.call("PATCH", f"/messaging/messages/email/{named(server, 'later')}", subject="Olds")
    assert (moved.status, moved.json["data"]["subject"]) == (200, "Olds")
    text = server.call("POST", "/messaging/messages/sms", messageId="unique()", content="1", topics=[topic], draft=True)
    assert (text.status, text.json["status"]) == (201, "draft")


def test_a_server_lists_with_queries(server: Mobile, topic: str) -> None:
    """Both write `queries[]`, and escape it differently."""
    queries = [query("equal", "name", "News & more"), query("equal", "$id", topic), query("limit", None, 5)]
    if isinstance(server.dialect, Swift):
        queries = queries[1:]  # it leaves `&` as it is, and so cannot ask for one
    reply = server.call("GET", "/messaging/topics", queries=queries, total=True)
    assert reply.status == 200
    assert (reply.json["total"], [each["$id"] for each in reply.json["topics"]]) == (1, [topic])
    assert server.call("GET", "/messaging/topics", search=topic, total=False).json["total"] == 0


def test_a_server_makes_a_provider(server: Mobile) -> None:
    """A service account is an object there."""
    account = {"type": "service_account", "client_email": "a@b.example", "token_uri": "https://oauth2.example/token"}
    reply = server.call(
        "POST",
        "/messaging/providers/fcm",
        providerId=named(server, "fcm"),
        name="FCM",
        serviceAccountJSON=account,
        enabled=False,
    )
    assert (reply.status, reply.json["provider"], reply.json["enabled"]) == (201, "fcm", False)


def test_what_is_deleted_answers_with_nothing(server: Mobile) -> None:
    """With the body `{}`; both SDKs take an empty answer for true."""
    server.call("POST", "/messaging/topics", topicId="gone", name="Gone")
    reply = server.call("DELETE", "/messaging/topics/gone")
    assert (reply.status, reply.content) == (204, b"")
    again = server.call("DELETE", "/messaging/topics/gone")
    assert (again.status, again.json["type"], again.json["code"]) == (404, "topic_not_found", 404)


def test_a_server_pings(server: Mobile) -> None:
    """And reads the text."""
    reply = server.call("GET", "/ping")
    assert (reply.status, reply.content) == (200, b"Pong!")


def test_a_device_signs_in_and_keeps_its_target(api: Api, device: Mobile, dialect: Dialect) -> None:
    """The whole way of the tutorial on a phone: by its cookie, with a target that goes when it signs out."""
    name = f"device-{type(dialect).__name__.lower()}"
    api.ok("POST", "/messaging/topics", {"topicId": f"open-{name}", "name": "Open", "subscribe": ["users"]})
    account = {"email": f"eva-{name}@shop.example", "password": PASSWORD}
    made = device.call("POST", "/account", userId=f"eva-{name}", name="Eva", **account)
    assert (made.status, made.json["$id"]) == (201, f"eva-{name}")
    session = device.call("POST", "/account/sessions/email", **account)
    assert (session.status, session.json["userId"]) == (201, f"eva-{name}")
    assert session.json["secret"] == ""
    assert f"a_session_{api.project}" in device.cookies
    assert device.call("GET", "/account").json["email"] == account["email"]

    target = device.call("POST", "/account/targets/push", targetId=f"phone-{name}", identifier=f"token-{name}")
    assert target.status == 201, target.content
    assert target.json["providerType"] == "push"
    moved = device.call("PUT", f"/account/targets/phone-{name}/push", identifier=f"token-new-{name}")
    assert (moved.status, moved.json["identifier"]) == (200, f"token-new-{name}")
    subscriber = device.call(
        "POST",
        f"/messaging/topics/open-{name}/subscribers",
        subscriberId=f"sub-{name}",
        targetId=f"phone-{name}",
    )
    assert (subscriber.status, subscriber.json["target"]["identifier"]) == (201, f"token-new-{name}")

    token = device.call("POST", "/account/jwts").json["jwt"]
    bearer = Mobile(
        endpoint=api.url, dialect=dialect, headers=[("x-appwrite-project", api.project), ("x-appwrite-jwt", token)]
    )
    assert bearer.call("GET", "/account").json["$id"] == f"eva-{name}"

    gone = device.call("DELETE", f"/messaging/topics/open-{name}/subscribers/sub-{name}")
    assert (gone.status, gone.content) == (204, b"")
    assert device.call("DELETE", f"/account/targets/phone-{name}/push").status == 204
    assert device.call("DELETE", "/account/sessions/current").status == 204
    refused = device.call("GET", "/account")
    assert (refused.status, refused.json["type"]) == (401, "general_unauthorized_scope")


def test_a_device_may_be_nobody(api: Api, device: Mobile) -> None:
    """An anonymous session has a user, and a guest has no account."""
    refused = device.call("GET", "/account")
    assert (refused.status, refused.json["type"]) == (401, "general_unauthorized_scope")
    session = device.call("POST", "/account/sessions/anonymous")
    assert (session.status, session.json["provider"]) == (201, "anonymous")
    assert device.call("GET", "/account").json["$id"] == session.json["userId"]
    again = device.call("POST", "/account/sessions/anonymous")
    assert (again.status, again.json["type"]) == (401, "user_session_already_exists")
    assert api.ok("GET", f"/users/{session.json['userId']}")["email"] == ""
