from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator

import certifi
import pytest

from messaging.local.free_ports import free_ports
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import fcm_credentials
from messaging.outcome import Action
from tests.integration.push_sandbox import Tokens, accepted, context, outgoing, recipients, sandbox, set_faults
from workers.providers.base import Account
from workers.providers.fcm import FcmAdapter, open_adapter


@pytest.fixture(scope="module")
def fcm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A sandbox for the module."""
    with sandbox(tmp_path_factory.mktemp("sandbox")) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def account(fcm: SandboxAddresses) -> Account:
    """A service account the sandbox knows."""
    credentials = fcm_credentials(fcm.control, fcm.fcm_token)
    return Account(provider_id=1, public_id="p", kind="fcm", credentials=credentials)


@pytest.fixture
def unused_port() -> int:
    """A port nobody listens on."""
    return free_ports(1)[0]


def device() -> str:
    """A registration token nobody has."""
    return f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_urlsafe(100)}"


def run(
    addresses: SandboxAddresses,
    account: Account,
    scenario: Callable[[FcmAdapter, Tokens], Awaitable[None]],
) -> None:
    """Run `scenario` with an adapter connected to the sandbox."""

    async def within() -> None:
        tokens = Tokens()
        adapter = open_adapter(account, context(addresses, tokens))
        try:
            await scenario(adapter, tokens)
        finally:
            await adapter.aclose()

    asyncio.run(within())


def test_many_devices_are_reached_with_one_access_token(fcm: SandboxAddresses, account: Account) -> None:
    """A thousand devices at once: all accepted, each once, with Google's name, and one access token is fetched."""
    to = recipients(*(device() for _ in range(1000)))
    names: dict[str, str | None] = {}

    async def scenario(adapter: FcmAdapter, tokens: Tokens) -> None:
        outcomes = await adapter.send(adapter.prepare(outgoing(title="a", data={"k": "ž"})), to)
        assert {o.action for o in outcomes} == {Action.ACCEPTED}
        names.update({r.address: o.provider_message_id for r, o in zip(to, outcomes, strict=True)})
        assert tokens.minted == 1

    run(fcm, account, scenario)
    got = [line for line in accepted(fcm, "fcm") if line["recipient"] in names]
    assert len(got) == 1000
    assert {line["recipient"]: line["id"].rpartition("/")[2] for line in got} == names


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_ca_file_stands_above_those_of_other_programs(
    fcm: SandboxAddresses, account: Account, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Google's library reads the environment for a request that does not say whom it trusts."""
    monkeypatch.setenv(name, certifi.where())

    async def scenario(adapter: FcmAdapter, _tokens: Tokens) -> None:
        (outcome,) = await adapter.send(adapter.prepare(outgoing()), recipients(device()))
        assert outcome.action is Action.ACCEPTED

    run(fcm, account, scenario)


@pytest.mark.parametrize(
    ("prefix", "action", "code"),
    [
        ("magic-invalid-token", Action.REJECT_MESSAGE, "INVALID_ARGUMENT"),
        ("magic-third-party-auth", Action.STOP_PROVIDER, "THIRD_PARTY_AUTH_ERROR"),
        ("magic-unauthenticated-once", Action.ACCEPTED, ""),
        ("magic-unauthenticated-x", Action.STOP_PROVIDER, "UNAUTHENTICATED"),
        ("magic-sender-mismatch", Action.DISABLE_TARGET, "SENDER_ID_MISMATCH"),
        ("magic-permission-denied", Action.STOP_PROVIDER, "PERMISSION_DENIED"),
        ("magic-unregistered", Action.DISABLE_TARGET, "UNREGISTERED"),
        ("magic-not-found", Action.STOP_PROVIDER, "NOT_FOUND"),
        ("magic-too-large", Action.REJECT_MESSAGE, "payload too large"),
        ("magic-quota-x", Action.RETRY_AFTER, "QUOTA_EXCEEDED"),
        ("magic-internal-x", Action.RETRY, "INTERNAL"),
        ("magic-unspecified", Action.RETRY, "UNSPECIFIED_ERROR"),
        ("magic-unavailable-x", Action.RETRY, "UNAVAILABLE"),
        ("magic-reset", Action.AMBIGUOUS_RETRY, "no_answer"),
        ("magic-refused-stream", Action.RETRY, "refused_stream"),
        ("magic-drop", Action.AMBIGUOUS_RETRY, "no_answer"),
        ("magic-lost-answer", Action.AMBIGUOUS_RETRY, "no_answer"),
    ],
)
def test_each_class_of_answer_has_its_outcome(
    fcm: SandboxAddresses, account: Account, prefix: str, action: Action, code: str
) -> None:
    """Over the real protocol, each magic token leads to the outcome of its class, with a reason in words."""
    (to,) = recipients(f"{prefix}-{secrets.token_hex(8)}")

    async def scenario(adapter: FcmAdapter, _tokens: Tokens) -> None:
        (outcome,) = await adapter.send(adapter.prepare(outgoing()), [to])
        assert (outcome.action, outcome.code) == (action, code)
        assert bool(outcome.reason) == (action is not Action.ACCEPTED)
        assert to.address not in outcome.reason

    run(fcm, account, scenario)


def test_an_invalid_token_is_retired_once_the_payload_has_proved_good(fcm: SandboxAddresses, account: Account) -> None:
    """INVALID_ARGUMENT blames the content until the same content was accepted for another token."""

    async def scenario(adapter: FcmAdapter, _tokens: Tokens) -> None:
        prepared = adapter.prepare(outgoing())
        bad = recipients(f"magic-invalid-token-{secrets.token_hex(4)}")
        (before,) = await adapter.send(prepared, bad)
        await adapter.send(prepared, recipients(device()))
        (after,) = await adapter.send(prepared, bad)
        assert (before.action, after.action) == (Action.REJECT_MESSAGE, Action.DISABLE_TARGET)

    run(fcm, account, scenario)


def test_a_refused_access_token_is_renewed_once_for_all(fcm: SandboxAddresses, account: Account) -> None:
    """A hundred requests refused with a bad token are sent with one new one."""

    async def scenario(adapter: FcmAdapter, tokens: Tokens) -> None:
        tokens.tokens[adapter._token._key] = "stale"
        outcomes = await adapter.send(adapter.prepare(outgoing()), recipients(*(device() for _ in range(100))))
        assert {o.action for o in outcomes} == {Action.ACCEPTED}
        assert tokens.minted == 1

    run(fcm, account, scenario)


def test_a_service_account_google_does_not_know_stops_the_provider(fcm: SandboxAddresses, account: Account) -> None:
    """invalid_grant at the token endpoint is the operator's to solve, and no message is sent."""
    info = account.credentials["serviceAccountJSON"]
    assert isinstance(info, dict)
    credentials = {"serviceAccountJSON": {**info, "client_email": "nobody@example.iam.gserviceaccount.com"}}
    unknown = Account(provider_id=1, public_id="p", kind="fcm", credentials=credentials)

    async def scenario(adapter: FcmAdapter, _tokens: Tokens) -> None:
        outcomes = await adapter.send(adapter.prepare(outgoing()), recipients(device(), device()))
        assert {(o.action, o.code) for o in outcomes} == {(Action.STOP_PROVIDER, "invalid_grant")}

    run(fcm, unknown, scenario)


def test_an_unreachable_token_endpoint_is_tried_again(
    fcm: SandboxAddresses, account: Account, unused_port: int
) -> None:
    """Without an answer from the token endpoint messages are not sent, try again."""
    info = account.credentials["serviceAccountJSON"]
    assert isinstance(info, dict)
    credentials = {"serviceAccountJSON": {**info, "token_uri": f"http://127.0.0.1:{unused_port}/token"}}
    nowhere = Account(provider_id=1, public_id="p", kind="fcm", credentials=credentials)

    async def scenario(adapter: FcmAdapter, _tokens: Tokens) -> None:
        (outcome,) = await adapter.send(adapter.prepare(outgoing()), recipients(device()))
        assert (outcome.action, outcome.code) == (Action.RETRY, "unreachable")

    run(fcm, nowhere, scenario)


def test_a_throttled_project_says_for_how_long(fcm: SandboxAddresses, account: Account) -> None:
    """A 429 with Retry-After becomes a pause of that many seconds."""
    set_faults(fcm, protocol="fcm", rate_429=1.0, retry_after_s=7)

    async def scenario(adapter: FcmAdapter, _tokens: Tokens) -> None:
        (outcome,) = await adapter.send(adapter.prepare(outgoing()), recipients(device()))
        assert (outcome.action, outcome.code, outcome.retry_after_s) == (Action.RETRY_AFTER, "QUOTA_EXCEEDED", 7)

    try:
        run(fcm, account, scenario)
    finally:
        set_faults(fcm)


def test_a_check_is_a_dry_run_for_no_device(fcm: SandboxAddresses, account: Account) -> None:
    """An invalid token is what a good account is told of; nothing is sent."""
    before = len(accepted(fcm, "fcm"))

    async def scenario(adapter: FcmAdapter, tokens: Tokens) -> None:
        outcome = await adapter.check()
        assert (outcome.action, outcome.code) == (Action.ACCEPTED, "")
        assert "sandbox-project" in outcome.reason
        assert tokens.minted == 1

    run(fcm, account, scenario)
    assert len(accepted(fcm, "fcm")) == before


@pytest.mark.parametrize(
    ("fault", "action", "outage"),
    [
        ({"rate_500": 1.0}, Action.RETRY, True),
        ({"rate_503": 1.0}, Action.RETRY, True),
        ({"rate_503": 1.0, "retry_after_s": 7}, Action.RETRY_AFTER, True),
        ({"rate_429": 1.0}, Action.RETRY_AFTER, False),
    ],
)
def test_a_check_fares_as_messages_would(
    fcm: SandboxAddresses, account: Account, fault: dict[str, float], action: Action, outage: bool
) -> None:
    """While Google fails or holds back, nothing is said of the account."""
    set_faults(fcm, protocol="fcm", **fault)

    async def scenario(adapter: FcmAdapter, _: Tokens) -> None:
        outcome = await adapter.check()
        assert (outcome.action, outcome.outage) == (action, outage)

    try:
        run(fcm, account, scenario)
    finally:
        set_faults(fcm)
