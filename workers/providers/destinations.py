"""Where an adapter may connect, when a project's key or a message named the address.

Whoever may set up a webhook, a mail server or a push subscription chooses what we call. None of it leads into our own
network: a name is resolved once, every address it has is held against the tables below, and the connection goes to an
address that passed (`pinned.py`), so that a second answer of the DNS changes nothing. `MESSAGING_PRIVATE_DESTINATIONS`
opens what an operator wants opened. Addresses of `MESSAGING_ENDPOINTS__…` are the operator's and not asked about.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

CODE = "destination_refused"
"""The code of a delivery or a check that failed for its destination."""

_Address = IPv4Address | IPv6Address

REFUSED_IPV4: Mapping[IPv4Network, str] = {
    IPv4Network(network): what
    for network, what in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared by customers of one carrier",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "Azure's own service",
        "169.254.0.0/16": "link-local, where clouds keep their metadata",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}
"""Source: https://www.iana.org/assignments/iana-ipv4-special-registry (and
https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16)."""

REFUSED_IPV6: Mapping[IPv6Network, str] = {
    IPv6Network(network): what
    for network, what in {
        "2001::/23": "Teredo and other protocols' own",
        "2001:db8::/32": "for documentation",
        "3fff::/20": "for documentation",
    }.items()
}
"""Source: https://www.iana.org/assignments/iana-ipv6-special-registry. Outside 2000::/3 nothing is public at all."""

_PUBLIC_IPV6 = IPv6Network("2000::/3")
_6TO4 = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")
_MAPPED = IPv6Network("::ffff:0:0/96")

BAD_PORTS = frozenset(
    {0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
     110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
     532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
     5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)  # fmt: skip
"""Ports of other protocols, which may take a request for one of theirs. Source: https://fetch.spec.whatwg.org/#port-blocking"""
MAIL_PORTS = frozenset({25, 465, 587})
"""Those of them on which mail is handed in (RFC 5321, RFC 8314, RFC 6409)."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses a host name has; raises `OSError`."""


class DestinationRefusedError(httpx.ConnectError):
    """The address is not on the public internet: allow it with MESSAGING_PRIVATE_DESTINATIONS, or correct it.

    A `httpx.ConnectError`, so that it passes through a client as one: nothing was sent.
    """


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of `host` as the system's resolver gives them, in its order, each once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(place[0]) for *_, place in found))


class Destinations:
    """What may be connected to besides the public internet."""

    def __init__(self, allowed: Sequence[str] = (), *, resolve: Resolve = resolve) -> None:
        """`allowed` are networks (CIDR), single addresses, and host names, which may then lead anywhere."""
        self._resolve = resolve
        self._names: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for each in allowed:
            try:
                self._networks.append(ip_network(each, strict=False))
            except ValueError:
                self._names.add(_plain(each))

    def names(self, host: str) -> bool:
        """Whether the operator allowed `host` itself: by its name, or by the network of the address it spells."""
        plain = _plain(host)
        if plain in self._names:
            return True
        try:
            return self._opened(ip_address("127.0.0.1" if plain == "localhost" else plain))
        except ValueError:
            return False

    async def addresses(self, host: str, port: int, *, ports: frozenset[int] = frozenset()) -> Sequence[str]:
        """The addresses of `host` that may be connected to, in the resolver's order; never none.

        `ports` are those of `BAD_PORTS` that the protocol may use. Raises `DestinationRefusedError` naming the reason,
        and `OSError` where the name can't be resolved.
        """
        found = await self._resolve(host, port)
        if _plain(host) in self._names:
            return found
        wrong_port = f"port {port} belongs to another protocol" if port in BAD_PORTS - ports else None
        refused = {address: self.refusal(address, wrong_port) for address in found}
        permitted = [address for address, reason in refused.items() if reason is None]
        if not permitted:
            raise DestinationRefusedError(next((reason for reason in refused.values() if reason), "it leads nowhere"))
        return permitted

    def refusal(self, address: str, wrong_port: str | None = None) -> str | None:
        """Why nobody may connect to it, in words; None for a public or an allowed one."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return "the host leads to no address"
        if self._opened(parsed):
            return None
        special = _special(parsed)
        return wrong_port if special is None else f"the host leads to an address that is not public ({special})"

    def _opened(self, address: _Address) -> bool:
        return any(address in network for network in self._networks) or (
            isinstance(address, IPv6Address) and address in _MAPPED and self._opened(_last_32(address))
        )


ANYWHERE = Destinations(("0.0.0.0/0", "::/0"))
"""For addresses that are the operator's own."""


def _special(address: _Address) -> str | None:
    if isinstance(address, IPv4Address):
        return next((what for network, what in REFUSED_IPV4.items() if address in network), None)
    if address in _MAPPED or address in _NAT64:
        return _special(_last_32(address))
    if address in _6TO4:  # its IPv4 address are the 32 bits after the prefix
        return _special(IPv4Address((int(address) >> 80) & 0xFFFFFFFF))
    if address not in _PUBLIC_IPV6:
        return "no public IPv6"
    return next((what for network, what in REFUSED_IPV6.items() if address in network), None)


def _last_32(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
