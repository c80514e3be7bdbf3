"""Many connections to one server, for httpx: each request takes one that nobody uses, the one used last first."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

import httpx

from workers.providers.http1_connection import Connection

if TYPE_CHECKING:
    from workers.providers.destinations import Destinations

MOST_BYTES = 4 * 1024 * 1024
"""Of an answer, as it comes; one for a thousand recipients has some hundred kilobytes."""
KEPT_IDLE_S = 5.0
"""httpx's own. A message sent into a connection the other side has closed is unknown, and an unknown text message is
not sent again."""

_SECOND_FAMILY_S = 0.25
"""RFC 8305 §5: then the other of IPv4 and IPv6 is tried beside the first."""


class Http1Transport(httpx.AsyncBaseTransport):
    """As many calls in flight as there may be connections; the next ones wait."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        connections: int,
        destinations: Destinations | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """`destinations` say where names may lead; None for an address that is the operator's or the catalogue's."""
        verify.set_alpn_protocols(["http/1.1"])
        self._tls = verify
        self._destinations = destinations
        self._most_bytes = most_bytes
        self._seats = asyncio.Semaphore(connections)
        self._idle: dict[tuple[str, str, int], list[Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, read to its end; raises `httpx.TransportError`.

        `httpx.PoolTimeout`, `ConnectError` and `ConnectTimeout` mean that nothing was sent.
        """
        if self._seats.locked():
            await self._wait(request)
        else:
            await self._seats.acquire()
        connection: Connection | None = None
        try:
            url = request.url
            place = (url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80))
            connection = self._kept(place) or await self._open(request, *place)
            response = await connection.answer(request)
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        else:
            self._keep(place, connection)
        finally:
            self._seats.release()
        return response

    async def aclose(self) -> None:
        """Close every connection that is not in use."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    async def _wait(self, request: httpx.Request) -> None:
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                await self._seats.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection came free in time", request=request) from None

    # ------------------------------------------------------------------ connections that nobody uses

    def _kept(self, place: tuple[str, str, int]) -> Connection | None:
        kept = self._idle.get(place)
        while kept:
            connection = kept.pop()
            is_fresh = asyncio.get_running_loop().time() - connection.idle_since < KEPT_IDLE_S
            if connection.usable and is_fresh and connection.is_quiet():
                return connection
            connection.abort()
        return None

    def _keep(self, place: tuple[str, str, int], connection: Connection) -> None:
        if not connection.usable:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(place, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEPT_IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for place, kept in list(self._idle.items()):
            fresh = [each for each in kept if each.usable and loop.time() - each.idle_since < KEPT_IDLE_S]
            for connection in kept:
                if connection not in fresh:
                    connection.abort()
            if fresh:
                self._idle[place] = fresh
            else:
                del self._idle[place]
        if self._idle:
            self._sweep = loop.call_later(KEPT_IDLE_S, self._close_idle)

    # ------------------------------------------------------------------ opening

    async def _open(self, request: httpx.Request, scheme: str, host: str, port: int) -> Connection:
        if scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(f"the address begins with {scheme!r}, not with http", request=request)
        tls = self._tls if scheme == "https" else None
        timeout_s = request.extensions.get("timeout", {}).get("connect")
        try:
            async with asyncio.timeout(timeout_s):
                if self._destinations is None:
                    return await self._connect(host, port, tls, host)
                addresses = await self._destinations.addresses(host, port)
                return await self._first_of(addresses, host, port, tls, timeout_s)
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time", request=request) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that can't be encoded
            raise httpx.ConnectError(f"no connection: {error}", request=request) from error

    async def _first_of(
        self, addresses: Sequence[str], host: str, port: int, tls: ssl.SSLContext | None, timeout_s: float | None
    ) -> Connection:
        """A connection to the first of the addresses that gives one."""
        failure: OSError = ConnectionError("no address")
        for position, address in enumerate(addresses):
            # an address that swallows packets leaves the others their share of the time
            share_s = None if timeout_s is None else timeout_s / (len(addresses) - position)
            try:
                async with asyncio.timeout(share_s):
                    return await self._connect(address, port, tls, host)
            except ssl.SSLError:
                raise
            except OSError as error:  # a timeout is one
                failure = error
        raise failure

    async def _connect(self, address: str, port: int, tls: ssl.SSLContext | None, name: str) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(most_bytes=self._most_bytes),
            address,
            port,
            ssl=tls,
            server_hostname=name if tls is not None else None,
            happy_eyeballs_delay=_SECOND_FAMILY_S,
        )
        return connection
