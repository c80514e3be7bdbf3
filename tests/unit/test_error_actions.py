"""Each row of the table of provider codes leads to its action.

APNs and FCM have the same test beside their adapters.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from messaging.outcome import Action, Outcome
from tests.unit.provider_cases import Row, rows
from workers.providers import sendgrid, smtp_replies, twilio
from workers.providers.smtp_replies import Stage


def test_sendgrid_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """Answers and events."""
    found = rows(shared_dir, "sendgrid")
    assert len(found) == 27
    for row in found:
        if row["where"] == "response":
            body = json.dumps({"errors": [{"message": row["code"], "field": None}]}).encode()
            outcome = sendgrid.classify(row["http"], body, {}, 0.0)
        else:
            name, _, kind = row["code"].partition(" type=")
            outcome = sendgrid.classify_event({"event": name, "type": kind})
        assert outcome.action == row["action"], row


def smtp_outcomes(row: Row) -> Iterator[Outcome]:
    """The outcomes of every code a row names, where its note says it is heard."""
    if row["http"] is None:
        yield smtp_replies.lost(Stage.FINAL_DOT if "final dot" in row["code"] else Stage.CONNECT, "gone")
        return
    for code in row["code"].replace(".x", ".1").split("/"):
        # The sender's address (5.1.7, RFC 3463 §3.2) is at fault at MAIL, and never the recipient's.
        if code != "5.1.7":
            yield smtp_replies.classify(Stage.RCPT, row["http"], f"{code} text")


def test_smtp_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """At RCPT, with each enhanced code of the row."""
    found = rows(shared_dir, "smtp")
    assert len(found) == 36
    for row in found:
        for outcome in smtp_outcomes(row):
            assert outcome.action == row["action"], (row, outcome)


def test_the_notes_of_the_smtp_rows_hold() -> None:
    """The stage decides: 501 at MAIL is the sender, 554 as a greeting stops the provider."""
    assert smtp_replies.classify(Stage.MAIL, 501, "5.1.7 bad sender").action is Action.STOP_PROVIDER
    assert smtp_replies.classify(Stage.RCPT, 501, "5.1.7 bad sender").action is Action.STOP_PROVIDER
    assert smtp_replies.classify(Stage.GREETING, 554, "5.7.1 no").action is Action.STOP_PROVIDER
    assert smtp_replies.classify(Stage.RCPT, 552, "full").action is Action.RETRY


def test_twilio_rows_lead_to_their_actions(shared_dir: Path) -> None:
    """Answers and status callbacks, and both tables hold no other code."""
    found = rows(shared_dir, "twilio")
    codes: dict[bool, set[str]] = {True: set(), False: set()}
    for row in found:
        callback = row["where"].startswith("status callback")
        codes[callback].add(row["code"])
        if callback:
            outcome = twilio.classify_callback("undelivered", row["code"])
        else:
            field = {"sid": "SM1"} if row["code"] == "sid" else {"code": int(row["code"])}
            outcome = twilio.classify(row["http"], json.dumps(field).encode(), {})
        assert outcome.action == row["action"], row
    assert codes == {True: set(twilio.CALLBACK_CODES), False: {*twilio.CODES, "sid"}}
