"""Who may read metrics, and at which port a worker serves them.

There is no secret in them and nobody's address, but how much somebody sends is not everybody's business.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

_THROUGH_A_PROXY = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Headers that say the request came by way of somebody: then its peer is not who asks."""


def may_read(peer: str, headers: Mapping[str, str], token: str | None) -> bool:
    """Whether a request with these headers (lower-case names) from `peer` may read: it bears the token.

    Where none is set, it comes from this machine, and not by way of a proxy, or of a page whose name somebody has lead
    here (DNS rebinding).
    """
    if token is not None:
        scheme, _, said = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(said.strip().encode(), token.encode())
    if any(name in headers for name in _THROUGH_A_PROXY):
        return False
    try:
        name = urlsplit(f"//{headers.get('host', 'localhost')}").hostname or ""
    except ValueError:
        return False
    return _is_loopback(peer) and (name == "localhost" or _is_loopback(name))


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def port_of(said: str | None, node: str) -> int | None:
    """The port of the worker `node` (`push-high@host`) by the setting `metrics_port`; None: it serves none.

    The setting is a number, or `role=number` by commas for processes that share one environment. The role is what the
    node's name begins with, the longest that fits: `push-high` before `push`. Raises `ValueError`.
    """
    ports = _ports(said or "")
    name = node.partition("@")[0]
    fitting = [role for role in ports if role in {"", name} or name.startswith(f"{role}-")]
    return (ports[max(fitting, key=len)] or None) if fitting else None


def checked_ports(value: object) -> object:
    """The setting as it was given; raises `ValueError` where a part of it is no port."""
    if isinstance(value, str):
        _ports(value)
    return value


def _ports(said: str) -> dict[str, int]:
    """Ports by role; the role "" is everybody's."""
    parts = [part.strip() for part in said.split(",") if part.strip()]
    if len(parts) == 1 and "=" not in parts[0]:
        return {"": _port(parts[0])}
    return {role.strip(): _port(number.strip()) for role, _, number in (part.partition("=") for part in parts)}


def _port(said: str) -> int:
    if said.isascii() and said.isdecimal() and int(said) < 2**16:
        return int(said)
    raise ValueError(f"'{said}' is no port. Write one number, or role=number by commas: push=9101,sms=9102")
