"""What adapters over HTTP/1.1 share: the client and the meaning of a request without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from messaging.catalog import kind_of
from messaging.outcome import Action, Outcome
from workers.providers.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.providers.base import Account, Context

CONNECT_TIMEOUT_S = 10.0
"""Also the longest wait for a free connection."""
ANSWER_TIMEOUT_S = 30.0
"""Half a lease: an answer after the lease settles nothing."""

_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def open_client(
    account: Account,
    context: Context,
    *,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    base_url: str | None = None,
) -> httpx.AsyncClient:
    """A client at the account's base address, with as many connections as it may have calls in flight.

    `base_url` replaces the kind's own address, for accounts that have one of theirs; a replaced endpoint of the
    settings goes before both. `auth` are user and password (HTTP Basic). Raises `SettingsError` when the extra
    authority can't be read.
    """
    connections = max(context.connections, context.concurrency)
    return httpx.AsyncClient(
        base_url=context.endpoints.get(account.kind) or base_url or kind_of(account.kind).endpoint,
        auth=auth,
        headers={"accept": "application/json"} | dict(headers or {}),
        verify=client_context(context.ca_file),
        mounts={"all://127.0.0.1": None, "all://localhost": None},  # a server on this machine is no proxy's business
        timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        # Kept for 5 s idle (the default): a message sent into a connection the other side has closed is unknown,
        # and an unknown text message is not sent again.
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


def lost(error: httpx.HTTPError, provider: str) -> Outcome:
    """The outcome of a request to `provider` (its title) without a readable answer.

    Not sent if it never left, else unknown.
    """
    name = type(error).__name__
    if isinstance(error, _NOT_SENT_ERRORS):
        return Outcome(Action.RETRY, code=name, reason=f"not sent: no connection to {provider}", outage=True)
    if isinstance(error, httpx.UnsupportedProtocol):
        return Outcome(Action.STOP_PROVIDER, code=name, reason="the endpoint is not an http(s) address: correct it")
    return Outcome(
        Action.AMBIGUOUS_RETRY, code=name, reason="the request left and no readable answer came back", outage=True
    )
