"""Where accounts and messages may lead us: the public internet, and what the operator allows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address

import httpcore
import pytest

from messaging.errors import InvalidArgumentError, SettingsError
from messaging.outcome import Action
from messaging.settings import Settings
from workers.providers import http1, webpush
from workers.providers.destinations import ANYWHERE, BAD_PORTS, CODE, MAIL_PORTS, DestinationRefusedError, Destinations
from workers.providers.fcm_credentials import _require_google
from workers.providers.pinned import PinnedBackend

HOSTILE = [
    "0.0.0.0",  # noqa: S104  an address to refuse, not one to listen on
    "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192",
    "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
    "2002:7f00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:101::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip
"""Loopback, private, carrier, link-local, the clouds' metadata, multicast, reserved; plain and wrapped in IPv6."""

PUBLIC = [
    "1.1.1.1", "9.255.255.255", "11.0.0.1", "93.184.215.14", "100.63.255.255", "100.128.0.1", "126.255.255.255",
    "169.253.255.255", "172.15.255.255", "172.32.0.1", "192.167.255.255", "223.255.255.255",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00:1450:4001:82a::200e", "2001:4860:4860::8888", "64:ff9b::1.1.1.1",
    "2002:101:101::1", "::ffff:1.1.1.1",
]  # fmt: skip


def resolving(*answers: Sequence[str]) -> Destinations:
    """Destinations whose names resolve to each of the answers in turn, then to the last for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        del host, port
        return left.pop(0) if len(left) > 1 else left[0]

    return Destinations(resolve=resolve)


def reached(destinations: Destinations, host: str = "host.example", port: int = 443) -> Sequence[str]:
    """The addresses a connection would go to."""
    return asyncio.run(destinations.addresses(host, port))


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """Whatever name led there."""
    with pytest.raises(DestinationRefusedError, match="not public"):
        reached(resolving([address]))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_connected_to(address: str) -> None:
    """Right up to the borders of what is not."""
    assert reached(resolving([address])) == [address]


def test_of_several_addresses_only_the_public_ones_are_tried() -> None:
    """A name with one foot in our network leads to its other foot."""
    assert reached(resolving(["127.0.0.1", "1.1.1.1", "::1", "10.0.0.1"])) == ["1.1.1.1"]


@pytest.mark.parametrize("port", [0, 22, 25, 587, 6000])
def test_ports_of_other_protocols_take_no_request(port: int) -> None:
    """But mail's take mail."""
    with pytest.raises(DestinationRefusedError, match="port"):
        reached(resolving(["1.1.1.1"]), port=port)
    assert MAIL_PORTS < BAD_PORTS
    mail = resolving(["1.1.1.1"]).addresses("mail.example", 587, ports=MAIL_PORTS)
    assert asyncio.run(mail) == ["1.1.1.1"]


def test_the_operator_opens_networks_addresses_and_names() -> None:
    """And nothing beside them."""
    opened = Destinations(("10.1.0.0/16", "192.168.7.9", "fd00::/8", "Relay.House"))
    assert [opened.refusal(each) is None for each in ("10.1.2.3", "10.2.0.1", "192.168.7.9", "192.168.7.8")] == [
        True, False, True, False,
    ]  # fmt: skip
    assert opened.refusal("::ffff:10.1.2.3") is None
    assert opened.refusal("fd00::1") is None
    assert opened.names("relay.house.")
    assert opened.names("10.1.2.3")
    assert not opened.names("10.1.2.3.house")
    assert not opened.names("localhost")
    assert all(ANYWHERE.refusal(each) is None for each in HOSTILE)


def test_a_name_the_operator_opens_may_lead_anywhere() -> None:
    """Whatever it resolves to today."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        del host, port
        return ["10.0.0.9"]

    assert reached(Destinations(("relay.house",), resolve=resolve), "relay.house") == ["10.0.0.9"]
    with pytest.raises(DestinationRefusedError):
        reached(Destinations(("relay.house",), resolve=resolve), "other.house")


class Network(httpcore.AsyncNetworkBackend):
    """Keeps where it was to connect to, and refuses the first."""

    def __init__(self, *, refusing: int = 0) -> None:
        self.asked: list[str] = []
        self._refusing = refusing

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        self.asked.append(f"{host} {port}")
        if len(self.asked) <= self._refusing:
            raise httpcore.ConnectError("refused")
        return httpcore.AsyncMockStream([])


def connected(destinations: Destinations, network: Network, times: int = 1) -> None:
    """Open connections to one host through the backend."""

    async def opening() -> None:
        backend = PinnedBackend(destinations)
        backend._inner = network  # type: ignore[assignment]  # what speaks to the real network
        for _ in range(times):
            await backend.connect_tcp("host.example", 443, timeout=5)

    asyncio.run(opening())


def test_a_name_that_changes_its_mind_leads_nowhere_else() -> None:
    """The address that was checked is the one connected to; the next connection is checked anew (DNS rebinding)."""
    network = Network()
    with pytest.raises(DestinationRefusedError):
        connected(resolving(["1.1.1.1"], ["127.0.0.1"]), network, times=2)
    assert network.asked == ["1.1.1.1 443"]


def test_the_next_address_is_tried_where_one_refuses() -> None:
    """In the resolver's order."""
    network = Network(refusing=1)
    connected(resolving(["1.1.1.1", "1.0.0.1"]), network)
    assert network.asked == ["1.1.1.1 443", "1.0.0.1 443"]


def test_a_refused_destination_stops_the_account_and_says_what_to_do() -> None:
    """No retry: nothing changes by itself. A stranger's push subscription costs only itself."""
    outcome = http1.lost(DestinationRefusedError("the host leads to an address that is not public (loopback)"), "X")
    assert (outcome.action, outcome.code, outcome.outage) == (Action.STOP_PROVIDER, CODE, False)
    assert "MESSAGING_PRIVATE_DESTINATIONS" in outcome.reason
    assert webpush.for_this_one_only(outcome).action is Action.REJECT_MESSAGE


@pytest.mark.parametrize(
    "token_uri",
    [
        "http://oauth2.googleapis.com/token", "https://169.254.169.254/token", "https://googleapis.com.example.org/",
        "https://evilgoogleapis.com/", "https://oauth2.googleapis.com:8443/", "https://[::1", "file:///etc/passwd", "",
        "https://oauth2.googleapis.com@example.org/token",
    ],
)  # fmt: skip
def test_a_service_account_has_its_tokens_minted_at_google(token_uri: str) -> None:
    """The file is a project's, and names an address that we call."""
    with pytest.raises(InvalidArgumentError, match="token_uri"):
        _require_google(token_uri, Destinations())
    _require_google("https://oauth2.googleapis.com/token", Destinations())
    _require_google("http://127.0.0.1:1/token", Destinations(("127.0.0.0/8",)))


def settings(private_destinations: str) -> Settings:
    """Settings with that list."""
    return Settings.load(
        {},
        database_url="postgresql://x/x",
        broker_url="redis://x",
        secret_key="x" * 32,
        private_destinations=private_destinations,
    )


def test_the_setting_takes_networks_addresses_and_names_and_nothing_else() -> None:
    """By commas; a slip of the pen is named at the start."""
    assert settings("10.0.0.0/8, ::1,Relay.House ,").private_destinations == ("10.0.0.0/8", "::1", "relay.house")
    assert settings("").private_destinations == ()
    for wrong in ("10.0.0.0/33", "https://relay.house", "relay.house:25", "10.0.0", "*"):
        with pytest.raises(SettingsError, match="PRIVATE_DESTINATIONS"):
            settings(wrong)


def test_every_hostile_address_is_one() -> None:
    """The table above has no typing error that would be refused for that."""
    for address in (*HOSTILE, *PUBLIC):
        ip_address(address)  # raises
