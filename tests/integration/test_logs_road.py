"""What the road writes down has stable keys and names nobody, however much goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.wire import TaskName
from tests.integration.road import Road
from workers import intake
from workers.intake import IntakeTask, RefusedError
from workers.providers.base import Recipient
from workers.sweep import Swept

ROOT = Path(__file__).resolve().parents[2]
_PAGE = ROOT / "docs" / "reference" / "logs.md"
_OF_STRUCTLOG = {"event", "log_level", "exc_info"}


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """Everything that is logged."""
    capture = LogCapture()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture.entries
    structlog.reset_defaults()


def documented() -> set[str]:
    """The keys that the reference promises."""
    return set(re.findall(r"^\| `([a-z_]+)` \|", _PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def test_a_delivery_in_which_much_fails_names_nobody(road: Road, lines: list[Any]) -> None:
    """Dead addresses, refusals, an adapter that raises with the address in its text, a lost worker, a bad task."""
    topic = road.add_push_targets(60, provider=road.add_provider("apns", "apns"))
    road.add_topic("news", topic)
    said = "canary@example.com"

    def answer(recipient: Recipient) -> Outcome:
        match recipient.address[-1]:
            case "1":
                raise RuntimeError(f"could not write to {recipient.address}")
            case "2":
                return Outcome(Action.REJECT_MESSAGE, "bad", f"{recipient.address} is refused")
            case "3":
                return Outcome(Action.STOP_PROVIDER, "auth", "the key is refused")
            case digit if digit in "456789abc":
                return Outcome(Action.DISABLE_TARGET, "Unregistered", "gone")
            case _:
                return ACCEPTED

    road.provider.answer = answer
    sent = road.send(topics=["news"])
    road.expand(sent.message_id)
    road.deliver()
    road.execute("UPDATE batches SET state = 1, lease_until = now() - interval '1 second' WHERE state <> 2")
    road.execute("UPDATE deliveries SET status = 1, due_at = NULL WHERE status = 2")
    road.execute("UPDATE providers SET stopped_at = NULL, stopped_until = NULL, stopped_reason = NULL")
    road.deliver()
    road.sweep()
    wrong = IntakeTask(task_id="t-1", name=TaskName.SEND_EMAIL, kwargs={"emails": [said], "no such": said})
    intake.take(road.engine, road.vault, road.settings, wrong)
    nobodys = IntakeTask(task_id="t-2", name=TaskName.SEND_EMAIL, kwargs={"emails": [said]}, queue="messaging.nobody")
    with pytest.raises(RefusedError):
        intake.take(road.engine, road.vault, road.settings, nobodys)

    assert {"Provider stopped.", "A task was refused.", "A task's message failed."} <= {line["event"] for line in lines}
    assert any("adapter failed" in line["event"] for line in lines)
    text = repr([{key: value for key, value in line.items() if key != "exc_info"} for line in lines])
    addresses = {recipient.address for recipient in road.provider.received} | {said}
    assert not [address for address in addresses if address in text]
    assert {key for line in lines for key in line} - _OF_STRUCTLOG - documented() == set()


def test_every_key_of_every_line_is_documented() -> None:
    """Who reads logs by machine can rely on them; a key nobody uses any more is not promised."""
    used = {field.name for field in fields(Swept)}
    for package in ("messaging", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            used |= _keys(path.read_text(encoding="utf-8"))
    assert used - documented() == set()
    assert documented() - used - {"exception_at", "level", "timestamp"} == set()


_CALL = re.compile(r"\b_log\.(?:debug|info|warning|error|critical|exception)\(")
_KEY = re.compile(r"[(,]\s*([a-z_]+)=(?!=)")


def _keys(source: str) -> set[str]:
    """The keywords of the calls to a logger."""
    found: set[str] = set()
    for call in _CALL.finditer(source):
        depth, end = 1, call.end()
        while depth and end < len(source):
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        found |= set(_KEY.findall("," + _flat(source[call.end() : end - 1])))
    return found - {"exc_info"}


def _flat(arguments: str) -> str:
    """The arguments without strings, and without what stands in inner brackets."""
    arguments = re.sub(r'"(?:[^"\\]|\\.)*"', '""', arguments)
    while True:
        inner = re.sub(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}", "", arguments)
        if inner == arguments:
            return arguments
        arguments = inner
