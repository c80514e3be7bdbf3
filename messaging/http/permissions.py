"""Permissions of buckets and files, such as `read("any")`: how they are written, and what they let a caller do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from messaging.errors import NotFoundError
from messaging.http import parameters as p
from messaging.http.caller import Caller
from messaging.http.errors import ApiError
from messaging.http.operations import Call
from messaging.http.parameters import Refused
from messaging.http.roles import PATTERN, roles_of
from messaging.store.buckets import Bucket
from messaging.store.files import FileView

MOST_PERMISSIONS = 100


class Action(StrEnum):
    """What somebody may do."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"


_WRITE = "write"
_OF_FILE = (Action.READ, Action.UPDATE, Action.DELETE)
_OF_BUCKET = (Action.CREATE, *_OF_FILE)


def grants(action: Action, caller: Caller) -> list[str]:
    """The permissions that would let `caller` do `action`."""
    return sorted(f'{action}("{role}")' for role in roles_of(caller))


def _parameter(actions: Sequence[Action], default: tuple[str, ...] | None, help: str) -> p.Parameter:  # noqa: A002
    shape = re.compile(rf'({"|".join((*actions, _WRITE))})\("({PATTERN})"\)', re.ASCII)

    def one(value: Any) -> str:  # noqa: ANN401  from a wire
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise Refused(f'Permission must be one of {", ".join((*actions, _WRITE))} of a role, such as read("any")')
        return value

    listed = p.array(
        "permissions",
        one,
        {"type": "string", "pattern": f"^{shape.pattern}$"},
        most=MOST_PERMISSIONS,
        default=default,
        help=help,
    )

    def check(value: Any) -> list[str]:  # noqa: ANN401
        return _spelt_out(listed.check(value), actions)

    return p.Parameter(name=listed.name, check=check, schema=listed.schema, default=listed.default, help=listed.help)


def _spelt_out(given: Sequence[str], actions: Sequence[Action]) -> list[str]:
    """`write` means everything but reading; each permission once, in the order given."""
    found: dict[str, None] = {}
    for permission in given:
        action, role = permission.split("(", 1)
        meant = [one for one in actions if one is not Action.READ] if action == _WRITE else [action]
        found |= dict.fromkeys(f"{one}({role}" for one in meant)
    return list(found)


def of_bucket(*, default: tuple[str, ...] | None = None) -> p.Parameter:
    """What callers without an API key may do with all files of a bucket."""
    return _parameter(_OF_BUCKET, default, "Who may do what with its files; an API key may without.")


def of_file() -> p.Parameter:
    """What they may do with one file."""
    return _parameter(_OF_FILE, None, "Who may do what with the file, in a bucket with fileSecurity.")


def require(call: Call, action: Action, bucket: Bucket, file: FileView | None = None) -> None:
    """Let the caller do `action` with the bucket's files, or with `file`, or raise `ApiError`, `NotFoundError`.

    An API key needs the operation's scope and nothing else. Everybody else needs a permission of the bucket or,
    where the bucket lets single files decide, of the file; what may not be read seems not to exist.
    """
    if call.caller.may(call.operation.scopes):
        return
    if call.caller.is_key:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "general_unauthorized_scope",
            f'The API key is missing scopes (["{call.operation.scopes[0]}"]). Give it the scope, or use another key.',
        )
    if not bucket.enabled:
        raise NotFoundError("bucket", bucket.id)
    wanted = set(grants(action, call.caller))
    if wanted & set(bucket.permissions):
        return
    if not bucket.file_security or action is Action.CREATE:
        raise _unauthorized(action, f"the files of the bucket '{bucket.id}'")
    if file is None:
        return  # asked again with the file
    if wanted & set(file.permissions):
        return
    if not set(grants(Action.READ, call.caller)) & {*bucket.permissions, *file.permissions}:
        raise NotFoundError("file", file.id)
    raise _unauthorized(action, f"the file '{file.id}'")


def given_by(caller: Caller, named: Sequence[str] | None) -> list[str]:
    """Permissions of a new file: those named, or everything for the user who sends it.

    A user may name only roles of their own; raises `ApiError` for others.
    """
    if caller.is_key:
        return list(named or ())
    if named is None:
        return [] if caller.user is None else [f'{action}("user:{caller.user.user_id}")' for action in _OF_FILE]
    own = {permission for action in _OF_FILE for permission in grants(action, caller)}
    foreign = [permission for permission in named if permission not in own]
    if foreign:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "user_unauthorized",
            f"You can't grant {foreign[0]}: a user grants roles of their own, {', '.join(sorted(roles_of(caller)))}.",
        )
    return list(named)


def _unauthorized(action: Action, what: str) -> ApiError:
    return ApiError(
        HTTPStatus.UNAUTHORIZED,
        "user_unauthorized",
        f"The current user is not authorized to {action} {what}. Its permissions say who is.",
    )
