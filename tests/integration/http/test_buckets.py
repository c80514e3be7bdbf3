"""Buckets over HTTP."""

from __future__ import annotations

import pytest
from appwrite.client import Client
from appwrite.exception import AppwriteException
from appwrite.services.storage import Storage

from tests.integration.http.api import Api, query
from tests.integration.http.storage import PNG, bucket, stored


def test_a_bucket_is_closed_unless_told_otherwise(api: Api) -> None:
    """Every field the SDKs require is there, and says what is so."""
    made = api.ok("POST", "/storage/buckets", {"bucketId": "plain", "name": "Plain"})
    assert made["$permissions"] == []
    assert (made["fileSecurity"], made["enabled"]) == (False, True)
    assert made["maximumFileSize"] == 25 * 1024 * 1024
    assert made["allowedFileExtensions"] == []
    assert (made["compression"], made["encryption"], made["antivirus"]) == ("none", False, False)
    assert (made["totalSize"], made["description"]) == (0, "")


def test_what_is_not_given_stays_when_a_bucket_changes(api: Api) -> None:
    """A PUT that names one thing leaves the others, the closed door among them."""
    bucket(api, "kept", enabled=False, permissions=['read("users")'], allowedFileExtensions=["PNG"], description="d")
    changed = api.ok("PUT", "/storage/buckets/kept", {"name": "New", "maximumFileSize": 10})
    assert (changed["name"], changed["maximumFileSize"]) == ("New", 10)
    assert (changed["enabled"], changed["$permissions"]) == (False, ['read("users")'])
    assert (changed["allowedFileExtensions"], changed["description"]) == (["png"], "d")


def test_a_deleted_bucket_takes_its_files_along(api: Api) -> None:
    """Both are gone; the answer is empty."""
    bucket(api, "gone")
    stored(api, "gone", "f", PNG, name="a.png")
    assert api.ok("GET", "/storage/buckets/gone")["totalSize"] == len(PNG)
    assert api.call("DELETE", "/storage/buckets/gone").status_code == 204
    assert api.refused("GET", "/storage/buckets/gone") == (404, "storage_bucket_not_found")
    assert api.refused("GET", "/storage/buckets/gone/files/f") == (404, "storage_bucket_not_found")
    bucket(api, "gone")
    assert api.refused("GET", "/storage/buckets/gone/files/f") == (404, "storage_file_not_found")


def test_an_id_is_taken_once(api: Api) -> None:
    """The second is told so."""
    bucket(api, "twice")
    assert api.refused("POST", "/storage/buckets", {"bucketId": "twice", "name": "B"}) == (
        409,
        "storage_bucket_already_exists",
    )


def test_buckets_are_listed_filtered_and_searched(api: Api) -> None:
    """By their attributes, and by a text in id, name or description."""
    bucket(api, "list1", description="holiday", maximumFileSize=5)
    bucket(api, "list2", description="holiday", fileSecurity=True)
    asked = "GET", "/storage/buckets"
    found = api.ok(*asked, search="HOLIDAY")
    assert (found["total"], [each["$id"] for each in found["buckets"]]) == (2, ["list1", "list2"])
    small = api.ok(*asked, queries=(query("lessThan", "maximumFileSize", 6),))
    assert [each["$id"] for each in small["buckets"]] == ["list1"]
    own = api.ok(*asked, queries=(query("equal", "fileSecurity", True), query("equal", "description", "holiday")))
    assert [each["$id"] for each in own["buckets"]] == ["list2"]


def test_write_means_everything_but_reading(api: Api) -> None:
    """It is spelt out, and nothing is there twice."""
    made = api.ok(
        "POST",
        "/storage/buckets",
        {"bucketId": "w", "name": "w", "permissions": ['delete("any")', 'write("any")', 'read("label:vip")']},
    )
    assert made["$permissions"] == ['delete("any")', 'create("any")', 'update("any")', 'read("label:vip")']


@pytest.mark.parametrize(
    "body",
    [
        {"name": "No id"},
        {"bucketId": "bad"},
        {"bucketId": "bad", "name": ""},
        {"bucketId": "bad", "name": "x" * 129},
        {"bucketId": "bad", "name": "a\0b"},
        {"bucketId": "bad", "name": "\ud800"},
        {"bucketId": "../bad", "name": "x"},
        {"bucketId": "bad", "name": "x", "permissions": "any"},
        {"bucketId": "bad", "name": "x", "permissions": ["any"]},
        {"bucketId": "bad", "name": "x", "permissions": ['read("root")']},
        {"bucketId": "bad", "name": "x", "permissions": ['read("any"); DROP TABLE buckets; --']},
        {"bucketId": "bad", "name": "x", "permissions": ['read("any")'] * 101},
        {"bucketId": "bad", "name": "x", "permissions": [5]},
        {"bucketId": "bad", "name": "x", "maximumFileSize": 0},
        {"bucketId": "bad", "name": "x", "maximumFileSize": 25 * 1024 * 1024 + 1},
        {"bucketId": "bad", "name": "x", "maximumFileSize": "5"},
        {"bucketId": "bad", "name": "x", "allowedFileExtensions": [".png"]},
        {"bucketId": "bad", "name": "x", "allowedFileExtensions": ["p\0g"]},
        {"bucketId": "bad", "name": "x", "enabled": "yes"},
        {"bucketId": "bad", "name": "x", "compression": "rar"},
        {"bucketId": "bad", "name": "x", "stripMetadata": True},
    ],
)
def test_bad_values_are_refused_by_name(api: Api, body: dict[str, object]) -> None:
    """Nothing is made."""
    assert api.refused("POST", "/storage/buckets", body) == (400, "general_argument_invalid")
    assert api.refused("GET", "/storage/buckets/bad") == (404, "storage_bucket_not_found")


def test_texts_are_kept_as_they_are(api: Api) -> None:
    """SQL in a name is a name."""
    name = "'; DROP TABLE buckets; -- \N{SNOWMAN}"
    assert api.ok("POST", "/storage/buckets", {"bucketId": "sql", "name": name})["name"] == name


def test_buckets_are_for_keys_with_the_scope(api: Api) -> None:
    """Guests see none; a key that may read can't write."""
    assert api.refused("GET", "/storage/buckets", key=False) == (401, "general_unauthorized_scope")
    reader = {"x-appwrite-key": api.new_key("buckets.read")}
    assert api.call("GET", "/storage/buckets", headers=reader).status_code == 200
    body = {"bucketId": "unique()", "name": "x"}
    assert api.refused("POST", "/storage/buckets", body, headers=reader) == (401, "general_unauthorized_scope")


def test_the_python_sdk_manages_buckets(api: Api) -> None:
    """Its models take every answer, with all that its tutorials ask for."""
    storage = Storage(Client().set_endpoint(api.url).set_project(api.project).set_key(api.key))
    made = storage.create_bucket(
        "sdk",
        "SDK",
        permissions=['read("any")'],
        file_security=True,
        enabled=True,
        maximum_file_size=1000,
        allowed_file_extensions=["png"],
        compression="gzip",
        encryption=True,
        antivirus=True,
    )
    assert (made.id, made.permissions, made.maximumfilesize) == ("sdk", ['read("any")'], 1000)
    assert (made.compression, made.encryption) == ("none", False)
    assert storage.update_bucket("sdk", "New").name == "New"
    assert storage.get_bucket("sdk").filesecurity is True
    assert "sdk" in {each.id for each in storage.list_buckets(search="New").buckets}
    storage.delete_bucket("sdk")
    with pytest.raises(AppwriteException) as refused:
        storage.get_bucket("sdk")
    assert (refused.value.code, refused.value.type) == (404, "storage_bucket_not_found")
