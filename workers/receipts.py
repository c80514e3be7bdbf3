"""Apply receipts: verify each as its provider prescribes, read it, and let it take effect, once.

What is forged or unreadable is put aside with the reason; what an account has no key for is held until it has one.
A receipt that names a delivery we do not know yet is looked at again: it may have overtaken our own commit.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httpx
import structlog
from sqlalchemy import Connection, Engine

from messaging.catalog import kind_of
from messaging.errors import NotFoundError
from messaging.outcome import Action
from messaging.receipt import (
    Inbound,
    Receipt,
    ReceiptKeyMissingError,
    ReceiptRefusedError,
    UnreadableReceiptError,
)
from messaging.settings import Settings
from messaging.store import dead_targets, provider_stops, providers, receipt_effects, receipts
from messaging.store.dead_targets import guard_trips
from messaging.store.engine import AWAY
from messaging.store.providers import ProviderAccount
from messaging.store.receipt_effects import Applied, Source
from messaging.store.receipts import KeptReceipt, ReceiptState, Settled
from messaging.vault import Vault
from workers.adapters import account_of, module_of
from workers.metrics import counted, road
from workers.pacing import Pacer
from workers.providers.base import Account, Fetch, ReceiptReader
from workers.providers.bounded import BoundedClient
from workers.providers.destinations import Destinations
from workers.providers.http1 import proxy_for
from workers.providers.pinned import pinned_transport
from workers.providers.tls import client_context

_log = structlog.get_logger(__name__)

SLICE_S = 1.0
"""One task works for about a second, then gives way."""
_AT_ONCE = 500
_WORK_S = 60.0
"""Then another worker takes them."""
_UNKNOWN_WAIT_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Pauses before a receipt whose delivery is not known is looked at again."""
_FETCH_TIMEOUT_S = 10.0
_REPLAYED = "Its signature belongs to another request that came before."
_UNKNOWN = "It names no delivery of this project; another application may use the same account."


@dataclass(frozen=True, slots=True)
class _Read:
    """A request that was read."""

    kept: KeptReceipt
    receipts: Sequence[Receipt]


class Receipts:
    """Applies what waits; calls may overlap, in this process and in others."""

    def __init__(self, engine: Engine, vault: Vault, settings: Settings, pacer: Pacer) -> None:
        self._engine = engine
        self._vault = vault
        self._settings = settings
        self._pacer = pacer
        self._destinations = Destinations(settings.private_destinations)

    async def apply_waiting(self) -> tuple[int, bool]:
        """Apply what waits, for about a second; how many requests were worked on, and whether more wait."""
        deadline, done = time.monotonic() + SLICE_S, 0
        while True:
            with self._engine.begin() as connection:
                kept = receipts.take(connection, limit=_AT_ONCE, work_s=_WORK_S)
            for provider_id, of_account in receipts.in_groups(kept):
                await self._apply_account(provider_id, of_account)
            done += len(kept)
            if len(kept) < _AT_ONCE or time.monotonic() > deadline:
                return done, len(kept) == _AT_ONCE

    async def _apply_account(self, provider_id: int, kept: Sequence[KeptReceipt]) -> None:
        try:
            with self._engine.begin() as connection:
                account = providers.load_account(connection, self._vault, provider_id)
        except NotFoundError:
            return  # its receipts went with it
        read, settled = await self._read(account, kept)
        with self._engine.begin() as connection:
            read, replays = _without_replays(connection, account.id, read)
            receipts.settle(connection, [*settled, *replays])
        _count(account.kind, [*settled, *replays])
        try:
            await self._apply(account, read)
        except AWAY:
            raise  # the database is away: all of them wait
        except Exception:  # noqa: BLE001  told apart below, one by one
            _log.exception("Receipts could not be applied together; one by one now.", provider=account.public_id)
            for each in read:
                await self._apply_alone(account, each)

    async def _apply(self, account: ProviderAccount, read: Sequence[_Read]) -> None:
        told = [receipt for each in read for receipt in each.receipts]
        kind = kind_of(account.kind)
        source = Source(account.id, account.project_id, kind.channel, kind.finds_by_id)
        with self._engine.begin() as connection:
            applied = receipt_effects.apply(connection, self._vault, source, told)
            settled = _settled(read, applied)
            receipts.settle(connection, settled)
            self._stop_if_told(connection, account, told)
        _count(account.kind, settled)
        for status, by in applied.statuses.items():
            counted(kind.channel, account.kind).settled(status, "receipt", by)
        await self._weigh(account, applied)

    async def _apply_alone(self, account: ProviderAccount, each: _Read) -> None:
        """One that can't be applied is put aside with the reason, and keeps no other waiting."""
        try:
            await self._apply(account, [each])
        except AWAY:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is about this one
            reason = f"It can't be applied ({type(error).__name__}); the log has more."
            with self._engine.begin() as connection:
                receipts.settle(connection, refused := [Settled(each.kept.id, ReceiptState.REFUSED, reason=reason)])
            _count(account.kind, refused)

    async def _read(self, account: ProviderAccount, kept: Sequence[KeptReceipt]) -> tuple[list[_Read], list[Settled]]:
        reader = cast("ReceiptReader", getattr(module_of(account.kind), "read_receipts", _reads_nothing))
        known = account_of(account)
        fetch = self._fetch(account.kind)
        read: list[_Read] = []
        settled: list[Settled] = []
        for each in kept:
            try:
                read.append(_Read(each, await reader(each.inbound, known, fetch)))
            except ReceiptKeyMissingError as error:
                settled.append(Settled(each.id, ReceiptState.HELD, reason=str(error)))
            except ReceiptRefusedError as error:
                _log.warning("A receipt was refused.", provider=account.public_id, reason=str(error))
                settled.append(Settled(each.id, ReceiptState.REFUSED, reason=str(error)))
            except OSError as error:  # what it refers to could not be fetched
                settled.append(_later(each, f"{type(error).__name__}: {error}"))
            except Exception as error:  # noqa: BLE001  third-party readers may raise anything
                _log.exception("A receipt could not be read.", provider=account.public_id, receipt=each.id)
                settled.append(Settled(each.id, ReceiptState.REFUSED, reason=f"{type(error).__name__}: see the log"))
        return read, settled

    def _stop_if_told(self, connection: Connection, account: ProviderAccount, told: Sequence[Receipt]) -> None:
        for receipt in told:
            if receipt.action in {Action.STOP_PROVIDER, Action.QUOTA}:
                reason = f"A receipt says: {receipt.code} {receipt.reason}".strip()
                if provider_stops.stop_for(connection, account.id, reason, action=receipt.action):
                    _log.error("Provider stopped.", provider=account.public_id, reason=reason)
                return

    async def _weigh(self, account: ProviderAccount, applied: Applied) -> None:
        """Believe no dead address where so many are called dead that the account is more likely to blame.

        They have been marked by now, so that a crash here forgets nobody; a mark counts once it has stood a while.
        """
        if not applied.told:
            return
        sums = await self._pacer.tally(account.id, sent=applied.told, dead=applied.dead, of="receipts")
        if not applied.dead or not guard_trips(*sums):
            return
        reason = "Its receipts call most addresses dead: check its sender, domain and reputation."
        with self._engine.begin() as connection:
            if provider_stops.stop_for(connection, account.id, reason, action=Action.STOP_PROVIDER):
                _log.error("Provider stopped.", provider=account.public_id, reason=reason)
            dead_targets.forget_told(connection, account.id)

    def _fetch(self, kind: str) -> Fetch:
        """What a receipt refers to, over https; at the stand-in of its kind where that is set."""
        stand_in = {name.lower(): url for name, url in self._settings.endpoints.items()}.get(kind)

        async def fetch(url: str) -> bytes:
            place = urlsplit(url)
            if stand_in is not None:
                url = f"{stand_in}/{(place.hostname or '').partition('.')[0]}{place.path}"
                url += f"?{place.query}" if place.query else ""
            elif place.scheme != "https":
                raise ConnectionError("what a receipt refers to is fetched over https only")
            verify = client_context(self._settings.ca_file)
            proxy = None if stand_in is not None else proxy_for(url)
            transport = (
                httpx.AsyncHTTPTransport(verify=verify, proxy=proxy)
                if stand_in is not None or proxy is not None
                else pinned_transport(self._destinations, verify=verify, limits=httpx.Limits())
            )
            async with BoundedClient(transport=transport, timeout=_FETCH_TIMEOUT_S) as client:
                try:
                    answer = await client.get(url)
                except httpx.HTTPError as error:
                    raise ConnectionError(type(error).__name__) from error
            if not answer.is_success:
                raise ConnectionError(f"HTTP {answer.status_code}")
            return answer.content

        return fetch


def _count(kind: str, settled: Sequence[Settled]) -> None:
    for each in settled:
        road().receipts.labels(kind, each.state.name.lower()).inc()


def _without_replays(
    connection: Connection, provider_id: int, read: Sequence[_Read]
) -> tuple[list[_Read], list[Settled]]:
    """Put aside what borrows the signature of another request, where a provider signs a token and not the body."""
    pairs = {
        each.kept.id: {(receipt.once, _digest(each)) for receipt in each.receipts if receipt.once is not None}
        for each in read
    }
    forged = receipts.replayed(connection, provider_id, [pair for each in read for pair in pairs[each.kept.id]])
    kept = [each for each in read if not pairs[each.kept.id] & forged]
    ids = {each.kept.id for each in kept}
    aside = [each.kept.id for each in read if each.kept.id not in ids]
    return kept, [Settled(id_, ReceiptState.REFUSED, reason=_REPLAYED) for id_ in aside]


def _digest(each: _Read) -> bytes:
    return hashlib.sha256(each.kept.inbound.body).digest()


async def _reads_nothing(inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:  # noqa: ARG001
    """Stands in for the reader of a kind that reports nothing."""
    raise UnreadableReceiptError("This kind of provider reports nothing that could be read.")


def _settled(read: Sequence[_Read], applied: Applied) -> list[Settled]:
    """What became of each request, by the places of its receipts among all of them."""
    unknown, place, found = set(applied.unknown), 0, []
    for each in read:
        places = range(place, place + len(each.receipts))
        place += len(each.receipts)
        missing = sum(1 for p in places if p in unknown)
        if missing:
            found.append(_later(each.kept, _UNKNOWN))
        else:
            found.append(Settled(each.kept.id, ReceiptState.APPLIED, events=len(each.receipts)))
    return found


def _later(kept: KeptReceipt, reason: str) -> Settled:
    """Looked at again after a pause, or put aside after the last one. What it brought besides has been applied."""
    if kept.attempts > len(_UNKNOWN_WAIT_S):
        return Settled(kept.id, ReceiptState.REFUSED, reason=reason)
    return Settled(kept.id, ReceiptState.WAITING, reason=reason, wait_s=_UNKNOWN_WAIT_S[kept.attempts - 1])
