from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from messaging.outcome import ACCEPTED, Action
from workers.providers.apns import CODES, classify
from workers.providers.http2 import NotSentCause, NotSentError, UnknownOutcomeError
from workers.providers.http2_outcome import outcome_of

_WITHOUT_ANSWER: dict[str, NotSentError | UnknownOutcomeError] = {
    "GOAWAY stream_id>last_stream_id": NotSentError("x", cause=NotSentCause.GOAWAY),
    "GOAWAY stream_id<=last_stream_id, no response": UnknownOutcomeError("x"),
    "RST_STREAM REFUSED_STREAM": NotSentError("x", cause=NotSentCause.REFUSED_STREAM),
    "connection lost / read timeout after request sent": UnknownOutcomeError("x"),
}


@pytest.fixture(scope="module")
def rows(shared_dir: Path) -> list[dict[str, Any]]:
    """APNs in the table of actions."""
    table = json.loads((shared_dir / "contracts" / "actions" / "error_actions.json").read_text("utf-8"))
    return [row for row in table["rows"] if row["provider"] == "apns"]


def test_every_row_of_the_table_leads_to_its_action(rows: list[dict[str, Any]]) -> None:
    """Each of Apple's codes, and each end without an answer, has the action the table of actions gives it."""
    assert len(rows) >= 36
    for row in rows:
        if row["http"] is None:
            outcome = outcome_of(_WITHOUT_ANSWER[row["code"]])
        else:
            outcome = classify(row["http"], json.dumps({"reason": row["code"]}).encode())
            assert outcome.code == row["code"]
        assert outcome.action == row["action"], row
        assert outcome.reason


def test_the_adapter_knows_no_code_the_table_does_not(rows: list[dict[str, Any]]) -> None:
    """The adapter's table and the table of actions list the same codes."""
    assert set(CODES) == {row["code"] for row in rows if row["http"] is not None}


def test_success_is_accepted() -> None:
    """200 with an empty body is a hand-over; the id is our own."""
    assert classify(200, b"") is ACCEPTED


def test_the_time_of_a_410_is_read_in_milliseconds() -> None:
    """Apple's timestamp tells since when the token is dead, so a later registration survives."""
    outcome = classify(410, b'{"reason":"Unregistered","timestamp":1700000000500}')
    assert outcome.dead_since == dt.datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=dt.UTC)


@pytest.mark.parametrize("timestamp", ["null", '"soon"', "1e400", "-1e30"])
def test_an_unreadable_time_is_left_out(timestamp: str) -> None:
    """A 410 whose time makes no sense still retires the address."""
    outcome = classify(410, b'{"reason":"Unregistered","timestamp":' + timestamp.encode() + b"}")
    assert (outcome.action, outcome.dead_since) == (Action.DISABLE_TARGET, None)


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (400, Action.REJECT_MESSAGE),
        (403, Action.STOP_PROVIDER),
        (410, Action.DISABLE_TARGET),
        (429, Action.RETRY),
        (502, Action.RETRY),
        (302, Action.AMBIGUOUS_RETRY),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"reason":"SomethingNew"}'])
def test_an_unknown_reason_is_judged_by_its_status(status: int, action: Action, body: bytes) -> None:
    """A code Apple adds tomorrow, or a proxy's page, falls back to what its status says."""
    assert classify(status, body).action == action


@pytest.mark.parametrize(
    ("status", "body", "outage"),
    [
        (500, b'{"reason":"InternalServerError"}', True),
        (503, b'{"reason":"Shutdown"}', True),
        (502, b"<html>", True),
        (204, b"", True),
        (302, b"", True),
        (400, b'{"reason":"BadDeviceToken"}', False),
        (400, b'{"reason":"IdleTimeout"}', False),
        (403, b'{"reason":"InvalidProviderToken"}', False),
        (410, b'{"reason":"Unregistered"}', False),
        (413, b'{"reason":"PayloadTooLarge"}', False),
        (429, b'{"reason":"TooManyRequests"}', False),
        (429, b'{"reason":"TooManyProviderTokenUpdates"}', False),
    ],
)
def test_only_apples_own_failure_is_an_outage(status: int, body: bytes, outage: bool) -> None:
    """A server error or no answer that can be read; not what is wrong with a device, the content or the key."""
    assert classify(status, body).outage is outage


def test_an_answer_nested_without_end_is_judged_by_its_status() -> None:
    """`send` raises for no answer."""
    assert classify(410, b"[" * 100_000).action is Action.DISABLE_TARGET


@pytest.mark.parametrize(
    ("reason", "throttled"),
    [("TooManyRequests", True), ("SomethingNew", True), ("TooManyProviderTokenUpdates", False)],
)
def test_a_device_that_gets_too_much_is_throttled(reason: str, throttled: bool) -> None:
    """It waits and spends no attempt; where Apple means the account, that pauses."""
    assert classify(429, f'{{"reason":"{reason}"}}'.encode()).throttled is throttled
