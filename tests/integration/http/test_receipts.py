"""The addresses providers report to and readers unsubscribe at, with the real road behind them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import Channel
from messaging.http.receipts import LARGEST_BYTES
from messaging.message import Email, Sms
from messaging.store import providers, suppressions
from messaging.unsubscribe_links import token
from tests.integration.http.api import Api, running_api
from tests.integration.road import Road
from workers.pacing import NoPacer
from workers.receipts import Receipts

SECRET_TEXT = "a secret between the two of us"


@pytest.fixture(scope="module")
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """An email account, and one of the signed webhook for text messages."""
    made = Road(postgres_url, valkey_url)
    made.add_provider("grid", "sendgrid")
    with made.engine.begin() as connection:
        providers.create(
            connection,
            made.vault,
            made.project_id,
            kind="webhook_sms",
            provider_id="hook",
            credentials={"url": "https://sms.example.com/send", "secret": SECRET_TEXT},
        )
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(road: Road, postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """The API on that project."""
    assert road.project_id
    with running_api(postgres_url, valkey_url, small_audience=10) as running:
        yield running


def address(road: Road, provider: str = "hook") -> str:
    """The path an account reports to."""
    with road.engine.connect() as connection:
        return f"/receipts/{providers.get(connection, road.vault, road.project_id, provider).receipt_key}"


def apply(road: Road) -> None:
    """What a worker does with what waits."""
    worker = Receipts(road.engine, road.vault, road.settings, NoPacer())
    while asyncio.run(worker.apply_waiting())[0]:
        pass


def signed(body: bytes, *, secret: str = SECRET_TEXT, at_s: float | None = None) -> dict[str, str]:
    """Headers of the Standard Webhooks scheme."""
    stamp = str(int(time.time() if at_s is None else at_s))
    digest = hmac.digest(secret.encode(), b"msg_1." + stamp.encode() + b"." + body, hashlib.sha256)
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}


def sent_text(road: Road) -> tuple[str, str]:
    """A text message that has left: its id, and its tag."""
    road.provider.received.clear()
    message = road.send(Sms(content="Hi"), addresses=["+14155550100"])
    road.deliver()
    road.sweep()
    return message.public_id, road.provider.received[-1].tag


def ledger(api: Api, message: str) -> Mapping[str, Any]:
    """The one row of the message's ledger."""
    (row,) = api.ok("GET", f"/messaging/messages/{message}/deliveries")["deliveries"]
    found: Mapping[str, Any] = row
    return found


def test_a_signed_receipt_is_kept_at_once_and_shows_in_the_ledger(road: Road, api: Api) -> None:
    """Answered before anything is looked at; a worker verifies and applies it."""
    message, tag = sent_text(road)
    body = json.dumps({"events": [{"id": "e1", "delivery": tag, "event": "delivered"}]}).encode()
    answer = api.client.post(api.url + address(road), content=body, headers=signed(body))
    assert (answer.status_code, answer.content) == (200, b"")
    assert ledger(api, message)["status"] == "accepted"
    apply(road)
    row = ledger(api, message)
    assert row["status"] == "delivered"
    assert [each["event"] for each in row["events"]] == ["delivered"]
    events = api.ok("GET", f"/messaging/messages/{message}/events")
    assert events == {"total": 1, "events": {"delivered": 1}}
    after = api.ok("GET", f"/messaging/messages/{message}")
    assert (after["totals"], after["deliveredTotal"]) == ({"delivered": 1}, 1)


@pytest.mark.parametrize("forgery", ["no signature", "another secret", "another body", "an hour old"])
def test_a_forged_receipt_changes_nothing(road: Road, api: Api, forgery: str) -> None:
    """Whoever learned the address can't sign."""
    message, tag = sent_text(road)
    body = json.dumps({"events": [{"id": "e2", "delivery": tag, "event": "bounced_hard"}]}).encode()
    headers = {
        "no signature": {},
        "another secret": signed(body, secret="guessed"),
        "another body": signed(body + b" "),
        "an hour old": signed(body, at_s=time.time() - 3600),
    }[forgery]
    assert api.client.post(api.url + address(road), content=body, headers=headers).status_code == 200
    apply(road)
    row = ledger(api, message)
    assert (row["status"], row["events"]) == ("accepted", [])
    with road.engine.connect() as connection:
        reason = connection.execute(
            text("SELECT reason FROM receipts WHERE state = 2 ORDER BY id DESC LIMIT 1")
        ).scalar()
    assert reason


def test_nobody_is_in_at_another_address(api: Api) -> None:
    """404, so that a provider's page shows that the address is wrong."""
    answer = api.client.post(f"{api.url}/receipts/{'0' * 64}", content=b"{}")
    assert answer.status_code == 404
    assert "provider page" in answer.json()["message"]


def test_a_look_at_the_address_is_answered(road: Road, api: Api) -> None:
    """Some providers, and every person, try it with a GET first; nothing is kept of that."""
    assert api.client.get(api.url + address(road)).json() == {"status": "pass"}
    with road.engine.connect() as connection:
        kept = connection.execute(text("SELECT count(*) FROM receipts WHERE method = 'GET'")).scalar_one()
    assert kept == 0


def test_a_receipt_by_get_is_kept_with_its_query(road: Road, api: Api) -> None:
    """Some providers report that way."""
    assert api.client.get(f"{api.url}{address(road)}?status=delivered&id=1").content == b""
    with road.engine.connect() as connection:
        url = connection.execute(text("SELECT url FROM receipts WHERE method = 'GET'")).scalar_one()
    assert url.endswith("?status=delivered&id=1")


def test_a_body_nobody_would_send_is_refused(road: Road, api: Api) -> None:
    """Above what the largest batches of any provider take."""
    answer = api.client.post(api.url + address(road), content=b"x" * (LARGEST_BYTES + 1))
    assert answer.status_code == 413


def link(road: Road) -> str:
    """The path of a newsletter's link to its reader, whom nobody wrote to before."""
    road.execute("DELETE FROM suppressions")
    road.provider.received.clear()
    road.send(Email(subject="Hi", content="there"), addresses=["reader@example.com"])
    road.deliver()
    return f"/unsubscribe/{token(road.vault, road.provider.received[-1].tag)}"


def listed(road: Road) -> list[str]:
    """The suppression list, scopes only."""
    with road.engine.connect() as connection:
        return [entry.scope for entry in suppressions.page(connection, road.project_id, channel=Channel.EMAIL)]


def test_one_click_ends_newsletters_and_a_look_does_not(road: Road, api: Api) -> None:
    """As RFC 8058 says: a POST without cookies; link scanners only GET."""
    path = link(road)
    page = api.client.get(api.url + path)
    assert page.status_code == 200
    assert "<form" in page.text
    assert "r•••@example.com" in page.text
    assert "reader@" not in page.text, "who gets a forwarded letter does not learn the address"
    assert listed(road) == []
    done = api.client.post(api.url + path, content="List-Unsubscribe=One-Click")
    assert done.status_code == 200
    assert not done.history, "RFC 8058 allows no redirect"
    assert listed(road) == ["bulk"]
    assert api.client.post(api.url + path).status_code == 200
    assert listed(road) == ["bulk"]


def test_whoever_changes_their_mind_is_back_with_one_more_click(road: Road, api: Api) -> None:
    """By the button on the page that says goodbye."""
    path = link(road)
    assert "subscribe=1" in api.client.post(api.url + path).text
    assert "Welcome back" in api.client.post(f"{api.url}{path}?subscribe=1").text
    assert listed(road) == []


@pytest.mark.parametrize("changed", ["x", "d52-1-1.forged", "d52-1-1", ""])
def test_a_link_that_is_not_ours_ends_nothing(road: Road, api: Api, changed: str) -> None:
    """Nobody unsubscribes somebody else by counting up."""
    link(road)
    assert api.client.post(f"{api.url}/unsubscribe/{changed}").status_code == 404
    assert listed(road) == []
