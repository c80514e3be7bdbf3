"""A user as the SDKs read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from messaging.errors import NotFoundError
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.http.render_target import rendered_target
from messaging.store import accounts, targets
from messaging.store.accounts import AccountView
from messaging.store.targets import TargetView


def rendered_user(connection: Connection, project_id: int, public_id: str) -> dict[str, Any]:
    """The `user` model with its targets; raises `NotFoundError`."""
    found = rendered_users(connection, project_id, [public_id])
    if not found:
        raise NotFoundError("user", public_id)
    return found[0]


def rendered_users(connection: Connection, project_id: int, public_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The same of many, in the order of the ids; those that don't exist are left out."""
    views = accounts.views(connection, project_id, public_ids)
    owned = targets.of_users(connection, [view.number for view in views.values()])
    return [
        _rendered(views[public_id], owned.get(views[public_id].number, []))
        for public_id in public_ids
        if public_id in views
    ]


def _rendered(view: AccountView, owned: Sequence[TargetView]) -> dict[str, Any]:
    return {
        "$id": view.id,
        "$createdAt": timestamp(view.created_at),
        "$updatedAt": timestamp(view.updated_at),
        "name": view.name,
        # how a password is kept is nobody's business, an API key's included
        "password": None,  # nosec B105  says that it is not shown
        "hash": None,
        "hashOptions": None,
        "registration": timestamp(view.created_at),
        "status": not view.blocked,
        "labels": list(view.labels),
        "passwordUpdate": optional_timestamp(view.password_updated_at) or "",
        "email": view.email or "",
        "phone": view.phone or "",
        "emailVerification": view.email_verified,
        "phoneVerification": view.phone_verified,
        "mfa": False,
        "prefs": dict(view.prefs),
        "targets": [rendered_target(target) for target in owned],
        "accessedAt": optional_timestamp(view.accessed_at) or "",
    }
