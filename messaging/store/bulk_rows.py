"""Rows of a bulk subscription, checked one by one before they reach the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from messaging.address import normalise
from messaging.channel import Channel
from messaging.content_fields import storable
from messaging.errors import InvalidArgumentError
from messaging.ids import check_id, new_id
from messaging.vault import Vault

LONGEST_NAME = 128

Providers = Mapping[str, tuple[int, str, Channel]]
"""Public id → number, kind and channel of a project's providers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRow:
    """One subscriber to be: an address (perhaps of a user), or a target that exists."""

    line: int
    """Where it stands in its file, for the report."""
    address: str | None = None
    target_id: str | None = None
    user_id: str | None = None
    name: str = ""
    provider_id: str | None = None
    problem: str | None = None
    """Why its reader could not read it; such a row is rejected with this reason."""


class Incoming(NamedTuple):
    """A checked row, in the order of the temporary table's columns."""

    line: int
    user_id: str | None
    name: str
    identifier: str | None
    hash: bytes | None
    provider: int | None
    target_id: str | None
    new_target_id: str
    new_subscriber_id: str


def checked(row: BulkRow, vault: Vault, channel: Channel | None, providers: Providers) -> Incoming:
    """The row as it goes to the database; raises `InvalidArgumentError` with the reason for the report."""
    if row.problem is not None:
        raise InvalidArgumentError("row", row.problem)
    if row.user_id is not None:
        check_id("user_id", row.user_id)
    if len(row.name) > LONGEST_NAME:
        raise InvalidArgumentError("name", f"has at most {LONGEST_NAME} characters, not {len(row.name)}")
    provider, kind = _provider(row.provider_id, channel, providers)
    identifier = digest = None
    if row.target_id is None:
        if not row.address:
            raise InvalidArgumentError("row", "has neither an address nor a target_id")
        if channel is None:
            raise InvalidArgumentError("channel", "name the channel of raw addresses")
        identifier = storable("address", normalise(channel, row.address, provider_kind=kind, argument="address"))
        digest = vault.address_hash(channel, identifier)
    return Incoming(
        line=row.line,
        user_id=row.user_id,
        name=storable("name", row.name),
        identifier=identifier,
        hash=digest,
        provider=provider,
        target_id=None if row.target_id is None else check_id("target_id", row.target_id),
        new_target_id=new_id(),
        new_subscriber_id=new_id(),
    )


def _provider(public_id: str | None, channel: Channel | None, providers: Providers) -> tuple[int | None, str | None]:
    if public_id is None:
        return None, None
    found = providers.get(public_id)
    if found is None:
        raise InvalidArgumentError("provider", f"there is no provider '{public_id}'")
    number, kind, its_channel = found
    if its_channel is not channel:
        raise InvalidArgumentError("provider", f"'{public_id}' is a provider of {its_channel}")
    return number, kind
