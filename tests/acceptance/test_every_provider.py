"""Every kind of provider, over real sockets: a message leaves through each, arrives once, and is reported back."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from messaging.catalog import OURS
from messaging.channel import Channel
from messaging.client.messaging import Messaging
from messaging.local import sandbox_accounts
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web_push_subscriptions import subscription
from messaging.message import Content, Email, Push, Sms
from messaging.status import DeliveryStatus
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import recorded

pytestmark = pytest.mark.timeout(600)

S = DeliveryStatus
_CONTENT: Mapping[Channel, Content] = {
    Channel.PUSH: Push(title="Hello", body="there"),
    Channel.EMAIL: Email(subject="Hello", content="<p>there</p>", html=True),
    Channel.SMS: Sms(content="Hello there"),
}


def push_address(kind: str) -> str:
    """A device of the kind."""
    if OURS[kind].address_format == "hex":
        return "ab" + secrets.token_hex(31)
    if OURS[kind].address_format == "subscription":
        return subscription(secrets.token_hex(8))
    return f"token-{secrets.token_hex(16)}"


_ADDRESS: Mapping[Channel, Callable[[str], str]] = {
    Channel.PUSH: push_address,
    Channel.EMAIL: lambda kind: f"{kind.replace('_', '-')}.{secrets.token_hex(4)}@example.com",
    Channel.SMS: lambda _: f"+4477{secrets.randbelow(10**7):07}1",
}


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Messaging]:
    """An account of every kind, each reporting to its own address; they go with this file."""
    addresses = SandboxAddresses.read(stack.sandbox)
    with stack.client() as opened:
        for kind in sandbox_accounts.kinds():
            fields = sandbox_accounts.fields(kind, addresses)
            made = opened.providers.create(kind, provider_id=own(kind), enabled=True, **fields)
            url = f"{stack.runtime.endpoint}/receipts/{made.receipt_key}"
            changes = sandbox_accounts.report_to(kind, fields, addresses, url)
            if changes:
                opened.providers.update(own(kind), **changes)
        yield opened
        for kind in sandbox_accounts.kinds():
            opened.providers.delete(own(kind))


def own(kind: str) -> str:
    """The id of our account of that kind."""
    return f"own-{kind.replace('_', '-')}"


def target_of(client: Messaging, kind: str, address: str) -> str:
    """A target that is served by the account of that kind."""
    user = client.users.create().id
    return client.targets.create(address, channel=OURS[kind].channel, user_id=user, provider_id=own(kind)).id


def state(client: Messaging, message: str) -> tuple[DeliveryStatus, str | None]:
    """Of the only delivery, with the account that carried it."""
    (delivery,) = client.all_deliveries(message)
    return delivery.status, delivery.provider_id


@pytest.mark.parametrize("kind", [kind for kind in OURS if OURS[kind].has_adapter])
def test_a_message_leaves_arrives_and_is_reported(stack: Stack, client: Messaging, kind: str) -> None:
    """Through the account its target names; where the provider reports, to the end."""
    channel = OURS[kind].channel
    address = _ADDRESS[channel](kind)
    message = client.send(_CONTENT[channel], targets=[target_of(client, kind, address)])
    wanted = S.DELIVERED if OURS[kind].has_receipts else S.ACCEPTED

    def done() -> bool:
        return any(delivery.status is wanted for delivery in client.all_deliveries(message.id))

    def seen() -> str:
        return f"{state(client, message.id)} {stack.tail('fanout', f'{channel}-high', 'sandbox')}"

    until(done, seen)
    assert state(client, message.id) == (wanted, own(kind))
    arrived = [
        line
        for line in recorded(stack.sandbox["control"], kind)
        if line["outcome"] == "accepted" and line["recipient"].lstrip("+") in address
    ]
    assert len(arrived) == 1, arrived


@pytest.mark.parametrize(
    ("local", "status"), [("bounced", S.FAILED), ("complained", S.DELIVERED), ("rejected", S.FAILED)]
)
@pytest.mark.parametrize("kind", [k for k in OURS if OURS[k].channel is Channel.EMAIL and OURS[k].has_receipts])
def test_bad_news_by_email_is_told_and_heeded(
    stack: Stack, client: Messaging, kind: str, local: str, status: DeliveryStatus
) -> None:
    """The stand-in reports what the address stands for; bounces and complaints reach the suppression list."""
    address = f"{local}+{secrets.token_hex(4)}@example.com"
    message = client.send(_CONTENT[Channel.EMAIL], targets=[target_of(client, kind, address)])

    def done() -> bool:
        return state(client, message.id)[0] is status and (
            local == "rejected" or client.suppressions.find(Channel.EMAIL, address) is not None
        )

    def seen() -> str:
        found: Any = client.suppressions.find(Channel.EMAIL, address)
        return f"{state(client, message.id)} {found} {stack.tail('fanout', 'sandbox')}"

    until(done, seen)


@pytest.mark.parametrize("kind", [kind for kind in OURS if OURS[kind].channel is Channel.EMAIL])
def test_a_reader_ends_a_newsletter_with_one_click_and_still_gets_codes(
    stack: Stack, client: Messaging, kind: str
) -> None:
    """The link is in the mail as it arrived; after the click only messages of their own come."""
    address = f"reader.{secrets.token_hex(4)}@example.com"
    target = target_of(client, kind, address)
    topic = client.topics.create(f"letter-{kind.replace('_', '-')}", name="Letter").id
    client.topics.subscribe(topic, target)

    def ended(message: str) -> DeliveryStatus:
        until(lambda: state(client, message)[0].is_settled, lambda: str(state(client, message)))
        return state(client, message)[0]

    letter = client.send(_CONTENT[Channel.EMAIL], topics=[topic]).id
    assert ended(letter) in {S.ACCEPTED, S.DELIVERED}
    (line,) = [line for line in recorded(stack.sandbox["control"], kind) if line["recipient"] == address]
    links = set(re.findall(rf"{re.escape(stack.runtime.endpoint)}/unsubscribe/[\w.-]+", json.dumps(line)))
    assert len(links) == 1, line
    assert "one-click" in json.dumps(line).lower() or OURS[kind].adapter, "the header that makes it one click"
    (link,) = links
    clicked = httpx.post(link, content="List-Unsubscribe=One-Click", trust_env=False, timeout=60)
    assert clicked.status_code == 200
    assert ended(client.send(_CONTENT[Channel.EMAIL], topics=[topic]).id) is S.SUPPRESSED
    code = client.send(Email(subject="Your code", content="1234"), targets=[target]).id
    assert ended(code) in {S.ACCEPTED, S.DELIVERED}
