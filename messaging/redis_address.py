"""A Redis by its address: one server's own, or that of the Sentinels that know which server is the master now."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.sentinel
from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

SENTINEL = "sentinel:"
_SENTINEL_PORT = 26379


class _Client(Redis):
    """Lets its Sentinels go too when it is closed."""

    sentinels: Sentinel | None = None

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001  redis-py's signature
        await super().aclose(close_connection_pool)
        if self.sentinels is not None:
            await self.sentinels.aclose()


class _BlockingClient(redis.Redis):
    """The same."""

    sentinels: redis.sentinel.Sentinel | None = None

    def close(self) -> None:
        super().close()
        if self.sentinels is not None:
            self.sentinels.close()


def client(url: str, **options: Any) -> Redis:  # noqa: ANN401  redis-py's own options
    """A client of the server at `url`: redis://, rediss://, unix:// or `Settings.with_authority` of sentinel://.

    Over Sentinel each new connection goes to whoever is the master then. Connects when it is first used.
    """
    found: Redis = _client(url, _Client, Sentinel, options)
    return found


def blocking_client(url: str, **options: Any) -> redis.Redis:  # noqa: ANN401  (as above)
    """The same, for who need not do anything else meanwhile."""
    found: redis.Redis = _client(url, _BlockingClient, redis.sentinel.Sentinel, options)
    return found


def _client(url: str, kind: Any, sentinel: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401  of redis-py, of either of its halves
    if not url.startswith(SENTINEL):
        return kind.from_url(url, **options)
    addresses, _, query = url.partition("?")
    sentinels = [urlsplit(each) for each in addresses.split(";") if each]
    said = parse_qs(query)
    # the login is the server's, at any of the addresses, and the database's number is behind the last, as kombu has it
    login = next((each for each in sentinels if each.password), sentinels[0])
    known: dict[str, Any] = {"db": int(sentinels[-1].path.strip("/") or 0)}
    if login.password:
        known["password"] = unquote(login.password)
    if login.username:
        known["username"] = unquote(login.username)
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    asked = timeouts | ({"password": said["sentinel_password"][0]} if "sentinel_password" in said else {})
    nodes = [(each.hostname or "", each.port or _SENTINEL_PORT) for each in sentinels]
    known_by = sentinel(nodes, sentinel_kwargs=asked)
    found = known_by.master_for(said["master"][0], redis_class=kind, **options, **known)
    found.sentinels = known_by
    return found
