"""Mailgun over real sockets: many copies in one request."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from messaging.message import Attachment, Email
from messaging.outcome import Action
from tests.integration.mail_sandbox import arrived, people, sandbox
from tests.integration.receipt_catcher import account_of, sent

MAIL = Email(subject="s", content="b")


def test_a_thousand_get_their_copies_with_a_file_in_one_request(tmp_path: Path) -> None:
    """Each with its own tag and its own way out."""

    async def run() -> None:
        to = [
            replace(one, unsubscribe_url=f"https://example.org/u/{one.target_id}")
            for one in people(*(f"u{n}@example.com" for n in range(1000)))
        ]
        file = Attachment(filename="a.txt", content_type="text/plain", content=b"x" * 1000)
        email = Email(subject="s", content="for %recipient%", attachments=(file,))
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(addresses, account_of("mailgun"), to, email)
            entries = await arrived(addresses, "mailgun")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert [(entry["recipient"], entry["tag"]) for entry in entries] == [(one.address, one.tag) for one in to]
        assert {entry["about"]["recipients"] for entry in entries} == {1000}
        for entry, one in zip(entries, to, strict=True):
            assert entry["payload"]["text"] == "for %recipient%"
            assert entry["payload"]["headers"]["List-Unsubscribe"] == f"<{one.unsubscribe_url}>"
            assert entry["payload"]["attachments"] == [{"filename": "a.txt", "type": "text/plain", "bytes": 1000}]

    asyncio.run(run())
