"""A person with a browser: signs in through the form, follows links, sends forms with their token."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from messaging.store import operators
from tests.integration.http.api import Api

PASSWORD = "password password"
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')

Fields = Mapping[str, str | Sequence[str]]


def token_of(page: str) -> str:
    """The token that the forms of a page carry."""
    found = _CSRF.search(page)
    assert found is not None, page
    return found[1]


def in_words(page: str) -> str:
    """The text of a page as it is read, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)).strip()


@dataclass
class Browser:
    """Somebody who is signed in."""

    client: httpx.Client
    operator: operators.OperatorView
    csrf: str

    def get(self, path: str, *, htmx: bool = False) -> httpx.Response:
        """The answer to a GET below /console."""
        return self.client.get(f"/console{path}", headers={"hx-request": "true"} if htmx else None)

    def page(self, path: str) -> str:
        """The HTML of a page that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {in_words(answer.text)}"
        return answer.text

    def read(self, path: str) -> str:
        """The same as text."""
        return in_words(self.page(path))

    def post(self, path: str, fields: Fields | None = None, *, csrf: str | None = None, **more: Any) -> httpx.Response:
        """The answer to a form sent with the session's token, or with another."""
        sent = {"csrf": self.csrf if csrf is None else csrf, **(fields or {})}
        return self.client.post(f"/console{path}", data=sent, **more)

    def done(self, path: str, fields: Fields | None = None) -> str:
        """Where a form that was accepted leads (below /console)."""
        answer = self.post(path, fields)
        assert answer.status_code == 303, f"{path}: {answer.status_code} {in_words(answer.text)}"
        return str(answer.headers["location"]).removeprefix("/console")

    def refused(self, path: str, fields: Fields | None = None) -> str:
        """The text of the form that is shown again."""
        answer = self.post(path, fields)
        assert answer.status_code == 400, f"{path}: {answer.status_code}"
        return in_words(answer.text)


def signed_in(api: Api, role: str, email: str | None = None) -> Browser:
    """A new operator with that role, signed in through the form. Close its `client`."""
    address = email or f"{role}@example.com"
    with api.engine.begin() as connection:
        made = operators.create(connection, email=address, password=PASSWORD, role=role)
    client = httpx.Client(base_url=api.url.removesuffix("/v1"), timeout=120)
    form = client.get("/console/sign-in")
    answer = client.post("/console/sign-in", data={"csrf": token_of(form.text), "email": address, "password": PASSWORD})
    assert answer.status_code == 303, in_words(answer.text)
    return Browser(client, made, token_of(client.get("/console/account").text))
