"""The tutorial to its end: what the SDKs send arrives at the providers' stand-ins, once for each recipient."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from appwrite.client import Client
from appwrite.enums.messaging_provider_type import MessagingProviderType
from appwrite.enums.smtp_encryption import SmtpEncryption
from appwrite.id import ID
from appwrite.input_file import InputFile
from appwrite.services.messaging import Messaging
from appwrite.services.storage import Storage
from appwrite.services.users import Users

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import (
    apns_credentials,
    fcm_credentials,
    sendgrid_credentials,
    smtp_credentials,
    twilio_credentials,
)
from tests.acceptance.accounts import SENDER, apns_tokens, emails, fcm_tokens
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import recorded, sums
from tests.sdk.node import Node, running_node

pytestmark = pytest.mark.timeout(600)  # the stack alone may take five minutes to begin on a busy machine

SMS_SENDER = "+15005550006"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole system with the providers' stand-ins."""
    with running("--sandbox", **UNHURT) as started:
        yield started


@pytest.fixture(scope="module")
def client(stack: Stack) -> Client:
    """A server's client in Python."""
    runtime = stack.runtime
    return Client().set_endpoint(runtime.endpoint).set_project(runtime.project).set_key(runtime.api_key)


@pytest.fixture(scope="module")
def messaging(client: Client, stack: Stack) -> Messaging:
    """The service, with an account at each kind of provider made through it; its id is the kind's name."""
    service = Messaging(client)
    addresses = SandboxAddresses.read(stack.sandbox)
    apns = apns_credentials(addresses.control)
    fcm = fcm_credentials(addresses.control, addresses.fcm_token)
    twilio = twilio_credentials()
    smtp = smtp_credentials(addresses)
    made = [
        service.create_fcm_provider("fcm", "FCM", fcm["serviceAccountJSON"], enabled=True),
        service.create_apns_provider(
            "apns",
            "APNs",
            auth_key=apns["authKey"],
            auth_key_id=apns["authKeyId"],
            team_id=apns["teamId"],
            bundle_id=apns["bundleId"],
            enabled=True,
        ),
        service.create_sendgrid_provider(
            "sendgrid", "SendGrid", sendgrid_credentials()["apiKey"], from_email=SENDER, enabled=True
        ),
        service.create_smtp_provider(
            "smtp",
            "SMTP",
            smtp["host"],
            port=smtp["port"],
            username=smtp["username"],
            password=smtp["password"],
            encryption=SmtpEncryption.TLS,
            from_email=SENDER,
            enabled=True,
        ),
        service.create_twilio_provider(
            "twilio",
            "Twilio",
            xfrom=SMS_SENDER,
            account_sid=twilio["accountSid"],
            auth_token=twilio["authToken"],
            enabled=True,
        ),
    ]
    assert all(provider.enabled for provider in made)
    return service


@pytest.fixture(scope="module")
def users(client: Client) -> Users:
    """The service."""
    return Users(client)


@pytest.fixture(scope="module")
def node(stack: Stack, messaging: Messaging) -> Iterator[Node]:
    """Node with the SDKs, on a system whose providers are set up."""
    assert messaging.list_providers().total == 5
    runtime = stack.runtime
    with running_node(runtime.endpoint, runtime.project, runtime.api_key) as running_sdks:
        yield running_sdks


def sent(messaging: Messaging, message_id: str) -> Any:
    """The message once it has ended as sent."""

    def ended() -> Any:
        message = messaging.get_message(message_id)
        return message if message.status.value in {"sent", "failed"} else None

    message = until(ended, f"{message_id} does not end")
    assert message.status.value == "sent", message.deliveryerrors
    return message


def taken(stack: Stack, message_id: str, audience: list[str], *protocols: str) -> dict[str, Any]:
    """What each of the audience got; everybody once, and the ledger says the same."""
    control = stack.sandbox["control"]
    with stack.client() as ours:
        found = sums(ours, control, [message_id], audience, *protocols)
    found.assert_exact()
    assert found.doubled == 0
    assert found.taken.keys() == set(audience)
    lines = [line for line in recorded(control, *protocols) if line["recipient"] in found.audience]
    return {line["recipient"]: line["payload"] for line in lines}


def test_node_pushes_to_users_and_topics(stack: Stack, node: Node, messaging: Messaging) -> None:
    """Users with devices of both makers; some are in a topic, too, and still get one message."""
    apple, google = apns_tokens(4), fcm_tokens(4)
    message = node.run(
        """
        await messaging.createTopic({ topicId: 'node-news', name: 'News' });
        const people = [];
        for (const [providerId, tokens] of Object.entries(devices)) {
            for (const identifier of tokens) {
                const { $id: userId } = await users.create({ userId: ID.unique() });
                const { $id: targetId } = await users.createTarget({
                    userId, targetId: ID.unique(), providerType: MessagingProviderType.Push, identifier, providerId,
                });
                people.push({ userId, targetId });
            }
        }
        for (const { targetId } of people.slice(2))
            await messaging.createSubscriber({ topicId: 'node-news', subscriberId: ID.unique(), targetId });
        return await messaging.createPush({
            messageId: ID.unique(),
            title: 'Hello',
            body: 'there',
            topics: ['node-news'],
            users: people.slice(0, 4).map(({ userId }) => userId),
            data: { order: '17' },
        });
        """,
        devices={"apns": apple, "fcm": google},
    )
    assert message["status"] == "processing"
    assert sent(messaging, message["$id"]).deliveredtotal == 8
    got = taken(stack, message["$id"], apple + google, "apns", "fcm")
    assert all(got[token]["aps"]["alert"] == {"title": "Hello", "body": "there"} for token in apple)
    assert all(got[token]["order"] == "17" for token in apple)
    assert all(got[token]["notification"] == {"title": "Hello", "body": "there"} for token in google)
    assert all(got[token]["data"] == {"order": "17"} for token in google)


def test_node_writes_an_email_with_markup(stack: Stack, node: Node, messaging: Messaging) -> None:
    """Without the flag `html` it is read as what it is, with a text beside it."""
    readers = emails(3)
    message = node.run(
        """
        const people = [];
        for (const email of readers) people.push((await users.create({ userId: ID.unique(), email })).$id);
        return await messaging.createEmail({
            messageId: ID.unique(), subject: 'News', content: '<h1>Hello</h1><p>there</p>', users: people,
        });
        """,
        readers=readers,
    )
    assert sent(messaging, message["$id"]).deliveredtotal == 3
    for mail in taken(stack, message["$id"], readers, "sendgrid").values():
        assert mail["subject"] == "News"
        assert "<h1>Hello</h1>" in mail["html"]
        assert "Hello" in mail["text"]
        assert "<" not in mail["text"]


def test_node_writes_to_a_topic_at_a_time(stack: Stack, node: Node, messaging: Messaging) -> None:
    """Scheduled now, sent then, and not before."""
    (reader,) = emails(1)
    message = node.run(
        """
        const { targets } = await users.create({ userId: ID.unique(), email: reader });
        await messaging.createTopic({ topicId: 'node-later', name: 'Later' });
        await messaging.createSubscriber({
            topicId: 'node-later', subscriberId: ID.unique(), targetId: targets[0].$id,
        });
        return await messaging.createEmail({
            messageId: ID.unique(),
            subject: 'Later',
            content: 'As plain as that.',
            topics: ['node-later'],
            scheduledAt: new Date(Date.now() + 15000).toISOString(),
        });
        """,
        reader=reader,
    )
    assert message["status"] == "scheduled"
    ended = sent(messaging, message["$id"])
    due = dt.datetime.fromisoformat(message["scheduledAt"])
    assert dt.datetime.fromisoformat(ended.deliveredat) >= due
    (mail,) = taken(stack, message["$id"], [reader], "sendgrid").values()
    assert (mail["text"], mail["html"]) == ("As plain as that.", None)


def test_node_sends_a_text_message(stack: Stack, node: Node, messaging: Messaging) -> None:
    """To the number a user was created with."""
    phone = f"+4915112{secrets.randbelow(10**6):06d}"
    message = node.run(
        """
        const { $id } = await users.create({ userId: ID.unique(), phone });
        return await messaging.createSms({ messageId: ID.unique(), content: 'Your code is 246810.', users: [$id] });
        """,
        phone=phone,
    )
    assert sent(messaging, message["$id"]).deliveredtotal == 1
    assert list(taken(stack, message["$id"], [phone], "twilio")) == [phone]


def test_python_pushes_to_users_and_topics(stack: Stack, messaging: Messaging, users: Users) -> None:
    """The same in the other language, with what a push may carry."""
    apple, google = apns_tokens(2), fcm_tokens(2)
    messaging.create_topic("python-news", "News")
    people = []
    for kind, tokens in (("apns", apple), ("fcm", google)):
        for token in tokens:
            user = users.create(ID.unique())
            target = users.create_target(user.id, ID.unique(), MessagingProviderType.PUSH, token, provider_id=kind)
            messaging.create_subscriber("python-news", ID.unique(), target.id)
            people.append(user.id)
    message = messaging.create_push(
        ID.unique(),
        title="Hello",
        body="there",
        topics=["python-news"],
        users=people,
        data={"order": "17"},
        sound="default",
        badge=3,
        channel_id="orders",
    )
    assert sent(messaging, message.id).deliveredtotal == 4
    got = taken(stack, message.id, apple + google, "apns", "fcm")
    assert all(got[token]["aps"]["badge"] == 3 for token in apple)
    assert all(got[token]["android"]["notification"]["channel_id"] == "orders" for token in google)


def test_python_writes_an_email_with_a_stored_file(
    stack: Stack, client: Client, messaging: Messaging, users: Users
) -> None:
    """Over SMTP, which the target asks for; the file goes through the storage service."""
    storage = Storage(client)
    storage.create_bucket("papers", "Papers")
    content = bytes(range(256)) * 16
    file = storage.create_file("papers", ID.unique(), InputFile.from_bytes(content, "paper.bin", "application/x-paper"))
    (reader,) = emails(1)
    user = users.create(ID.unique())
    target = users.create_target(user.id, ID.unique(), MessagingProviderType.EMAIL, reader, provider_id="smtp")
    message = messaging.create_email(
        ID.unique(),
        "Your paper",
        "<p>It is attached.</p>",
        targets=[target.id],
        attachments=[f"papers:{file.id}"],
        reply_to_email="desk@shop.example",
    )
    sent(messaging, message.id)
    (mail,) = taken(stack, message.id, [reader], "smtp").values()
    assert [(each["filename"], each["bytes"]) for each in mail["attachments"]] == [("paper.bin", len(content))]
    assert "desk@shop.example" in mail["reply_to"]


def test_a_dead_device_is_told_of_and_forgotten(messaging: Messaging, users: Users) -> None:
    """One of two is dead: the message was sent, its errors name the target, and the target is expired."""
    (alive,) = fcm_tokens(1)
    dead = f"magic-unregistered-{secrets.token_hex(8)}"
    user = users.create(ID.unique())
    ids = [
        users.create_target(user.id, ID.unique(), MessagingProviderType.PUSH, token, provider_id="fcm").id
        for token in (alive, dead)
    ]
    message = messaging.create_push(ID.unique(), title="T", body="B", targets=ids)
    ended = sent(messaging, message.id)
    assert (ended.deliveredtotal, len(ended.deliveryerrors)) == (1, 1)
    until(lambda: users.get_target(user.id, ids[1]).expired, "the dead target is not expired")
    assert not users.get_target(user.id, ids[0]).expired
