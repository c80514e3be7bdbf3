"""Every operation of the contract is there, takes what the contract lists, and answers as it declares.

The contract's documents belong to somebody else and are not part of this project; the tests that read them are skipped
where they are absent.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from messaging.http.surface import OPERATIONS
from tests.integration.http.api import Api
from tests.sdk.contract import Key, Promised, promised
from tests.sdk.contract_calls import CALLS, GUEST, KEY, USER, Asked

_NOT_JSON = {("GET", "/ping")}
"""Answers in plain text, as the SDKs want it, though the contract names a schema."""
_NO_PROJECT = {("GET", "/health")}
"""Answers anybody."""


@pytest.fixture(scope="module")
def contract(shared_dir: Path) -> list[Promised]:
    """The operations of both documents."""
    return promised(shared_dir)


@pytest.fixture(scope="module")
def answers(api: Api) -> dict[Key, list[httpx.Response]]:
    """What every call of the table was answered."""
    found: dict[Key, list[httpx.Response]] = {}
    session = ""
    for asked in CALLS:
        answer = _ask(api, asked, session)
        found.setdefault((asked.method, asked.template), []).append(answer)
        if asked.template == "/users/{userId}/sessions" and asked.method == "POST" and answer.is_success:
            session = answer.json()["secret"]
    return found


def _ask(api: Api, asked: Asked, session: str) -> httpx.Response:
    api.client.cookies.clear()  # who speaks is said by headers here
    headers = {"x-appwrite-session": session} if asked.who == USER else {}
    return api.call(asked.method, asked.path, asked.body, queries=asked.queries, headers=headers, key=asked.who == KEY)


def test_every_call_succeeds(answers: dict[Key, list[httpx.Response]]) -> None:
    """Without a look at the contract, too."""
    refused = [
        f"{' '.join(key)}: {answer.status_code} {answer.text[:300]}"
        for key, found in answers.items()
        for answer in found
        if not answer.is_success
    ]
    assert not refused, "\n".join(refused)


def test_every_operation_is_called(contract: list[Promised], answers: dict[Key, list[httpx.Response]]) -> None:
    """And the table calls nothing that the contract doesn't have."""
    assert set(answers) == {operation.key for operation in contract}


def test_every_answer_is_as_declared(contract: list[Promised], answers: dict[Key, list[httpx.Response]]) -> None:
    """Status, content type and every field."""
    problems = [
        f"{' '.join(operation.key)}: {problem}"
        for operation in contract
        for answer in answers.get(operation.key, ())
        for problem in _problems(operation, answer)
    ]
    assert not problems, "\n".join(problems)


def _problems(operation: Promised, answer: httpx.Response) -> list[str]:
    if answer.status_code != operation.status:
        return [f"{answer.status_code} instead of {operation.status}: {answer.text[:300]}"]
    kind = answer.headers.get("content-type", "")
    if operation.schema is None:
        well = not answer.content and kind and "json" not in kind
        return [] if well else [f"a body, or a content type the SDKs would parse: {kind!r} {answer.text[:100]!r}"]
    if operation.key in _NOT_JSON:
        return [] if kind.startswith("text/plain") else [f"content type {kind!r}"]
    if not kind.startswith("application/json"):
        return [f"content type {kind!r}"]
    return operation.problems(answer.json())


def test_every_operation_takes_the_parameters_of_the_contract(contract: list[Promised]) -> None:
    """All of them, and requires no others."""
    ours = {(each.method, each.path): each for each in OPERATIONS}
    problems = []
    for operation in contract:
        if operation.key in _NO_PROJECT:
            continue
        if operation.key not in ours:
            problems.append(f"{' '.join(operation.key)}: is not there")
            continue
        found = ours[operation.key]
        takes = {each.name for each in found.parameters} | ({"queries"} if found.listed else set())
        requires = {each.name for each in found.parameters if each.required}
        if missing := operation.names - takes:
            problems.append(f"{' '.join(operation.key)}: does not take {', '.join(sorted(missing))}")
        if requires != operation.required:
            problems.append(
                f"{' '.join(operation.key)}: requires {sorted(requires)}, the contract {sorted(operation.required)}"
            )
    assert not problems, "\n".join(problems)


def test_every_operation_refuses_in_the_words_of_the_contract(contract: list[Promised], api: Api) -> None:
    """Without a project, without a key, and with a body that is no JSON: an error the SDKs can parse."""
    asked = {(call.method, call.template): call for call in CALLS}
    problems = []
    for operation in contract:
        if operation.key in _NO_PROJECT:
            continue
        call = asked[operation.key]
        refusals = [api.call(call.method, call.path, call.body, key=False, headers={"x-appwrite-project": ""})]
        if call.who != GUEST:
            refusals.append(api.call(call.method, call.path, call.body, key=False))
        for answer in refusals:
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                problems.append(f"{' '.join(operation.key)}: {answer.status_code} {answer.text[:200]}")
            else:
                problems += [f"{' '.join(operation.key)}: {each}" for each in operation.error_problems(answer.json())]
    assert not problems, "\n".join(problems)
