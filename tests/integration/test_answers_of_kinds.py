"""What the sandbox's answers lead to, for every kind alike: a message to a magic address, or a check of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.threaded import sandbox_in_thread
from messaging.local.sandbox.twilio import SUSPENDED
from messaging.local.sandbox.web import mailgun, msg91, resend, telesign, textmagic
from messaging.message import Email, Sms
from messaging.outcome import Action
from tests.integration.mail_sandbox import arrived, people
from tests.integration.receipt_catcher import account_of, checked, sent

ARRIVING = {"a", "server-error-once", "+1999004"}
"""Addresses that get the message, also where its answer was lost."""
OUTAGES = {
    "server-error", "bad-gateway", "unavailable", "gateway-timeout", "reset", "+1999105", "+1999500", "+1999503",
    "+1999001", "+1999004",
}  # fmt: skip
"""Addresses at which the provider as such fails."""
SILENT: Mapping[str, Action] = {"+1999001": Action.AMBIGUOUS_RETRY, "+1999004": Action.AMBIGUOUS_RETRY}
ANSWERS: Mapping[str, Mapping[str, Action]] = {
    "mailgun": {
        "a": Action.ACCEPTED,
        "invalid": Action.DISABLE_TARGET,
        "bad-parameter": Action.REJECT_MESSAGE,
        "unverified": Action.STOP_PROVIDER,
        "bad-key": Action.STOP_PROVIDER,
        "failed": Action.REJECT_MESSAGE,
        "no-batches": Action.STOP_PROVIDER,
        "bad-ip": Action.STOP_PROVIDER,
        "no-domain": Action.STOP_PROVIDER,
        "too-big": Action.REJECT_MESSAGE,
        "rate-limit": Action.RETRY_AFTER,
        "quota": Action.RETRY_AFTER,
        "server-error": Action.AMBIGUOUS_RETRY,
        "bad-gateway": Action.AMBIGUOUS_RETRY,
        "unavailable": Action.RETRY,
        "gateway-timeout": Action.AMBIGUOUS_RETRY,
        "reset": Action.AMBIGUOUS_RETRY,
    },
    "msg91": {
        "+1999400": Action.DISABLE_TARGET,
        "+1999401": Action.STOP_PROVIDER,
        "+1999418": Action.STOP_PROVIDER,
        "+1999402": Action.QUOTA,
        "+1999306": Action.RETRY_AFTER,
        "+1999413": Action.REJECT_MESSAGE,
        "+1999311": Action.ACCEPTED,  # the same request came just before: there is nothing to send again
        "+1999429": Action.RETRY_AFTER,
        "+1999500": Action.AMBIGUOUS_RETRY,
        "+1999503": Action.RETRY,
        **SILENT,
    },
    "plivo": {
        "+1999050": Action.DISABLE_TARGET,
        "+1999051": Action.DISABLE_TARGET,
        "+1999040": Action.STOP_PROVIDER,
        "+1999400": Action.REJECT_MESSAGE,
        "+1999401": Action.STOP_PROVIDER,
        "+1999402": Action.QUOTA,
        "+1999403": Action.STOP_PROVIDER,
        "+1999404": Action.STOP_PROVIDER,
        "+1999429": Action.RETRY_AFTER,
        "+1999500": Action.AMBIGUOUS_RETRY,
        "+1999503": Action.RETRY,
        **SILENT,
    },
    "resend": {
        "a": Action.ACCEPTED,
        "invalid": Action.DISABLE_TARGET,
        "missing-field": Action.REJECT_MESSAGE,
        "bad-parameter": Action.REJECT_MESSAGE,
        "bad-attachment": Action.REJECT_MESSAGE,
        "bad-sender": Action.STOP_PROVIDER,
        "bad-key": Action.STOP_PROVIDER,
        "testing-only": Action.STOP_PROVIDER,
        "held-back": Action.STOP_PROVIDER,
        "busy-once": Action.RETRY,
        "rate-limit": Action.RETRY_AFTER,
        "daily-quota": Action.QUOTA,
        "monthly-quota": Action.QUOTA,
        "server-error": Action.RETRY,
        "server-error-once": Action.ACCEPTED,
        "bad-gateway": Action.AMBIGUOUS_RETRY,
        "unavailable": Action.RETRY,
        "reset": Action.AMBIGUOUS_RETRY,
    },
    "telesign": {
        "+1999400": Action.DISABLE_TARGET,
        "+1999222": Action.DISABLE_TARGET,
        "+1999230": Action.SUPPRESS_TARGET,
        "+1999401": Action.STOP_PROVIDER,
        "+1999403": Action.STOP_PROVIDER,
        "+1999033": Action.STOP_PROVIDER,
        "+1999402": Action.QUOTA,
        "+1999413": Action.REJECT_MESSAGE,
        "+1999429": Action.RETRY_AFTER,
        "+1999500": Action.RETRY,
        "+1999503": Action.RETRY,
        **SILENT,
    },
    "textmagic": {
        "+1999400": Action.DISABLE_TARGET,
        "+1999610": Action.SUPPRESS_TARGET,
        "+1999401": Action.STOP_PROVIDER,
        "+1999403": Action.STOP_PROVIDER,
        "+1999606": Action.STOP_PROVIDER,
        "+1999402": Action.QUOTA,
        "+1999413": Action.REJECT_MESSAGE,
        "+1999429": Action.RETRY_AFTER,
        "+1999500": Action.AMBIGUOUS_RETRY,
        "+1999503": Action.RETRY,
        **SILENT,
    },
    "vonage": {
        "+1999033": Action.DISABLE_TARGET,
        "+1999003": Action.DISABLE_TARGET,
        "+1999006": Action.REJECT_MESSAGE,
        "+1999007": Action.SUPPRESS_TARGET,
        "+1999009": Action.QUOTA,
        "+1999008": Action.STOP_PROVIDER,
        "+1999015": Action.STOP_PROVIDER,
        "+1999101": Action.RETRY_AFTER,
        "+1999105": Action.RETRY,
        "+1999401": Action.STOP_PROVIDER,
        "+1999429": Action.RETRY_AFTER,
        "+1999500": Action.AMBIGUOUS_RETRY,
        "+1999503": Action.RETRY,
        **SILENT,
    },
}
"""By the beginning of an address."""
NAMING_A_DELAY = {"mailgun", "resend"}
"""Where a limit was met; Mailgun then only."""


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A sandbox for all of them: no two cases share an address of one kind."""
    with sandbox_in_thread(tmp_path_factory.mktemp("answers")) as running:
        yield running


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in ANSWERS.items() for case in cases])
def test_each_class_of_answer_leads_to_its_action(kind: str, case: str, addresses: SandboxAddresses) -> None:
    """What was refused has not arrived; no reason repeats an address."""
    is_email = KINDS[kind].channel is Channel.EMAIL
    address = f"{case}@example.com" if is_email else f"{case}0000"
    action = ANSWERS[kind][case]

    async def run() -> None:
        content = Email(subject="s", content="b") if is_email else Sms(content="Grüße & 50%")
        (outcome,) = await sent(addresses, account_of(kind), people(address), content)
        entries = [entry for entry in await arrived(addresses, kind) if entry["recipient"] == address]
        assert (outcome.action, outcome.outage) == (action, case in OUTAGES), outcome
        assert address.removeprefix("+") not in outcome.reason
        if action is Action.RETRY_AFTER and kind in NAMING_A_DELAY:
            assert outcome.retry_after_s is not None
        elif kind == "mailgun":
            assert outcome.retry_after_s is None
        assert len(entries) == (case in ARRIVING)

    asyncio.run(run())


CHECKS: tuple[tuple[str, dict[str, Any], Action, str], ...] = (
    ("mailgun", {}, Action.ACCEPTED, ""),
    ("mailgun", {"apiKey": f"{mailgun.SENDING_KEY_PREFIX}1"}, Action.ACCEPTED, ""),
    ("mailgun", {"domain": mailgun.UNVERIFIED_DOMAIN}, Action.STOP_PROVIDER, ""),
    ("mailgun", {"domain": mailgun.UNKNOWN_DOMAIN}, Action.STOP_PROVIDER, ""),
    ("mailgun", {"apiKey": f"{mailgun.SENDING_KEY_PREFIX}1", "domain": mailgun.UNVERIFIED_DOMAIN},
     Action.STOP_PROVIDER, ""),
    ("msg91", {}, Action.ACCEPTED, ""),
    ("msg91", {"authKey": msg91.REFUSED_KEY}, Action.STOP_PROVIDER, ""),
    ("msg91", {"authKey": msg91.FOREIGN_KEY}, Action.STOP_PROVIDER, ""),
    ("msg91", {"templateId": msg91.REFUSED_TEMPLATE}, Action.STOP_PROVIDER, ""),
    # It may not look at domains.
    ("resend", {"apiKey": f"{resend.SENDING_KEY_PREFIX}_1"}, Action.ACCEPTED, "send"),
    ("sendgrid", {"apiKey": "SG.any"}, Action.ACCEPTED, ""),
    ("sendgrid", {"apiKey": "SG.forbidden"}, Action.STOP_PROVIDER, ""),
    ("sendgrid", {"apiKey": "SG.revoked"}, Action.STOP_PROVIDER, ""),
    ("telesign", {}, Action.ACCEPTED, ""),
    ("telesign", {"apiKey": telesign.api_key_of("another")}, Action.STOP_PROVIDER, ""),
    ("telesign", {"customerId": telesign.REFUSED_CUSTOMER}, Action.STOP_PROVIDER, ""),
    ("textmagic", {}, Action.ACCEPTED, "balance: 100.5 USD"),
    ("textmagic", {"apiKey": textmagic.REFUSED_KEY}, Action.STOP_PROVIDER, ""),
    ("twilio", {"accountSid": "AC" + "1" * 32}, Action.ACCEPTED, ""),
    ("twilio", {"accountSid": SUSPENDED}, Action.STOP_PROVIDER, ""),
    ("twilio", {"accountSid": "nonsense"}, Action.STOP_PROVIDER, ""),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "changed", "action", "said"), CHECKS)
def test_a_check_tells_what_is_wrong_and_sends_nothing(
    kind: str, changed: dict[str, Any], action: Action, said: str, addresses: SandboxAddresses
) -> None:
    """With the key, the account, the domain or the template; a good account hears what the provider says of it."""

    async def run() -> None:
        before = await arrived(addresses, kind)
        outcome = await checked(addresses, account_of(kind, **changed))
        assert (outcome.action, outcome.outage) == (action, False)
        assert outcome.reason
        assert said in outcome.reason
        assert await arrived(addresses, kind) == before

    asyncio.run(run())
