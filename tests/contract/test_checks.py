"""What an account is told when it is tried out: held for every adapter by the same cases over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from messaging.catalog import KINDS
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.outcome import Action, Outcome
from tests.contract.servers import Place, nobody, resetting, silent
from tests.contract.subject import Subject
from tests.contract.subjects import SUBJECTS
from tests.contract.test_adapters import NOT_SENT, run
from tests.integration.http2_peer import Certificate
from workers.providers.base import Adapter

ASKING = sorted(kind for kind, subject in SUBJECTS.items() if subject.check_asks)


def everything(addresses: SandboxAddresses, subject: Subject) -> int:
    """Lines the sandbox has on record for the kind: accepted, refused or unanswered."""
    with httpx.Client(trust_env=False, base_url=addresses.control, timeout=60) as client:
        answer = client.get("/record", params={"protocol": subject.kind}).raise_for_status()
    return len(answer.text.splitlines())


async def checked(adapter: Adapter) -> Outcome:
    """What `check` says; the adapter is closed."""
    try:
        return await adapter.check()
    finally:
        await adapter.aclose()


def test_a_check_of_a_good_account_says_so_and_sends_nothing(subject: Subject, addresses: SandboxAddresses) -> None:
    """With what the provider said in words, and without a secret."""

    async def scenario() -> None:
        before = everything(addresses, subject)
        credentials = subject.credentials(addresses)
        outcome = await checked(subject.open(addresses, credentials=credentials))
        assert outcome.action is Action.ACCEPTED, outcome
        assert outcome.reason
        secrets = [credentials.get(f.name) for f in KINDS[subject.kind].credentials if f.secret]
        assert not [text for text in secrets if isinstance(text, str) and text and text in outcome.reason]
        assert everything(addresses, subject) == before

    run(scenario())


@pytest.mark.parametrize("kind", ASKING)
def test_a_check_of_wrong_credentials_stops_the_provider(kind: str, addresses: SandboxAddresses) -> None:
    """In words that say what to correct."""
    subject = SUBJECTS[kind]

    async def scenario() -> None:
        outcome = await checked(subject.open(addresses, credentials=subject.wrong(addresses)))
        assert outcome.action is Action.STOP_PROVIDER, outcome
        assert outcome.code
        assert outcome.reason
        assert not outcome.outage

    run(scenario())


@pytest.mark.parametrize("kind", ASKING)
@pytest.mark.parametrize("refuse", [nobody, resetting, silent], ids=["refused", "reset", "silent"])
def test_a_check_that_reaches_nobody_tells_of_an_outage(kind: str, addresses: SandboxAddresses, refuse: Any) -> None:
    """It never raises."""
    subject = SUBJECTS[kind]

    async def scenario() -> None:
        async with refuse() as port:
            place = Place(f"{subject.scheme}127.0.0.1:{port}")
            outcome = await checked(subject.open(addresses, place=place, hurried=True))
        assert outcome.action in NOT_SENT | {Action.AMBIGUOUS_RETRY}, outcome
        assert outcome.outage

    run(scenario())


@pytest.mark.parametrize("kind", [kind for kind in ASKING if kind != "smtp"])
def test_a_check_answered_with_a_server_error_tells_of_an_outage(
    kind: str, addresses: SandboxAddresses, certificate: Certificate
) -> None:
    """Neither good nor misconfigured: the provider does not work. The SMTP script errs after a message only."""
    subject = SUBJECTS[kind]

    async def scenario() -> None:
        async with subject.serve(subject.server_error, certificate) as place:
            outcome = await checked(subject.open(addresses, place=place))
        assert outcome.action in NOT_SENT | {Action.AMBIGUOUS_RETRY}, outcome
        assert outcome.outage

    run(scenario())


def test_a_closed_adapter_checks_nothing(subject: Subject, addresses: SandboxAddresses) -> None:
    """And does not raise."""

    async def scenario() -> None:
        adapter = subject.open(addresses)
        await adapter.aclose()
        async with asyncio.timeout(30):  # a token may be asked for
            assert isinstance(await adapter.check(), Outcome)

    run(scenario())
