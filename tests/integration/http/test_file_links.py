"""Signed links to files: what a phone fetches the image of a push message by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from messaging import file_links
from messaging.errors import SettingsError
from messaging.settings import Settings
from messaging.vault import Vault
from tests.integration.http.api import SECRET, Api
from tests.integration.http.storage import PNG, bucket, stored

SOON = timedelta(minutes=5)


@pytest.fixture(scope="module", autouse=True)
def token(api: Api) -> str:
    """What opens a file of a bucket without permissions."""
    stored(api, bucket(api, "box"), "pic", PNG, name="pic.png")
    stored(api, "box", "other", PNG)
    return file_links.token(api.vault, api.project, "box", "pic", datetime.now(UTC) + SOON)


def settings(public_url: str | None) -> Settings:
    """Settings with that public address."""
    return Settings.load(
        {}, database_url="postgresql://x", broker_url="redis://x", secret_key=SECRET, public_url=public_url
    )


def opened(api: Api, path: str, **params: str) -> httpx.Response:
    """The answer to somebody who has an address and nothing else."""
    return api.client.get(f"{api.url}{path}", params=params)


def test_a_link_opens_its_file_without_a_key(api: Api) -> None:
    """The address alone, project and all, is enough for the bytes."""
    url = file_links.image_url(
        settings("https://push.example.com"), api.vault, api.project, "box", "pic", datetime.now(UTC) + SOON
    )
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "push.example.com")
    answer = api.client.get(api.url.removesuffix("/v1") + f"{parts.path}?{parts.query}")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert len(url) < 250  # it lies in a payload of 4 KB


@pytest.mark.parametrize("way", ["view", "download", "preview"])
def test_it_opens_the_bytes_and_nothing_else(api: Api, token: str, way: str) -> None:
    """Not the description, not another file, not another bucket's, not another project's."""
    asked = {"project": api.project, "token": token}
    assert opened(api, f"/storage/buckets/box/files/pic/{way}", **asked).content == PNG
    assert opened(api, f"/storage/buckets/box/files/other/{way}", **asked).status_code == 401
    assert opened(api, "/storage/buckets/box/files/pic", **asked).status_code == 401


def test_it_ends_when_it_says(api: Api) -> None:
    """A moment before and a moment after."""
    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    given = file_links.token(api.vault, "p", "b", "f", at)
    assert file_links.opens(api.vault, given, "p", "b", "f", now=at - timedelta(seconds=1))
    assert not file_links.opens(api.vault, given, "p", "b", "f", now=at)
    past = file_links.token(api.vault, api.project, "box", "pic", datetime.now(UTC) - SOON)
    answer = opened(api, "/storage/buckets/box/files/pic/view", project=api.project, token=past)
    assert (answer.status_code, answer.json()["type"]) == (401, "user_unauthorized")


def test_nobody_else_writes_one(api: Api, token: str) -> None:
    """A later time, another signature, another secret key, another file: none of them opens."""
    seconds, signature = token.split(".")
    later = f"{int(seconds, 16) + 1:x}.{signature}"
    foreign = file_links.token(
        Vault("another secret key of 32 chars.."), api.project, "box", "pic", datetime.now(UTC) + SOON
    )
    for forged in (later, foreign, f"{seconds}.{'A' * 43}", f"{seconds}.", signature, ".", "é" * 50, f"{token}x"):
        assert not file_links.opens(api.vault, forged, api.project, "box", "pic")
    for project, box, file in (("p", "box", "pic"), (api.project, "bo", "xpic"), (api.project, "box", "other")):
        assert not file_links.opens(api.vault, token, project, box, file)
    assert file_links.opens(api.vault, token, api.project, "box", "pic")


@pytest.mark.parametrize("said", ["x" * 129, "a\0b"])
def test_a_token_that_is_none_is_refused_by_name(api: Api, said: str) -> None:
    """It reaches no database."""
    answer = opened(api, "/storage/buckets/box/files/pic/view", project=api.project, token=said)
    assert (answer.status_code, answer.json()["type"]) == (400, "general_argument_invalid")


def test_a_disabled_bucket_closes_its_links(api: Api, token: str) -> None:
    """So an operator can stop them at once."""
    asked = {"project": api.project, "token": token}
    try:
        api.ok("PUT", "/storage/buckets/box", {"name": "box", "enabled": False})
        assert opened(api, "/storage/buckets/box/files/pic/view", **asked).status_code == 404
    finally:
        api.ok("PUT", "/storage/buckets/box", {"name": "box", "enabled": True})
    assert opened(api, "/storage/buckets/box/files/pic/view", **asked).status_code == 200


@pytest.mark.parametrize(
    ("public_url", "begins"),
    [
        ("https://h.example", "https://h.example/v1/storage/"),
        ("https://h.example:8443/", "https://h.example:8443/v1/storage/"),
        ("https://h.example/v1", "https://h.example/v1/storage/"),
        ("https://h.example/push/v1/", "https://h.example/push/v1/storage/"),
    ],
)
def test_links_begin_with_the_public_address(public_url: str, begins: str) -> None:
    """However its end is written."""
    url = file_links.image_url(settings(public_url), Vault(SECRET), "p", "b", "f", datetime.now(UTC))
    assert url.startswith(begins)
    assert parse_qs(urlsplit(url).query)["project"] == ["p"]


def test_without_a_public_address_there_are_no_links() -> None:
    """The error says what to set."""
    with pytest.raises(ValueError, match="Set MESSAGING_PUBLIC_URL") as refused:
        file_links.image_url(settings(None), Vault(SECRET), "p", "b", "f", datetime.now(UTC))
    assert "image" in str(refused.value)


@pytest.mark.parametrize("public_url", ["http://h.example", "h.example", "https://", "https://u:p@h", "https://h?x=1"])
def test_a_public_address_is_https(public_url: str) -> None:
    """Phones fetch nothing else."""
    with pytest.raises(SettingsError, match="MESSAGING_PUBLIC_URL"):
        settings(public_url)
