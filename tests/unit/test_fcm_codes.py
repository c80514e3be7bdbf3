from __future__ import annotations

import datetime as dt
import email.utils
import json
from pathlib import Path
from typing import Any

import pytest

from messaging.clock import Clock
from messaging.outcome import Action
from workers.providers import fcm_codes
from workers.providers.fcm import CODES, classify, classify_token_endpoint
from workers.providers.fcm_codes import parse_retry_after

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_BARE = {"UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"}
"""Top-level statuses that come without an FcmError detail."""


def _error(status: str, *details: dict[str, Any], message: str = "") -> bytes:
    return json.dumps({"error": {"message": message, "status": status, "details": list(details)}}).encode()


def _answer(code: str) -> bytes:
    if code == "name":
        return b'{"name":"projects/demo/messages/0:1"}'
    if code == "payload too large":
        return b"<html>"
    if code in _BARE:
        return _error(code)
    if code == "INVALID_ARGUMENT+BadRequest":
        return _error("INVALID_ARGUMENT", {"@type": _BAD_REQUEST, "fieldViolations": [{"field": "message.data"}]})
    return _error("ANYTHING", {"@type": _FCM_ERROR, "errorCode": code})


@pytest.fixture(scope="module")
def rows(shared_dir: Path) -> list[dict[str, Any]]:
    """FCM in the table of actions."""
    table = json.loads((shared_dir / "contracts" / "actions" / "error_actions.json").read_text("utf-8"))
    return [row for row in table["rows"] if row["provider"] == "fcm"]


def test_every_row_of_the_table_leads_to_its_action(rows: list[dict[str, Any]]) -> None:
    """Each code of FCM and of its token endpoint has the action the table of actions gives it."""
    assert len(rows) >= 20
    for row in rows:
        if row["where"] == "oauth token endpoint":
            outcome = classify_token_endpoint(row["http"], row["code"])
        else:
            # for UNAVAILABLE the table says "honour Retry-After; else backoff": what comes without is below
            outcome = classify(row["http"] or 500, _answer(row["code"]), retry_after="7")
            assert outcome.code == ("" if row["code"] == "name" else row["code"])
        assert outcome.action == row["action"], row


def test_only_google_says_for_how_long_all_of_it_is_unavailable() -> None:
    """A 503 with Retry-After pauses the account; one without is tried again by itself, as the others went through."""
    assert classify(503, _answer("UNAVAILABLE"), retry_after="7").retry_after_s == 7
    alone = classify(503, _answer("UNAVAILABLE"))
    assert (alone.action, alone.outage) == (Action.RETRY, True)


def test_the_adapter_knows_no_code_the_table_does_not(rows: list[dict[str, Any]]) -> None:
    """The adapter's table and the table of actions list the same codes."""
    assert set(CODES) == {row["code"] for row in rows if row["where"] == "response"} - {"name"}


def test_the_answers_google_documents_are_read(shared_dir: Path) -> None:
    """Each example of an answer in the contract leads to the code its name says."""
    contract = json.loads((shared_dir / "contracts" / "fcm_v1_messages_send.openapi.json").read_text("utf-8"))
    responses = contract["paths"]["/v1/projects/{projectsId}/messages:send"]["post"]["responses"]
    for status, response in responses.items():
        example = response["content"]["application/json"]["example"]
        outcome = classify(int(status), json.dumps(example).encode())
        if status == "200":
            assert outcome.provider_message_id == example["name"].rpartition("/")[2]
        else:
            assert outcome.code == example["error"]["details"][0]["errorCode"]


def test_a_missing_project_does_not_retire_addresses() -> None:
    """404 says both "token gone" and "no such project"; only the detail tells which."""
    detail = {"@type": _FCM_ERROR, "errorCode": "UNREGISTERED"}
    assert classify(404, _error("NOT_FOUND", detail)).action is Action.DISABLE_TARGET
    assert classify(404, _error("NOT_FOUND")).action is Action.STOP_PROVIDER
    assert classify(404, b"").action is Action.STOP_PROVIDER


@pytest.mark.parametrize(
    ("accepted", "message", "action"),
    [
        (True, "The registration token is not a valid FCM registration token", Action.DISABLE_TARGET),
        (False, "The registration token is not a valid FCM registration token", Action.REJECT_MESSAGE),
        (True, "Invalid value at 'message.android.ttl'", Action.REJECT_MESSAGE),
    ],
)
def test_an_invalid_argument_retires_an_address_only_on_proof(accepted: bool, message: str, action: Action) -> None:
    """The payload must have succeeded for another token, and the answer must blame the token."""
    detail = {"@type": _FCM_ERROR, "errorCode": "INVALID_ARGUMENT"}
    body = _error("INVALID_ARGUMENT", detail, message=message)
    assert classify(400, body, payload_accepted=accepted).action is action


def test_a_success_without_a_name_is_unknown() -> None:
    """A 2xx that cannot be read may have been sent."""
    for body in (b"", b"[]", b'{"name":""}', b"<html>"):
        assert classify(200, body).action is Action.AMBIGUOUS_RETRY


def test_a_quota_has_a_pause_even_without_retry_after() -> None:
    """Google's own delay is used where it names one, else a minute."""
    detail = {"@type": _FCM_ERROR, "errorCode": "QUOTA_EXCEEDED"}
    body = _error("RESOURCE_EXHAUSTED", detail)
    assert classify(429, body).retry_after_s == 60
    assert classify(429, body, retry_after="7").retry_after_s == 7
    assert classify(429, b"").code == "QUOTA_EXCEEDED"


@pytest.mark.parametrize("value", ["", "soon", "1.5.2"])
def test_an_unreadable_retry_after_is_none(value: str) -> None:
    """A header that is neither seconds nor a date is left out."""
    assert parse_retry_after(value) is None


def test_a_retry_after_date_is_turned_into_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date ten minutes ahead is 600 seconds; one in the past is none."""
    now = dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC)
    monkeypatch.setattr(fcm_codes, "clock", Clock(wall_s=now.timestamp))
    assert parse_retry_after(email.utils.format_datetime(now + dt.timedelta(minutes=10), usegmt=True)) == 600
    assert parse_retry_after(email.utils.format_datetime(now - dt.timedelta(minutes=10), usegmt=True)) == 0


def test_an_unreachable_token_endpoint_is_tried_again() -> None:
    """Without an answer the service account is not to blame."""
    assert classify_token_endpoint(None).action is Action.RETRY


@pytest.mark.parametrize(
    ("status", "body", "outage"),
    [
        (500, _error("INTERNAL"), True),
        (503, _error("UNAVAILABLE"), True),
        (502, b"<html>", True),
        (200, b"<html>", True),
        (204, b"", True),
        (400, _error("INVALID_ARGUMENT"), False),
        (401, _error("UNAUTHENTICATED"), False),
        (403, _error("PERMISSION_DENIED"), False),
        (404, _error("NOT_FOUND"), False),
        (429, _error("RESOURCE_EXHAUSTED"), False),
        (400, b"[" * 100_000, False),
    ],
)
def test_only_googles_own_failure_is_an_outage(status: int, body: bytes, outage: bool) -> None:
    """A server error or a yes that can't be read; not what is wrong with a device, the content or the account."""
    assert classify(status, body).outage is outage


@pytest.mark.parametrize(("status", "outage"), [(None, True), (503, True), (408, True), (429, False), (400, False)])
def test_a_token_endpoint_that_fails_is_an_outage(status: int | None, outage: bool) -> None:
    """Without it nothing can be sent; a refused service account or a rate is no outage."""
    assert classify_token_endpoint(status).outage is outage
