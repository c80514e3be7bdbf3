"""Resend over real sockets: requests told again, and files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from messaging.message import Attachment, Email
from messaging.outcome import Action
from tests.integration.mail_sandbox import arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import account_of, control, opened, sent

MAIL = Email(subject="s", content="b")


def test_a_lost_answer_is_asked_for_again_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    """With half of the answers lost, all but those lost twice are known; none has arrived twice."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            await control(addresses, "faults", protocol="resend", lost_answer_rate=0.5, seed=3)
            account = account_of("resend")
            calls = [people(f"u{n}@example.com", f"v{n}@example.com") for n in range(20)]
            outcomes = [await sent(addresses, account, to, MAIL) for to in calls]
            entries = await arrived(addresses, "resend")
        assert {outcome.action for call in outcomes for outcome in call} == {Action.ACCEPTED}
        assert sorted(entry["tag"] for entry in entries) == sorted(one.tag for to in calls for one in to)
        assert {entry["status"] for entry in entries} == {0, 200}  # some were lost
        ids = {entry["tag"]: entry["id"] for entry in entries}
        for to, call in zip(calls, outcomes, strict=True):
            assert [outcome.provider_message_id for outcome in call] == [ids[one.tag] for one in to]

    asyncio.run(run())


def test_the_same_emails_told_again_are_sent_once(tmp_path: Path) -> None:
    """As after a crash; in other company they are another request."""

    async def run() -> None:
        account, to = account_of("resend"), people("a@example.com", "b@example.com")
        message = outgoing(MAIL)
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account)
            prepared = adapter.prepare(message)
            first = await adapter.send(prepared, to)
            again = await adapter.send(prepared, [replace(one, attempt=2) for one in reversed(to)])
            entries = await arrived(addresses, "resend")
            await adapter.aclose()
        assert list(first) == list(reversed(again))
        assert len(entries) == 2

    asyncio.run(run())


def test_files_arrive_with_each_email(tmp_path: Path) -> None:
    """One request each, and what one refuses harms no other."""

    async def run() -> None:
        file = Attachment(filename="ü.txt", content_type="text/plain", content=b"x" * 1000)
        to = people("a@example.com", "invalid@example.com", "b@example.com")
        async with sandbox(tmp_path) as addresses:
            outcomes = await sent(
                addresses, account_of("resend"), to, Email(subject="s", content="b", attachments=(file,))
            )
            entries = await arrived(addresses, "resend")
        assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED, Action.DISABLE_TARGET, Action.ACCEPTED]
        assert {entry["about"]["emails"] for entry in entries} == {1}
        for entry in entries:
            assert entry["payload"]["attachments"] == [{"filename": "ü.txt", "type": "text/plain", "bytes": 1000}]

    asyncio.run(run())
