"""Decide whether a caller may: its project, its key or session, and the operation's scopes."""

from __future__ import annotations

import json
from dataclasses import replace
from http import HTTPStatus

from sqlalchemy import Connection

from messaging.http.asked import Asked
from messaging.http.caller import Caller, carries_user, identify_server, identify_user, recall_server
from messaging.http.errors import ApiError
from messaging.http.known_keys import KnownKeys
from messaging.http.operations import Access, Operation
from messaging.vault import Vault


def identify(connection: Connection, vault: Vault, keys: KnownKeys, operation: Operation, asked: Asked) -> Caller:
    """The caller, allowed to call `operation`; raises `ApiError` 401, 403 or 404."""
    if operation.access is Access.PUBLIC:
        return Caller(project_id=0)
    project_id, project, key = identify_server(connection, keys, asked.headers, asked.query)
    caller = Caller(project_id=project_id, project=project, key=key)
    user = identify_user(connection, vault, caller, headers=asked.headers, sent_cookies=asked.cookies)
    caller = replace(caller, user=user)
    _authorise(operation, caller)
    return caller


def recognise(keys: KnownKeys, operation: Operation, asked: Asked) -> Caller | None:
    """The caller that `identify` would find, if that takes no database: a key seen a moment ago, and no user.

    None where only the database knows. Raises `ApiError` for a caller who may not call `operation`.
    """
    caller = recall_server(keys, asked.headers, asked.query)
    if caller is None or carries_user(caller, asked.headers, asked.cookies):
        return None
    _authorise(operation, caller)
    return caller


def _authorise(operation: Operation, caller: Caller) -> None:
    access = operation.access
    if access is Access.ANYONE and (caller.key is None or not operation.scopes or caller.may(operation.scopes)):
        return  # a key does what its scopes say, and no more than that
    if access in {Access.KEY, Access.EITHER} and caller.may(operation.scopes):
        return
    if access in {Access.SESSION, Access.EITHER} and caller.user is not None:
        return
    who = "User (role: guests)"
    if caller.key is not None:
        who = f"{caller.key.name} (role: applications)"
    elif caller.user is not None:
        who = f"{caller.user.email or 'User'} (role: users)"
    scopes = json.dumps(list(operation.scopes[:1]))
    raise ApiError(HTTPStatus.UNAUTHORIZED, "general_unauthorized_scope", f"{who} missing scopes ({scopes})")
