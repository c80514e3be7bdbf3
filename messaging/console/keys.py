"""API keys: which there are, new ones, and taking them back."""

from __future__ import annotations

from messaging.clock import clock
from messaging.console.answers import Answer, Done, Page
from messaging.console.forms import errors_of, point_in_time, refused
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError, MessagingError
from messaging.http.surface import OPERATIONS
from messaging.store import api_keys, audit
from messaging.store.operators import OperatorRole

pages = Pages()
_LONGEST_NAME = 128
SCOPES = tuple(sorted({scope for operation in OPERATIONS for scope in operation.scopes}))


@pages.get("/p/{project}/keys")
def listed(visit: Visit) -> Answer:
    """Every key, without its secret."""
    return Page("keys.html", _list(visit) | {"errors": {}, "typed": {}, "chosen": []})


@pages.post("/p/{project}/keys", action="key.create", role=OperatorRole.ADMIN)
def create(visit: Visit) -> Answer:
    """A new key; its secret stands on the answer and nowhere else."""
    typed = {name: visit.text(name) for name in ("name", "expires", "all")}
    chosen = [scope for scope in visit.lists.get("scope", []) if scope in SCOPES]
    try:
        if not 0 < len(typed["name"]) <= _LONGEST_NAME:
            raise InvalidArgumentError("name", f"a key's name has 1 to {_LONGEST_NAME} characters")
        if not chosen and not typed["all"]:
            raise InvalidArgumentError("scope", "choose what the key may do, or everything")
        expires_at = point_in_time(visit, "expires")
        if expires_at is not None and expires_at <= clock.now():
            raise InvalidArgumentError("expires", "that is over already")
    except MessagingError as error:
        return refused("keys.html", _list(visit) | {"typed": typed, "chosen": chosen}, errors_of(error))
    scopes = [] if typed["all"] else chosen
    with visit.begin() as connection:
        made, secret = api_keys.create(
            connection, visit.project_number, name=typed["name"], scopes=scopes, expires_at=expires_at
        )
        # a page and no redirect: the secret must not be kept anywhere on its way
        audit.note(
            connection,
            operator=visit.operator.email,
            project=visit.project,
            action="key.create",
            subject=made.id,
            details={"scopes": scopes or "all", "expires": expires_at},
        )
    return Page("key_created.html", {"key": made, "secret": secret})


@pages.post("/p/{project}/keys/{key}/revoke", action="key.revoke", role=OperatorRole.ADMIN)
def revoke(visit: Visit) -> Answer:
    """The key opens nothing any more."""
    visit.messaging.keys.revoke(visit.places["key"])
    notice = "The key is revoked. A process that saw it a moment ago forgets it within seconds."
    return Done(f"{visit.home}/keys", notice, visit.places["key"])


def _list(visit: Visit) -> dict[str, object]:
    return {"keys": visit.messaging.keys.list(), "scopes": SCOPES}
