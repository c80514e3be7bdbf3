"""An operator asks whether an account works: over the Procfile's processes, to the provider's receipt and back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from messaging.client.messaging import Messaging
from messaging.local.sandbox.credentials import twilio_credentials
from messaging.local.sandbox.twilio import REFUSED_TOKEN
from tests.acceptance.stack import Stack
from tests.acceptance.sums import recorded

pytestmark = pytest.mark.timeout(600)

NUMBER = "+4915199887766"


def check(stack: Stack, *arguments: str) -> tuple[int, Any]:
    """The exit code of `messaging provider check …`, and what it said."""
    command = ["provider", "check", *arguments, "--data-dir", str(stack.directory), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "messaging.cli.main", *command], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_an_account_is_checked_from_its_credentials_to_a_receipt(stack: Stack, client: Messaging) -> None:
    """Each step by whoever does it in production; another account of the channel, tried first, carries nothing."""
    fields: dict[str, Any] = {"from": "+15005550006", **twilio_credentials()}
    client.providers.create("twilio", provider_id="on-trial", priority=1000, **fields)
    code, passed = check(stack, "on-trial", "--send-to", NUMBER)
    states = {step["name"]: step["state"] for step in passed["steps"]}
    assert states == dict.fromkeys(("credentials", "accepted", "expanded", "handed_over", "receipt"), "passed"), passed
    assert (code, passed["outcome"]) == (0, "passed")
    assert "delivered" in passed["steps"][4]["detail"]
    (line,) = [line for line in recorded(stack.sandbox["control"], "twilio") if line["recipient"] == NUMBER]
    on_trial = client.providers.get("on-trial")
    assert line["about"]["account"] == on_trial.credentials["accountSid"]

    client.providers.update("on-trial", authToken=REFUSED_TOKEN)  # as if somebody had revoked it
    code, failed = check(stack, "on-trial", "--send-to", NUMBER)
    assert (code, failed["outcome"]) == (1, "failed")
    assert [(step["name"], step["state"]) for step in failed["steps"]] == [("credentials", "failed")]
    assert failed["steps"][0]["detail"].startswith("20003: ")
    assert [entry.what for entry in client.providers.log("on-trial")] == ["checked", "checked"]
    client.providers.delete("on-trial")
