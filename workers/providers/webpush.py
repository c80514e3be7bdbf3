"""Push messages to browsers: Web Push (RFC 8030), each encrypted for its reader (RFC 8291), signed by VAPID (RFC 8292).

A target's address is the browser's PushSubscription as JSON text. Every subscription names its own push service, so a
stranger chooses whom we call: the endpoint must be https at a public name with a public address, at most a few
kilobytes of an answer are read, and what a push service nobody knows answers has consequences for that one
subscription only.

``MESSAGING_ENDPOINTS__WEBPUSH`` sends all requests to one base address, with the path of each endpoint; a token's
audience is still the endpoint's own origin. Push services report nothing later: there are no receipts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import httpx

from messaging.clock import clock
from messaging.errors import ContentError, SettingsError
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Adapter, Context, Outgoing, Recipient
from workers.providers.destinations import Destinations
from workers.providers.http1 import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, lost, open_client, required_text
from workers.providers.in_flight import CLOSED, InFlight
from workers.providers.webpush_codes import classify
from workers.providers.webpush_crypto import Vapid, encrypt, vapid_key
from workers.providers.webpush_payload import Prepared, render
from workers.providers.webpush_subscription import Subscription, parse, require_public

_TITLE = "the push service"
_ANSWER_LIMIT_BYTES = 4096
_CALL_TIMEOUT_S = 2 * CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S
"""However slowly the bytes of an answer drip in."""
_SUBJECT = re.compile(r"mailto:[!-;=?-~]+@[!-;=?-~]+|https://[!-;=?-~]+")
"""No blanks and no angle brackets, which Apple refuses."""
_CHECKED = Outcome(
    Action.ACCEPTED,
    reason="the keys belong together and sign; no push service was asked, for none has a call that sends nothing",
)
_NO_END = Outcome(Action.AMBIGUOUS_RETRY, "timeout", "the answer did not come to an end in time", outage=True)
_NO_ADDRESS = Outcome(Action.DISABLE_TARGET, "endpoint_refused", "the endpoint is no valid address")


class WebpushAdapter:
    """One pair of VAPID keys."""

    def __init__(
        self,
        vapid: Vapid,
        client: httpx.AsyncClient,
        *,
        base: str = "",
        destinations: Destinations | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._vapid = vapid
        self._client = client
        self._base = base.rstrip("/")
        self._destinations = destinations or Destinations()
        self._now = now
        self._in_flight = InFlight()

    def prepare(self, outgoing: Outgoing) -> Prepared:
        """Payload and headers all subscriptions share; raises `ContentError` for what is too large, or no push."""
        return render(outgoing)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One request per subscription, side by side."""
        message = cast("Prepared", prepared)
        if self._in_flight.closing:
            return [CLOSED] * len(recipients)
        with self._in_flight:
            return await asyncio.gather(*(self._send_one(message, recipient.address) for recipient in recipients))

    async def check(self) -> Outcome:
        """Whether the keys sign: there is no call that sends nothing."""
        self._vapid.authorization("https://push.example.org")
        return _CHECKED

    async def aclose(self) -> None:
        """Let requests finish, then close the connections."""
        await self._in_flight.close()
        await self._client.aclose()

    async def _send_one(self, message: Prepared, address: str) -> Outcome:
        try:
            subscription = parse(address)
            if not (self._base or self._destinations.names(subscription.host)):
                require_public(subscription)
        except ContentError as error:
            return Outcome(Action.DISABLE_TARGET, error.code, str(error))
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                outcome = await self._post(message, subscription)
        except httpx.HTTPError as error:
            outcome = lost(error, _TITLE)
        except TimeoutError:
            outcome = _NO_END
        except httpx.InvalidURL:
            outcome = _NO_ADDRESS
        return outcome if self._base or subscription.is_well_known else for_this_one_only(outcome)

    async def _post(self, message: Prepared, subscription: Subscription) -> Outcome:
        headers = message.headers | {
            "ttl": str(message.ttl_s(self._now())),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "accept-encoding": "identity",
            "authorization": self._vapid.authorization(subscription.origin),
        }
        body = encrypt(message.payload, subscription.key, subscription.auth)
        address = f"{self._base or subscription.origin}{subscription.path}"
        async with self._client.stream("POST", address, content=body, headers=headers) as response:
            answer = b""
            async for piece in response.aiter_raw():  # not decompressed: a few bytes may become gigabytes
                answer += piece
                if len(answer) > _ANSWER_LIMIT_BYTES:
                    break
            return classify(response.status_code, answer[:_ANSWER_LIMIT_BYTES], response.headers, self._now)


def for_this_one_only(outcome: Outcome) -> Outcome:
    """The outcome without what it would mean for the account: its sender may have set that push service up."""
    action = {Action.STOP_PROVIDER: Action.REJECT_MESSAGE, Action.RETRY_AFTER: Action.RETRY}.get(
        outcome.action, outcome.action
    )
    return replace(outcome, action=action, outage=False)


def open_adapter(account: Account, context: Context) -> Adapter:
    """The adapter of an account; raises `SettingsError` naming what is missing or does not fit."""
    public, private, subject = (required_text(account.credentials, name, "Web Push") for name in _CREDENTIALS)
    if not _SUBJECT.fullmatch(subject):
        raise SettingsError("subject must be mailto:you@example.org or an https: address, without blanks or <>.")
    vapid = Vapid(vapid_key(public, private), subject)
    return WebpushAdapter(
        vapid,
        open_client(account, context, many_servers=True),
        base=context.endpoints.get(account.kind, ""),
        destinations=context.destinations,
    )


_CREDENTIALS = ("vapidPublicKey", "vapidPrivateKey", "subject")
