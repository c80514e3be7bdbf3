"""The OpenAPI document and the reference page, made from operations without a server."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from messaging.http import openapi
from messaging.http import parameters as p
from messaging.http.body import MOST_PARTS, parse_object, strict_loads
from messaging.http.errors import ApiError
from messaging.http.json_text import dumps
from messaging.http.models import MODELS
from messaging.http.operations import Access, Call, Operation, Operations
from messaging.http.reference_entries import curl, kind
from messaging.http.reference_page import Reference, ticked
from messaging.http.surface import OPERATIONS


def declared(method: str, path: str, *parameters: p.Parameter, **more: Any) -> Operation:
    """An operation that nobody calls."""
    found = Operations("messaging")

    @found.add(method, path, *parameters, **more)
    def work(_call: Call) -> None:
        """Do it."""

    return next(iter(found))


def test_every_model_that_an_operation_names_is_described() -> None:
    """And the document can be made of them."""
    assert {one.model for one in OPERATIONS if one.model is not None} <= set(MODELS)
    assert {one.tag for one in OPERATIONS} <= set(openapi.TAGS)
    assert {code for one in OPERATIONS for code in openapi.statuses(one)} <= set(openapi.REASONS)
    openapi.document(OPERATIONS)


def test_a_model_nobody_described_is_named() -> None:
    """With the file to describe it in."""
    with pytest.raises(KeyError, match=r"'nothing'.*models\.py"):
        openapi.described(declared("GET", "/x", model="nothing"))


def test_every_reference_leads_to_a_model() -> None:
    """Models refer to each other."""
    document = openapi.document(OPERATIONS)
    references = {part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])


@pytest.mark.parametrize(
    ("access", "scopes", "ways"),
    [
        (Access.PUBLIC, (), []),
        (Access.ANYONE, (), [{"Project"}]),
        (Access.KEY, ("a",), [{"Project", "Key"}]),
        (Access.KEY, ("a", "b"), [{"Project", "Key"}, {"Project", "Key"}]),
        (Access.SESSION, ("a",), [{"Project", "Session"}, {"Project", "JWT"}]),
        (Access.EITHER, ("a",), [{"Project", "Key"}, {"Project", "Session"}, {"Project", "JWT"}]),
    ],
)
def test_who_may_is_what_is_checked(access: Access, scopes: tuple[str, ...], ways: list[set[str]]) -> None:
    """One way for each scope: a key needs one of them."""
    assert [set(way) for way in openapi.security(declared("GET", "/x", access=access, scopes=scopes))] == ways


def test_parameters_go_where_they_are_read() -> None:
    """The path's into the path, the others into the body of a POST or the query of a GET; only a body has null."""
    id_, name = p.uid("topicId", required=True), p.text("name", longest=5)
    post = openapi.described(declared("POST", "/x/{topicId}", id_, name))
    assert [(one["name"], one["in"]) for one in post["parameters"]] == [
        ("topicId", "path"),
        ("Idempotency-Key", "header"),
    ]
    body = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert body["name"]["type"] == ["string", "null"]
    get = openapi.described(declared("GET", "/x/{topicId}", id_, name))
    assert [(one["name"], one["in"]) for one in get["parameters"]] == [("topicId", "path"), ("name", "query")]
    assert get["parameters"][1]["schema"]["type"] == "string"
    assert "requestBody" not in get


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["string", "null"], "maxLength": 2000}, "string, at most 2,000 characters or null"),
        ({"type": "integer", "minimum": -1, "maximum": 3, "default": 0}, "integer, -1 to 3; 0 if not given"),
        ({"type": ["string", "null"], "enum": ["a", "b", None]}, "string: a, b or null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/target"}}, "list of target"),
        ({"$ref": "#/components/schemas/target"}, "target"),
        ({"type": "array", "items": {"type": "string"}, "default": []}, "list of string"),
        ({}, "anything"),
    ],
)
def test_a_schema_is_said_in_words(schema: dict[str, Any], said: str) -> None:
    """Short ones."""
    assert kind(schema) == said


def test_a_request_can_be_copied_into_a_shell() -> None:
    """Values are quoted; the address and secrets are variables."""
    said = curl(declared("POST", "/x/{topicId}", p.uid("topicId", required=True), p.text("name", required=True)))
    assert said.startswith('curl -X POST "$ENDPOINT/x/trains"')
    assert '-H "X-Appwrite-Key: $API_KEY"' in said
    assert '-d \'{"name": "Trains"}\'' in said


def test_the_page_escapes_what_it_shows() -> None:
    """Also in what stands between backticks, and in what was searched for."""
    assert ticked("a `<b>` & c") == "a <code>&lt;b&gt;</code> &amp; c"
    assert ticked("one ` alone") == "one ` alone"
    page = Reference((declared("GET", "/x"),)).page('"><script>')
    assert '"><script>' not in page


def test_json_that_could_not_be_sent_again_is_refused() -> None:
    """Infinite numbers, and texts for numbers that are none."""
    for said in ("NaN", "Infinity", "1e400", "-1e400", "[1e999]"):
        with pytest.raises(ValueError, match=r"."):
            strict_loads(said)
    assert strict_loads("[1.5, 1e300, 10]") == [1.5, 1e300, 10]


def test_a_body_of_too_many_values_is_not_parsed() -> None:
    """Its objects would take many times its size."""
    with pytest.raises(ApiError) as refused:
        parse_object(b'{"a": [' + b"[]," * (MOST_PARTS // 2) + b"[]]}")
    assert refused.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    ids = ",".join(f'"{number}"' for number in range(100_000))
    assert len(parse_object(f'{{"users": [{ids}], "targets": [{ids}]}}'.encode())["users"]) == 100_000


def test_half_a_surrogate_pair_is_quoted_as_a_question_mark() -> None:
    """An error that names what it refuses can always be sent."""
    assert dumps({"message": "a\ud800b"}) == b'{"message":"a?b"}'
