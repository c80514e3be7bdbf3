"""Plivo from end to end: the adapter sends, the sandbox answers and reports, the reader understands."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.plivo import REFUSED_TOKEN, STAND_IN
from messaging.message import Sms
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError, Receipt
from tests.integration.mail_sandbox import NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import catching, nothing
from workers.providers import plivo
from workers.providers.base import Account, Context, Recipient

REPORTED: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_HARD,),
    "+1888002": (Event.ACCEPTED, Event.BOUNCED_SOFT),
    "+1888003": (Event.REJECTED, Event.UNSUBSCRIBED),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.ACCEPTED, Event.DELIVERED),
}
"""By number. Plivo has no word for a message it goes on trying; an opt-out is one callback that is a failure, too."""

sdk: Any = import_module("plivo")  # Plivo's own, which has no types
sdk_client = import_module("plivo.rest.client")


def account_of(**credentials: str) -> Account:
    """An account of the sandbox."""
    fields = STAND_IN.fields() | credentials
    options = {"from": fields.pop("from")}
    return Account(provider_id=1, public_id="sms", kind="plivo", credentials=fields, options=options)


async def sent(
    addresses: SandboxAddresses, account: Account, to: Sequence[Recipient], *, url: str | None = None
) -> Sequence[Outcome]:
    """The outcomes of one call."""
    context = Context(tokens=NoTokens(), endpoints={"plivo": addresses.of("plivo")}, concurrency=10, receipts_url=url)
    adapter = plivo.open_adapter(account, context)
    outcomes = await adapter.send(adapter.prepare(outgoing(Sms(content="Grüße & 50%"))), to)
    await adapter.aclose()
    return outcomes


def test_every_text_is_reported_under_its_tag(tmp_path: Path) -> None:
    """To the callback of its own; Plivo's SDK takes the sandbox's signatures, both of them."""

    async def run() -> None:
        account = account_of()
        token = str(account.credentials["authToken"])
        to = people(*(f"{prefix}{place:04}" for place, prefix in enumerate(REPORTED)))
        told: dict[str, list[Receipt]] = defaultdict(list)
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            outcomes = await sent(addresses, account, to, url=catcher.url)
            for request in await catcher.until(8):
                form = dict(parse_qsl(request.body.decode()))
                nonce, new, old = (request.headers[f"x-plivo-signature-{name}"] for name in ("v3-nonce", "v3", "v2"))
                assert sdk.utils.validate_v3_signature("POST", request.url, nonce, token, new, form)
                assert sdk.utils.validate_signature(request.url, nonce, old, token)
                for receipt in await plivo.read_receipts(request, account, nothing):
                    told[receipt.tag or ""].append(receipt)
            entries = await arrived(addresses, "plivo")
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert {entry["tag"] for entry in entries} == {one.tag for one in to}
        assert {entry["payload"]["text"] for entry in entries} == {"Grüße & 50%"}
        for one, outcome, expected in zip(to, outcomes, REPORTED.values(), strict=True):
            assert {receipt.event for receipt in told[one.tag]} == set(expected)
            assert len(told[one.tag]) == len(expected)
            assert {receipt.provider_message_id for receipt in told[one.tag]} == {outcome.provider_message_id}

    asyncio.run(run())


def test_what_is_caught_on_the_way_and_changed_is_forged(tmp_path: Path) -> None:
    """Any byte of the body, the tag in the address, or another account's token."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await sent(addresses, account, people("+15551000000"), url=catcher.url)
            (request,) = await catcher.until(1)
        assert await plivo.read_receipts(request, account, nothing)
        for place in range(len(request.body)):
            flipped = request.body[:place] + bytes([request.body[place] ^ 1]) + request.body[place + 1 :]
            with pytest.raises(ForgedReceiptError):
                await plivo.read_receipts(replace(request, body=flipped), account, nothing)
        for forged, reader in ((replace(request, url=f"{request.url}x"), account), (request, account_of())):
            with pytest.raises(ForgedReceiptError):
                await plivo.read_receipts(forged, reader, nothing)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("+1999050", Action.DISABLE_TARGET),
        ("+1999051", Action.DISABLE_TARGET),
        ("+1999040", Action.STOP_PROVIDER),
        ("+1999400", Action.REJECT_MESSAGE),
        ("+1999401", Action.STOP_PROVIDER),
        ("+1999402", Action.QUOTA),
        ("+1999403", Action.STOP_PROVIDER),
        ("+1999404", Action.STOP_PROVIDER),
        ("+1999429", Action.RETRY_AFTER),
        ("+1999500", Action.AMBIGUOUS_RETRY),
        ("+1999503", Action.RETRY),
        ("+1999001", Action.AMBIGUOUS_RETRY),
    ],
)
def test_each_class_of_answer_leads_to_its_action(number: str, action: Action, tmp_path: Path) -> None:
    """And nothing arrives."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            (outcome,) = await sent(addresses, account_of(), people(number))
            assert await arrived(addresses, "plivo") == []
        assert outcome.action is action, outcome

    asyncio.run(run())


@pytest.fixture
def client_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[SandboxAddresses, Account], Any]:
    """A client of Plivo's SDK at the sandbox, a context manager."""

    def opened(addresses: SandboxAddresses, account: Account) -> Any:
        # A constant of its module, taken anew for every request.
        monkeypatch.setattr(sdk_client, "PLIVO_API_BASE_URI", f"{addresses.of('plivo')}/v1/Account")
        client = sdk.RestClient(account.credentials["authId"], account.credentials["authToken"])
        client.session.trust_env = False
        return client

    return opened


def test_plivos_own_sdk_is_understood(client_at: Callable[[SandboxAddresses, Account], Any], tmp_path: Path) -> None:
    """It sends to several numbers in one request, learns which of them is none, and reads the account."""

    async def run() -> None:
        account = account_of()
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            with client_at(addresses, account) as client:
                answer = await asyncio.to_thread(
                    client.messages.create,
                    src="14155550100",
                    dst="15551000001<1999050<15551000002",
                    text="Hi",
                    url=f"{catcher.url}?delivery=t1",
                    message_expiry=60,
                )
                name = (await asyncio.to_thread(client.account.get)).name
            receipts = [
                receipt
                for request in await catcher.until(2)
                for receipt in await plivo.read_receipts(request, account, nothing)
            ]
            entries = await arrived(addresses, "plivo")
        assert len(answer.message_uuid) == 2
        assert answer.invalid_number == ["1999050"]
        assert name == "Sandbox"
        assert [entry["recipient"] for entry in entries] == ["+15551000001", "+15551000002"]
        assert {(receipt.event, receipt.tag) for receipt in receipts} == {(Event.DELIVERED, "t1")}
        assert {receipt.provider_message_id for receipt in receipts} == set(answer.message_uuid)

    asyncio.run(run())


def test_plivos_own_sdk_hears_a_refusal(client_at: Callable[[SandboxAddresses, Account], Any], tmp_path: Path) -> None:
    """As it would from Plivo."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            too_long = pytest.raises(sdk.exceptions.ValidationError, match="text is too long")
            with client_at(addresses, account_of()) as client, too_long:
                await asyncio.to_thread(client.messages.create, src="14155550100", dst="1555", text="x" * 1601)
            refused = pytest.raises(sdk.exceptions.AuthenticationError)
            with client_at(addresses, account_of(authToken=REFUSED_TOKEN)) as client, refused:
                await asyncio.to_thread(client.account.get)

    asyncio.run(run())


def test_the_stand_in_keeps_plivos_rules(tmp_path: Path) -> None:
    """What is missing, wrong or too long is refused."""
    good: dict[str, object] = {"src": "+14155550100", "dst": "+15551000000", "text": "Hi"}
    wrong: Sequence[tuple[dict[str, object], int]] = (
        ({"text": ""}, 400),
        ({"src": None}, 400),
        ({"src": "+15551000000"}, 400),
        ({"message_expiry": 4}, 400),
        ({"message_expiry": 10_800}, 400),
        ({"url": "ftp://example.org"}, 400),
        ({"method": "PUT"}, 400),
        ({"text": "ж" * 738}, 400),
        ({}, 202),
    )

    async def run() -> None:
        credentials = account_of().credentials
        user = (str(credentials["authId"]), str(credentials["authToken"]))
        async with sandbox(tmp_path) as addresses, httpx.AsyncClient(trust_env=False, auth=user) as client:
            url = f"{addresses.of('plivo')}/v1/Account/{user[0]}/Message/"
            for change, status in wrong:
                assert (await client.post(url, json=good | change)).status_code == status, change

    asyncio.run(run())
