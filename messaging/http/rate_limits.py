"""Rate limits: how often an operation may be called by those without an API key."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from http import HTTPStatus

from sqlalchemy import Connection

from messaging.http.caller import Caller
from messaging.http.errors import ApiError
from messaging.http.operations import Limit, Operation
from messaging.http.parameters import Values
from messaging.store import rate_limits
from messaging.vault import Vault

_IPV6_HOST_BITS = 64


def count(
    connection: Connection, vault: Vault, operation: Operation, caller: Caller, values: Values, *, address: str
) -> tuple[dict[str, str], ApiError | None]:
    """The `X-RateLimit-*` headers after this call was counted, and the error where it is one too many.

    The error is returned and not raised: what was counted must be committed.
    """
    if caller.is_key:
        return {}, None
    told: tuple[int, Limit, rate_limits.Hits] | None = None
    for limit in operation.limits:
        said = [str(caller.project_id), operation.name, *_parts(limit, caller, values, address)]
        hits = rate_limits.count(connection, vault.counter_name(" ".join(said)), window_s=limit.window_s)
        left = limit.calls - hits.count
        if told is None or left < told[0]:
            told = left, limit, hits
    if told is None:
        return {}, None
    left, limit, hits = told
    headers = {
        "X-RateLimit-Limit": str(limit.calls),
        "X-RateLimit-Remaining": str(max(0, left)),
        "X-RateLimit-Reset": str(int(hits.resets_at.timestamp())),
    }
    return headers, _too_many(hits) if left < 0 else None


def _parts(limit: Limit, caller: Caller, values: Values, address: str) -> list[str]:
    known: Mapping[str, str] = {
        "address": network_of(address),
        "user": caller.user.user_id if caller.user is not None else "",
    }
    return [f"{name}={known[name] if name in known else str(values[name]).casefold()}" for name in limit.by]


def network_of(address: str) -> str:
    """`address`, or the /64 an IPv6 address is in: that much everyone gets who gets any."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_HOST_BITS), strict=False))


def _too_many(hits: rate_limits.Hits) -> ApiError:
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "general_rate_limit_exceeded",
        "Rate limit for the current endpoint has been exceeded. Please try again after some time.",
        headers={"Retry-After": str(max(1, hits.seconds_left))},
    )
