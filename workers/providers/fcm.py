"""Firebase Cloud Messaging, HTTP v1: one request per registration token over HTTP/2."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from urllib.parse import quote

from messaging.clock import clock
from messaging.outcome import Action, Outcome
from workers.providers.background import Background, each_of
from workers.providers.base import Account, Context, Outgoing, Recipient
from workers.providers.fcm_codes import CODES, classify, classify_token_endpoint
from workers.providers.fcm_credentials import ServiceAccount
from workers.providers.fcm_payload import PreparedFcm, render
from workers.providers.http2 import Http2Client, NotSentCause, NotSentError, Response, UnknownOutcomeError
from workers.providers.http2_call import Answer
from workers.providers.http2_headers import NO_FIELDS, Fields
from workers.providers.http2_outcome import outcome_of
from workers.providers.shared_token import NoTokenError, SharedToken
from workers.providers.tls import client_context

__all__ = ["CODES", "FcmAdapter", "classify", "classify_token_endpoint", "open_adapter"]

PRODUCTION = "https://fcm.googleapis.com"
NO_DEVICE = "check"
"""Too short for a registration token, so that no device has it."""
_DRY_RUN = b'{"validate_only":true,"message":{"token":'
_ERROR = 400
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
        now_s: Callable[[], float] = clock.now_s,
    ) -> None:
        self._client = client
        self._now_s = now_s
        self._project_id = service.project_id
        self._path = f"/v1/projects/{quote(service.project_id, safe='')}/messages:send"
        self._token = SharedToken(context.tokens, service.token_key, service.mint)
        self._authorized = "", NO_FIELDS
        self._background = Background()

    def prepare(self, outgoing: Outgoing) -> PreparedFcm:
        """Render once what all recipients share; raises `ContentError`."""
        return render(outgoing)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One outcome per recipient, in order; each is a request of its own."""
        return await each_of(self, prepared, recipients)

    async def check(self) -> Outcome:
        """What Google says to a dry run for no device: an access token, and that the account may send for the project.

        A good account is told that the registration token is invalid.
        """
        nobody = Recipient(target_id=0, address=NO_DEVICE, tag="check", uuid=str(uuid.uuid4()))
        outcome = await self._send_one(PreparedFcm(_DRY_RUN, expires_at=clock.now()), nobody)
        if outcome.action in {Action.ACCEPTED, Action.DISABLE_TARGET, Action.REJECT_MESSAGE}:
            return Outcome(Action.ACCEPTED, reason=f"Google takes the service account for {self._project_id}.")
        return outcome

    async def aclose(self) -> None:
        """Let what is in flight finish, then close the connections."""
        await self._client.aclose()

    def start(self, prepared: object, recipient: Recipient, done: Callable[[Outcome], None]) -> None:
        """See `StartingAdapter.start`: what is accepted at once, as nearly everything is, needs no task."""
        if not isinstance(prepared, PreparedFcm):
            msg = f"`prepared` is a {type(prepared).__name__}; pass what this adapter's prepare() returned"
            raise TypeError(msg)
        token = self._token.at_hand()
        if token is None:
            self._background.run(self._send_one(prepared, recipient), done)
            return

        def answered(answer: Answer) -> None:
            outcome = _outcome(answer, prepared)
            if outcome.action is Action.REFRESH_AUTH_RETRY or _is_turned_away(answer):
                self._background.run(self._send_one(prepared, recipient, (token, answer)), done)
            else:
                done(outcome)

        body = prepared.body(recipient.address, self._now_s())
        self._client.submit(self._path, (), body, answered, shared=self._fields(token))

    async def _send_one(
        self, prepared: PreparedFcm, recipient: Recipient, first: tuple[str, Answer] | None = None
    ) -> Outcome:
        """Send to one, again where that helps; `first` is the token and the answer of an attempt that was made."""
        body = prepared.body(recipient.address, self._now_s())
        reconnected = renewed = False
        try:
            token = first[0] if first else await self._token.current()
            while True:
                answer = first[1] if first else await self._attempt(token, body)
                first = None
                if _is_turned_away(answer) and not reconnected:
                    reconnected = True
                    continue
                outcome = _outcome(answer, prepared)
                if outcome.action is not Action.REFRESH_AUTH_RETRY:
                    return outcome
                if renewed:
                    reason = f"{outcome.reason} A new one is refused as well: check the service account."
                    return Outcome(Action.STOP_PROVIDER, code=outcome.code, reason=reason)
                renewed = True
                token = await self._token.renewed(token)
        except NoTokenError as error:
            return error.outcome

    async def _attempt(self, token: str, body: bytes) -> Answer:
        try:
            return await self._client.request("POST", self._path, (), body, shared=self._fields(token))
        except (NotSentError, UnknownOutcomeError) as error:
            return error

    def _fields(self, token: str) -> Fields:
        if self._authorized[0] != token:
            self._authorized = token, Fields(("authorization", f"Bearer {token}"), _CONTENT_TYPE)
        return self._authorized[1]


def _is_turned_away(answer: Answer) -> bool:
    """By a connection that was being closed, before the server looked at it."""
    return isinstance(answer, NotSentError) and answer.cause is NotSentCause.GOAWAY


def _outcome(answer: Answer, prepared: PreparedFcm) -> Outcome:
    if not isinstance(answer, Response):
        return outcome_of(answer)
    outcome = classify(
        answer.status,
        answer.body,
        retry_after=answer.header(b"retry-after") if answer.status >= _ERROR else None,
        payload_accepted=prepared.accepted,
    )
    if outcome.action is Action.ACCEPTED:
        prepared.accepted = True
    return outcome
