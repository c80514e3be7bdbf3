"""Users over HTTP, for servers. Their email and phone are targets too, and those follow."""

from __future__ import annotations

import re
from typing import Any

from messaging.http import parameters as p
from messaging.http.json_text import dumps
from messaging.http.list_parameters import SEARCH, TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.parameters import Parameter, Refused
from messaging.http.queries import parse_queries
from messaging.http.render_user import rendered_user, rendered_users
from messaging.passwords import LONGEST, SHORTEST, hash_password
from messaging.store import accounts, users

operations = Operations("users")

MOST_LABELS = 1000
LARGEST_PREFS_BYTES = 65_535
_LABEL = re.compile(r"[A-Za-z0-9]{1,36}", re.ASCII)

USER_ID = p.uid("userId", required=True)
_READ = ("users.read",)
_WRITE = ("users.write",)


def _label(value: Any) -> str:  # noqa: ANN401  from a wire
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise Refused("a label has 1 to 36 of A-Z a-z 0-9")
    return value


def _password(*, required: bool) -> Parameter:
    def check(value: Any) -> str:  # noqa: ANN401
        given = str(text.check(value))
        if given and len(given) < SHORTEST:
            raise Refused(f"Password must be between {SHORTEST} and {LONGEST} characters long")
        return given

    text = p.text("password", shortest=0, longest=LONGEST)
    return Parameter(
        name="password", check=check, schema=text.schema, required=required, help="At least 8 characters; empty: none."
    )


def _phone(name: str, *, empty: bool) -> Parameter:
    plain = p.phone(name, required=empty)

    def check(value: Any) -> str:  # noqa: ANN401
        return "" if empty and value == "" else str(plain.check(value))

    return Parameter(name=name, check=check, schema=plain.schema, required=empty, help="With its country code.")


def _prefs() -> Parameter:
    plain = p.mapping("prefs", required=True)

    def check(value: Any) -> dict[str, Any]:  # noqa: ANN401
        found: dict[str, Any] = plain.check(value)
        if len(dumps(found)) > LARGEST_PREFS_BYTES:
            raise Refused(f"Value must be a valid object of at most {LARGEST_PREFS_BYTES:,} bytes")
        return found

    return Parameter(name="prefs", check=check, schema=plain.schema, required=True)


_NEW_NAME = p.text("name", shortest=0, longest=users.LONGEST_NAME, required=True)
_EMPTY_EMAIL = p.email("email", required=True, empty=True)


@operations.add("GET", "/users", SEARCH, TOTAL, scopes=_READ, model="userList", listed=True)
def list_(call: Call) -> dict[str, Any]:
    """Users, 25 at a time."""
    wanted = parse_queries(call.queries, search=call["search"], total=call["total"])
    found = users.listed(call.connection, call.project_id, wanted)
    return {"total": found.total, "users": rendered_users(call.connection, call.project_id, found.ids)}


list_.__name__ = "list"


@operations.add(
    "POST",
    "/users",
    p.custom_id("userId"),
    p.email("email"),
    _phone("phone", empty=False),
    _password(required=False),
    p.text("name", shortest=0, longest=users.LONGEST_NAME),
    scopes=_WRITE,
    status=201,
    model="user",
    taken="user_already_exists",
    hashes=True,
)
def create(call: Call) -> dict[str, Any]:
    """Create a user, with a target for the email address and one for the phone number."""
    made = users.create(
        call.connection,
        call.vault,
        call.project_id,
        user_id=call["userId"],
        name=call["name"] or "",
        email=call["email"],
        phone=call["phone"],
    )
    if call["password"]:
        number = users.find(call.connection, call.project_id, made.id)
        accounts.set_password_hash(call.connection, number, hash_password(call["password"]))
    return _shown(call, made.id)


@operations.add("GET", "/users/{userId}", USER_ID, scopes=_READ, model="user")
def get(call: Call) -> dict[str, Any]:
    """A user, with their targets."""
    return _shown(call)


@operations.add("DELETE", "/users/{userId}", USER_ID, scopes=_WRITE, status=204)
def delete(call: Call) -> None:
    """Delete a user with all targets, subscriptions and sessions, and every other trace of their addresses."""
    users.delete(call.connection, call.vault, call.project_id, call["userId"])


@operations.add(
    "PUT",
    "/users/{userId}/labels",
    USER_ID,
    p.array("labels", _label, {"type": "string", "pattern": f"^{_LABEL.pattern}$"}, most=MOST_LABELS, required=True),
    scopes=_WRITE,
    model="user",
)
def update_labels(call: Call) -> dict[str, Any]:
    """Replace a user's labels, which topics and buckets may name as roles."""
    users.set_attributes(call.connection, call.project_id, call["userId"], labels=call["labels"])
    return _shown(call)


@operations.add("PATCH", "/users/{userId}/name", USER_ID, _NEW_NAME, scopes=_WRITE, model="user")
def update_name(call: Call) -> dict[str, Any]:
    """Change a user's name."""
    users.update(call.connection, call.vault, call.project_id, call["userId"], name=call["name"])
    return _shown(call)


@operations.add(
    "PATCH",
    "/users/{userId}/email",
    USER_ID,
    _EMPTY_EMAIL,
    scopes=_WRITE,
    model="user",
    taken="user_target_already_exists",
)
def update_email(call: Call) -> dict[str, Any]:
    """Change a user's email address; the target moves along and stays in its topics. Empty: none any more."""
    users.update(call.connection, call.vault, call.project_id, call["userId"], email=call["email"] or None)
    return _shown(call)


@operations.add(
    "PATCH",
    "/users/{userId}/phone",
    USER_ID,
    _phone("number", empty=True),
    scopes=_WRITE,
    model="user",
    taken="user_target_already_exists",
)
def update_phone(call: Call) -> dict[str, Any]:
    """Change a user's phone number; the target moves along and stays in its topics. Empty: none any more."""
    users.update(call.connection, call.vault, call.project_id, call["userId"], phone=call["number"] or None)
    return _shown(call)


@operations.add(
    "PATCH", "/users/{userId}/password", USER_ID, _password(required=True), scopes=_WRITE, model="user", hashes=True
)
def update_password(call: Call) -> dict[str, Any]:
    """Change a user's password; empty: none, so that nobody can sign in with one."""
    number = users.find(call.connection, call.project_id, call["userId"])
    hashed = hash_password(call["password"]) if call["password"] else None
    accounts.set_password_hash(call.connection, number, hashed)
    return _shown(call)


@operations.add(
    "PATCH", "/users/{userId}/status", USER_ID, p.boolean("status", required=True), scopes=_WRITE, model="user"
)
def update_status(call: Call) -> dict[str, Any]:
    """Block a user (false) or let them in again."""
    users.set_attributes(call.connection, call.project_id, call["userId"], blocked=not call["status"])
    return _shown(call)


@operations.add(
    "PATCH",
    "/users/{userId}/verification",
    USER_ID,
    p.boolean("emailVerification", required=True),
    scopes=_WRITE,
    model="user",
)
def update_email_verification(call: Call) -> dict[str, Any]:
    """Say whether a user's email address is known to be theirs."""
    verified = call["emailVerification"]
    users.set_attributes(call.connection, call.project_id, call["userId"], email_verified=verified)
    return _shown(call)


@operations.add(
    "PATCH",
    "/users/{userId}/verification/phone",
    USER_ID,
    p.boolean("phoneVerification", required=True),
    scopes=_WRITE,
    model="user",
)
def update_phone_verification(call: Call) -> dict[str, Any]:
    """Say whether a user's phone number is known to be theirs."""
    verified = call["phoneVerification"]
    users.set_attributes(call.connection, call.project_id, call["userId"], phone_verified=verified)
    return _shown(call)


@operations.add("GET", "/users/{userId}/prefs", USER_ID, scopes=_READ, model="any")
def get_prefs(call: Call) -> dict[str, Any]:
    """A user's preferences."""
    return _prefs_of(call)


@operations.add("PATCH", "/users/{userId}/prefs", USER_ID, _prefs(), scopes=_WRITE, model="any")
def update_prefs(call: Call) -> dict[str, Any]:
    """Replace a user's preferences."""
    users.set_attributes(call.connection, call.project_id, call["userId"], prefs=call["prefs"])
    return _prefs_of(call)


def _shown(call: Call, public_id: str | None = None) -> dict[str, Any]:
    return rendered_user(call.connection, call.project_id, public_id or call["userId"])


def _prefs_of(call: Call) -> dict[str, Any]:
    prefs: dict[str, Any] = _shown(call)["prefs"]
    return prefs
