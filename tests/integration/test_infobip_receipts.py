"""Infobip over real sockets: many messages in one request, ids, and its stand-in's rules."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.message import Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import arrived, people, sandbox
from tests.integration.receipt_catcher import account_of, sent

TEXT = Sms(content="Grüße 😀")


def test_a_message_whose_answer_was_lost_can_be_sent_again_and_arrives_once(tmp_path: Path) -> None:
    """Its id is the same, and the log says that the first stands. A neighbour that never arrived does now."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            account, to = account_of("infobip"), people("+1999004", "+15551000000")
            lost = await sent(addresses, account, to, TEXT)
            again = await sent(addresses, account, to[1:], TEXT)
            entries = await arrived(addresses, "infobip")
        assert [outcome.action for outcome in lost] == [Action.AMBIGUOUS_RETRY] * 2
        assert again == [Outcome(Action.ACCEPTED, provider_message_id=to[1].tag)]
        assert sorted(entry["tag"] for entry in entries) == sorted(one.tag for one in to)

    asyncio.run(run())


@pytest.mark.parametrize("number", ["+1998020", "+1998021"])
def test_a_message_that_was_rejected_for_now_arrives_the_next_time(number: str, tmp_path: Path) -> None:
    """Though the sandbox takes its id for used: it goes out under a further one, with the same tag."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            account, (one,) = account_of("infobip"), people(number)
            (rejected,) = await sent(addresses, account, [one], TEXT)
            (taken,) = await sent(addresses, account, [one], TEXT)
            (repeated,) = await sent(addresses, account, [one], TEXT)
            (entry,) = await arrived(addresses, "infobip")
        assert rejected.action is Action.RETRY
        assert taken == repeated == Outcome(Action.ACCEPTED, provider_message_id=f"{one.tag}.2")
        assert (entry["id"], entry["tag"]) == (f"{one.tag}.2", one.tag)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+1999052", Action.DISABLE_TARGET),
        ("+1999010", Action.SUPPRESS_TARGET),
        ("+1999014", Action.SUPPRESS_TARGET),
        ("+1999087", Action.REJECT_MESSAGE),
        ("+1999012", Action.QUOTA),
        ("+1999013", Action.STOP_PROVIDER),
        ("+1999006", Action.STOP_PROVIDER),
        ("+1999020", Action.RETRY),
        ("+1999021", Action.RETRY),
        ("+1999400", Action.DISABLE_TARGET),
        ("+1999499", Action.REJECT_MESSAGE),
    ],
)
def test_a_refused_recipient_harms_no_other(number: str, action: Action, tmp_path: Path) -> None:
    """Whether the answer has a status for it, names it, or refuses the request without a word."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            to = people("+15551000001", number, "+15551000002", "+15551000003")
            found = await sent(addresses, account_of("infobip"), to, TEXT)
            entries = await arrived(addresses, "infobip")
        expected = [Action.ACCEPTED, action, Action.ACCEPTED, Action.ACCEPTED]
        assert [outcome.action for outcome in found] == expected, found
        assert sorted(entry["tag"] for entry in entries) == sorted(one.tag for one in to if one.address != number)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+1999401", Action.STOP_PROVIDER),
        ("+1999403", Action.STOP_PROVIDER),
        ("+1999429", Action.RETRY_AFTER),
        ("+1999500", Action.AMBIGUOUS_RETRY),
        ("+1999503", Action.RETRY),
        ("+1999001", Action.AMBIGUOUS_RETRY),
    ],
)
def test_an_answer_for_the_whole_request_holds_for_all_of_it(number: str, action: Action, tmp_path: Path) -> None:
    """And nothing arrives."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            found = await sent(addresses, account_of("infobip"), people("+15551000001", number), TEXT)
            assert await arrived(addresses, "infobip") == []
        assert [outcome.action for outcome in found] == [action] * 2

    asyncio.run(run())


def test_a_hundred_recipients_are_one_request(tmp_path: Path) -> None:
    """Under one bulk id."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            to = people(*(f"+1555{n:07}" for n in range(100)))
            found = await sent(addresses, account_of("infobip"), to, TEXT)
            entries = await arrived(addresses, "infobip")
        assert {outcome.action for outcome in found} == {Action.ACCEPTED}
        assert len({entry["about"]["bulk"] for entry in entries}) == 1
        assert sorted((e["recipient"], e["tag"]) for e in entries) == sorted((one.address, one.tag) for one in to)

    asyncio.run(run())


def test_the_stand_in_keeps_infobips_rules(tmp_path: Path) -> None:
    """What is missing, wrong or too long refuses the request, with its place."""
    good: dict[str, Any] = {"sender": "Acme", "destinations": [{"to": "15551000000"}], "content": {"text": "Hi"}}
    wrong: Sequence[tuple[dict[str, Any], str]] = (
        ({"sender": ""}, "messages[1].sender"),
        ({"content": {}}, "messages[1].content.text"),
        ({"content": {"text": "x" * 3826}}, "messages[1].content.text"),
        ({"destinations": []}, "messages[1].destinations"),
        ({"destinations": [{"to": "+15551000000"}]}, "messages[1].destinations[0].to"),
        ({"destinations": [{"to": "15551000000", "messageId": "x" * 201}]}, "messages[1].destinations[0].messageId"),
        ({"options": {"validityPeriod": {"amount": 0}}}, "messages[1].options.validityPeriod.amount"),
        ({"options": {"validityPeriod": {"amount": 1, "timeUnit": "AGES"}}},
         "messages[1].options.validityPeriod.timeUnit"),
        ({"webhooks": {"delivery": {"url": "here"}}}, "messages[1].webhooks.delivery.url"),
        ({"webhooks": {"callbackData": "x" * 4001}}, "messages[1].webhooks.callbackData"),
    )  # fmt: skip

    async def run() -> None:
        headers = {"authorization": f"App {account_of('infobip').credentials['apiKey']}"}
        async with (
            sandbox(tmp_path) as addresses,
            httpx.AsyncClient(trust_env=False, headers=headers, timeout=60) as client,
        ):
            url = f"{addresses.of('infobip')}/sms/3/messages"
            for change, where in wrong:
                answer = await client.post(url, content=json.dumps({"messages": [good, good | change]}))
                assert answer.status_code == 400
                assert [violation["property"] for violation in answer.json()["violations"]] == [where]
            assert (await client.post(url, json={"messages": [good]})).status_code == 200
            assert len(await arrived(addresses, "infobip")) == 1

    asyncio.run(run())
