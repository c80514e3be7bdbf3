"""Our OpenAPI document and the page made from it."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from messaging.http import openapi
from messaging.http.operations import Operation
from messaging.http.surface import OPERATIONS
from tests.integration.http.api import Api


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    """The document as the API serves it, to somebody without a key."""
    answer = api.client.get(f"{api.url}/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_it_is_a_valid_openapi_3_1_document(document: dict[str, Any]) -> None:
    """By the specification's own schema, closed over its references."""
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_operation_is_in_it_once(document: dict[str, Any]) -> None:
    """With an id of its own and a summary."""
    described = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {(one.method, one.path) for one in OPERATIONS} <= set(described)
    names = [operation["operationId"] for operation in described.values()]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and not operation["summary"].endswith(".") for operation in described.values())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_an_operation_is_described_with_its_model(operation: Operation) -> None:
    """A model nobody has described would raise here."""
    described = openapi.described(operation)
    answers = described["responses"]
    assert str(int(operation.status)) in answers
    errors = [code for code in answers if int(code) >= 400]
    assert errors
    for code in errors:
        assert answers[code]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/error"}
    assert operation.summary != operation.name, f"{operation.name} has no docstring"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_examples_are_what_the_operation_takes(operation: Operation) -> None:
    """By its schema and by its own checks."""
    for one in operation.parameters:
        if one.name in operation.places:
            one.check(next(p["example"] for p in openapi.described(operation)["parameters"] if p["name"] == one.name))
    body = openapi.request_body(operation)
    if body is None or operation.multipart:
        return
    content = body["content"]["application/json"]
    Draft202012Validator(content["schema"]).validate(content["example"])
    for one in operation.parameters:
        if one.name in content["example"]:
            one.check(content["example"][one.name])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_defaults_are_what_the_schema_takes(operation: Operation) -> None:
    """A default nobody could send would be no default."""
    for one in operation.parameters:
        schema = one.described(in_body=openapi.takes_body(operation) and one.name not in operation.places)
        Draft202012Validator.check_schema(schema)
        if "default" in schema:
            Draft202012Validator(schema).validate(schema["default"])


def test_the_page_shows_every_operation(api: Api, document: dict[str, Any]) -> None:
    """With a request to copy and its answer; and nothing comes from elsewhere."""
    answer = api.client.get(f"{api.url}/docs")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for methods in document["paths"].values():
        for operation in methods.values():
            if operation["operationId"] != "healthGet":
                assert f'<details id="{operation["operationId"]}"' in answer.text
    assert answer.text.count("curl -X") == len(OPERATIONS)
    assert not re.findall(r"(?:src|href|action)=\"(?:https?:)?//", answer.text)
    assert not re.findall(r"<[^>]+\son\w+=|<[^>]+\sstyle=", answer.text)
    for linked in set(re.findall(r"(?:src|href)=\"(/[^\"]+)\"", answer.text)):
        assert api.client.get(api.url.removesuffix("/v1") + linked).status_code == 200
    for anchor in set(re.findall(r"href=\"#([^\"]+)\"", answer.text)):
        assert f'id="{anchor}"' in answer.text


def test_a_search_narrows_the_page(api: Api) -> None:
    """Without any script, and whatever is searched for."""
    found = api.client.get(f"{api.url}/docs", params={"search": "create TOPIC"}).text
    assert '<details id="messagingCreateTopic"' in found
    assert '<details id="messagingDeleteTopic"' not in found
    hostile = '"><script>alert(1)</script>\ud800'
    nothing = api.client.get(f"{api.url}/docs", params={"search": hostile.encode(errors="replace")}).text
    assert "<script>alert" not in nothing
    assert html.escape("<script>alert(1)") in nothing


def test_the_page_is_read_again_only_when_it_changed(api: Api) -> None:
    """By its entity tag."""
    first = api.client.get(f"{api.url}/openapi.json")
    again = api.client.get(f"{api.url}/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_root_leads_to_the_page(api: Api) -> None:
    """And to the document."""
    root = api.client.get(api.url.removesuffix("/v1") + "/").json()
    assert (root["reference"], root["openapi"]) == ("/v1/docs", "/v1/openapi.json")


def test_the_document_tells_no_secret(document: dict[str, Any], api: Api) -> None:
    """It is public."""
    text = json.dumps(document)
    assert api.key not in text
    assert api.settings.secret_key.get_secret_value() not in text
