"""Generated requests, good and bad: what our OpenAPI document promises is what the API does.

`make test` sends a few thousand; `make test-slow` sends more, and follows what one answer gives to the next request.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import Case, CheckContext, Response

from messaging.http.examples import example
from messaging.store import projects
from messaging.store.suppressions import Scope, add_hash, parse_handle
from tests.integration.http.api import Api, running_api
from tests.integration.http.generated import NO_HTTP, closed, found_in, part_of, without_project

pytestmark = [
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),  # of a request; nobody prints it
    pytest.mark.timeout(1200),  # a thousand requests one by one: a minute, and many on a busy machine
]

PROMISES: Mapping[str, Mapping[str, Any]] = {
    "not_a_server_error": {},
    "status_code_conformance": {},
    "content_type_conformance": {},
    "response_headers_conformance": {},
    "response_schema_conformance": {},
    "negative_data_rejection": {},
    "missing_required_header": {},
    "unsupported_method": {},
    "allow_header_conformance": {},
    "use_after_free": {},
    "ensure_resource_availability": {},
    "ignored_auth": {},
    "errors_have_four_fields": {},
}
"""Every check but `positive_data_acceptance`: a time that has passed or an address nobody can have is refused, and no
schema says which those are. Where schemas say all there is to say, it is on as well."""

ONLY_SAFE: Mapping[str, Mapping[str, Any]] = {"not_a_server_error": {}, "errors_have_four_fields": {}}
SCHEMAS_SAY_ALL = frozenset({"messagingCreateTopic", "messagingUpdateTopic", "usersUpdateLabels", "usersUpdateName"})
ENDS_THE_SESSION = frozenset({"accountDeleteSession"})


@schemathesis.check
def errors_have_four_fields(_ctx: CheckContext, response: Response, _case: Case[Any]) -> None:
    """The SDKs make their exception of them; an answer to HEAD has no body."""
    if response.status_code < 400 or response.request.method == "HEAD" or response.content in NO_HTTP:
        return
    error = json.loads(response.content)
    assert error.keys() == {"message", "code", "type", "version"}
    assert error["code"] == response.status_code
    assert error["message"]
    assert error["type"]


@pytest.fixture(scope="module")
def running(postgres_url: str, valkey_url: str) -> Iterator[Api]:
    """An API. Calls are not counted: each is answered."""
    with running_api(postgres_url, valkey_url, http_rate_limits=False) as found:
        yield found


@pytest.fixture
def api(running: Api) -> Api:
    """The API, with the objects that the document's examples name."""
    prepare(running)
    return running


def prepare(api: Api) -> None:
    """Make what the examples name, so that requests get past ids."""
    own = secrets.token_hex(8)  # what is generated may have taken any other address
    made: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("/messaging/providers/smtp", {"providerId": "provider", "name": "Mail", "host": "smtp.example.org"}),
        ("/messaging/topics", {"topicId": "trains", "name": "Trains", "subscribe": ["users"]}),
        ("/users", {"userId": "ada", "name": "Ada"}),
        ("/users/ada/targets", {"targetId": "ada-mail", "providerType": "email", "identifier": f"{own}@example.org"}),
        ("/users/ada/targets", {"targetId": "ada-phone", "providerType": "push", "identifier": own}),
        ("/messaging/topics/trains/subscribers", {"subscriberId": "ada-trains", "targetId": "ada-mail"}),
        (
            "/messaging/messages/email",
            {"messageId": "train-815", "subject": "S", "content": "C", "topics": ["trains"], "draft": True},
        ),
        ("/messaging/suppressions", {"providerType": "email", "address": "ada@example.org"}),
        ("/storage/buckets", {"bucketId": "pictures", "name": "Pictures"}),
    )
    for path in (
        "/messaging/messages/train-815",
        "/messaging/topics/trains",
        "/messaging/providers/provider",
        "/users/ada",
    ):
        api.call("DELETE", path)
    api.call("DELETE", "/storage/buckets/pictures")
    for path, body in made:
        api.ok("POST", path, body)
    with api.engine.begin() as connection:  # the id of an address depends on the secret key: no example can name one
        named = parse_handle(example("suppressionId", {}))
        assert named is not None
        project = projects.find(connection, api.project)
        add_hash(connection, project, channel=named[0], address_hash=named[1], scope=Scope.EVERYTHING)
    stored = api.client.post(
        f"{api.url}/storage/buckets/pictures/files",
        headers=speaking_with_key(api),
        data={"fileId": "platform.png"},
        files={"file": ("platform.png", PIXEL, "image/png")},
    )
    assert stored.status_code == 201, stored.text


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)


def speaking_with_key(api: Api) -> dict[str, str]:
    """Headers of a server."""
    return {"X-Appwrite-Project": api.project, "X-Appwrite-Key": api.key}


def speaking_as_user(api: Api) -> dict[str, str]:
    """Headers of a signed-in user."""
    secret = api.ok("POST", "/users/ada/sessions", {})["secret"]
    return {"X-Appwrite-Project": api.project, "X-Appwrite-Session": secret}


def our_document(api: Api) -> dict[str, Any]:
    """As served; an answer with a field that is not described is a finding."""
    found: dict[str, Any] = api.client.get(f"{api.url}/openapi.json").json()
    return closed(without_project(found))


def takes(operation: Mapping[str, Any], scheme: str) -> bool:
    """Whether that is a way to be let in; those open to all take both."""
    return not operation["security"] or any(scheme in way for way in operation["security"])


def nothing(found: list[str]) -> None:
    """Fail with what was found."""
    assert not found, f"{len(found)} findings:\n\n" + "\n\n".join(found[:20])


@pytest.mark.parametrize("deleting", [False, True])
def test_a_server_gets_what_the_document_promises(api: Api, *, deleting: bool) -> None:
    """Whatever it asks for. Deletions come for themselves, else little would be there to ask for."""
    document = part_of(
        our_document(api), lambda method, operation: takes(operation, "Key") and (method == "delete") is deleting
    )
    answered: dict[str, set[int]] = {}
    headers = speaking_with_key(api)
    nothing(found_in(document, url=api.url, headers=headers, checks=PROMISES, examples=3, answered=answered))
    # else the promises of success were never looked at
    never = {label: codes for label, codes in answered.items() if min(codes) >= 300}
    assert never == {}, never


def test_a_user_gets_what_the_document_promises(api: Api) -> None:
    """Signed in."""
    document = part_of(
        our_document(api),
        lambda _, operation: takes(operation, "Session") and operation["operationId"] not in ENDS_THE_SESSION,
    )
    nothing(found_in(document, url=api.url, headers=speaking_as_user(api), checks=PROMISES, examples=3))


def test_what_a_schema_takes_is_taken(api: Api) -> None:
    """Where the schema says all there is to say."""
    document = part_of(our_document(api), lambda _, operation: operation["operationId"] in SCHEMAS_SAY_ALL)
    checks: Mapping[str, Mapping[str, Any]] = {"positive_data_acceptance": {}, "not_a_server_error": {}}
    nothing(
        found_in(document, url=api.url, headers=speaking_with_key(api), checks=checks, examples=30, no_nul=True),
    )


@pytest.mark.parametrize("side", ["server", "client"])
def test_what_the_contract_allows_is_answered_safely(api: Api, shared_dir: Path, side: str) -> None:
    """Requests made from the contract's own description, which knows less of what we take."""
    document = json.loads((shared_dir / f"appwrite-{side}.openapi.json").read_text())
    headers = speaking_with_key(api) if side == "server" else speaking_as_user(api)
    nothing(found_in(document, url=api.url, headers=headers, checks=ONLY_SAFE, examples=3, coverage=False))


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestAtLength:
    """The same with many more requests, and chains of them."""

    def test_a_server_gets_what_the_document_promises(self, api: Api) -> None:
        document = part_of(our_document(api), lambda _, operation: takes(operation, "Key"))
        headers = speaking_with_key(api)
        nothing(found_in(document, url=api.url, headers=headers, checks=PROMISES, examples=60, stateful=True))

    def test_a_user_gets_what_the_document_promises(self, api: Api) -> None:
        document = part_of(our_document(api), lambda _, operation: takes(operation, "Session"))
        headers = speaking_as_user(api)
        nothing(found_in(document, url=api.url, headers=headers, checks=PROMISES, examples=60, stateful=True))

    @pytest.mark.parametrize("side", ["server", "client"])
    def test_what_the_contract_allows_is_answered_safely(self, api: Api, shared_dir: Path, side: str) -> None:
        document = json.loads((shared_dir / f"appwrite-{side}.openapi.json").read_text())
        headers = speaking_with_key(api) if side == "server" else speaking_as_user(api)
        nothing(found_in(document, url=api.url, headers=headers, checks=ONLY_SAFE, examples=60))
