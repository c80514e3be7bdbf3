"""Decide whether a caller may: its project, its key or session, and the operation's scopes."""

from __future__ import annotations

import json
from http import HTTPStatus

from sqlalchemy import Connection

from messaging.http.asked import Asked
from messaging.http.caller import Caller, identify_key, identify_project
from messaging.http.errors import ApiError
from messaging.http.operations import Access, Operation


def identify(connection: Connection, operation: Operation, asked: Asked) -> Caller:
    """The caller, allowed to call `operation`; raises `ApiError` 401, 403 or 404."""
    if operation.access is Access.PUBLIC:
        return Caller(project_id=0)
    project_id, project = identify_project(connection, asked.headers, asked.query)
    caller = Caller(
        project_id=project_id,
        project=project,
        key=identify_key(connection, asked.headers, project_id),
    )
    _authorise(operation, caller)
    return caller


def _authorise(operation: Operation, caller: Caller) -> None:
    access = operation.access
    if access is Access.ANYONE:
        return
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
