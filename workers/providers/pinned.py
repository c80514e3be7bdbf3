"""Connections to an address that was checked: for httpx below TLS, and as a socket for SMTP.

The name is resolved here and nowhere else; TLS still asks for the certificate of the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING

import httpcore
import httpx

from workers.providers.destinations import MAIL_PORTS

if TYPE_CHECKING:
    from workers.providers.destinations import Destinations


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """What httpcore opens connections with: it connects to permitted addresses only."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses, tried in order; raises `DestinationRefusedError`."""
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._destinations.addresses(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name can't be resolved") from error
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError("no address")
        for position, address in enumerate(addresses):
            # an address that swallows packets leaves the others their share of the time
            share = None if deadline is None else max(0.0, deadline - clock()) / (len(addresses) - position)
            try:
                return await self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


def pinned_transport(
    destinations: Destinations, *, verify: ssl.SSLContext, limits: httpx.Limits
) -> httpx.AsyncHTTPTransport:
    """A transport whose connections go to permitted addresses only, and through no proxy."""
    transport = httpx.AsyncHTTPTransport(verify=verify, limits=limits)
    # httpx 0.28 hands no network backend through to httpcore, whose pool takes one (documented there)
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001
        ssl_context=verify,
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        keepalive_expiry=limits.keepalive_expiry,
        network_backend=PinnedBackend(destinations),
    )
    return transport


async def mail_socket(destinations: Destinations, host: str, port: int, *, timeout_s: float) -> socket.socket:
    """A socket connected to one of the host's addresses, for SMTP.

    Raises `DestinationRefusedError`, `TimeoutError` and `OSError`.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        addresses = await destinations.addresses(host, port, ports=MAIL_PORTS)
        failure: OSError = ConnectionError("no address")
        for position, address in enumerate(addresses):
            opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            opened.setblocking(False)  # noqa: FBT003  the standard library's signature
            try:
                async with asyncio.timeout(timeout_s / (len(addresses) - position)):
                    await loop.sock_connect(opened, (address, port))
            except OSError as error:  # a timeout is one
                opened.close()
                failure = error
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        raise failure
