"""What the road relies on when a provider reports back: held for every kind that has receipts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.catalog import KINDS
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.outcome import Action
from messaging.receipt import ForgedReceiptError, Inbound, Receipt, ReceiptRefusedError
from tests.contract.subject import RECEIPTS_URL, Genuine, Subject
from tests.contract.subjects import SUBJECTS
from workers.providers.base import Account

REPORTING = sorted(kind for kind in SUBJECTS if KINDS[kind].has_receipts)
TELLING = [kind for kind in REPORTING if SUBJECTS[kind].genuine is not None]
FOLLOWS = {
    Action.NONE, Action.DELIVERED, Action.RETRY, Action.RETRY_AFTER, Action.REJECT_MESSAGE, Action.DISABLE_TARGET,
    Action.SUPPRESS_TARGET, Action.UNSUPPRESS_TARGET, Action.STOP_PROVIDER, Action.QUOTA,
}  # fmt: skip
"""What may follow from a receipt: all but what only a request can lead to."""
HARMLESS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def nothing(url: str) -> bytes:
    """There is nothing at any address."""
    raise OSError(f"nothing at {url}")


def read(subject: Subject, account: Account, inbound: Inbound) -> Sequence[Receipt]:
    """What the kind's reader makes of a request."""

    async def reading() -> Sequence[Receipt]:
        async with asyncio.timeout(10):
            found: Sequence[Receipt] = await subject.module().read_receipts(inbound, account, nothing)
            return found

    return asyncio.run(reading())


def genuine_of(kind: str, addresses: SandboxAddresses) -> tuple[Subject, Account, Genuine]:
    """A genuine request of the kind and the account it is for."""
    subject = SUBJECTS[kind]
    account = subject.account(addresses)
    assert subject.genuine is not None
    genuine = subject.genuine({**account.credentials, **account.options})
    return subject, replace(account, credentials={**account.credentials, **genuine.fields}), genuine


@pytest.mark.parametrize("kind", TELLING)
def test_a_genuine_request_is_read_the_same_however_often_it_comes(kind: str, addresses: SandboxAddresses) -> None:
    """Events with keys that stay, apart from each other; nothing is said of them but what may follow from a receipt."""
    subject, account, genuine = genuine_of(kind, addresses)
    first, again = (read(subject, account, genuine.inbound) for _ in range(2))
    assert first
    assert list(first) == list(again)
    told = [(receipt.event, receipt.key) for receipt in first]
    assert len(set(told)) == len(told)
    for receipt in first:
        assert receipt.key
        assert receipt.tag or receipt.provider_message_id or receipt.address
        assert receipt.at is None or receipt.at.tzinfo is not None
        assert receipt.action in FOLLOWS


def changed(inbound: Inbound, signature: str, wrong: str) -> Inbound:
    """The request with another signature, wherever it stands."""
    return replace(
        inbound,
        url=inbound.url.replace(signature, wrong),
        headers={name: value.replace(signature, wrong) for name, value in inbound.headers.items()},
        body=inbound.body.replace(signature.encode(), wrong.encode()),
    )


@pytest.mark.parametrize("kind", TELLING)
def test_a_signature_with_another_letter_is_forged(kind: str, addresses: SandboxAddresses) -> None:
    """At whatever place it is changed."""
    subject, account, genuine = genuine_of(kind, addresses)
    if not genuine.signature:
        pytest.skip(f"{kind} does not sign: the secret address is all there is")
    for place, letter in enumerate(genuine.signature):
        for other in "0A":
            if letter.lower() == other.lower():
                continue
            wrong = genuine.signature[:place] + other + genuine.signature[place + 1 :]
            forged = changed(genuine.inbound, genuine.signature, wrong)
            assert forged != genuine.inbound
            with pytest.raises(ForgedReceiptError):
                read(subject, account, forged)


@pytest.mark.parametrize("kind", TELLING)
def test_a_body_with_another_byte_is_forged(kind: str, addresses: SandboxAddresses) -> None:
    """Where the signature is over the body: every byte of it counts."""
    subject, account, genuine = genuine_of(kind, addresses)
    if not genuine.signature or not genuine.covers_body:
        pytest.skip(f"{kind} does not sign the body")
    body = genuine.inbound.body
    for place in range(len(body)):
        other = b"0" if body[place : place + 1] != b"0" else b"1"
        with pytest.raises(ForgedReceiptError):
            read(subject, account, replace(genuine.inbound, body=body[:place] + other + body[place + 1 :]))


@pytest.mark.parametrize("kind", TELLING)
def test_a_request_without_its_signature_is_forged(kind: str, addresses: SandboxAddresses) -> None:
    """Taken off, not changed."""
    subject, account, genuine = genuine_of(kind, addresses)
    if not genuine.signature:
        pytest.skip(f"{kind} does not sign: the secret address is all there is")
    with pytest.raises(ForgedReceiptError):
        read(subject, account, changed(genuine.inbound, genuine.signature, ""))
    if any(genuine.signature in value for value in genuine.inbound.headers.values()):
        content_type = genuine.inbound.headers.get("content-type", "")
        with pytest.raises(ForgedReceiptError):
            read(subject, account, replace(genuine.inbound, headers={"content-type": content_type}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())
DEEP = (b"[" * 100_000, b'{"a":' * 50_000, b"[" * 50_000 + b"]" * 50_000, b"1" * 10_000, b"\xff\xfe", b"", b"null")


def unkeyed(subject: Subject, addresses: SandboxAddresses) -> Account:
    """The account without a key for its receipts."""
    account = subject.account(addresses)
    return replace(account, credentials={k: v for k, v in account.credentials.items() if k != "webhookKey"})


def refused_or_read(subject: Subject, account: Account, inbound: Inbound) -> None:
    """Read it; a refusal is all it may raise."""
    with contextlib.suppress(ReceiptRefusedError):
        assert all(isinstance(receipt, Receipt) for receipt in read(subject, account, inbound))


@pytest.mark.parametrize("kind", REPORTING)
@HARMLESS
@given(
    body=BODIES,
    headers=st.dictionaries(
        st.sampled_from(["content-type", "authorization", "x-twilio-signature", "svix-id", "webhook-signature", "a"]),
        st.text(max_size=30) | st.sampled_from(["application/json", "application/x-www-form-urlencoded"]),
        max_size=3,
    ),
    query=st.text(max_size=20),
    method=st.sampled_from(["GET", "POST"]),
)
def test_garbage_is_refused_or_no_news(
    kind: str, addresses: SandboxAddresses, body: bytes, headers: Mapping[str, str], query: str, method: str
) -> None:
    """Whatever comes to the address, nothing but a refusal is raised."""
    subject = SUBJECTS[kind]
    inbound = Inbound(
        method=method, url=f"{RECEIPTS_URL}?{query}", headers=headers, body=body, received_at=datetime.now(UTC)
    )
    for account in (subject.account(addresses), unkeyed(subject, addresses)):
        refused_or_read(subject, account, inbound)


@pytest.mark.parametrize("kind", REPORTING)
def test_huge_nesting_and_broken_text_are_refused_or_no_news(kind: str, addresses: SandboxAddresses) -> None:
    """In JSON and as a form."""
    subject = SUBJECTS[kind]
    for body in DEEP:
        for content_type in ("application/json", "application/x-www-form-urlencoded"):
            inbound = Inbound(
                method="POST",
                url=RECEIPTS_URL,
                headers={"content-type": content_type},
                body=body,
                received_at=datetime.now(UTC),
            )
            refused_or_read(subject, unkeyed(subject, addresses), inbound)


@pytest.mark.parametrize("kind", TELLING)
def test_what_is_signed_and_makes_no_sense_is_refused_or_no_news(kind: str, addresses: SandboxAddresses) -> None:
    """A provider's own mistakes raise nothing else: wrong types in the right places, nesting, no text at all."""
    subject, account, genuine = genuine_of(kind, addresses)
    if genuine.with_body is None:
        pytest.skip(f"{kind} brings no way to sign another body")
    sign = genuine.with_body

    @HARMLESS
    @given(body=BODIES | twisted(genuine.inbound.body))
    def reading(body: bytes) -> None:
        refused_or_read(subject, account, sign(body))

    reading()
    for body in DEEP:
        refused_or_read(subject, account, sign(body))


def twisted(body: bytes) -> st.SearchStrategy[bytes]:
    """The body, if it is JSON, with some of its values replaced by others."""
    try:
        document = json.loads(body)
    except ValueError:
        return st.just(body)
    return _twist(document).map(lambda value: json.dumps(value).encode())


def _twist(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, dict):
        inner: st.SearchStrategy[Any] = st.fixed_dictionaries({name: _twist(item) for name, item in value.items()})
    elif isinstance(value, list):
        inner = st.tuples(*map(_twist, value)).map(list)
    else:
        inner = st.just(value)
    return inner | JSON
