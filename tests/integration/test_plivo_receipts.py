"""Plivo's stand-in, tried by Plivo's own SDK and by its rules."""

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.web.plivo import REFUSED_TOKEN
from messaging.receipt import Event
from tests.integration.mail_sandbox import arrived, sandbox
from tests.integration.receipt_catcher import account_of, catching, nothing
from workers.providers import plivo
from workers.providers.base import Account

sdk: Any = import_module("plivo")  # Plivo's own, which has no types
sdk_client = import_module("plivo.rest.client")


@pytest.fixture
def client_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[SandboxAddresses, Account], Any]:
    """A client of Plivo's SDK at the sandbox, a context manager."""

    def opened(addresses: SandboxAddresses, account: Account) -> Any:
        # A constant of its module, taken anew for every request.
        monkeypatch.setattr(sdk_client, "PLIVO_API_BASE_URI", f"{addresses.of('plivo')}/v1/Account")
        client = sdk.RestClient(account.credentials["authId"], account.credentials["authToken"], timeout=60)
        client.session.trust_env = False
        return client

    return opened


def test_plivos_own_sdk_is_understood(client_at: Callable[[SandboxAddresses, Account], Any], tmp_path: Path) -> None:
    """It sends to several numbers in one request, learns which of them is none, and reads the account."""

    async def run() -> None:
        account = account_of("plivo")
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
            with client_at(addresses, account_of("plivo")) as client, too_long:
                await asyncio.to_thread(client.messages.create, src="14155550100", dst="1555", text="x" * 1601)
            refused = pytest.raises(sdk.exceptions.AuthenticationError)
            with client_at(addresses, account_of("plivo", authToken=REFUSED_TOKEN)) as client, refused:
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
        credentials = account_of("plivo").credentials
        user = (str(credentials["authId"]), str(credentials["authToken"]))
        async with sandbox(tmp_path) as addresses, httpx.AsyncClient(trust_env=False, auth=user, timeout=60) as client:
            url = f"{addresses.of('plivo')}/v1/Account/{user[0]}/Message/"
            for change, status in wrong:
                assert (await client.post(url, json=good | change)).status_code == status, change

    asyncio.run(run())
