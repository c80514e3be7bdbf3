"""What adapters over HTTP/1.1 share: the client, the settings it needs, and the meaning of a request without answer."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from messaging.catalog import kind_of
from messaging.errors import SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.bounded import BoundedClient
from workers.providers.destinations import CODE, DestinationRefusedError
from workers.providers.http1_transport import Http1Transport
from workers.providers.pinned import pinned_transport
from workers.providers.spread import Spread
from workers.providers.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.providers.base import Account, Context

CONNECT_TIMEOUT_S = 10.0
"""Also the longest wait for a free connection."""
ANSWER_TIMEOUT_S = 30.0
"""Half a lease: an answer after the lease settles nothing."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""A server on this machine is no proxy's business."""

_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def open_client(
    account: Account,
    context: Context,
    *,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    base_url: str | None = None,
    many_servers: bool = False,
) -> httpx.AsyncClient:
    """A client at the account's base address, with as many connections as it may have calls in flight: more wait.

    `base_url` replaces the kind's own address, for accounts that have one of theirs: it may lead where
    `context.destinations` permits. A replaced endpoint of the settings goes before both, and may lead anywhere. No
    redirect is followed. `auth` are user and password (HTTP Basic). `many_servers` is for whom an address leads to
    another server each: their connections are in one pool. Raises `SettingsError` when the extra authority can't be
    read.
    """
    connections = calls_in_flight(context)
    replaced = context.endpoints.get(account.kind)
    address = replaced or base_url or kind_of(account.kind).endpoint
    verify, proxy = client_context(context.ca_file), proxy_for(address)
    # an address of the operator's or of the catalogue is not asked about; a proxy resolves names itself, and decides
    pinned = not replaced and proxy is None and (base_url is not None or many_servers)

    def httpx_own(size: int) -> httpx.AsyncHTTPTransport:
        # Kept for 5 s idle (the default): a message sent into a connection the other side has closed is unknown,
        # and an unknown text message is not sent again.
        limits = httpx.Limits(max_connections=size, max_keepalive_connections=size)
        if pinned:
            return pinned_transport(context.destinations, verify=verify, limits=limits)
        return httpx.AsyncHTTPTransport(verify=verify, proxy=proxy, limits=limits)

    def transport() -> httpx.AsyncBaseTransport:
        if many_servers:
            return httpx_own(context.concurrency)
        if proxy is not None:
            return Spread(lambda: httpx_own(1), connections)
        destinations = context.destinations if pinned else None
        return Http1Transport(verify=verify, connections=connections, destinations=destinations)

    login = {} if auth is None else {"authorization": _basic(*auth)}  # rendered once, not for every request
    return BoundedClient(
        base_url=address,
        auth=auth,
        headers={"accept": "application/json"} | login | dict(headers or {}),
        transport=transport(),
        timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
    )


def calls_in_flight(context: Context) -> int:
    """How many connections there may be that take one call at a time."""
    return context.connections if context.connections > 1 else context.concurrency


def _basic(user: str, password: str) -> str:
    """HTTP Basic (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def proxy_for(address: str) -> str | None:
    """The proxy that the environment (`HTTPS_PROXY`, `NO_PROXY`, …) names for the address, if any."""
    place = urlsplit(address)
    if place.hostname and (place.hostname in _LOOPBACK or proxy_bypass(place.hostname)):
        return None
    found = getproxies()
    return found.get(place.scheme or "https") or found.get("all")


def lost(error: httpx.HTTPError, provider: str) -> Outcome:
    """The outcome of a request to `provider` (its title) without a readable answer.

    Not sent if it never left, else unknown.
    """
    name = type(error).__name__
    if isinstance(error, DestinationRefusedError):
        return refused(error)
    if isinstance(error, _NOT_SENT_ERRORS):
        return Outcome(Action.RETRY, code=name, reason=f"not sent: no connection to {provider}", outage=True)
    if isinstance(error, httpx.UnsupportedProtocol):
        return Outcome(Action.STOP_PROVIDER, code=name, reason="the endpoint is not an http(s) address: correct it")
    return Outcome(
        Action.AMBIGUOUS_RETRY, code=name, reason="the request left and no readable answer came back", outage=True
    )


def refused(error: DestinationRefusedError) -> Outcome:
    """The outcome where the account's own address may not be connected to."""
    reason = f"not sent: {error}: correct the address, or allow it with MESSAGING_PRIVATE_DESTINATIONS"
    return Outcome(Action.STOP_PROVIDER, code=CODE, reason=reason)


def required_text(values: Mapping[str, object], name: str, title: str) -> str:
    """A credential or option, without blanks around it; raises `SettingsError` where `title`'s account has none."""
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"The {title} provider's {name} is missing: set it and enable the provider.")
    return value.strip()
