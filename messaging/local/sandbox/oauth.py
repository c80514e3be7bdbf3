"""The OAuth2 token endpoint of Google service accounts: `POST /token`, RS256 assertions checked for real."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import jwt

from messaging.local.sandbox.exchange import Reply, Request
from messaging.local.sandbox.keys import KeyFile

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
LIFETIME_S = 3599
_PREFIX = "ya29.sandbox."
_CLOCK_SKEW_S = 60
_MAX_CACHED = 4096


class AccessTokens:
    """Issues and checks bearer tokens. They carry their own signature, so they outlive a restart of the sandbox."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self._known: dict[bytes, float] = {}

    def issue(self, client_email: str) -> str:
        """A fresh token, good for LIFETIME_S."""
        claims = json.dumps([client_email, self._clock() + LIFETIME_S]).encode()
        return _PREFIX + _encode(claims) + "." + _encode(self._sign(claims))

    def is_valid(self, authorization: bytes | None) -> bool:
        """Whether the header is `Bearer` with a token of ours that hasn't run out."""
        if authorization is None:
            return False
        expires_at = self._known.get(authorization)
        if expires_at is None:
            expires_at = self._read(authorization)
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            self._known[authorization] = expires_at
        return self._clock() < expires_at

    def _read(self, authorization: bytes) -> float:
        """When the token runs out; 0 for what is no token of ours."""
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        claims_text, _, signature = token.removeprefix(_PREFIX).partition(".")
        if scheme.lower() != "bearer" or not token.startswith(_PREFIX):
            return 0.0
        try:
            claims = base64.urlsafe_b64decode(claims_text)
            given = base64.urlsafe_b64decode(signature)
        except binascii.Error:
            return 0.0
        return float(json.loads(claims)[1]) if hmac.compare_digest(given, self._sign(claims)) else 0.0

    def _sign(self, claims: bytes) -> bytes:
        return hmac.digest(self._secret, claims, hashlib.sha256)


class TokenEndpoint:
    """Answers the JWT bearer grant of RFC 7523 for service accounts whose public key is registered."""

    def __init__(self, keys: KeyFile, tokens: AccessTokens) -> None:
        self._keys = keys
        self._tokens = tokens

    def __call__(self, request: Request) -> Reply:
        """The reply to one token request."""
        if request.method != "POST":
            return _error(405, "invalid_request", "use POST")
        form = parse_qs(request.body.decode("utf-8", "replace"))
        if form.get("grant_type") != [GRANT_TYPE]:
            return _error(400, "unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', [''])[0]}")
        try:
            client_email = self._check(form.get("assertion", [""])[0])
        except jwt.PyJWTError as error:
            return _error(400, "invalid_grant", f"Invalid JWT: {error}")
        except LookupError as error:
            return _error(400, "invalid_grant", f"Invalid grant: account not found ({error})")
        except ValueError as error:
            return _error(400, "invalid_scope", str(error))
        token = self._tokens.issue(client_email)
        kind = {"token_type": "Bearer"}  # nosec B105  the kind of a token (RFC 6750)
        answer = {"access_token": token, "expires_in": LIFETIME_S} | kind
        return Reply(200, _JSON, json.dumps(answer).encode())

    def _check(self, assertion: str) -> str:
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        client_email = str(claims.get("iss", ""))
        pem = self._keys.get(client_email)
        if pem is None:
            raise LookupError(client_email)
        # `aud` is https://oauth2.googleapis.com/token or the token_uri of the account, as the client library likes.
        options: Any = {"verify_aud": False, "require": ["iss", "iat", "exp", "aud"]}
        jwt.decode(assertion, pem, algorithms=["RS256"], leeway=_CLOCK_SKEW_S, options=options)
        if not SCOPES & set(str(claims.get("scope", "")).split()):
            raise ValueError("no scope allows to send: ask for https://www.googleapis.com/auth/firebase.messaging")
        return client_email


_JSON = ((b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-cache, no-store"))


def _error(status: int, code: str, description: str) -> Reply:
    return Reply(status, _JSON, json.dumps({"error": code, "error_description": description}).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
