"""Messages to a few that come at the same time share a commit, and each sender gets the answer to its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text
from starlette.types import ASGIApp

from messaging.channel import Channel
from messaging.http import known_keys
from messaging.http.app import create_app
from messaging.message import Push
from messaging.producer import accept
from messaging.send_request import SendRequest
from messaging.store import api_keys, projects, providers, targets
from tests.integration.http.api import Api

_PUSH = "/v1/messaging/messages/push"
_TOGETHER = 12
_TRIES = 5


@pytest.fixture(scope="module", autouse=True)
def device(api: Api) -> None:
    """A provider, and one target to send to."""
    with api.engine.begin() as connection:
        project = projects.find(connection, "default")
        providers.create(
            connection,
            api.vault,
            project,
            kind="apns",
            provider_id="apns",
            credentials={
                "authKey": "key",
                "authKeyId": "KEY4567890",
                "teamId": "TEAM567890",
                "bundleId": "com.example",
            },
        )
        targets.create(connection, api.vault, project, channel=Channel.PUSH, identifier="a" * 64, target_id="phone")


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[None]:
    """The application between its startup and its shutdown (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    heard: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    running = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, heard.put))
    await told.put({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    yield
    await told.put({"type": "lifespan.shutdown"})
    await running


@asynccontextmanager
async def sender(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A client in whose event loop requests arrive at exactly the same time, at a server that has just seen its key."""
    app = create_app(api.settings)
    headers = {"x-appwrite-project": "default", "x-appwrite-key": api.key}
    transport = httpx.ASGITransport(app)
    async with serving(app), httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        assert (await client.get("/v1/messaging/messages")).status_code == 200
        yield client


def body(message_id: str, **more: Any) -> dict[str, Any]:
    """A push to the one target."""
    return {"messageId": message_id, "title": message_id, "targets": ["phone"]} | more


async def post_all(
    client: httpx.AsyncClient, *bodies: dict[str, Any], headers: Mapping[str, str] | None = None
) -> list[httpx.Response]:
    """The answers to requests that come at once."""
    return await asyncio.gather(*(client.post(_PUSH, json=each, headers=headers) for each in bodies))


def transactions(connection: Connection, prefix: str) -> tuple[int, int]:
    """How many messages whose id begins so there are, and in how many transactions they were written."""
    row = connection.execute(
        text("SELECT count(*), count(DISTINCT xmin::text) FROM messages WHERE starts_with(public_id, :prefix)"),
        {"prefix": prefix},
    ).one()
    return row[0], row[1]


@contextmanager
def held_id(api: Api, message_id: str) -> Iterator[None]:
    """Somebody is about to take that id, and does not make up their mind."""
    with api.engine.connect() as connection, connection.begin() as transaction:
        project = projects.find(connection, "default")
        accept(
            connection,
            api.vault,
            api.settings,
            project,
            SendRequest(content=Push(title="t"), id=message_id, targets=("phone",)),
        )
        try:
            yield
        finally:
            transaction.rollback()


def test_those_that_come_at_once_share_a_commit_and_get_their_own_answers(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are there when they are answered."""
    monkeypatch.setattr(known_keys, "LASTS_S", 600.0)  # one that is forgotten on the way is looked up for each

    async def shared(client: httpx.AsyncClient, prefix: str) -> bool:
        ids = [f"{prefix}-{n}" for n in range(_TOGETHER)]
        answers = await post_all(client, *map(body, ids))
        assert [answer.status_code for answer in answers] == [201] * _TOGETHER
        said = [answer.json() for answer in answers]
        assert [(one["$id"], one["data"]["title"], one["total"]) for one in said] == [(each, each, 1) for each in ids]
        with api.engine.connect() as connection:
            messages, commits = transactions(connection, prefix)
        assert messages == _TOGETHER
        return commits < _TOGETHER / 2

    async def story() -> None:
        async with sender(api) as client:
            for again in range(_TRIES):
                if await shared(client, f"shared{again}"):
                    return
            pytest.fail(f"{_TOGETHER} messages that came at once were committed one by one, {_TRIES} times")

    asyncio.run(story())


def test_what_is_wrong_with_one_is_told_to_that_one_alone(api: Api) -> None:
    """A taken id, somebody unknown, a bad value, nobody to send to: the others are accepted beside them."""

    async def story() -> None:
        async with sender(api) as client:
            answers = await post_all(
                client,
                body("wrong-1"),
                body("wrong-1"),
                body("wrong-2", users=["nobody"]),
                body("wrong-3", badge="many"),
                body("wrong-4", targets=[]),
                body("wrong-5", expiresAt="2020-01-01T00:00:00Z"),
                body("wrong-6"),
            )
        told = [(answer.status_code, answer.json().get("type")) for answer in answers]
        assert sorted(told[:2], key=str) == [(201, None), (409, "message_already_exists")]
        assert told[2:] == [
            (404, "user_not_found"),
            (400, "general_argument_invalid"),
            (400, "message_missing_target"),
            (400, "general_argument_invalid"),
            (201, None),
        ]
        with api.engine.connect() as connection:
            assert transactions(connection, "wrong-")[0] == 2

    asyncio.run(story())


def test_a_lock_of_somebody_elses_holds_up_only_who_needs_it(api: Api) -> None:
    """The others are answered meanwhile, and that one as soon as the lock is gone."""

    async def story() -> None:
        async with sender(api) as client:
            with held_id(api, "held"):
                ids = ("beside-1", "held", "beside-2", "beside-3")
                asked = {each: asyncio.ensure_future(client.post(_PUSH, json=body(each))) for each in ids}
                waiting = asked.pop("held")
                answers = await asyncio.wait_for(asyncio.gather(*asked.values()), 60)
                assert [answer.status_code for answer in answers] == [201] * 3
                assert not waiting.done()
            assert (await asyncio.wait_for(waiting, 60)).status_code == 201

    asyncio.run(story())


def test_a_key_without_the_scope_is_refused_though_it_was_just_seen(api: Api) -> None:
    """And so is one that is gone, when it has not been seen for a moment."""

    async def story() -> None:
        headers = {"x-appwrite-key": api.new_key("messages.read")}
        async with sender(api) as client:
            assert (await client.get("/v1/messaging/messages", headers=headers)).status_code == 200
            (answer,) = await post_all(client, body("unscoped"), headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")

    asyncio.run(story())


def test_a_key_of_another_project_speaks_for_none_of_this_one(api: Api) -> None:
    """Whatever is remembered of it."""

    async def story() -> None:
        with api.engine.begin() as connection:
            other = projects.ensure(connection, "other")
            _, key = api_keys.create(connection, other, name="other")
        headers = {"x-appwrite-key": key, "x-appwrite-project": "other"}
        async with sender(api) as client:
            assert (await client.get("/v1/messaging/messages", headers=headers)).status_code == 200
            (answer,) = await post_all(client, body("foreign"), headers={"x-appwrite-key": key})
        assert answer.status_code == 401

    asyncio.run(story())
