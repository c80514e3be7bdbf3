"""What the road relies on, held for every adapter by the same cases over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.catalog import KINDS
from messaging.errors import ContentError
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.outcome import Action, Outcome
from tests.contract.servers import Place, closed_window_http2, nobody, resetting, scripted_smtp, silent
from tests.contract.subject import Magic, Subject, hurry
from tests.contract.subjects import SUBJECTS
from tests.integration.http2_peer import Certificate
from tests.integration.mail_sandbox import outgoing, people
from tests.integration.push_sandbox import accepted, set_faults
from tests.integration.smtp_script import SILENCE
from workers.providers.base import Adapter

NOT_SENT = {Action.RETRY, Action.RETRY_AFTER, Action.RECONNECT_RETRY}
"""Certainly not sent, and it may be tried again."""


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's scenario, which ends in time."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(bounded())


async def sent(subject: Subject, adapter: Adapter, *addresses: str) -> Sequence[Outcome]:
    """The outcomes of one call."""
    outcomes = await adapter.send(adapter.prepare(outgoing(subject.content)), people(*addresses))
    assert len(outcomes) == len(addresses)
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    return outcomes


async def sent_and_closed(subject: Subject, adapter: Adapter, *addresses: str) -> Sequence[Outcome]:
    """The same, and the adapter is closed."""
    try:
        return await sent(subject, adapter, *addresses)
    finally:
        await adapter.aclose()


def arrivals(addresses: SandboxAddresses, subject: Subject, wanted: Sequence[str]) -> list[str]:
    """Which of the `wanted` addresses the sandbox accepted something for, once for each time."""
    entries = [entry["recipient"] for entry in accepted(addresses, subject.kind)]
    return [entry for entry in entries if entry in wanted]


def test_every_kind_that_can_send_is_held_to_the_contract() -> None:
    """An adapter that is added is added here."""
    assert set(SUBJECTS) == {kind.name for kind in KINDS.values() if kind.has_adapter}


def test_what_is_accepted_has_arrived_once(subject: Subject, addresses: SandboxAddresses) -> None:
    """As many as one request takes and then some, each under its own tag, in one call."""

    async def scenario() -> None:
        to = people(*(subject.fresh() for _ in range(25)))
        adapter = subject.open(addresses)
        outcomes = await adapter.send(adapter.prepare(outgoing(subject.content)), to)
        await adapter.aclose()
        assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED] * len(to)
        assert not any(outcome.code or outcome.reason or outcome.dead_since for outcome in outcomes)
        wanted = [one.address for one in to]
        assert sorted(arrivals(addresses, subject, wanted)) == sorted(wanted)

    run(scenario())


def test_a_dead_address_is_retired_and_nothing_else(subject: Subject, addresses: SandboxAddresses) -> None:
    """With the provider's code and a reason that doesn't repeat the address."""

    async def scenario() -> None:
        dead = subject.magic(Magic.DEAD)
        (outcome,) = await sent_and_closed(subject, subject.open(addresses), dead)
        assert outcome.action is Action.DISABLE_TARGET, outcome
        assert outcome.code
        assert outcome.reason
        assert dead not in outcome.reason
        assert not outcome.outage
        assert arrivals(addresses, subject, [dead]) == []

    run(scenario())


def test_content_nobody_could_deliver_is_refused_before_sending(subject: Subject, addresses: SandboxAddresses) -> None:
    """Once per message, by `ContentError`: too long, reserved names, another channel's message."""

    async def scenario() -> None:
        adapter = subject.open(addresses)
        for content in subject.unsendable:
            with pytest.raises(ContentError):
                adapter.prepare(outgoing(content))
        await adapter.aclose()

    run(scenario())


def test_content_the_provider_refuses_never_blames_the_address(
    subject: Subject, addresses: SandboxAddresses, certificate: Certificate
) -> None:
    """The message fails, the target stays good."""

    async def scenario() -> None:
        async with subject.serve(subject.refused_content, certificate) as place:
            adapter = subject.open(addresses, place=place)
            outcomes = await sent_and_closed(subject, adapter, subject.fresh(), subject.fresh())
        assert [outcome.action for outcome in outcomes] == [Action.REJECT_MESSAGE] * 2, outcomes
        assert not any(outcome.outage for outcome in outcomes)

    run(scenario())


@pytest.mark.parametrize("asked_s", [None, 7])
def test_a_throttled_message_was_not_sent_and_waits_as_long_as_asked(
    subject: Subject, addresses: SandboxAddresses, asked_s: float | None
) -> None:
    """Where the protocol can name a delay it is taken over; nothing arrives."""

    async def scenario() -> None:
        to = subject.fresh()
        delay = {} if asked_s is None else {"retry_after_s": asked_s}
        set_faults(addresses, protocol=subject.kind, rate_429=1.0, **delay)
        try:
            (outcome,) = await sent_and_closed(subject, subject.open(addresses), to)
        finally:
            set_faults(addresses)
        assert outcome.action is subject.throttled, outcome
        assert not outcome.outage
        if asked_s is not None and subject.delay_s is not None:
            least_s, most_s = subject.delay_s
            assert outcome.retry_after_s is not None
            assert least_s <= outcome.retry_after_s <= most_s
        else:
            assert outcome.retry_after_s is None or outcome.retry_after_s > 0
        assert arrivals(addresses, subject, [to]) == []

    run(scenario())


def test_refused_credentials_stop_the_provider(subject: Subject, addresses: SandboxAddresses) -> None:
    """No recipient is blamed, and every one of them may be sent to once the account is corrected."""

    async def scenario() -> None:
        to = [subject.fresh() for _ in range(3)]
        adapter = subject.open(addresses, credentials=subject.wrong(addresses))
        outcomes = await sent_and_closed(subject, adapter, *to)
        assert [outcome.action for outcome in outcomes] == [Action.STOP_PROVIDER] * 3, outcomes
        assert all(outcome.code and outcome.reason for outcome in outcomes)
        assert not any(outcome.outage for outcome in outcomes)
        assert arrivals(addresses, subject, to) == []

    run(scenario())


@pytest.mark.parametrize("kind", sorted(kind for kind, subject in SUBJECTS.items() if subject.quota is not None))
def test_a_used_up_quota_stops_the_account_and_blames_nobody(
    kind: str, addresses: SandboxAddresses, certificate: Certificate
) -> None:
    """Not sent, for want of credit: no retry would help before somebody pays, and the provider itself is well."""
    subject = SUBJECTS[kind]
    assert subject.quota is not None
    quota = subject.quota

    async def scenario() -> None:
        async with subject.serve(quota, certificate) as place:
            adapter = subject.open(addresses, place=place)
            outcomes = await sent_and_closed(subject, adapter, subject.fresh(), subject.fresh())
        assert [outcome.action for outcome in outcomes] == [Action.QUOTA] * 2, outcomes
        assert all(outcome.code and outcome.reason and not outcome.outage for outcome in outcomes), outcomes

    run(scenario())


def test_a_server_error_is_the_providers_and_nobody_elses(
    subject: Subject, addresses: SandboxAddresses, certificate: Certificate
) -> None:
    """Tried again or unknown, and counted against the provider as such."""

    async def scenario() -> None:
        async with subject.serve(subject.server_error, certificate) as place:
            adapter = subject.open(addresses, place=place)
            outcomes = await sent_and_closed(subject, adapter, subject.fresh(), subject.fresh())
        assert {outcome.action for outcome in outcomes} <= NOT_SENT | {Action.AMBIGUOUS_RETRY}, outcomes
        assert all(outcome.outage for outcome in outcomes), outcomes

    run(scenario())


def test_a_certificate_nobody_vouches_for_is_not_sent_to(subject: Subject, addresses: SandboxAddresses) -> None:
    """Not sent: the provider stops, or it is tried again until somebody looks."""

    async def scenario() -> None:
        secure = {"smtp": addresses.smtp}.get(subject.kind, addresses.apns)
        to = subject.fresh()
        (outcome,) = await sent_and_closed(subject, subject.open(addresses, place=Place(secure)), to)
        assert outcome.action in NOT_SENT | {Action.STOP_PROVIDER}, outcome
        assert arrivals(addresses, subject, [to]) == []

    run(scenario())


def test_a_wait_that_runs_out_before_the_request_left_sent_nothing(
    subject: Subject, addresses: SandboxAddresses
) -> None:
    """The server takes the connection and says nothing: neither TLS nor a greeting comes about."""

    async def scenario() -> None:
        async with silent() as port:
            adapter = subject.open(addresses, place=Place(f"{subject.scheme}127.0.0.1:{port}"), hurried=True)
            outcomes = await sent_and_closed(subject, adapter, subject.fresh(), subject.fresh())
        assert {outcome.action for outcome in outcomes} <= NOT_SENT, outcomes
        assert all(outcome.outage for outcome in outcomes), outcomes

    run(scenario())


@pytest.mark.parametrize("kind", ["apns", "fcm", "smtp"])
def test_a_wait_that_runs_out_in_the_middle_of_the_request_sent_nothing(
    kind: str, addresses: SandboxAddresses, certificate: Certificate
) -> None:
    """HTTP/2 windows and SMTP's DATA say how far it got; over HTTP/1.1 that can't be known."""
    subject = SUBJECTS[kind]

    async def scenario() -> None:
        stuck = scripted_smtp(data=SILENCE) if kind == "smtp" else closed_window_http2(certificate)
        async with stuck as place:
            adapter = subject.open(addresses, place=place, hurried=True)
            (outcome,) = await sent_and_closed(subject, adapter, subject.fresh())
        assert outcome.action in NOT_SENT, outcome

    run(scenario())


def test_a_wait_that_runs_out_after_the_request_left_leaves_it_unknown(
    subject: Subject, addresses: SandboxAddresses
) -> None:
    """The provider may have taken it."""

    async def scenario() -> None:
        adapter = subject.open(addresses)
        (first,) = await sent(subject, adapter, subject.fresh())  # so that no time goes into connecting
        assert first.action is Action.ACCEPTED
        hurry(adapter, answers_only=True)
        (outcome,) = await sent_and_closed(subject, adapter, subject.magic(Magic.SILENT))
        assert outcome.action is Action.AMBIGUOUS_RETRY, outcome
        assert outcome.outage

    run(scenario())


@pytest.mark.parametrize("refuse", [nobody, resetting], ids=["refused", "reset"])
def test_a_connection_that_does_not_come_about_sent_nothing(
    subject: Subject, addresses: SandboxAddresses, refuse: Any
) -> None:
    """Nobody listens, or the connection is reset at once."""

    async def scenario() -> None:
        async with refuse() as port:
            adapter = subject.open(addresses, place=Place(f"{subject.scheme}127.0.0.1:{port}"))
            outcomes = await sent_and_closed(subject, adapter, subject.fresh(), subject.fresh())
        assert {outcome.action for outcome in outcomes} <= NOT_SENT, outcomes
        assert all(outcome.outage for outcome in outcomes), outcomes

    run(scenario())


@pytest.mark.parametrize("case", [Magic.DROPPED, Magic.LOST])
def test_a_connection_reset_after_the_request_leaves_it_unknown(
    subject: Subject, addresses: SandboxAddresses, case: Magic
) -> None:
    """Whether it was taken can't be told apart from here; it is not repeated behind the caller's back."""

    async def scenario() -> None:
        to = subject.magic(case)
        before = len(arrivals(addresses, subject, [to]))
        (outcome,) = await sent_and_closed(subject, subject.open(addresses), to)
        assert outcome.action is Action.AMBIGUOUS_RETRY, outcome
        assert len(arrivals(addresses, subject, [to])) - before == (1 if case is Magic.LOST else 0)

    run(scenario())


def test_a_positive_answer_that_cannot_be_read_leaves_it_unknown(
    subject: Subject, addresses: SandboxAddresses, certificate: Certificate
) -> None:
    """Another 2xx, a body that is none, an answer cut short."""

    async def scenario() -> None:
        for answer in subject.unreadable:
            async with subject.serve(answer, certificate) as place:
                adapter = subject.open(addresses, place=place)
                (outcome,) = await sent_and_closed(subject, adapter, subject.fresh())
            assert outcome.action is Action.AMBIGUOUS_RETRY, (answer, outcome)
            assert outcome.outage, (answer, outcome)

    run(scenario())


def test_a_batch_is_answered_recipient_by_recipient_in_order(subject: Subject, addresses: SandboxAddresses) -> None:
    """Dead addresses among good ones: the good ones arrive, once each, and every outcome stands in its place."""

    async def scenario() -> None:
        order = random.Random(7)
        dead = [order.random() < 0.4 for _ in range(20)]
        to = [subject.magic(Magic.DEAD) if is_dead else subject.fresh() for is_dead in dead]
        outcomes = await sent_and_closed(subject, subject.open(addresses), *to)
        expected = [Action.DISABLE_TARGET if is_dead else Action.ACCEPTED for is_dead in dead]
        assert [outcome.action for outcome in outcomes] == expected
        good = [address for address, is_dead in zip(to, dead, strict=True) if not is_dead]
        assert sorted(arrivals(addresses, subject, good)) == sorted(good)

    run(scenario())


def test_one_recipients_trouble_settles_no_other(subject: Subject, addresses: SandboxAddresses) -> None:
    """A transient refusal in the middle of a call: the others are accepted or not sent, never failed or unknown."""

    async def scenario() -> None:
        to = [subject.fresh(), subject.magic(Magic.NOT_NOW), subject.fresh()]
        first, busy, last = await sent_and_closed(subject, subject.open(addresses), *to)
        assert busy.action in NOT_SENT, busy
        for address, outcome in ((to[0], first), (to[2], last)):
            assert outcome.action in NOT_SENT | {Action.ACCEPTED}, outcome
            taken = 1 if outcome.action is Action.ACCEPTED else 0
            assert len(arrivals(addresses, subject, [address])) == taken

    run(scenario())


HOSTILE = (
    "", " ", "\x00", "\r\n", "a\r\nRCPT TO:<x@example.com>", "@", "a@", "@b", "a@b@c", "a" * 5000, "é", "\ud800",
    "../../etc/passwd", "a b", "%2e%2e", "?x=1#y", "<a@example.com>", "a@" + "b" * 300 + ".com", "+", "+0", "null",
    "ü@ü..example", "a@xn--\xff.com", "a@example.com\ud800", "٣@example.com", "+٣٣٣٣٣٣٣", "{}", '"a@example.com',
)  # fmt: skip


def test_no_address_makes_send_raise_or_harms_a_neighbour(subject: Subject, addresses: SandboxAddresses) -> None:
    """Whatever stands in the database: one outcome each, in order, and the good address among them arrives."""

    async def scenario() -> None:
        good = subject.fresh()
        outcomes = await sent_and_closed(subject, subject.open(addresses), *HOSTILE, good)
        assert outcomes[-1].action is Action.ACCEPTED, outcomes[-1]
        assert arrivals(addresses, subject, [good]) == [good]
        stopping = [o for o in outcomes if o.action in {Action.STOP_PROVIDER, Action.QUOTA, Action.RETRY_AFTER}]
        assert stopping == []

    run(scenario())


@given(made_up=st.lists(st.text(max_size=40), min_size=1, max_size=10))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_as_an_address_has_an_outcome(
    subject: Subject, addresses: SandboxAddresses, made_up: list[str]
) -> None:
    """`send` never raises."""

    async def scenario() -> None:
        await sent_and_closed(subject, subject.open(addresses), *made_up)

    run(scenario())


def test_a_call_without_recipients_answers_nothing(subject: Subject, addresses: SandboxAddresses) -> None:
    """And sends nothing."""

    async def scenario() -> None:
        assert list(await sent_and_closed(subject, subject.open(addresses))) == []

    run(scenario())


def test_a_closed_adapter_says_that_nothing_was_sent(subject: Subject, addresses: SandboxAddresses) -> None:
    """A run that still holds the adapter of an account as it was gets its messages back, at once and unsent."""

    async def scenario() -> None:
        to = [subject.fresh(), subject.fresh()]
        adapter = subject.open(addresses)
        assert (await sent(subject, adapter, subject.fresh()))[0].action is Action.ACCEPTED
        await adapter.aclose()
        async with asyncio.timeout(30):
            outcomes = await sent(subject, adapter, *to)
        assert {outcome.action for outcome in outcomes} <= NOT_SENT, outcomes
        assert arrivals(addresses, subject, to) == []

    run(scenario())


class NoStore:
    """A token store whose database is away."""

    async def get(self, key: str, mint: object) -> str:
        """Raise."""
        raise ConnectionError(f"no database for {key} {mint is None}")

    async def replace(self, key: str, rejected: str, mint: object) -> str:
        """Raise."""
        raise ConnectionError(f"no database for {key} {rejected} {mint is None}")


def test_a_token_store_that_is_away_sent_nothing(subject: Subject, addresses: SandboxAddresses) -> None:
    """Without a token no request leaves; adapters that need none don't ask."""

    async def scenario() -> None:
        to = subject.fresh()
        (outcome,) = await sent_and_closed(subject, subject.open(addresses, tokens=NoStore()), to)
        assert outcome.action in NOT_SENT | {Action.ACCEPTED}, outcome
        assert len(arrivals(addresses, subject, [to])) == (1 if outcome.action is Action.ACCEPTED else 0)

    run(scenario())
