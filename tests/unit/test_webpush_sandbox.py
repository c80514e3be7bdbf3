"""The sandbox's push service: what it refuses, and what its magic subscriptions lead the adapter to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.local.sandbox.exchange import Behaviour, Request
from messaging.local.sandbox.faults import Fault, FaultPlan, Faults
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.web.webpush import FAULTS, MAGIC, REFUSED_SUBJECT, STAND_IN, PushService
from messaging.local.sandbox.web_push_subscriptions import subscription
from messaging.message import Push
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens, outgoing, people
from workers.providers import webpush
from workers.providers.base import Account, Context

NORMAL = {
    "magic-gone": Action.DISABLE_TARGET, "magic-expired": Action.DISABLE_TARGET,
    "magic-other-key": Action.DISABLE_TARGET, "magic-unauthorized": Action.STOP_PROVIDER,
    "magic-bad-request": Action.REJECT_MESSAGE, "magic-too-large": Action.REJECT_MESSAGE,
    "magic-throttled": Action.RETRY_AFTER, "magic-internal": Action.RETRY, "magic-bad-gateway": Action.RETRY,
    "magic-unavailable": Action.RETRY_AFTER, "magic-timeout": Action.AMBIGUOUS_RETRY,
    "magic-drop": Action.AMBIGUOUS_RETRY, "magic-lost-answer": Action.AMBIGUOUS_RETRY,
}  # fmt: skip


class Sandbox:
    """The push service without a socket, driven by the adapter."""

    def __init__(self, folder: Path) -> None:
        self.plan = FaultPlan()
        self.record = Record(folder / "record.jsonl")
        self.fields = STAND_IN.fields()
        self.last: Request | None = None
        self._service = PushService(Judge("webpush", self.plan), self.record)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer to the adapter's request."""
        headers = {name.lower(): value for name, value in request.headers.raw}
        self.last = Request(
            method=request.method, path=request.url.raw_path.decode(), headers=headers, body=request.content
        )
        reply = self._service(self.last)
        if reply.behaviour is not Behaviour.ANSWER:
            raise httpx.ReadError("no answer")
        return httpx.Response(reply.status, headers=list(reply.headers), stream=httpx.ByteStream(reply.body))

    def sent(self, *tokens: str, push: Push | None = None, **changed: str) -> list[Outcome]:
        """The outcomes of one call to the subscriptions of these tokens."""
        account = Account(provider_id=1, public_id="p", kind="webpush", credentials=self.fields | changed)
        context = Context(tokens=NoTokens(), endpoints={"webpush": "http://127.0.0.1:9"})

        async def sending() -> list[Outcome]:
            adapter = webpush.open_adapter(account, context)
            assert isinstance(adapter, webpush.WebpushAdapter)
            adapter._client = httpx.AsyncClient(transport=httpx.MockTransport(self))
            message = adapter.prepare(outgoing(push or Push(title="Hello", data={"a": "b"})))
            return list(await adapter.send(message, people(*map(subscription, tokens))))

        return asyncio.run(sending())

    def again(self, *, method: str = "POST", path: str | None = None, body: bytes | None = None, **headers: str) -> int:
        """The status of the last request, made once more with changes; an empty header is left out."""
        assert self.last is not None
        changed = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        merged = {name: value for name, value in {**self.last.headers, **changed}.items() if value}
        return self._service(
            Request(
                method=method,
                path=path or self.last.path,
                headers=merged,
                body=self.last.body if body is None else body,
            )
        ).status

    def lines(self) -> list[Mapping[str, Any]]:
        """What was accepted, newest first."""
        return list(self.record.recent())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A fresh one."""
    made = Sandbox(tmp_path)
    yield made
    made.record.close()


def test_what_arrives_is_on_record_in_clear_under_its_subscription(sandbox: Sandbox) -> None:
    """And as its reader sees it."""
    (outcome,) = sandbox.sent("b1", push=Push(title="Hello", body="there", data={"a": "b"}, collapse_id="c"))
    assert outcome == Outcome(Action.ACCEPTED)
    (line,) = sandbox.lines()
    assert line["recipient"] == subscription("b1")
    assert line["payload"] == {"id": "m1", "title": "Hello", "body": "there", "data": {"a": "b"}}
    assert line["about"]["topic"] == "c"
    view = STAND_IN.view(line["payload"])
    assert (view["channel"], view["title"], view["body"], view["data"]) == ("push", "Hello", "there", {"a": "b"})


def test_every_magic_row_leads_to_its_action(sandbox: Sandbox) -> None:
    """Those that misbehave once are accepted the second time."""
    assert {row.prefix.removesuffix("-once") for row in MAGIC} == set(NORMAL)
    for row in MAGIC:
        first, second = (sandbox.sent(f"{row.prefix}-7")[0] for _ in range(2))
        assert first.action is NORMAL[row.prefix.removesuffix("-once")], (row, first)
        assert second.action is (Action.ACCEPTED if row.once else first.action), (row, second)
    accepted = [line["recipient"] for line in sandbox.lines()]
    assert accepted.count(subscription("magic-lost-answer-7")) == 2


def test_every_fault_has_an_answer_and_a_delay_is_told(sandbox: Sandbox) -> None:
    """A 429 with Retry-After."""
    assert set(FAULTS) == set(Fault) - {Fault.NONE}
    sandbox.plan.set("webpush", Faults(rate_429=1.0, retry_after_s=7))
    (outcome,) = sandbox.sent("b1")
    assert (outcome.action, outcome.retry_after_s) == (Action.RETRY_AFTER, 7)


def test_a_subject_it_refuses_stops_the_provider_with_a_word_about_it(sandbox: Sandbox) -> None:
    """As Apple does."""
    (outcome,) = sandbox.sent("b1", subject=REFUSED_SUBJECT)
    assert (outcome.action, outcome.code) == (Action.STOP_PROVIDER, "BadJwtToken")
    assert "subject" in outcome.reason


def test_what_breaks_the_rules_is_refused(sandbox: Sandbox) -> None:
    """By the status the RFCs have for it."""
    sandbox.sent("b1")
    assert sandbox.last is not None
    authorization = sandbox.last.headers[b"authorization"].decode()
    other_key = STAND_IN.fields()["vapidPublicKey"]
    assert sandbox.again() == 201
    assert sandbox.again(method="GET") == 405
    assert sandbox.again(path="/") == 404
    assert sandbox.again(path="/another-browser") == 400
    assert sandbox.again(authorization="") == 401
    assert sandbox.again(authorization=authorization.replace("t=", "t=x")) == 401
    assert sandbox.again(authorization=authorization.partition("k=")[0] + "k=" + other_key) == 401
    assert sandbox.again(ttl="") == sandbox.again(ttl="-1") == sandbox.again(ttl="2419201") == 400
    assert sandbox.again(content_encoding="") == sandbox.again(content_encoding="aesgcm") == 400
    assert sandbox.again(urgency="urgent") == sandbox.again(topic="x" * 33) == sandbox.again(topic="a b") == 400
    assert sandbox.again(body=b"x" * 4097) == 413
    assert sandbox.again(body=b"x" * 200) == sandbox.again(body=b"") == 400
    assert len(sandbox.lines()) == 2


def test_a_subscription_is_the_same_wherever_it_is_made() -> None:
    """From the token alone: the demo, the tests and the sandbox are processes of their own."""
    address = subscription("b1")
    assert address == subscription("b1") != subscription("b2")
    assert set(json.loads(address)) == {"endpoint", "keys"}
    assert " " not in address
