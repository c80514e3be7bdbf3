"""Firebase Cloud Messaging, HTTP v1: one request per registration token over HTTP/2."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from urllib.parse import quote

from messaging.clock import clock
from messaging.outcome import Action, Outcome
from workers.providers.base import Account, Context, Outgoing, Recipient
from workers.providers.fcm_codes import CODES, classify, classify_token_endpoint
from workers.providers.fcm_credentials import ServiceAccount
from workers.providers.fcm_payload import PreparedFcm, render
from workers.providers.http2 import Http2Client, NotSentCause, NotSentError, UnknownOutcomeError
from workers.providers.http2_outcome import outcome_of
from workers.providers.shared_token import NoTokenError, SharedToken
from workers.providers.tls import client_context

__all__ = ["CODES", "FcmAdapter", "classify", "classify_token_endpoint", "open_adapter"]

PRODUCTION = "https://fcm.googleapis.com"
NO_DEVICE = "check"
"""Too short for a registration token, so that no device has it."""
_DRY_RUN = b'{"validate_only":true,"message":{"token":'
_CONTENT_TYPE = ("content-type", "application/json")


def open_adapter(account: Account, context: Context) -> FcmAdapter:
    """An adapter for the account; raises `InvalidArgumentError` when the service account can't be used."""
    service = ServiceAccount(
        account.credentials.get("serviceAccountJSON"),
        token_endpoint=context.endpoints.get("fcm_token"),
        ca_file=context.ca_file,
        destinations=context.destinations,
    )
    tls = client_context(context.ca_file)
    origin = context.endpoints.get("fcm") or PRODUCTION
    return FcmAdapter(service, context, Http2Client(origin, ssl_context=tls, connections=context.connections))


class FcmAdapter:
    """One Firebase project, connected. Satisfies `base.Adapter`."""

    def __init__(
        self,
        service: ServiceAccount,
        context: Context,
        client: Http2Client,
        *,
        now: Callable[[], dt.datetime] = clock.now,
    ) -> None:
        self._client = client
        self._now = now
        self._project_id = service.project_id
        self._path = f"/v1/projects/{quote(service.project_id, safe='')}/messages:send"
        self._token = SharedToken(context.tokens, service.token_key, service.mint)

    def prepare(self, outgoing: Outgoing) -> PreparedFcm:
        """Render once what all recipients share; raises `ContentError`."""
        return render(outgoing)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One outcome per recipient, in order; each is a request of its own."""
        if not isinstance(prepared, PreparedFcm):
            msg = f"`prepared` is a {type(prepared).__name__}; pass what this adapter's prepare() returned"
            raise TypeError(msg)
        if len(recipients) == 1:
            return (await self._send_one(prepared, recipients[0]),)
        return await asyncio.gather(*(self._send_one(prepared, r) for r in recipients))

    async def check(self) -> Outcome:
        """What Google says to a dry run for no device: an access token, and that the account may send for the project.

        A good account is told that the registration token is invalid.
        """
        nobody = Recipient(target_id=0, address=NO_DEVICE, tag="check", uuid=uuid.uuid4())
        outcome = await self._send_one(PreparedFcm(_DRY_RUN, expires_at=self._now()), nobody)
        if outcome.action in {Action.ACCEPTED, Action.DISABLE_TARGET, Action.REJECT_MESSAGE}:
            return Outcome(Action.ACCEPTED, reason=f"Google takes the service account for {self._project_id}.")
        return outcome

    async def aclose(self) -> None:
        """Let what is in flight finish, then close the connections."""
        await self._client.aclose()

    async def _send_one(self, prepared: PreparedFcm, recipient: Recipient) -> Outcome:
        body = prepared.body(recipient.address, self._now())
        reconnected = renewed = False
        try:
            token = await self._token.current()
            while True:
                headers = (("authorization", f"Bearer {token}"), _CONTENT_TYPE)
                try:
                    response = await self._client.request("POST", self._path, headers, body)
                except NotSentError as error:
                    if error.cause is NotSentCause.GOAWAY and not reconnected:
                        reconnected = True
                        continue
                    return outcome_of(error)
                outcome = classify(
                    response.status,
                    response.body,
                    retry_after=response.header(b"retry-after"),
                    payload_accepted=prepared.accepted,
                )
                if outcome.action is Action.ACCEPTED:
                    prepared.accepted = True
                elif outcome.action is Action.REFRESH_AUTH_RETRY:
                    if renewed:
                        reason = f"{outcome.reason} A new one is refused as well: check the service account."
                        return Outcome(Action.STOP_PROVIDER, code=outcome.code, reason=reason)
                    renewed = True
                    token = await self._token.renewed(token)
                    continue
                return outcome
        except UnknownOutcomeError as error:
            return outcome_of(error)
        except NoTokenError as error:
            return error.outcome
