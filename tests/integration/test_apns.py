from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator

import jwt
import pytest

from messaging.errors import InvalidArgumentError
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import apns_credentials
from messaging.outcome import ACCEPTED, Action, Outcome
from tests.integration.http2_peer import Peer, make_certificate, serve
from tests.integration.push_sandbox import Tokens, accepted, context, outgoing, recipients, sandbox, set_faults
from workers.providers.apns import ApnsAdapter, open_adapter
from workers.providers.base import Account, Context, Minted
from workers.providers.http2 import Http2Client

BUNDLE = "com.example.app"


@pytest.fixture(scope="module")
def apns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A sandbox for the module."""
    with sandbox(tmp_path_factory.mktemp("sandbox")) as addresses:
        yield addresses


@pytest.fixture
def account(apns: SandboxAddresses) -> Account:
    """A key of its own per test: Apple's rule on token updates goes by key."""
    return Account(
        provider_id=1,
        public_id="p",
        kind="apns",
        credentials=apns_credentials(apns.control, bundle_id=BUNDLE),
    )


def run(
    addresses: SandboxAddresses,
    account: Account,
    scenario: Callable[[ApnsAdapter, Tokens], Awaitable[None]],
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


def test_many_devices_are_reached_with_one_provider_token(apns: SandboxAddresses, account: Account) -> None:
    """Two thousand devices at once: all accepted, each once, under its own apns-id, and one token is minted."""
    to = recipients(*(secrets.token_hex(32) for _ in range(2000)))

    async def scenario(adapter: ApnsAdapter, tokens: Tokens) -> None:
        prepared = adapter.prepare(outgoing(title="Order 17", body="Ready", data={"order": "17"}, collapse_id="c"))
        assert list(await adapter.send(prepared, to)) == [ACCEPTED] * 2000
        assert tokens.minted == 1

    run(apns, account, scenario)
    ours = {r.address: str(r.uuid) for r in to}
    got = [line for line in accepted(apns, "apns") if line["recipient"] in ours]
    assert len(got) == 2000
    assert {line["recipient"]: line["tag"].lower() for line in got} == ours


@pytest.mark.parametrize(
    ("prefix", "action", "code"),
    [
        ("dead0400", Action.DISABLE_TARGET, "BadDeviceToken"),
        ("dead1400", Action.DISABLE_TARGET, "DeviceTokenNotForTopic"),
        ("dead2400", Action.STOP_PROVIDER, "BadTopic"),
        ("dead0403", Action.STOP_PROVIDER, "InvalidProviderToken"),
        ("dead0410", Action.DISABLE_TARGET, "Unregistered"),
        ("dead1410", Action.DISABLE_TARGET, "ExpiredToken"),
        ("dead0413", Action.REJECT_MESSAGE, "PayloadTooLarge"),
        ("dead0429", Action.RETRY, "TooManyRequests"),
        ("dead1429", Action.RETRY_AFTER, "TooManyProviderTokenUpdates"),
        ("dead0500", Action.RETRY, "InternalServerError"),
        ("dead0503", Action.RETRY, "ServiceUnavailable"),
        ("dead4400", Action.RECONNECT_RETRY, "IdleTimeout"),
        ("dead1503", Action.RECONNECT_RETRY, "Shutdown"),
        ("dead0001", Action.AMBIGUOUS_RETRY, "no_answer"),
        ("dead0002", Action.RETRY, "refused_stream"),
        ("dead0003", Action.AMBIGUOUS_RETRY, "no_answer"),
        ("dead2403", Action.ACCEPTED, ""),
    ],
)
def test_each_class_of_answer_has_its_outcome(
    apns: SandboxAddresses, account: Account, prefix: str, action: Action, code: str
) -> None:
    """Over the real protocol, each magic device leads to the outcome of its class, with a reason in words."""
    (to,) = recipients(prefix + secrets.token_hex(28))

    async def scenario(adapter: ApnsAdapter, _tokens: Tokens) -> None:
        (outcome,) = await adapter.send(adapter.prepare(outgoing()), [to])
        assert (outcome.action, outcome.code) == (action, code)
        assert bool(outcome.reason) == (action is not Action.ACCEPTED)
        assert to.address not in outcome.reason
        assert (outcome.dead_since is not None) == (code in {"Unregistered", "ExpiredToken"})

    run(apns, account, scenario)


def test_outcomes_come_in_the_order_of_the_recipients(apns: SandboxAddresses, account: Account) -> None:
    """One dead device among good ones is the one that is retired."""
    good = [secrets.token_hex(32) for _ in range(4)]

    async def scenario(adapter: ApnsAdapter, _tokens: Tokens) -> None:
        to = recipients(*good[:2], "dead0410" + secrets.token_hex(28), *good[2:])
        outcomes = await adapter.send(adapter.prepare(outgoing()), to)
        assert [o.action for o in outcomes] == [
            Action.ACCEPTED,
            Action.ACCEPTED,
            Action.DISABLE_TARGET,
            Action.ACCEPTED,
            Action.ACCEPTED,
        ]

    run(apns, account, scenario)


def test_an_empty_address_is_dead_without_a_request(apns: SandboxAddresses, account: Account) -> None:
    """Apple would call it MissingDeviceToken; it is not asked."""

    async def scenario(adapter: ApnsAdapter, tokens: Tokens) -> None:
        (outcome,) = await adapter.send(adapter.prepare(outgoing()), recipients(""))
        assert (outcome.action, outcome.code) == (Action.DISABLE_TARGET, "MissingDeviceToken")
        assert tokens.minted == 0

    run(apns, account, scenario)


def test_an_address_that_is_no_token_stays_within_its_path(apns: SandboxAddresses, account: Account) -> None:
    """Slashes, spaces and letters beyond ASCII are quoted; the answer is Apple's, not an exception."""

    async def scenario(adapter: ApnsAdapter, _tokens: Tokens) -> None:
        outcomes = await adapter.send(adapter.prepare(outgoing()), recipients("../x", "a b", "ž\r\n", "?a#b"))
        assert {(o.action, o.code) for o in outcomes} == {(Action.DISABLE_TARGET, "BadDeviceToken")}

    run(apns, account, scenario)


def test_graceful_goaways_lose_nothing_and_double_nothing(apns: SandboxAddresses, account: Account) -> None:
    """With a GOAWAY after every 50 requests, 1,000 devices are each accepted exactly once."""
    to = recipients(*(secrets.token_hex(32) for _ in range(1000)))
    set_faults(apns, protocol="apns", goaway_after=50)
    outcomes: dict[str, Outcome] = {}

    async def scenario(adapter: ApnsAdapter, _tokens: Tokens) -> None:
        adapter._client._request_timeout_s = 150.0
        prepared = adapter.prepare(outgoing())
        left = list(to)
        async with asyncio.timeout(150):
            while left:
                for recipient, outcome in zip(left, await adapter.send(prepared, left), strict=True):
                    outcomes[recipient.address] = outcome
                assert {o.action for o in outcomes.values()} <= {Action.ACCEPTED, Action.RECONNECT_RETRY}
                left = [r for r in left if outcomes[r.address].action is not Action.ACCEPTED]

    try:
        run(apns, account, scenario)
    finally:
        set_faults(apns)
    got = [line["recipient"] for line in accepted(apns, "apns") if line["recipient"] in outcomes]
    assert sorted(got) == sorted(outcomes)


def test_a_limit_lowered_while_sending_only_slows_down(apns: SandboxAddresses, account: Account) -> None:
    """MAX_CONCURRENT_STREAMS falls to 1 in mid-flight, as Apple does it: everything still arrives, once."""
    to = recipients(*(secrets.token_hex(32) for _ in range(300)))
    set_faults(apns, protocol="apns", delay_ms=20)

    async def scenario(adapter: ApnsAdapter, _tokens: Tokens) -> None:
        adapter._client._request_timeout_s = 150.0
        sending = asyncio.ensure_future(adapter.send(adapter.prepare(outgoing()), to))
        await asyncio.sleep(0.02)
        await asyncio.to_thread(set_faults, apns, protocol="apns", max_concurrent_streams=1)
        async with asyncio.timeout(150):
            assert {o.action for o in await sending} == {Action.ACCEPTED}

    try:
        run(apns, account, scenario)
    finally:
        set_faults(apns)
    ours = {r.address for r in to}
    assert len([line for line in accepted(apns, "apns") if line["recipient"] in ours]) == 300


def test_a_token_that_ran_out_is_renewed_once_for_all(apns: SandboxAddresses, account: Account) -> None:
    """A hundred devices refused with an hour-old token are sent with one new one."""

    async def scenario(adapter: ApnsAdapter, tokens: Tokens) -> None:
        now = adapter._now()
        adapter._now = lambda: now - 2 * 3600
        await adapter._token.current()
        adapter._now = lambda: now
        outcomes = await adapter.send(
            adapter.prepare(outgoing()), recipients(*(secrets.token_hex(32) for _ in range(100)))
        )
        assert {o.action for o in outcomes} == {Action.ACCEPTED}
        assert tokens.minted == 2

    run(apns, account, scenario)


def test_a_clock_that_is_wrong_stops_the_provider(apns: SandboxAddresses, account: Account) -> None:
    """With a clock two hours behind, new tokens are refused as well: no token is minted over and over."""

    async def scenario(adapter: ApnsAdapter, tokens: Tokens) -> None:
        now = adapter._now()
        adapter._now = lambda: now - 2 * 3600
        outcomes = await adapter.send(
            adapter.prepare(outgoing()), recipients(*(secrets.token_hex(32) for _ in range(10)))
        )
        assert {(o.action, o.code) for o in outcomes} == {(Action.STOP_PROVIDER, "ExpiredProviderToken")}
        assert all("clock" in o.reason for o in outcomes)
        assert tokens.minted == 1

    run(apns, account, scenario)


def test_accounts_with_another_key_do_not_share_a_token(apns: SandboxAddresses, account: Account) -> None:
    """Knowing a team and key id is not enough: without the key, the token of its owner is not used."""
    other = apns_credentials(apns.control)
    thief = Account(
        provider_id=2,
        public_id="q",
        kind="apns",
        credentials={**account.credentials, "authKey": other["authKey"]},
    )

    async def scenario(adapter: ApnsAdapter, tokens: Tokens) -> None:
        await adapter.send(adapter.prepare(outgoing()), recipients(secrets.token_hex(32)))
        theirs = open_adapter(thief, context(apns, tokens))
        (outcome,) = await theirs.send(theirs.prepare(outgoing()), recipients(secrets.token_hex(32)))
        assert (outcome.action, outcome.code) == (Action.STOP_PROVIDER, "InvalidProviderToken")
        await theirs.aclose()

    run(apns, account, scenario)


def test_the_token_is_what_apple_documents(account: Account) -> None:
    """ES256 with the key id in the header, team and time as the only claims."""

    async def scenario() -> Minted:
        return await open_adapter(account, Context(tokens=Tokens()))._mint()

    minted = asyncio.run(scenario())
    header = jwt.get_unverified_header(minted.token)
    assert (header["alg"], header["kid"]) == ("ES256", account.credentials["authKeyId"])
    claims = jwt.decode(minted.token, options={"verify_signature": False})
    assert set(claims) == {"iss", "iat"}
    assert 20 * 60 < minted.lifetime_s < 60 * 60


@pytest.mark.parametrize(
    ("name", "value"),
    [("authKey", "no key"), ("authKey", None), ("teamId", " "), ("bundleId", 5), ("bundleId", "a\r\nb")],
)
def test_a_credential_that_cannot_be_used_is_named(account: Account, name: str, value: object) -> None:
    """Opening an adapter says which credential to correct."""
    broken = Account(
        provider_id=1,
        public_id="p",
        kind="apns",
        credentials={**account.credentials, name: value},
    )
    with pytest.raises(InvalidArgumentError, match=name):
        open_adapter(broken, Context(tokens=Tokens()))


def test_another_key_on_the_connection_leads_to_a_new_connection(
    account: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """UnrelatedKeyIdInToken retires the connection and sends again over a new one, at once."""
    certificate = make_certificate(tmp_path_factory.mktemp("tls"))
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        peer.settings(max_concurrent_streams=10)
        await peer.until(lambda p: len(p.complete) == 1)
        if connections == 1:
            peer.answer(1, 403, body=b'{"reason":"UnrelatedKeyIdInToken"}')
        else:
            peer.answer(1, 200)

    async def scenario() -> None:
        async with serve(script, certificate) as origin:
            client = Http2Client(origin, ssl_context=certificate.client_context())
            adapter = ApnsAdapter(account, Context(tokens=Tokens()), client)
            (outcome,) = await adapter.send(adapter.prepare(outgoing()), recipients("ab" * 32))
            assert (outcome, connections) == (ACCEPTED, 2)
            await adapter.aclose()

    asyncio.run(scenario())


def test_a_silent_provider_leaves_the_outcome_unknown(apns: SandboxAddresses, account: Account) -> None:
    """A device whose request is never answered times out as unknown, and the others are not held up."""

    async def scenario(adapter: ApnsAdapter, _tokens: Tokens) -> None:
        await adapter.check()  # connected, with a token: what is left to wait for is the answer
        adapter._client._request_timeout_s = 5.0
        to = recipients("dead0000" + secrets.token_hex(28), secrets.token_hex(32))
        silent, good = await adapter.send(adapter.prepare(outgoing()), to)
        assert silent.action is Action.AMBIGUOUS_RETRY
        assert good is ACCEPTED

    run(apns, account, scenario)


def test_a_check_is_answered_for_no_device_and_leaves_no_trace(apns: SandboxAddresses, account: Account) -> None:
    """BadDeviceToken says that key, team and topic are good; it is no push."""

    async def scenario(adapter: ApnsAdapter, tokens: Tokens) -> None:
        outcome = await adapter.check()
        assert (outcome.action, outcome.code) == (Action.ACCEPTED, "")
        assert BUNDLE in outcome.reason
        assert tokens.minted == 1

    run(apns, account, scenario)


@pytest.mark.parametrize(
    ("fault", "outage"), [({"rate_500": 1.0}, True), ({"rate_503": 1.0}, True), ({"rate_429": 1.0}, False)]
)
def test_a_check_fares_as_pushes_would(
    apns: SandboxAddresses, account: Account, fault: dict[str, float], outage: bool
) -> None:
    """While Apple fails or holds back, nothing is said of the account."""
    set_faults(apns, protocol="apns", **fault)

    async def scenario(adapter: ApnsAdapter, _: Tokens) -> None:
        outcome = await adapter.check()
        assert (outcome.action, outcome.outage) == (Action.RETRY, outage)

    try:
        run(apns, account, scenario)
    finally:
        set_faults(apns)


def test_a_server_that_goes_away_again_and_again_is_an_outage(
    account: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One GOAWAY is a server that shuts down; a second one on the next connection is told."""
    certificate = make_certificate(tmp_path_factory.mktemp("tls"))

    async def going(peer: Peer) -> None:
        peer.settings(max_concurrent_streams=100)
        await peer.until(lambda p: p.gone or bool(p.complete), within_s=30)
        if not peer.gone:
            peer.go_away(0)
            await peer.until(lambda p: p.gone, within_s=30)

    async def scenario() -> None:
        async with serve(going, certificate) as origin:
            endpoint = Context(tokens=Tokens(), endpoints={"apns": origin}, ca_file=certificate.cert_file)
            adapter = open_adapter(account, endpoint)
            (outcome,) = await adapter.send(adapter.prepare(outgoing()), recipients("ab" * 32))
            await adapter.aclose()
        assert (outcome.action, outcome.code, outcome.outage) == (Action.RECONNECT_RETRY, "goaway", True)

    asyncio.run(scenario())
