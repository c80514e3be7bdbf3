"""Access tokens for a Firebase service account, by firebase-admin's credentials.

Source: https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from firebase_admin import credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from messaging.clock import clock
from messaging.errors import InvalidArgumentError
from workers.providers.base import Minted
from workers.providers.destinations import Destinations
from workers.providers.fcm_codes import classify_token_endpoint
from workers.providers.shared_token import NoTokenError

EARLY_S = 300
"""A token is given up this long before Google does, so that none expires on the way."""
_TIMEOUT_S = 20.0
_GOOGLE = re.compile(r"(?:[a-z0-9-]+\.)*googleapis\.com|accounts\.google\.com")
_ASSERTED_S = 3600
"""The longest an assertion may be valid:
https://developers.google.com/identity/protocols/oauth2/service-account#jwt-auth"""


class NoAccessTokenError(NoTokenError):
    """Google's token endpoint gave no access token."""


class ServiceAccount:
    """A service account file, ready to fetch access tokens."""

    def __init__(
        self,
        given: object,
        *,
        token_endpoint: str | None,
        ca_file: Path | None,
        destinations: Destinations | None = None,
    ) -> None:
        """Read `given` (the file's JSON as text or a mapping).

        Raises `InvalidArgumentError` when it is not a service account's, or has its tokens minted elsewhere than at
        Google, `token_endpoint`, or a host that `destinations` names.
        """
        info = _info(given)
        if token_endpoint is not None:
            info["token_uri"] = token_endpoint
        elif "token_uri" in info:
            _require_google(str(info["token_uri"]), destinations or Destinations())
        try:
            self._credential = credentials.Certificate(info).get_credential()
        except ValueError as error:
            raise InvalidArgumentError("serviceAccountJSON", f"{error}; paste the whole file of Firebase") from error
        if not info.get("project_id"):
            raise InvalidArgumentError("serviceAccountJSON", "project_id is missing; paste the whole file of Firebase")
        self.project_id = str(info["project_id"])
        # The key's digest is part of the name, so that nobody uses a token without having its key.
        digest = hashlib.sha256(f"{info['private_key']}\n{info['token_uri']}".encode()).hexdigest()[:16]
        self.token_key = f"fcm:{info['client_email']}:{digest}"
        self._ca_file = ca_file

    async def mint(self) -> Minted:
        """A new access token, fetched in a thread; raises `NoAccessTokenError`."""
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Minted:
        seen: dict[str, Any] = {}

        def watched(*args: object, **kwargs: object) -> object:
            seen.clear()  # the status of an attempt that got no answer is not the last one's
            response = transport(*args, **{**kwargs, **trust, "timeout": _TIMEOUT_S})
            seen.update(status=response.status, headers=response.headers, data=response.data)
            return response

        # said with the request: what the session says gives way to REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE
        trust = {} if self._ca_file is None else {"verify": str(self._ca_file)}
        with requests.Session() as session:
            transport = Request(session)
            # google-auth dates the assertion by this machine's clock; Google refuses one dated wrongly
            at_s = int(clock.now_s())
            credential = self._credential.with_claims({"iat": at_s, "exp": at_s + _ASSERTED_S})
            try:
                credential.refresh(watched)
            except GoogleAuthError as error:
                headers = seen.get("headers") or {}
                outcome = classify_token_endpoint(
                    seen.get("status"), _oauth_code(seen.get("data")), retry_after=headers.get("retry-after")
                )
                raise NoAccessTokenError(outcome) from error
        # the expiry is by this machine's clock too: taken against the same clock, the lifetime is right
        expiry = credential.expiry.replace(tzinfo=dt.UTC)
        lifetime_s = (expiry - dt.datetime.now(dt.UTC)).total_seconds() - EARLY_S
        return Minted(str(credential.token), max(0.0, lifetime_s))


def _require_google(token_uri: str, destinations: Destinations) -> None:
    """The file is given by whoever holds a key of the project, and names an address that we call."""
    try:
        place = urlsplit(token_uri)
        host = place.hostname or ""
        ours = place.scheme == "https" and place.port in {None, 443} and _GOOGLE.fullmatch(host)
    except ValueError:
        host, ours = "", None
    if not (ours or (host and destinations.names(host))):
        raise InvalidArgumentError(
            "serviceAccountJSON",
            "token_uri is not Google's; paste the file as Firebase made it, or allow its host"
            " with MESSAGING_PRIVATE_DESTINATIONS",
        )


def _info(given: object) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise InvalidArgumentError("serviceAccountJSON", "not JSON; paste the whole file of Firebase") from error
    if not isinstance(given, Mapping):
        raise InvalidArgumentError("serviceAccountJSON", "it is missing; set it on the FCM provider")
    return dict(given)


def _oauth_code(data: object) -> str:
    try:
        decoded = json.loads(data) if isinstance(data, bytes | str) else None
    except ValueError:
        return ""
    return str(decoded.get("error", ""))[:100] if isinstance(decoded, dict) else ""
