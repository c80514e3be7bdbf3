"""Check an account: ask its provider whether it takes it, then send one real message where that is wanted.

The message takes the whole road, through this account and no other. What becomes of it is read from the ledger by
whoever looks (`messaging.store.check_steps`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Connection, Engine

from messaging.catalog import kind_of
from messaging.channel import Channel, Lane, OnUnknown
from messaging.clock import clock
from messaging.errors import MessagingError, NotFoundError
from messaging.message import Content, Email, Push, Sms
from messaging.outcome import Action
from messaging.producer import accept
from messaging.send_request import SendRequest
from messaging.settings import Settings
from messaging.store import provider_checks, provider_stops, providers
from messaging.store.batches import Hint
from messaging.store.check_steps import Step, StepName, StepState, why
from messaging.store.provider_checks import Taken
from messaging.store.providers import ProviderAccount
from messaging.vault import Vault
from workers.adapters import Adapters
from workers.book import in_transaction

_log = structlog.get_logger(__name__)

CHECK_S = 45.0
"""A provider has so long to answer: less than `provider_checks.WORK_S`, after which another worker may ask."""
_EXPIRES = timedelta(minutes=10)
_NO_RECEIPTS = "Providers of this kind tell nothing later."
_NO_ADDRESS = (
    "No receipt finds us: set MESSAGING_PUBLIC_URL (or MESSAGING_CALLBACK_URL) to the address this API is reached at."
)


class Checks:
    """Does checks, one call each; calls may overlap, here and in other processes."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        settings: Settings,
        adapters: Adapters,
        publish: Callable[[Sequence[Hint]], bool],
    ) -> None:
        self._engine = engine
        self._vault = vault
        self._settings = settings
        self._adapters = adapters
        self._publish = publish

    async def run(self, public_id: str) -> str:
        """Do the check, if nobody has; a sentence about how it went. Safe to call any number of times."""
        check = await in_transaction(self._engine, lambda connection: provider_checks.take(connection, public_id))
        if check is None:
            return "nothing to do"
        try:
            account = await in_transaction(
                self._engine, lambda connection: providers.load_account(connection, self._vault, check.provider_id)
            )
        except NotFoundError:
            return "the provider is gone"  # and the check with it
        except MessagingError as error:  # sealed with another key
            return await self._end(check, _credentials(StepState.FAILED, str(error)))
        step = await self._ask(account)
        _log.info("Provider checked.", provider=account.public_id, outcome=step.state)
        if check.send_to is None or step.state is StepState.FAILED:
            return await self._end(check, _noted(step, account))
        obstacle = _obstacle(account)
        if obstacle is not None:
            refused = Step(StepName.ACCEPTED, StepState.FAILED, f"Nothing was sent: {obstacle}", clock.now())
            return await self._end(check, _noted(step, account), refused)
        return await self._send(check, account, step, check.send_to)

    async def _ask(self, account: ProviderAccount) -> Step:
        began = time.monotonic()
        try:
            adapter = self._adapters.get(account)
        except Exception as error:  # noqa: BLE001  credentials of any kind may fail in any way
            return _credentials(StepState.FAILED, f"Its credentials can't be used: {error}", began)
        try:
            async with asyncio.timeout(CHECK_S):
                outcome = await adapter.check()
        except TimeoutError:
            return _credentials(StepState.FAILED, f"The provider did not answer within {CHECK_S:g} s.", began)
        except Exception as error:  # noqa: BLE001  third-party adapters may raise anything
            _log.exception("A check failed by itself.", provider=account.public_id)
            detail = f"Its adapter failed ({type(error).__name__}): the worker's log has more."
            return _credentials(StepState.FAILED, detail, began)
        if outcome.action is Action.ACCEPTED:
            return _credentials(StepState.PASSED, why(None, outcome.reason or "The provider takes the account"), began)
        return _credentials(StepState.FAILED, why(outcome.code, outcome.reason), began)

    async def _send(self, check: Taken, account: ProviderAccount, step: Step, address: str) -> str:
        request = SendRequest(
            content=_test_message(kind_of(account.kind).channel, account.public_id),
            addresses=(address,),
            expires_at=clock.now() + _EXPIRES,
            on_unknown=OnUnknown.HOLD,  # one message, not two
            lane=Lane.HIGH,
            fixed_provider=account.id,
        )

        def work(connection: Connection) -> Sequence[Hint] | None:
            if not provider_checks.lock(connection, check):
                return None  # another worker was faster, after all
            began = time.monotonic()
            accepted = accept(connection, self._vault, self._settings, account.project_id, request)
            at, took_ms = clock.now(), _ms_since(began)
            ours = Step(StepName.ACCEPTED, StepState.PASSED, f"It is message {accepted.public_id}.", at, took_ms)
            steps = [_noted(step, account), ours]
            none_comes = self._none_comes(account)
            if none_comes is not None:
                steps.append(Step(StepName.RECEIPT, StepState.SKIPPED, none_comes, at))
            provider_checks.end(connection, check, steps, message_id=accepted.public_id)
            _put_down(connection, check, steps)
            return accepted.hints

        try:
            hints = await in_transaction(self._engine, work)
        except MessagingError as error:
            refused = Step(StepName.ACCEPTED, StepState.FAILED, str(error), clock.now())
            return await self._end(check, _noted(step, account), refused)
        if hints is None:
            return "done by another worker"
        await asyncio.to_thread(self._publish, hints)
        return "checked, and a test message accepted"

    async def _end(self, check: Taken, *steps: Step) -> str:
        def work(connection: Connection) -> None:
            if provider_checks.lock(connection, check):
                provider_checks.end(connection, check, steps)
                _put_down(connection, check, steps)

        await in_transaction(self._engine, work)
        return f"{steps[-1].name} {steps[-1].state}"

    def _none_comes(self, account: ProviderAccount) -> str | None:
        """Why no receipt will come, if so."""
        if not kind_of(account.kind).has_receipts:
            return _NO_RECEIPTS
        return _NO_ADDRESS if self._settings.receipts_url(account.receipt_key) is None else None


def _credentials(state: StepState, detail: str, began: float | None = None) -> Step:
    took_ms = None if began is None else _ms_since(began)
    return Step(StepName.CREDENTIALS, state, detail, clock.now(), took_ms)


def _obstacle(account: ProviderAccount) -> str | None:
    """Why nothing can be sent through the account, and what to do about it."""
    if not account.enabled:
        return "it is disabled. Enable it first."
    if account.stopped_reason is not None and not account.on_trial:
        return (
            f"it is stopped ({account.stopped_reason.rstrip('.')}). Start it again:"
            f" `messaging provider start {account.public_id}`,"
            f" or POST /v1/messaging/providers/{account.public_id}/start."
        )
    return None


def _noted(step: Step, account: ProviderAccount) -> Step:
    """The step, with a word on an account that is not in use though it could be."""
    obstacle = _obstacle(account)
    if obstacle is None or step.state is not StepState.PASSED:
        return step
    return Step(step.name, step.state, f"{step.detail} But {obstacle}", step.at, step.took_ms)


def _put_down(connection: Connection, check: Taken, steps: Sequence[Step]) -> None:
    last = next((step for step in steps if step.state is StepState.FAILED), steps[0])
    provider_stops.log(connection, check.provider_id, "checked", f"{last.name} {last.state}: {last.detail}")


def _test_message(channel: Channel, provider_id: str) -> Content:
    """A short message that says what it is."""
    title = f"Test of the provider account {provider_id}"
    told = "It works, and nothing needs to be done."
    if channel is Channel.EMAIL:
        return Email(subject=title, content=f"This is a test that somebody asked for.\n\n{told}\n", html=False)
    return Push(title=title, body=told) if channel is Channel.PUSH else Sms(content=f"{title}. {told}")


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
