"""The Amazon SES adapter against moto, an emulation of AWS written by others."""

import asyncio
from collections.abc import Iterator, Sequence
from email import message_from_string
from email.policy import default
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer

from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens, outgoing, people
from workers.providers import ses
from workers.providers.base import Account, Context, Recipient


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Its address."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def sent(moto: str, to: Sequence[Recipient], email: Email, *, sender: str = "news@example.org") -> Sequence[Outcome]:
    """The outcomes of one call."""
    account = Account(
        provider_id=1,
        public_id="ses",
        kind="ses",
        credentials={"accessKey": "AKIAEXAMPLE", "secretKey": "s3cr3t", "region": "eu-central-1"},
        options={"fromEmail": sender, "fromName": "News"},
    )

    async def run() -> Sequence[Outcome]:
        adapter = ses.open_adapter(account, Context(tokens=NoTokens(), endpoints={"ses": moto}, concurrency=5))
        outcomes = await adapter.send(adapter.prepare(outgoing(email)), to)
        await adapter.aclose()
        return outcomes

    return asyncio.run(run())


def verify(moto: str, address: str) -> None:
    """Make the address one that may be sent from."""
    scope = "Credential=AKIAEXAMPLE/20261123/eu-central-1/ses/aws4_request, SignedHeaders=host, Signature=0"
    httpx.post(
        f"{moto}/v2/email/identities",
        json={"EmailIdentity": address},
        headers={"authorization": f"AWS4-HMAC-SHA256 {scope}"},
        trust_env=False,
        timeout=60,
    ).raise_for_status()


def messages(moto: str) -> list[dict[str, Any]]:
    """What it took."""
    data = httpx.get(f"{moto}/moto-api/data.json", trust_env=False, timeout=60).json()
    found: list[dict[str, Any]] = data["ses"]["RawMessage"]
    return found


def test_an_address_that_is_not_verified_stops_the_provider(moto: str) -> None:
    """It is the account's, and no recipient is blamed."""
    (outcome,) = sent(moto, people("ann@example.com"), Email(subject="s", content="b"), sender="new@example.net")
    assert outcome.action is Action.STOP_PROVIDER, outcome
    assert outcome.code == "MessageRejected"
    assert "@" not in outcome.reason


def test_messages_from_a_verified_address_are_taken_one_by_one(moto: str) -> None:
    """Each with its own id, the message whole."""
    verify(moto, "news@example.org")
    email = Email(
        subject="Grüße",
        content="<p>there</p>",
        html=True,
        attachments=(Attachment(filename="ü.bin", content_type="application/x-b", content=bytes(range(256))),),
    )
    to = people(*(f"u{n}@example.com" for n in range(4)), "bob@bücher.example", name="Änn")
    outcomes = sent(moto, to, email)
    assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * 5
    taken = {message["id"]: message for message in messages(moto)}
    assert len({outcome.provider_message_id for outcome in outcomes}) == 5
    for one, outcome in zip(to, outcomes, strict=True):
        message = taken[outcome.provider_message_id]
        assert message["source"] == "news@example.org"
        assert message["destinations"][0] == one.address.replace("bücher", "xn--bcher-kva")
        mime = message_from_string(message["raw_data"], policy=default)
        assert (mime["from"], mime["subject"]) == ("News <news@example.org>", "Grüße")
        assert mime["message-id"] == f"<{one.tag}@example.org>"
        (part,) = mime.iter_attachments()
        assert part.get_payload(decode=True) == bytes(range(256))
