"""An operator's view of an account over HTTP: checks, starting it, its log and its receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from messaging.http import models
from messaging.outcome import Action
from messaging.publish import Publisher
from messaging.store import provider_stops, providers, receipts
from messaging.store.receipts import ReceiptState, Settled
from messaging.wire import Queue
from tests.integration.checked import Checked
from tests.integration.http.api import PATIENCE_S, Api, query, running_api
from tests.integration.road import OneAdapter
from workers.checks import Checks

TWILIO = {"accountSid": "AC" + "0" * 32, "authToken": "secret", "from": "+15005550006", "enabled": True}
NUMBER = "+4930901820"
PATH = "/messaging/providers"


@pytest.fixture
def account(api: Api) -> Iterator[str]:
    """The id of an account that is enabled."""
    made = api.ok("POST", f"{PATH}/twilio", {"providerId": "unique()", "name": "Texts", **TWILIO})
    yield made["$id"]
    api.call("DELETE", f"{PATH}/{made['$id']}")


def work(api: Api, check_id: str) -> str:
    """Do a worker's part, with a provider that takes everything."""
    one: Any = OneAdapter(Checked())  # stands for Adapters
    with Publisher(api.settings) as publisher:
        return asyncio.run(Checks(api.engine, api.vault, api.settings, one, publisher.publish).run(check_id))


def stop(api: Api, account: str) -> None:
    """It is stopped until somebody acts."""
    with api.engine.begin() as connection:
        number = providers.find(connection, 1, account)
        provider_stops.stop_for(connection, number, "the key was revoked", action=Action.STOP_PROVIDER)


def put_aside(api: Api, account: str, state: ReceiptState, reason: str) -> None:
    """A receipt came in and was put aside."""
    with api.engine.begin() as connection:
        key = providers.get(connection, api.vault, 1, account).receipt_key
        assert receipts.keep(connection, key, method="POST", url="https://x/", headers={}, body=b"")
        (kept,) = receipts.take(connection, limit=1, work_s=60)
        receipts.settle(connection, [Settled(kept.id, state, reason=reason)])


class TestChecks:
    """Asked for, done, looked at."""

    def test_one_is_taken_up_and_followed(self, api: Api, account: str) -> None:
        """A step more at every look, in the fields that the document describes."""
        answer = api.call("POST", f"{PATH}/{account}/checks", {"sendTo": NUMBER})
        assert answer.status_code == 202
        begun = answer.json()
        assert (begun["providerId"], begun["sendTo"], begun["outcome"]) == (account, NUMBER, None)
        assert [step["state"] for step in begun["steps"]] == ["waiting"] * 5
        assert work(api, begun["$id"]) == "checked, and a test message accepted"
        now = api.ok("GET", f"{PATH}/{account}/checks/{begun['$id']}")
        assert [step["state"] for step in now["steps"]] == ["passed"] * 3 + ["waiting"] * 2
        assert now.keys() == models.MODELS["providerCheck"]["properties"].keys()
        assert now["steps"][0].keys() == models.MODELS["providerCheckStep"]["properties"].keys()
        message = api.ok("GET", f"/messaging/messages/{now['messageId']}")
        assert message["data"]["content"].startswith("Test of the provider account")

    def test_without_an_address_nothing_is_sent(self, api: Api, account: str) -> None:
        begun = api.ok("POST", f"{PATH}/{account}/checks", {})
        work(api, begun["$id"])
        done = api.ok("GET", f"{PATH}/{account}/checks/{begun['$id']}")
        assert (done["outcome"], done["messageId"], len(done["steps"])) == ("passed", None, 1)

    def test_the_newest_comes_first(self, api: Api, account: str) -> None:
        """A page at a time, or in the order that is asked for."""
        ids = [api.ok("POST", f"{PATH}/{account}/checks", {})["$id"] for _ in range(3)]
        assert [one["$id"] for one in api.ok("GET", f"{PATH}/{account}/checks")["checks"]] == ids[::-1]
        page = api.ok(
            "GET", f"{PATH}/{account}/checks", queries=(query("limit", None, 1), query("cursorAfter", None, ids[1]))
        )
        assert (page["total"], [one["$id"] for one in page["checks"]]) == (3, ids[:1])
        asked = api.ok("GET", f"{PATH}/{account}/checks", queries=(query("orderAsc", "$createdAt"),))
        assert [one["$id"] for one in asked["checks"]] == ids

    def test_what_is_wrong_is_refused(self, api: Api, account: str) -> None:
        checks = f"{PATH}/{account}/checks"
        wrong = api.call("POST", checks, {"sendTo": "nobody@example.com"})
        assert (wrong.status_code, wrong.json()["type"]) == (400, "general_argument_invalid")
        assert "`sendTo`" in wrong.json()["message"]
        assert api.refused("GET", f"{checks}/none") == (404, "check_not_found")
        for method, path in (
            ("POST", "/checks"),
            ("GET", "/checks"),
            ("GET", "/log"),
            ("GET", "/receipts"),
            ("POST", "/start"),
        ):
            assert api.refused(method, f"{PATH}/nobody{path}", {}) == (404, "provider_not_found")

    def test_a_check_is_found_with_its_own_provider_only(self, api: Api, account: str) -> None:
        other = api.ok("POST", f"{PATH}/twilio", {"providerId": "unique()", "name": "Other", **TWILIO})["$id"]
        check = api.ok("POST", f"{PATH}/{other}/checks", {})["$id"]
        assert api.refused("GET", f"{PATH}/{account}/checks/{check}") == (404, "check_not_found")
        api.ok("DELETE", f"{PATH}/{other}")

    def test_a_key_that_reads_can_look_and_not_ask(self, api: Api, account: str) -> None:
        key = {"x-appwrite-key": api.new_key("providers.read")}
        assert api.call("GET", f"{PATH}/{account}/checks", headers=key).status_code == 200
        assert api.refused("POST", f"{PATH}/{account}/checks", {}, headers=key)[0] == 401
        assert api.refused("POST", f"{PATH}/{account}/start", {}, headers=key)[0] == 401
        assert api.refused("POST", f"{PATH}/{account}/receipts/retry", {}, headers=key)[0] == 401


class TestStart:
    """A stopped account works again when somebody says so."""

    def test_it_works_again_and_the_log_says_who_did_what(self, api: Api, account: str) -> None:
        stop(api, account)
        started = api.ok("POST", f"{PATH}/{account}/start", {})
        assert (started["stoppedAt"], started["stoppedReason"], started["enabled"]) == (None, None, True)
        log = api.ok("GET", f"{PATH}/{account}/log")
        assert [(one["what"], one["reason"]) for one in log["entries"]] == [
            ("started", "by an operator"),
            ("stopped", "the key was revoked"),
        ]
        assert log["total"] == 2
        assert log["entries"][0].keys() == models.MODELS["providerLogEntry"]["properties"].keys()
        only = api.ok("GET", f"{PATH}/{account}/log", queries=(query("equal", "what", "stopped"),))
        assert [one["what"] for one in only["entries"]] == ["stopped"]

    def test_one_that_works_goes_on(self, api: Api, account: str) -> None:
        """And that is no event."""
        api.ok("POST", f"{PATH}/{account}/start", {})
        assert api.ok("GET", f"{PATH}/{account}/log") == {"total": 0, "entries": []}

    def test_the_log_can_be_paged(self, api: Api, account: str) -> None:
        for _ in range(2):
            stop(api, account)
            api.ok("POST", f"{PATH}/{account}/start", {})
        first = api.ok("GET", f"{PATH}/{account}/log", queries=(query("limit", None, 3),))["entries"]
        after = query("cursorAfter", None, first[-1]["$id"])
        assert [one["what"] for one in api.ok("GET", f"{PATH}/{account}/log", queries=(after,))["entries"]] == [
            "stopped"
        ]
        nothing = query("cursorAfter", None, "none")
        assert api.refused("GET", f"{PATH}/{account}/log", queries=(nothing,)) == (400, "general_cursor_not_found")


class TestReceipts:
    """Where they go, and how they fare."""

    def test_without_an_address_of_ours_it_says_what_to_set(self, api: Api, account: str) -> None:
        found = api.ok("GET", f"{PATH}/{account}/receipts")
        assert found["receiptsUrl"] is None
        assert "MESSAGING_PUBLIC_URL" in found["hint"]
        assert (found["applied"], found["lastAt"]) == (0, None)
        assert found.keys() == models.MODELS["providerReceipts"]["properties"].keys()

    def test_with_one_it_is_told_to_who_may_change_providers(self, postgres_url: str, valkey_url: str) -> None:
        """Whoever knows it can report."""
        with running_api(postgres_url, valkey_url, callback_url="https://push.example.org/") as api:
            made = api.ok("POST", f"{PATH}/twilio", {"providerId": "reports", "name": "R", **TWILIO})["$id"]
            found = api.ok("GET", f"{PATH}/{made}/receipts")
            assert found["receiptsUrl"].startswith("https://push.example.org/v1/receipts/")
            assert found["hint"] is None
            key = {"x-appwrite-key": api.new_key("providers.read")}
            masked = api.ok("GET", f"{PATH}/{made}/receipts", headers=key)
            assert masked["receiptsUrl"] is None
            assert found["receiptsUrl"].rpartition("/")[2] not in str(masked)
            api.ok("DELETE", f"{PATH}/{made}")

    def test_a_kind_without_receipts_says_so(self, api: Api) -> None:
        api.ok("POST", f"{PATH}/apns", {"providerId": "ios-quiet", "name": "iOS"})
        assert "tell nothing" in api.ok("GET", f"{PATH}/ios-quiet/receipts")["hint"]

    def test_what_was_put_aside_is_looked_at_again(self, api: Api, account: str) -> None:
        put_aside(api, account, ReceiptState.HELD, "Set webhookKey.")
        put_aside(api, account, ReceiptState.REFUSED, "The signature is wrong.")
        before = api.ok("GET", f"{PATH}/{account}/receipts")
        assert (before["refused"], before["held"], before["lastRefusal"]) == (1, 1, "The signature is wrong.")
        assert before["lastAt"] is not None
        with Publisher(api.settings) as publisher:
            room = publisher.room(Queue.RECEIPTS)
            after = api.ok("POST", f"{PATH}/{account}/receipts/retry", {})
            assert (after["waiting"], after["refused"], after["held"]) == (2, 0, 0)
            assert until_told(publisher, room)
        assert api.ok("POST", f"{PATH}/{account}/receipts/retry", {})["waiting"] == 2


def until_told(publisher: Publisher, room: int) -> bool:
    """Whether a worker was told: the outbox publishes beside the answer."""
    deadline = time.monotonic() + PATIENCE_S
    while publisher.room(Queue.RECEIPTS) >= room:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
