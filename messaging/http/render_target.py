"""A target as the SDKs read it."""

from __future__ import annotations

from typing import Any

from messaging.http.json_text import timestamp
from messaging.store.targets import TargetView


def rendered_target(view: TargetView) -> dict[str, Any]:
    """The `target` model; nobody's target has an empty `userId`."""
    return {
        "$id": view.id,
        "$createdAt": timestamp(view.created_at),
        "$updatedAt": timestamp(view.updated_at),
        "name": view.name,
        "userId": view.user_id or "",
        "providerId": view.provider_id,
        "providerType": str(view.channel),
        "identifier": view.identifier,
        "expired": view.expired,
    }
