"""Signed mail as a server takes it off the wire: the signature holds for every copy, dots and refusals or not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

from messaging.channel import Role
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, outgoing, people
from tests.unit.test_dkim import ED25519, RSA, Key, dns_record, pem, verifies
from workers.providers import smtp
from workers.providers.base import Account, Context, Recipient
from workers.providers.destinations import ANYWHERE

UNSUBSCRIBE = "https://mail.example.org/u/"


class Mailbox:
    """Takes everything, except for addresses that begin with `no-`."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}

    async def handle_RCPT(self, *args: Any) -> str:  # noqa: N802  aiosmtpd's name
        """550 or 250."""
        _, _, envelope, address, _ = args
        if str(address).startswith("no-"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, *args: Any) -> str:  # noqa: N802  aiosmtpd's name
        """Keep the bytes."""
        envelope: Envelope = args[2]
        (address,) = envelope.rcpt_tos
        assert isinstance(envelope.original_content, bytes)
        self.taken[str(address)] = envelope.original_content
        return "250 2.0.0 ok"


@contextlib.asynccontextmanager
async def serving(box: Mailbox) -> AsyncIterator[int]:
    """The port of an aiosmtpd that is not the sandbox's."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def delivered(
    email: Email, to: Sequence[Recipient], key: Key = RSA, **shown: tuple[str, ...]
) -> tuple[Sequence[Outcome], Mapping[str, bytes]]:
    """The outcomes of one call, and what arrived by address."""
    box = Mailbox()

    async def run() -> Sequence[Outcome]:
        async with serving(box) as port:
            account = Account(
                provider_id=1,
                public_id="mail",
                kind="smtp",
                credentials={"host": "127.0.0.1", "port": port, "dkimKey": pem(key)},
                options=ENVELOPE | {"autoTLS": False, "dkimSelector": "s1", "mailer": "heliograph"},
            )
            adapter = smtp.open_adapter(account, Context(tokens=NoTokens(), destinations=ANYWHERE, concurrency=3))
            outcomes = await adapter.send(adapter.prepare(outgoing(email, **shown)), to)
            await adapter.aclose()
            return outcomes

    return asyncio.run(run()), box.taken


def test_every_copy_verifies_and_names_its_own_reader() -> None:
    """Leading dots, attachments, names in other letters, both kinds of key."""
    email = Email(
        subject="Grüße",
        content="<p>.\n..  x</p>",
        html=True,
        text=".\n..\n  x \n\n",
        attachments=(Attachment(filename="ü.bin", content_type="application/x-b", content=bytes(50_000)),),
    )
    for key in (RSA, ED25519):
        to = [
            replace(one, name="Änn", unsubscribe_url=f"{UNSUBSCRIBE}{one.tag}")
            for one in people(*(f"u{n}@example.com" for n in range(5)))
        ]
        outcomes, taken = delivered(email, to, key)
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        records = {"s1._domainkey.example.org.": dns_record(key)}
        for one in to:
            wire = taken[one.address]
            assert verifies(wire, records)
            assert f"List-Unsubscribe: <{UNSUBSCRIBE}{one.tag}>\r\n".encode() in wire
            assert not verifies(wire.replace(UNSUBSCRIBE.encode(), b"https://evil.example.net/u/"), records)


def test_copies_and_letters_of_any_alphabet_verify_too() -> None:
    """Cc, bcc, and a mailbox only SMTPUTF8 can carry."""
    to = [
        *people("jörg@bücher.example"),
        *people("carl@example.com", role=Role.CC),
        *people("dora@example.com", role=Role.BCC),
    ]
    outcomes, taken = delivered(
        Email(subject="s", content="b"), to, visible_to=("jörg@bücher.example",), visible_cc=("carl@example.com",)
    )
    assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
    assert len(taken) == 3
    for wire in taken.values():
        assert verifies(wire, {"s1._domainkey.example.org.": dns_record(RSA)})


def test_refused_recipients_stop_no_others() -> None:
    """Every outcome stands in its place, and what arrives is whole."""
    to = people("a@example.com", "no-b@example.com", "c@example.com", "no-d@example.com")
    outcomes, taken = delivered(Email(subject="s", content="b"), to)
    expected = [Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED, Action.DISABLE_TARGET]
    assert [outcome.action for outcome in outcomes] == expected
    assert sorted(taken) == ["a@example.com", "c@example.com"]
