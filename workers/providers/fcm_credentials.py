"""Access tokens for a Firebase service account, by firebase-admin's credentials.

Source: https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from firebase_admin import credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from messaging.errors import InvalidArgumentError
from workers.providers.base import Minted
from workers.providers.fcm_codes import classify_token_endpoint
from workers.providers.shared_token import NoTokenError

EARLY_S = 300
"""A token is given up this long before Google does, so that none expires on the way."""
_TIMEOUT_S = 20.0


class NoAccessTokenError(NoTokenError):
    """Google's token endpoint gave no access token."""


class ServiceAccount:
    """A service account file, ready to fetch access tokens."""

    def __init__(self, given: object, *, token_endpoint: str | None, ca_file: Path | None) -> None:
        """Read `given` (the file's JSON as text or a mapping).

        Raises `InvalidArgumentError` when it is not a service account's.
        """
        info = _info(given)
        if token_endpoint is not None:
            info["token_uri"] = token_endpoint
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
            response = transport(*args, **{**kwargs, "timeout": _TIMEOUT_S})
            seen.update(status=response.status, headers=response.headers, data=response.data)
            return response

        with requests.Session() as session:
            if self._ca_file is not None:
                session.verify = str(self._ca_file)
            transport = Request(session)
            try:
                self._credential.refresh(watched)
            except GoogleAuthError as error:
                headers = seen.get("headers") or {}
                outcome = classify_token_endpoint(
                    seen.get("status"), _oauth_code(seen.get("data")), retry_after=headers.get("retry-after")
                )
                raise NoAccessTokenError(outcome) from error
        expiry = self._credential.expiry.replace(tzinfo=dt.UTC)
        lifetime_s = (expiry - dt.datetime.now(dt.UTC)).total_seconds() - EARLY_S
        return Minted(str(self._credential.token), max(0.0, lifetime_s))


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
