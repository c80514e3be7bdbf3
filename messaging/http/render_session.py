"""A session as the SDKs read it."""

from __future__ import annotations

from typing import Any

from messaging.http.json_text import timestamp
from messaging.http.user_agent import parse_user_agent
from messaging.store.sessions import SessionView

_FACTORS = {"email": "password"}


def rendered_session(view: SessionView, *, current: bool, secret: str = "") -> dict[str, Any]:
    """The `session` model; the secret is in it only where one is given."""
    client = parse_user_agent(view.user_agent)
    return {
        "$id": view.id,
        "$createdAt": timestamp(view.created_at),
        "$updatedAt": timestamp(view.updated_at),
        "userId": view.user_id,
        "expire": timestamp(view.expires_at),
        "provider": view.provider,
        "providerUid": view.provider_uid,
        "providerAccessToken": "",
        "providerAccessTokenExpiry": "",
        "providerRefreshToken": "",
        "ip": view.ip,
        "osCode": client.os_code,
        "osName": client.os_name,
        "osVersion": client.os_version,
        "clientType": client.type,
        "clientCode": client.code,
        "clientName": client.name,
        "clientVersion": client.version,
        "clientEngine": client.engine,
        "clientEngineVersion": "",
        "deviceName": client.device,
        "deviceBrand": client.brand,
        "deviceModel": client.model,
        # Appwrite's words for an address whose country nobody knows: we have no table of addresses
        "countryCode": "--",
        "countryName": "Unknown",
        "current": current,
        "factors": [_FACTORS.get(view.provider, view.provider)],
        "secret": secret,
        "mfaUpdatedAt": "",
    }
