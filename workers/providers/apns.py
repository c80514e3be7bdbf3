"""Apple Push Notification service: one HTTP/2 request per device, signed with a token all workers share."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from messaging.clock import clock
from messaging.errors import InvalidArgumentError
from messaging.outcome import Action, Outcome
from workers.providers.apns_codes import CODES, classify
from workers.providers.apns_payload import PreparedApns, render
from workers.providers.background import Background, each_of
from workers.providers.base import Account, Context, Minted, Outgoing, Recipient
from workers.providers.http2 import Http2Client, NotSentError, Response, UnknownOutcomeError
from workers.providers.http2_call import Answer
from workers.providers.http2_outcome import outcome_of
from workers.providers.shared_token import NoTokenError, SharedToken
from workers.providers.tls import client_context

__all__ = ["CODES", "ApnsAdapter", "classify", "open_adapter"]

PRODUCTION = "https://api.push.apple.com"
DEVELOPMENT = "https://api.sandbox.push.apple.com"
TOKEN_LIFETIME_S = 45 * 60
"""Apple takes a provider token for 20 to 60 minutes."""
TOKEN_SHORTEST_S = 20 * 60
"""A second token within this time is refused (TooManyProviderTokenUpdates)."""

NO_DEVICE = "00" * 32
"""A token of the usual form that no device has."""
_AGAIN = frozenset({Action.RECONNECT_RETRY, Action.REFRESH_AUTH_RETRY})
"""Outcomes after which this adapter tries once more itself."""
_HARMLESS = re.compile(r"[A-Za-z0-9]+", re.ASCII).fullmatch
_CHECK_HEADERS = (("apns-push-type", "background"), ("apns-priority", "5"), ("apns-expiration", "0"))
_CHECK_BODY = b'{"aps":{"content-available":1}}'


def open_adapter(account: Account, context: Context) -> ApnsAdapter:
    """An adapter for the account; raises `InvalidArgumentError` naming a credential that can't be used."""
    development = bool(account.options.get("sandbox", False))
    origin = context.endpoints.get("apns") or (DEVELOPMENT if development else PRODUCTION)
    tls = client_context(context.ca_file)
    return ApnsAdapter(account, context, Http2Client(origin, ssl_context=tls, connections=context.connections))


class ApnsAdapter:
    """One team's key and one app, connected. Satisfies `base.Adapter`."""

    def __init__(
        self, account: Account, context: Context, client: Http2Client, *, now: Callable[[], float] = clock.now_s
    ) -> None:
        """Use `client`, whose connections must carry this account's key only (UnrelatedKeyIdInToken)."""
        self._client = client
        self._now = now
        self._key = _private_key(_text(account, "authKey"))
        self._key_id = _text(account, "authKeyId")
        self._team_id = _text(account, "teamId")
        self._bundle_id = _text(account, "bundleId")
        # The key's digest is part of the name, so that nobody uses a token without having its key.
        digest = hashlib.sha256(_text(account, "authKey").encode()).hexdigest()[:16]
        environment = "development" if account.options.get("sandbox", False) else "production"
        name = f"apns:{environment}:{self._team_id}:{self._key_id}:{digest}"
        self._token = SharedToken(context.tokens, name, self._mint)
        self._background = Background()

    def prepare(self, outgoing: Outgoing) -> PreparedApns:
        """Render once what all recipients share; raises `ContentError` with Apple's code."""
        return render(outgoing, self._bundle_id)

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """One outcome per recipient, in order; each is a request of its own."""
        return await each_of(self, prepared, recipients)

    async def check(self) -> Outcome:
        """What Apple says to a push for no device: a key, team and topic that are good are answered BadDeviceToken."""
        nobody = Recipient(target_id=0, address=NO_DEVICE, tag="check", uuid=str(uuid.uuid4()))
        topic = ("apns-topic", self._bundle_id)
        outcome = await self._send_one(PreparedApns((topic, *_CHECK_HEADERS), _CHECK_BODY), nobody)
        if outcome.action in {Action.ACCEPTED, Action.DISABLE_TARGET}:
            return Outcome(Action.ACCEPTED, reason=f"Apple takes key {self._key_id} for {self._bundle_id}.")
        return outcome

    async def aclose(self) -> None:
        """Let what is in flight finish, then close the connections."""
        await self._client.aclose()

    def start(self, prepared: object, recipient: Recipient, done: Callable[[Outcome], None]) -> None:
        """See `StartingAdapter.start`: what is accepted at once, as nearly everything is, needs no task."""
        if not isinstance(prepared, PreparedApns):
            msg = f"`prepared` is a {type(prepared).__name__}; pass what this adapter's prepare() returned"
            raise TypeError(msg)
        token = self._token.at_hand()
        if token is None or not recipient.address:
            self._background.run(self._send_one(prepared, recipient), done)
            return

        def answered(answer: Answer) -> None:
            outcome = self._outcome(answer)
            if outcome.action in _AGAIN:
                self._background.run(self._send_one(prepared, recipient, (token, outcome)), done)
            else:
                done(outcome)

        own = (("apns-id", recipient.uuid),)
        self._client.submit(_path(recipient), own, prepared.body, answered, shared=prepared.fields(token))

    async def _send_one(
        self, prepared: PreparedApns, recipient: Recipient, first: tuple[str, Outcome] | None = None
    ) -> Outcome:
        """Send to one, again where that helps; `first` is the token and the outcome of an attempt that was made."""
        if not recipient.address:
            return classify(400, b'{"reason":"MissingDeviceToken"}')
        reconnected = renewed = False
        try:
            token = first[0] if first else await self._token.current()
            while True:
                outcome = first[1] if first else await self._attempt(token, prepared, recipient)
                first = None
                if outcome.action is Action.RECONNECT_RETRY and not reconnected:
                    reconnected = True
                elif outcome.action is Action.REFRESH_AUTH_RETRY and not renewed:
                    renewed = True
                    token = await self._other_token(token)
                else:
                    break
        except NoTokenError as error:
            return error.outcome
        if outcome.action is Action.REFRESH_AUTH_RETRY:
            reason = f"{outcome.reason} It was refused twice: check this machine's clock."
            return Outcome(Action.STOP_PROVIDER, code=outcome.code, reason=reason)
        return outcome

    async def _attempt(self, token: str, prepared: PreparedApns, recipient: Recipient) -> Outcome:
        path, own, shared = _path(recipient), (("apns-id", recipient.uuid),), prepared.fields(token)
        try:
            return self._outcome(await self._client.request("POST", path, own, prepared.body, shared=shared))
        except (NotSentError, UnknownOutcomeError) as error:
            return self._outcome(error)

    def _outcome(self, answer: Answer) -> Outcome:
        if not isinstance(answer, Response):
            return outcome_of(answer)
        outcome = classify(answer.status, answer.body)
        if outcome.action is Action.RECONNECT_RETRY:
            self._client.retire(answer.connection)
        return outcome

    async def _mint(self) -> Minted:
        """A new provider token: ES256 over the team and the time (RFC 7519)."""
        claims = {"iss": self._team_id, "iat": int(self._now())}
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        return Minted(token, TOKEN_LIFETIME_S, TOKEN_SHORTEST_S)

    async def _other_token(self, refused: str) -> str:
        """A newer token; the same one again where a new one would be the second within 20 minutes."""
        age_s = self._now() - float(jwt.decode(refused, options={"verify_signature": False})["iat"])
        if age_s < TOKEN_SHORTEST_S:
            return await self._token.current()
        return await self._token.renewed(refused)


def _path(recipient: Recipient) -> str:
    address = recipient.address
    # quoting what is nearly always hexadecimal costs more than to see that it is
    return f"/3/device/{address if _HARMLESS(address) else quote(address, safe='', errors='replace')}"


def _text(account: Account, name: str) -> str:
    value = account.credentials.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(name, "it is missing; set it on the APNs provider")
    text = value.strip()
    if name != "authKey" and not (text.isascii() and text.isprintable()):
        raise InvalidArgumentError(name, "it holds characters a header cannot carry; copy it anew from Apple's page")
    return text


def _private_key(pem: str) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError("authKey", "not a PEM private key; paste the whole .p8 file") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise InvalidArgumentError("authKey", "it is not a P-256 key; use the .p8 file of an APNs key")
    return key
