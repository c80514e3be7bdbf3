"""Magic addresses: which are found, which codes they reach, and those that misbehave once."""

import json
from pathlib import Path

import pytest

from messaging.local.sandbox.faults import PROTOCOLS, Fault, FaultPlan, Faults
from messaging.local.sandbox.magic import Judge, fault_answers, find_magic, magic_rows, magic_table
from messaging.local.sandbox.record import Outcome


def address(protocol: str, prefix: str) -> str:
    """An address the row with this prefix is meant for."""
    match protocol:
        case "apns":
            return prefix + "0" * 56
        case "sendgrid" | "smtp":
            return f"{prefix}+17@example.com"
        case "fcm":
            return f"{prefix}-17"
        case _:
            return prefix if prefix.startswith("+1500") else f"{prefix}0017"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_row_is_reached_by_its_address_and_no_other(protocol: str) -> None:
    """An address made from a row's prefix finds that row, though others share its beginning."""
    for row in magic_rows(protocol):
        assert find_magic(protocol, address(protocol, row.prefix)) is row


@pytest.mark.parametrize(
    ("protocol", "ordinary"),
    [
        ("apns", "ab" * 32),
        ("apns", "dead9999" + "0" * 56),
        ("fcm", "dGhpc2lzYXRva2Vu:APA91b"),
        ("smtp", "ada@example.com"),
        ("sendgrid", "invalidate@example.com"),
        ("twilio", "+15005550006"),
        ("twilio", "+4915112345678"),
    ],
)
def test_ordinary_addresses_are_left_alone(protocol: str, ordinary: str) -> None:
    """An address outside the table is accepted."""
    assert Judge(protocol, FaultPlan()).judge(ordinary) is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_row_marked_once_misbehaves_once_per_address(protocol: str) -> None:
    """The first request gets the row's answer, the next ones are accepted, another address starts afresh."""
    for row in (row for row in magic_rows(protocol) if row.once):
        judge = Judge(protocol, FaultPlan())
        first = address(protocol, row.prefix)
        second = first.replace("17", "18") if "17" in first else first[:-1] + "1"
        assert [judge.judge(first), judge.judge(first), judge.judge(first)] == [row.answer, None, None]
        assert judge.judge(second) == row.answer


def test_rates_do_not_touch_magic_addresses() -> None:
    """A magic address is answered by its row even when every request is to fail."""
    plan = FaultPlan()
    plan.set("apns", Faults(rate_500=1))
    answer = Judge("apns", plan).judge("dead0410" + "0" * 56)
    assert answer is not None
    assert answer.code == "Unregistered"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_fault_has_an_answer_in_every_protocol(protocol: str) -> None:
    """No fault is silently without effect."""
    assert set(fault_answers(protocol)) == set(Fault) - {Fault.NONE}
    assert fault_answers(protocol)[Fault.LOST_ANSWER].outcome() is Outcome.ACCEPTED
    assert fault_answers(protocol)[Fault.NEVER_ANSWER].outcome() is Outcome.UNANSWERED
    assert fault_answers(protocol)[Fault.DEAD].outcome() is Outcome.REFUSED


_WHOLE_TABLES = {"apns", "fcm", "sendgrid", "smtp", "twilio", "mailgun", "ses", "webpush"}
"""Providers whose table names every status they answer with."""
_HTTPS_OWN = {str(status) for status in (200, 202, 400, 401, 402, 403, 404, 409, 410, 413, 422, 429, 500, 502, 503)}
"""What the others answer with besides, by RFC 9110."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_codes_are_the_providers_own(protocol: str, shared_dir: Path) -> None:
    """Every answer of the table has a status (and, where there is one, a code) that the provider's table knows."""
    rows = json.loads((shared_dir / "contracts/actions/error_actions.json").read_text())["rows"]
    known_codes = " ".join(str(row["code"]) for row in rows if row["provider"] == protocol)
    known_statuses = {str(row["http"]) for row in rows if row["provider"] == protocol}
    if protocol not in _WHOLE_TABLES:
        known_statuses |= _HTTPS_OWN
    for row in magic_rows(protocol):
        if not row.answer.status:
            continue
        # An SMTP reply's basic code may come with an enhanced code of another row.
        assert str(row.answer.status) in known_statuses, row
        if protocol in {"apns", "twilio"} or (protocol == "fcm" and row.answer.code):
            assert row.answer.code in known_codes, row


def test_the_table_can_be_sent() -> None:
    """The table is JSON as it stands."""
    assert set(json.loads(json.dumps(magic_table()))) == set(PROTOCOLS)
