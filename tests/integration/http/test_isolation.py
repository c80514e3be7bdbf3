"""Nothing of one project can be reached from another, whatever is called and however.

Every route is called with one project's key and another's ids; a route that is new is called too, and where the tests
don't know what to give it, they fail.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from messaging.http import openapi
from messaging.http.app import create_app
from messaging.http.operations import Access, Operation
from messaging.http.parameters import UNIQUE, Parameter
from messaging.http.surface import OPERATIONS
from messaging.store import api_keys
from tests.integration.http.api import Api, query
from tests.integration.http.two_projects import Owner, full_project, rows_of, strays, unowned_tables

_ID = "[A-Za-z0-9][A-Za-z0-9._-]{0,35}"
_ADDRESSES = frozenset({"address", "email", "emails", "addresses", "identifier", "sendTo", "phone", "number"})
_REFUSED = frozenset({401, 403, 404})
_MERELY_NAMED = frozenset(
    {
        # a draft keeps the ids as they were given, and they are looked up in its project when it is sent
        *((f"messagingUpdate{channel}", name) for channel in ("Email", "Sms", "Push") for name in ("topics", "users")),
        *((f"messagingUpdate{channel}", "targets") for channel in ("Email", "Sms", "Push")),
        ("messagingUpdateEmail", "cc"),
        ("messagingUpdateEmail", "bcc"),
        # as the contract has it, an account that does not exist is as good as none
        ("usersCreateTarget", "providerId"),
        ("usersUpdateTarget", "providerId"),
    }
)
"""Parameters that may name what is not there."""
_PEOPLE = frozenset({Access.SESSION, Access.EITHER, Access.ANYONE})
_WRITTEN_LATER = frozenset(
    {"intake_keys", "receipt_tokens", "provider_message_ids", "evidence", "dead_verdicts", "quarantine", "erasures"}
    | {"console_imports"}
)
"""Tables that only the road writes to, or the console."""


@pytest.fixture(scope="module")
def ours(api: Api) -> Owner:
    """The project that calls."""
    return full_project(api, "heron")


@pytest.fixture(scope="module")
def theirs(api: Api, ours: Owner) -> Owner:  # noqa: ARG001  first ours, so that no number is the same by chance
    """The project nobody else may see or change."""
    return full_project(api, "zebra")


def by_name(operation: Operation) -> str:
    """Name of a test's case."""
    return operation.name


every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=by_name)


def refers(parameter: Parameter) -> bool:
    """Whether a parameter names something that exists: by its id, as a file, or by an address."""
    schema = parameter.schema.get("items", parameter.schema)
    pattern = str(schema.get("pattern", ""))
    return parameter.name in _ADDRESSES or pattern.startswith(f"^{_ID}")


def is_new(parameter: Parameter) -> bool:
    """Whether a parameter is the id of something to be made."""
    return str(parameter.schema.get("pattern", "")).startswith(r"^(unique\(\)")


def values(operation: Operation, owner_of: Mapping[str, Owner], owner: Owner) -> dict[str, Any]:
    """A value for each parameter one would give, things of `owner` but for those named in `owner_of`."""
    given = openapi.example_body(operation) if openapi.takes_body(operation) else {}
    for one in operation.parameters:
        if is_new(one):
            given[one.name] = UNIQUE
        elif one.name in operation.places or one.name in owner_of or (one.name in given and refers(one)):
            given[one.name] = owner_of.get(one.name, owner).value(operation, one.name)
    return given


def ask(
    caller: Owner, operation: Operation, given: Mapping[str, Any], *, headers: Mapping[str, str], **more: Any
) -> httpx.Response:
    """The answer to a request with those values in their places."""
    caller.api.client.cookies.clear()  # some of the answers sign somebody in
    path = operation.path
    for name in operation.places:
        path = path.replace(f"{{{name}}}", str(given[name]))
    rest = {name: value for name, value in given.items() if name not in operation.places}
    sent = {"x-appwrite-project": caller.api.project} | dict(headers)
    url = caller.api.url + path
    if operation.multipart:
        fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in rest.items()}
        form = {"file": ("a.txt", b"hello", "text/plain")}
        return caller.api.client.request(operation.method, url, data=fields, files=form, headers=sent)
    if openapi.takes_body(operation):
        return caller.api.client.request(operation.method, url, json=rest, headers=sent)
    return caller.api.client.request(operation.method, url, params={**rest, **more}, headers=sent)


def keyed(owner: Owner) -> dict[str, str]:
    """The header of a server of that project."""
    return {"x-appwrite-key": owner.api.key}


def nothing_of(theirs: Owner, answer: httpx.Response, given: Mapping[str, Any]) -> None:
    """Assert that the answer says nothing of theirs that the caller had not said."""
    said = answer.text
    for value in sorted(map(str, _leaves(given)), key=len, reverse=True):
        said = said.replace(value, "")
    assert theirs.word not in said, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    assert answer.status_code < 500, answer.text


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value
        if isinstance(value, str) and ":" in value:  # a file: bucketId:fileId
            yield from value.split(":")


def is_empty(answer: httpx.Response) -> bool:
    """Whether a successful answer says that there is nothing."""
    return answer.is_success and bool(answer.content) and answer.json().get("total") == 0


def _mixtures(names: list[str]) -> Iterator[frozenset[str]]:
    """Each choice of names that are theirs, all first."""
    for count in range(len(names), 0, -1):
        yield from map(frozenset, itertools.combinations(names, count))


def test_it_is_known_whose_the_rows_of_each_table_are(theirs: Owner) -> None:
    """Else a table could be changed without anybody looking; and there is something to look at in most."""
    assert unowned_tables() == set()
    assert {name for name, rows in rows_of(theirs).items() if not rows} <= _WRITTEN_LATER


@every_operation
def test_a_key_reaches_nothing_of_another_project_by_path(operation: Operation, ours: Owner, theirs: Owner) -> None:
    """Neither all of it nor their thing under ours: the answer is what one gets for an id that does not exist."""
    before = rows_of(theirs)
    for foreign in _mixtures(sorted(operation.places)):
        given = values(operation, dict.fromkeys(foreign, theirs), ours)
        answer = ask(ours, operation, given, headers=keyed(ours))
        nothing_of(theirs, answer, given)
        assert answer.status_code in _REFUSED or is_empty(answer), f"{foreign}: {answer.status_code} {answer.text}"
    assert rows_of(theirs) == before
    assert strays(ours) == []


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.listed], ids=by_name)
def test_no_filter_cursor_or_search_leads_to_another_project(operation: Operation, ours: Owner, theirs: Owner) -> None:
    """`or` opens no way around the project, and a cursor names nothing elsewhere."""
    given = values(operation, {}, ours)
    ids = sorted({*map(str, theirs.made.values()), f"{theirs.word}-twilio", f"{theirs.word}-sms"} - {""})
    everything = query("or", query("isNull", "$id"), query("isNotNull", "$id"))
    for said in (query("equal", "$id", *ids), everything, query("or", query("equal", "$id", *ids), everything)):
        answer = ask(ours, operation, given, headers=keyed(ours), **{"queries[0]": said})
        nothing_of(theirs, answer, {"query": said, **given})
    found = ask(ours, operation, given, headers=keyed(ours), **{"queries[0]": query("equal", "$id", *ids)})
    assert found.is_client_error or is_empty(found)
    for each in ids:
        for method in ("cursorAfter", "cursorBefore"):
            said = query(method, None, each)
            answer = ask(ours, operation, given, headers=keyed(ours), **{"queries[0]": said})
            assert answer.is_client_error or is_empty(answer), f"{method} {each}: {answer.text}"
            nothing_of(theirs, answer, {"id": each})
    if any(one.name == "search" for one in operation.parameters):
        assert is_empty(ask(ours, operation, given | {"search": theirs.word}, headers=keyed(ours)))


@every_operation
def test_a_key_reaches_nothing_of_another_project_by_parameter(
    operation: Operation, ours: Owner, theirs: Owner
) -> None:
    """Their users, targets, topics, files, accounts and addresses mean nothing here."""
    named = [one for one in operation.parameters if one.name not in operation.places and refers(one)]
    before = rows_of(theirs)
    for one in named:
        given = values(operation, {one.name: theirs}, ours)
        answer = ask(ours, operation, given, headers=keyed(ours))
        nothing_of(theirs, answer, given)
        if one.name not in _ADDRESSES and (operation.name, one.name) not in _MERELY_NAMED:
            assert answer.is_client_error or is_empty(answer), f"{one.name}: {answer.status_code} {answer.text}"
    assert rows_of(theirs) == before
    assert strays(ours) == []


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if any(map(is_new, one.parameters))], ids=by_name)
def test_an_id_is_taken_in_its_own_project_only(operation: Operation, ours: Owner, theirs: Owner) -> None:
    """What is made under one of their ids is another thing."""
    before = rows_of(theirs)
    for one in filter(is_new, operation.parameters):
        given = values(operation, {}, ours) | {one.name: theirs.value(operation, one.name)}
        nothing_of(theirs, ask(ours, operation, given, headers=keyed(ours)), given)
    assert rows_of(theirs) == before
    assert strays(ours) == []


def test_an_idempotency_key_is_one_of_its_project(ours: Owner, theirs: Owner) -> None:
    """The same key in both projects: each gets its own answer."""
    for owner in (ours, theirs):
        body = {"messageId": f"{owner.word}-sent", "content": owner.word, "targets": [f"{owner.word}-phone"]}
        same = {"idempotency-key": "the-same-in-both"}
        answer = owner.api.call("POST", "/messaging/messages/sms", body, headers=same)
        assert answer.headers["idempotent-replayed"] == "true"
        assert answer.json()["$id"] == f"{owner.word}-sent"


# -- who may call at all -------------------------------------------------------------------------------

OPEN_TO_ANYONE = {
    "pingGet": "says whether a project exists",
    "accountCreateAccount": "people open accounts themselves",
    "accountCreateEmailPasswordSession": "signing in",
    "accountCreateAnonymousSession": "signing in as nobody",
    "storageListFiles": "a bucket's permissions decide",
    "storageGetFile": "(as above)",
    "storageGetFileDownload": "(as above)",
    "storageGetFileView": "(as above)",
    "storageGetFilePreview": "(as above)",
}
"""Operations that need neither key nor session, each with the reason."""
OPEN_ROUTES = {
    "/": "says where to go",
    "/health/live": "for a supervisor",
    "/health/ready": "for a supervisor",
    "/v1/health": "for a supervisor",
    "/metrics": "for this machine only, or behind a token of its own",
    "/v1/openapi.json": "describes, and tells no secret",
    "/v1/docs": "(as above)",
    "/v1/docs/": "(as above)",
    "/v1/docs/reference_page.css": "(as above)",
    "/v1/docs/reference_page.js": "(as above)",
    "/v1/receipts/{key}": "the key in the path is 122 random bits",
    "/v1/unsubscribe/{token}": "the token is signed",
}
"""Routes that are no operation, each with the reason why it may be open."""


def test_every_route_is_an_operation_or_known_to_be_open(api: Api) -> None:
    """A new route is noticed here, and so is a new operation that needs no key."""
    served = {route.path for route in routes_of(create_app(api.settings))}
    assert served == {f"/v1{one.path}" for one in OPERATIONS} | set(OPEN_ROUTES)
    assert {one.name for one in OPERATIONS if one.access in {Access.ANYONE, Access.PUBLIC}} == set(OPEN_TO_ANYONE)


def routes_of(app: Any) -> list[Any]:
    """The routes of the application inside what is wrapped around it."""
    while not isinstance(app, Starlette):
        app = app._app
    return list(app.routes)


@pytest.fixture(scope="module")
def other_keys(ours: Owner, theirs: Owner) -> dict[str, str]:
    """Keys that open nothing here: one of another project, one that was revoked, one nobody made."""
    with ours.api.engine.begin() as connection:
        view, revoked = api_keys.create(connection, ours.number, name="revoked")
        api_keys.delete(connection, ours.number, view.id)
    return {"foreign": theirs.api.key, "revoked": revoked, "made up": "standard_" + "0" * 64}


@every_operation
def test_who_has_no_key_is_refused(
    operation: Operation, ours: Owner, theirs: Owner, other_keys: Mapping[str, str]
) -> None:
    """And who has a key that is revoked, another project's, or without the scope that the operation declares."""
    given = values(operation, {}, ours)
    scopes = {scope for one in OPERATIONS for scope in one.scopes}
    ways = {"none": {}, **{name: {"x-appwrite-key": key} for name, key in other_keys.items()}}
    if operation.scopes:
        ways["scope"] = {"x-appwrite-key": ours.new_key(*sorted(scopes - set(operation.scopes)))}
    elif operation.name not in OPEN_TO_ANYONE:
        pytest.fail(f"{operation.name} declares no scope")
    before = rows_of(ours)
    if operation.name not in OPEN_TO_ANYONE:
        for name, headers in ways.items():
            answer = ask(ours, operation, given, headers=headers)
            assert answer.status_code in {401, 403}, f"{name}: {answer.status_code} {answer.text}"
        assert ask(theirs, operation, given, headers=keyed(ours)).status_code == 401
        assert rows_of(ours) == before
    elif operation.scopes:
        answer = ask(ours, operation, given, headers=ways["scope"])
        assert answer.status_code in {401, 403}, answer.text


# -- people --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.access in _PEOPLE], ids=by_name)
def test_a_user_reaches_only_what_is_theirs(operation: Operation, ours: Owner, theirs: Owner) -> None:
    """A session opens nothing of another project, and nothing of another user of its own."""
    before, others = rows_of(theirs), rows_of(ours)
    session = ours.api.ok("POST", "/users", {"userId": UNIQUE})["$id"]
    secret = ours.api.ok("POST", f"/users/{session}/sessions", {})["secret"]
    for whose in (ours, theirs) if operation.places else ():
        given = values(operation, {}, whose)
        answer = ask(ours, operation, given, headers={"x-appwrite-session": secret})
        if whose is ours and "read" in operation.scopes[0]:  # the bucket lets users read
            continue
        nothing_of(theirs, answer, given)
        assert answer.status_code in _REFUSED, f"{answer.status_code} {answer.text}"
    for way in ("x-appwrite-session", "x-appwrite-jwt"):
        given = values(operation, {}, ours)
        if operation.access is not Access.ANYONE:
            answer = ask(ours, operation, given, headers={way: theirs.made["session" if "session" in way else "jwt"]})
            assert answer.status_code == 401, answer.text
    assert rows_of(theirs) == before
    kept = rows_of(ours)
    assert {name: rows for name, rows in others.items() if set(rows) - set(kept[name])} == {}


# -- the control: with one's own things the same requests succeed -----------------------------------------


def test_the_same_requests_are_answered_for_ones_own_things(theirs: Owner) -> None:
    """Else the refusals above would prove nothing. Comes last: it deletes what it finds."""
    order = sorted(OPERATIONS, key=lambda one: (one.method == "DELETE", -one.path.count("/")))
    for operation in order:
        headers = keyed(theirs) if operation.access is not Access.SESSION else session_of(theirs)
        given = values(operation, {}, theirs)
        if operation.name in {"accountUpdatePushTarget", "accountDeletePushTarget"}:
            body = {"targetId": UNIQUE, "identifier": f"token-{operation.name}"}
            given["targetId"] = theirs.api.ok("POST", "/account/targets/push", body, key=False, headers=headers)["$id"]
        answer = ask(theirs, operation, given, headers=headers)
        refused = {401, 403} if operation.name.startswith("account") else _REFUSED
        assert answer.status_code not in refused, f"{operation.name}: {answer.status_code} {answer.text}"


def session_of(owner: Owner) -> dict[str, str]:
    """The header of a new session of its user."""
    secret = owner.api.ok("POST", f"/users/{owner.made['userId']}/sessions", {})["secret"]
    return {"x-appwrite-session": secret}
