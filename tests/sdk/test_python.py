"""`appwrite` for Python, as published, against the API: its models refuse whatever is not as promised."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from appwrite.client import Client
from appwrite.enums.messaging_provider_type import MessagingProviderType
from appwrite.exception import AppwriteException
from appwrite.id import ID
from appwrite.input_file import InputFile
from appwrite.query import Query
from appwrite.role import Role
from appwrite.services.account import Account
from appwrite.services.messaging import Messaging
from appwrite.services.storage import Storage
from appwrite.services.users import Users

from tests.integration.http.api import Api
from tests.sdk.contract_calls import SERVICE_ACCOUNT

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
"""One transparent pixel."""


@pytest.fixture(scope="module")
def client(api: Api) -> Client:
    """A server's client."""
    return Client().set_endpoint(api.url).set_project(api.project).set_key(api.key)


@pytest.fixture(scope="module")
def messaging(client: Client) -> Messaging:
    """The service, with an account for each channel."""
    service = Messaging(client)
    service.create_fcm_provider("main-push", "Main", service_account_json=SERVICE_ACCOUNT, enabled=True)
    service.create_sendgrid_provider("main-email", "Main", "SG.key", from_email="news@shop.example", enabled=True)
    service.create_twilio_provider("main-sms", "Main", "+15005550006", "AC1", "token", enabled=True)
    return service


@pytest.fixture(scope="module")
def users(client: Client) -> Users:
    """The service."""
    return Users(client)


@pytest.fixture(scope="module", autouse=True)
def _configured(messaging: Messaging) -> None:
    """Messages have a way out."""
    assert messaging.list_providers().total == 3


@pytest.fixture(scope="module")
def ada(users: Users) -> Any:
    """A user with an email address, a telephone and a password."""
    return users.create(
        ID.unique(), email="ada@shop.example", phone="+4915112345678", password="correct horse", name="Ada"
    )


@pytest.fixture(scope="module")
def phone(users: Users, ada: Any) -> Any:
    """A device of hers."""
    return users.create_target(
        user_id=ada.id, target_id=ID.unique(), provider_type=MessagingProviderType.PUSH, identifier="token-ada"
    )


@pytest.fixture(scope="module")
def topic(messaging: Messaging) -> Any:
    """A topic."""
    return messaging.create_topic(
        ID.unique(), "News", subscribe=[Role.users(), Role.label("vip")], qos=1, expiry=60, description="All of it"
    )


def test_a_user_is_reachable_at_once(ada: Any) -> None:
    """Address and number are targets, without further calls."""
    assert sorted(target.providertype for target in ada.targets) == ["email", "sms"]
    assert ada.name == "Ada"


def test_a_push_to_users_is_accepted(messaging: Messaging, ada: Any, phone: Any) -> None:
    """The first call of the tutorial."""
    made = messaging.create_push(
        message_id=ID.unique(),
        title="Hello",
        body="there",
        users=[ada.id],
        data={"order": "17"},
        badge=1,
        channel_id="orders",
    )
    assert (made.status.value, made.providertype, made.users) == ("processing", "push", [ada.id])
    assert made.data["title"] == "Hello"
    assert phone.providertype == "push"


def test_a_push_to_topics_is_accepted(messaging: Messaging, phone: Any) -> None:
    """By position, as well."""
    topic = messaging.create_topic(ID.unique(), "Pushed")
    messaging.create_subscriber(topic.id, ID.unique(), phone.id)
    made = messaging.create_push(ID.unique(), "T", "B", [topic.id])
    assert (made.status.value, made.topics) == ("processing", [topic.id])


def test_an_email_with_markup_is_accepted_without_saying_html(messaging: Messaging, ada: Any) -> None:
    """With the reply address and the raw addresses that only this SDK knows."""
    made = messaging.create_email(
        message_id=ID.unique(),
        subject="News",
        content="<h1>Hello</h1>",
        users=[ada.id],
        reply_to_email="desk@shop.example",
        reply_to_name="Desk",
        emails=["guest@shop.example"],
    )
    assert made.status.value == "processing"
    assert made.data["content"] == "<h1>Hello</h1>"
    assert made.data["replyToEmail"] == "desk@shop.example"


def test_an_email_waits_is_moved_and_called_off(messaging: Messaging, topic: Any) -> None:
    """Scheduled, moved, made a draft, deleted."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    made = messaging.create_email("later", "S", "C", topics=[topic.id], scheduled_at=later.isoformat())
    assert made.status.value == "scheduled"
    assert dt.datetime.fromisoformat(made.scheduledat) == later.replace(microsecond=later.microsecond // 1000 * 1000)
    moved = messaging.update_email("later", scheduled_at=(later + dt.timedelta(days=1)).isoformat())
    assert dt.datetime.fromisoformat(moved.scheduledat) > later
    assert messaging.update_email("later", draft=True).status.value == "draft"
    assert messaging.delete("later") == b""


def test_a_text_message_is_drafted_and_sent(messaging: Messaging, ada: Any) -> None:
    """A draft may have nobody to go to."""
    made = messaging.create_sms("code", "Your code is 1.", draft=True)
    assert (made.status.value, made.data["content"]) == ("draft", "Your code is 1.")
    sent = messaging.update_sms("code", users=[ada.id], draft=False)
    assert (sent.status.value, sent.users) == ("processing", [ada.id])


def test_a_push_is_changed(messaging: Messaging, phone: Any) -> None:
    """What is not given stays."""
    messaging.create_push("push", title="T", body="B", targets=[phone.id], draft=True)
    changed = messaging.update_push("push", title="U", channel_id="news")
    assert (changed.data["title"], changed.data["body"]) == ("U", "B")
    assert [target.id for target in messaging.list_targets("push").targets] == [phone.id]


def test_subscribers_are_listed_with_their_targets(messaging: Messaging, topic: Any, phone: Any, ada: Any) -> None:
    """And counted in the topic."""
    made = messaging.create_subscriber(topic.id, "reader", phone.id)
    assert (made.target.identifier, made.userid, made.username) == ("token-ada", ada.id, "Ada")
    (found,) = messaging.list_subscribers(topic.id, queries=[Query.equal("userId", ada.id)]).subscribers
    assert found.id == messaging.get_subscriber(topic.id, "reader").id == "reader"
    assert messaging.get_topic(topic.id).pushtotal == 1
    assert messaging.delete_subscriber(topic.id, "reader") == b""
    assert messaging.get_topic(topic.id).pushtotal == 0


def test_a_topic_keeps_what_only_this_sdk_knows(messaging: Messaging, topic: Any) -> None:
    """Description, qos and expiry."""
    found = messaging.get_topic(topic.id)
    assert (found.description, found.qos, found.expiry) == ("All of it", 1, 60)
    assert found.subscribe == ["users", "label:vip"]
    assert messaging.update_topic(topic.id, description="Less").description == "Less"


def test_lists_are_asked_with_queries(messaging: Messaging) -> None:
    """Filters, pages and nested queries."""
    made = [messaging.create_topic(ID.unique(), name).id for name in ("Pears", "Apples", "Figs")]
    queries = [Query.equal("$id", made), Query.order_asc("name"), Query.limit(2)]
    page = messaging.list_topics(queries)
    assert (page.total, [each.name for each in page.topics]) == (3, ["Apples", "Figs"])
    rest = messaging.list_topics([*queries, Query.cursor_after(page.topics[-1].id)])
    assert [each.name for each in rest.topics] == ["Pears"]
    either = Query.or_queries([Query.equal("name", ["Figs"]), Query.equal("name", ["Pears"])])
    assert messaging.list_topics([either], total=False).total == 0
    assert {each.id for each in messaging.list_topics([either]).topics} == {made[0], made[2]}


def test_providers_are_made_listed_and_disabled(messaging: Messaging) -> None:
    """Secrets don't come back; everything else does."""
    made = messaging.create_twilio_provider(
        "twilio", "Twilio", xfrom="+15005550006", account_sid="AC1", auth_token="hush", enabled=True
    )
    assert (made.provider, made.enabled, made.options["from"]) == ("twilio", True, "+15005550006")
    assert "hush" not in repr(messaging.get_provider("twilio").to_dict())
    assert messaging.update_twilio_provider("twilio", enabled=False).enabled is False
    messaging.create_fcm_provider("fcm", "FCM", service_account_json={"project_id": "p"})
    messaging.create_smtp_provider("smtp", "SMTP", "smtp.shop.example", port=25, from_email="news@shop.example")
    kinds = {each.provider for each in messaging.list_providers([Query.equal("enabled", False)]).providers}
    assert kinds >= {"twilio", "fcm", "smtp"}
    assert messaging.delete_provider("smtp") == b""


def test_the_newest_kind_of_provider_is_kept(messaging: Messaging) -> None:
    """Only this SDK can name it."""
    made = messaging.create_appwrite_provider("own", "Own", qos=1, expiry=60)
    assert (made.provider, made.type, made.options) == ("appwrite", "push", made.options | {"qos": 1, "expiry": 60})
    assert messaging.update_appwrite_provider("own", name="Ours").name == "Ours"


def test_targets_are_kept_by_user(users: Users, ada: Any, phone: Any) -> None:
    """Listed, read, changed, deleted."""
    extra = users.create_target(ada.id, "tablet", MessagingProviderType.PUSH, "token-tablet", name="Tablet")
    assert {target.id for target in users.list_targets(ada.id).targets} >= {phone.id, extra.id}
    assert users.get_target(ada.id, "tablet").name == "Tablet"
    assert users.update_target(ada.id, "tablet", identifier="token-new").identifier == "token-new"
    assert users.delete_target(ada.id, "tablet") == b""
    with pytest.raises(AppwriteException) as refused:
        users.get_target(ada.id, "tablet")
    assert (refused.value.code, refused.value.type) == (404, "user_target_not_found")


def test_a_user_signs_in(api: Api, client: Client, users: Users, ada: Any) -> None:
    """With a password and a key, as a server that renders pages does: the secret then speaks for the user."""
    session = Account(client).create_email_password_session("ada@shop.example", "correct horse")
    assert session.secret
    hers = Account(Client().set_endpoint(api.url).set_project(api.project).set_session(session.secret))
    assert hers.get().id == ada.id
    assert hers.get_session("current").id == session.id
    assert users.list(queries=[Query.equal("$id", ada.id)]).users[0].id == ada.id
    assert hers.delete_session("current") == b""
    with pytest.raises(AppwriteException) as refused:
        hers.get()
    assert refused.value.code == 401


def test_a_file_is_stored_and_attached(messaging: Messaging, client: Client, ada: Any) -> None:
    """The bucket, the file and the message that names both."""
    storage = Storage(client)
    storage.create_bucket("papers", "Papers")
    file = storage.create_file("papers", "pixel", InputFile.from_bytes(PNG, "pixel.png", "image/png"))
    assert file.id == "pixel"
    made = messaging.create_email(ID.unique(), "S", "C", users=[ada.id], attachments=["papers:pixel"])
    (attached,) = made.data["attachments"]
    assert (attached["bucketId"], attached["fileId"]) == ("papers", "pixel")


@pytest.mark.parametrize(
    ("topic_id", "name", "code", "type_"),
    [
        ("_bad", "N", 400, "general_argument_invalid"),
        ("ok", "", 400, "general_argument_invalid"),
        ("ok", "a\0b", 400, "general_argument_invalid"),
        ("ok", "\ud800", 400, "general_argument_invalid"),
        ("ok", 5, 400, "general_argument_invalid"),
        ("ok", ["N"], 400, "general_argument_invalid"),
    ],
)
def test_a_refusal_is_an_appwrite_exception(
    messaging: Messaging, topic_id: str, name: Any, code: int, type_: str
) -> None:
    """With status, type and a sentence."""
    with pytest.raises(AppwriteException) as refused:
        messaging.create_topic(topic_id, name)
    assert (refused.value.code, refused.value.type) == (code, type_)
    assert refused.value.message


def test_sql_in_a_text_is_a_text(messaging: Messaging) -> None:
    """And markup, and what else the world writes."""
    name = "'; DROP TABLE topics; -- <b>\u202e\U0001f600"
    made = messaging.create_topic(ID.unique(), name)
    assert messaging.get_topic(made.id).name == name
    (found,) = messaging.list_topics([Query.equal("name", name)]).topics
    assert found.id == made.id


def test_a_client_set_up_wrongly_is_told_so(api: Api) -> None:
    """With the errors the SDK's users look up."""
    wrong = Messaging(Client().set_endpoint(api.url).set_project(api.project).set_key("wrong"))
    with pytest.raises(AppwriteException) as refused:
        wrong.list_topics()
    assert (refused.value.code, refused.value.type) == (401, "general_unauthorized_scope")
    lost = Messaging(Client().set_endpoint(api.url).set_project("none").set_key(api.key))
    with pytest.raises(AppwriteException) as refused:
        lost.list_topics()
    assert (refused.value.code, refused.value.type) == (404, "project_not_found")


def test_the_sdk_prints_no_warning(messaging: Messaging, capsys: pytest.CaptureFixture[str]) -> None:
    """It would, if we sent `X-Appwrite-Warning`."""
    messaging.list_topics()
    assert "Warning" not in capsys.readouterr().err
