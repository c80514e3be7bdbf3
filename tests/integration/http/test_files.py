"""Files over HTTP: sending them in one piece and in several, who may have them, and what comes back."""

from __future__ import annotations

import hashlib
import os
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from appwrite.client import Client
from appwrite.exception import AppwriteException
from appwrite.input_file import InputFile
from appwrite.services.storage import Storage
from sqlalchemy import text

from messaging.message import Email
from messaging.producer import accept
from messaging.send_request import SendRequest
from messaging.store import file_uploads, files, projects
from messaging.store.outgoing import load
from tests.integration.http.api import Api, query
from tests.integration.http.storage import JPEG, PIECE, PNG, bucket, piece, refusal, send, signed_in, stored

BIG = os.urandom(2 * PIECE + 1_000_003)


@pytest.fixture(scope="module")
def box(api: Api) -> str:
    """A bucket without permissions."""
    return bucket(api, "box")


@pytest.fixture(scope="module")
def path(api: Api, box: str) -> str:
    """Where a file of ten bytes is."""
    stored(api, box, "ten", b"0123456789", name="ten.txt")
    return f"/storage/buckets/{box}/files/ten"


@pytest.fixture(scope="module")
def ann(api: Api) -> dict[str, str]:
    """Headers of a session."""
    return signed_in(api, "ann")


@pytest.fixture(scope="module")
def bob(api: Api) -> dict[str, str]:
    """Headers of another user's session."""
    return signed_in(api, "bob")


@pytest.fixture(scope="module")
def storage(api: Api) -> Storage:
    """The service, and a bucket for it."""
    bucket(api, "sdk")
    return Storage(Client().set_endpoint(api.url).set_project(api.project).set_key(api.key))


def get(api: Api, path: str, *, key: bool = True, **headers: str) -> httpx.Response:
    """The answer to a GET, underscores in header names as hyphens."""
    return api.call("GET", path, key=key, headers={name.replace("_", "-"): value for name, value in headers.items()})


def posted(api: Api, bucket_id: str, content_type: str, body: bytes) -> httpx.Response:
    """The answer to a form that no client library would write."""
    headers = {"x-appwrite-project": api.project, "x-appwrite-key": api.key, "content-type": content_type}
    return api.client.post(f"{api.url}/storage/buckets/{bucket_id}/files", content=body, headers=headers)


class TestInOnePiece:
    """A file of at most 5 MiB."""

    def test_a_file_is_stored_and_described(self, api: Api, box: str) -> None:
        made = stored(api, box, "pic", PNG, name="pic.png")
        assert (made["$id"], made["bucketId"], made["name"], made["key"]) == ("pic", box, "pic.png", "pic.png")
        assert (made["mimeType"], made["sizeOriginal"]) == ("image/png", len(PNG))
        assert made["signature"] == hashlib.md5(PNG, usedforsecurity=False).hexdigest()
        assert (made["chunksTotal"], made["chunksUploaded"]) == (1, 1)
        assert api.ok("GET", f"/storage/buckets/{box}/files/pic") == made

    def test_unique_asks_for_an_id_of_ours(self, api: Api, box: str) -> None:
        assert len(stored(api, box, "unique()", b"x")["$id"]) == 20

    def test_an_id_is_taken_once_in_a_bucket(self, api: Api, box: str) -> None:
        stored(api, box, "twice", b"x")
        assert refusal(send(api, box, "twice", b"y")) == (409, "storage_file_already_exists")
        other = bucket(api, "other")
        stored(api, other, "twice", b"z")
        assert get(api, f"/storage/buckets/{box}/files/twice/view").content == b"x"
        assert get(api, f"/storage/buckets/{other}/files/twice/view").content == b"z"

    @pytest.mark.parametrize(
        ("name", "data", "kind"),
        [
            ("a.jpg", JPEG, "image/jpeg"),
            ("a.txt", PNG, "image/png"),
            ("a.png", b"<script>alert(1)</script>", "application/octet-stream"),
            ("a.html", b"<p>", "text/html"),
            ("a.pdf", b"%PDF-1.7", "application/pdf"),
            ("a.tar.gz", b"x", "application/octet-stream"),
            ("none", b"x", "application/octet-stream"),
        ],
    )
    def test_a_picture_is_what_begins_like_one(self, api: Api, box: str, name: str, data: bytes, kind: str) -> None:
        assert stored(api, box, "unique()", data, name=name)["mimeType"] == kind

    def test_an_empty_file_is_refused(self, api: Api, box: str) -> None:
        assert refusal(send(api, box, "empty", b"")) == (400, "storage_file_empty")

    def test_a_bucket_limits_size_and_extension(self, api: Api) -> None:
        small = bucket(api, "small", maximumFileSize=10, allowedFileExtensions=["png", "txt"])
        assert refusal(send(api, small, "f", b"x" * 11)) == (400, "storage_invalid_file_size")
        assert refusal(send(api, small, "f", b"x", name="a.exe")) == (400, "storage_file_type_unsupported")
        assert refusal(send(api, small, "f", b"x", name="png")) == (400, "storage_file_type_unsupported")
        assert stored(api, small, "f", b"x" * 10, name="A.TXT")["sizeOriginal"] == 10
        renamed = "PUT", f"/storage/buckets/{small}/files/f", {"name": "a.exe"}
        assert api.refused(*renamed) == (400, "storage_file_type_unsupported")

    @pytest.mark.parametrize("name", [b"a\0b", b"../a", b"a/b", b"x" * 256, b"a\tb", "\u202ea".encode(), b".", b"\x7f"])
    def test_a_name_that_could_mislead_is_refused(self, api: Api, box: str, name: bytes) -> None:
        part = b'--x\r\nContent-Disposition: form-data; name="'
        body = part + b'fileId"\r\n\r\nbad\r\n' + part + b'file"; filename="' + name + b'"\r\n\r\nv\r\n--x--\r\n'
        answer = posted(api, box, "multipart/form-data; boundary=x", body)
        assert refusal(answer) == (400, "general_argument_invalid")
        assert api.refused("GET", f"/storage/buckets/{box}/files/bad") == (404, "storage_file_not_found")

    @pytest.mark.parametrize(
        ("file_id", "folder", "permissions"),
        [
            ("a b", "", None),
            ("'; DROP TABLE files; --", "", None),
            ("bad", "photos/2026", None),
            ("bad", "", ['create("any")']),
            ("bad", "", ["read(any)"]),
            ("bad", "", ['read("any")'] * 101),
        ],
    )
    def test_bad_fields_are_refused_by_name(
        self, api: Api, box: str, file_id: str, folder: str, permissions: list[str] | None
    ) -> None:
        answer = send(api, box, file_id, b"x", permissions=permissions, folder=folder)
        assert refusal(answer) == (400, "general_argument_invalid")

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b'{"fileId": "x"}'),
            ("multipart/form-data", b"--x--"),
            ("multipart/form-data; boundary=x", b"no form at all"),
            ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n"),
            ("multipart/form-data; boundary=x; charset=utf-7", b"--x--\r\n"),
            ("multipart/form-data; boundary=x", b""),
            (
                "multipart/form-data; boundary=x",
                (
                    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n--x\r\n'
                    b'Content-Disposition: form-data; name="a[]"\r\n\r\nv\r\n--x--\r\n'
                ),
            ),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nv\r\n--x--\r\n',
            ),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="fileId"\r\n\r\n\xff\xed\xa0\x80\r\n--x--\r\n',
            ),
        ],
    )
    def test_a_form_that_is_none_is_refused(self, api: Api, box: str, content_type: str, body: bytes) -> None:
        answer = posted(api, box, content_type, body)
        assert answer.status_code == 400
        assert answer.json()["type"] in {"general_bad_request", "general_argument_invalid", "storage_invalid_file"}

    def test_a_request_brings_six_megabytes_at_most(self, api: Api, box: str) -> None:
        assert refusal(send(api, box, "huge", bytes(6 * 1024 * 1024))) == (413, "storage_invalid_file_size")


class TestInPieces:
    """A larger file: pieces of 5 MiB, as the SDKs send them."""

    def test_pieces_come_in_any_order_and_twice(self, api: Api, box: str) -> None:
        total, starts = len(BIG), (0, 2 * PIECE, 2 * PIECE, PIECE)
        counted = []
        for start in starts:
            data, header = piece(start, BIG, total)
            made = stored(api, box, "pieces", data, headers=header | {"x-appwrite-id": "pieces"})
            counted.append(made["chunksUploaded"])
            assert (made["chunksTotal"], made["sizeOriginal"]) == (3, total)
        assert counted == [1, 1, 1, 3]  # without a gap: an SDK goes on from there
        assert made["signature"] == hashlib.md5(BIG, usedforsecurity=False).hexdigest()
        assert get(api, f"/storage/buckets/{box}/files/pieces/download").content == BIG

    def test_the_last_piece_said_again_changes_nothing(self, api: Api, box: str) -> None:
        data, header = piece(0, PNG, len(PNG))
        first = stored(api, box, "again", data, headers=header)
        assert stored(api, box, "again", data, headers=header) == first
        assert refusal(send(api, box, "again", data[::-1], headers=header)) == (409, "storage_file_already_exists")

    def test_the_id_of_the_first_answer_leads_to_the_upload(self, api: Api, box: str) -> None:
        total = PIECE + 10
        data, header = piece(0, BIG, total)
        made = stored(api, box, "unique()", data, headers=header | {"x-appwrite-id": "unique()"})
        data, header = piece(PIECE, BIG, total)
        done = stored(api, box, "unique()", data, headers=header | {"x-appwrite-id": made["$id"]})
        assert (done["$id"], done["chunksUploaded"], done["mimeType"]) == (made["$id"], 2, "text/plain")

    def test_an_unfinished_file_is_seen_but_can_not_be_had_or_changed(self, api: Api, box: str) -> None:
        data, header = piece(0, BIG, len(BIG))
        stored(api, box, "half", data, headers=header)
        path = f"/storage/buckets/{box}/files/half"
        assert api.ok("GET", path)["chunksUploaded"] == 1
        for way in ("view", "download", "preview"):
            assert api.refused("GET", f"{path}/{way}") == (404, "storage_file_not_found")
        assert api.refused("PUT", path, {"name": "b.txt"}) == (409, "storage_file_incomplete")
        assert api.call("DELETE", path).status_code == 204

    @pytest.mark.parametrize(
        ("header", "size"),
        [
            ("bytes 0-9/5", 10),
            ("bytes 5-1/10", 10),
            ("bytes 1-10/20", 10),
            ("bytes 0-9/20", 10),
            ("bytes 0-9/10", 9),
            ("bytes 0-9/*", 10),
            ("bytes=0-9/10", 10),
            ("items 0-9/10", 10),
            (f"bytes {PIECE}-{PIECE + 9}/{PIECE + 20}", 10),
            ("bytes 0-99999999999999999999/999999999999999999999", 10),
        ],
    )
    def test_a_piece_is_what_its_header_says(self, api: Api, box: str, header: str, size: int) -> None:
        answer = send(api, box, "odd", bytes(size), headers={"content-range": header})
        assert refusal(answer) == (400, "storage_invalid_content_range")
        assert api.refused("GET", f"/storage/buckets/{box}/files/odd") == (404, "storage_file_not_found")

    def test_the_size_that_was_announced_is_checked(self, api: Api, box: str) -> None:
        most = 25 * 1024 * 1024
        data, _ = piece(0, BIG, len(BIG))
        header = {"content-range": f"bytes 0-{PIECE - 1}/{most + 1}"}
        assert refusal(send(api, box, "large", data, headers=header)) == (400, "storage_invalid_file_size")
        stored(api, box, "changes", data, headers={"content-range": f"bytes 0-{PIECE - 1}/{len(BIG)}"})
        data, header = piece(PIECE, BIG, len(BIG) - 1)
        assert refusal(send(api, box, "changes", data, headers=header)) == (400, "storage_invalid_content_range")

    def test_an_upload_id_is_an_id(self, api: Api, box: str) -> None:
        data, header = piece(0, PNG, len(PNG))
        answer = send(api, box, "f", data, headers=header | {"x-appwrite-id": "../f"})
        assert refusal(answer) == (400, "general_argument_invalid")

    def test_an_upload_that_does_not_go_on_is_given_up_after_a_day(self, api: Api, box: str) -> None:
        stored(api, box, "done", PNG)
        data, header = piece(0, BIG, len(BIG))
        for file_id in ("stale", "fresh"):
            stored(api, box, file_id, data, headers=header)
        with api.engine.begin() as connection:
            connection.execute(
                text("UPDATE files SET updated_at = now() - interval '25 hours' WHERE public_id = 'stale'")
            )
            assert file_uploads.forget_unfinished(connection) == 1
            assert file_uploads.forget_unfinished(connection) == 0
        assert api.refused("GET", f"/storage/buckets/{box}/files/stale") == (404, "storage_file_not_found")
        assert api.ok("GET", f"/storage/buckets/{box}/files/fresh")["chunksUploaded"] == 1
        assert get(api, f"/storage/buckets/{box}/files/done/view").content == PNG


class TestWhatComesBack:
    """View, download and preview."""

    def test_the_bytes_come_with_their_type_and_name(self, api: Api, path: str) -> None:
        answer = get(api, f"{path}/download")
        assert (answer.content, answer.headers["content-type"]) == (b"0123456789", "text/plain")
        assert answer.headers["content-length"] == "10"
        assert answer.headers["content-disposition"] == "attachment; filename=\"ten.txt\"; filename*=UTF-8''ten.txt"
        assert get(api, f"{path}/view").headers["content-disposition"].startswith("inline; ")

    def test_a_name_in_any_letters_reaches_the_reader(self, api: Api, box: str) -> None:
        name = 'Übersicht "neu" 100%;\N{SNOWMAN}.txt'
        made = stored(api, box, "names", b"x")
        api.ok("PUT", f"/storage/buckets/{box}/files/{made['$id']}", {"name": name})
        assert get(api, f"/storage/buckets/{box}/files/names/view").headers["content-disposition"] == (
            'inline; filename="_bersicht _neu_ 100_;_.txt"; '
            "filename*=UTF-8''%C3%9Cbersicht%20%22neu%22%20100%25%3B%E2%98%83.txt"
        )

    @pytest.mark.parametrize("way", ["view", "download"])
    def test_a_stored_page_runs_nothing(self, api: Api, box: str, way: str) -> None:
        made = stored(api, box, "unique()", b"<script>alert(1)</script>", name="a.html")
        headers = get(api, f"/storage/buckets/{box}/files/{made['$id']}/{way}").headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = [part.strip() for part in headers["content-security-policy"].split(";")]
        assert "sandbox" in policy
        assert "default-src 'none'" in policy

    @pytest.mark.parametrize(
        ("asked", "status", "content", "range_"),
        [
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
            ("bytes=5-999", 206, b"56789", "bytes 5-9/10"),
            ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
            ("bytes=4-2", 200, b"0123456789", None),
            ("bytes=0-1,3-4", 200, b"0123456789", None),
            ("bytes=-", 200, b"0123456789", None),
            ("lines=1-2", 200, b"0123456789", None),
        ],
    )
    def test_a_range_is_answered(
        self, api: Api, path: str, asked: str, status: int, content: bytes, range_: str | None
    ) -> None:
        answer = get(api, f"{path}/view", range=asked)
        assert (answer.status_code, answer.content) == (status, content)
        assert answer.headers.get("content-range") == range_
        assert answer.headers["accept-ranges"] == "bytes"

    @pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
    def test_a_range_behind_the_end_is_refused(self, api: Api, path: str, asked: str) -> None:
        answer = get(api, f"{path}/view", range=asked)
        assert refusal(answer) == (416, "storage_invalid_range")
        assert answer.headers["content-range"] == "bytes */10"

    def test_ranges_of_a_large_file_join_to_the_whole(self, api: Api, box: str) -> None:
        for start in (0, PIECE, 2 * PIECE):
            data, header = piece(start, BIG, len(BIG))
            stored(api, box, "ranges", data, headers=header)
        cuts = [0, 1, 1024 * 1024 - 1, 1024 * 1024, 3_333_333, PIECE + 1, len(BIG)]
        parts = [
            get(api, f"/storage/buckets/{box}/files/ranges/download", range=f"bytes={start}-{end - 1}").content
            for start, end in pairwise(cuts)
        ]
        assert [len(part) for part in parts] == [end - start for start, end in pairwise(cuts)]
        assert b"".join(parts) == BIG

    def test_who_has_it_already_is_told_so(self, api: Api, path: str) -> None:
        etag = get(api, f"{path}/view").headers["etag"]
        answer = get(api, f"{path}/view", if_none_match=f'"x", W/{etag}')
        assert (answer.status_code, answer.content) == (304, b"")
        assert get(api, f"{path}/view", range="bytes=2-4", if_range=etag).status_code == 206
        assert get(api, f"{path}/view", range="bytes=2-4", if_range='"old"').status_code == 200

    def test_head_says_how_large_it_is(self, api: Api, path: str) -> None:
        answer = api.call("HEAD", f"{path}/download")
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "10")

    def test_a_preview_is_the_picture_itself(self, api: Api, box: str, path: str) -> None:
        stored(api, box, "jpg", JPEG, name="a.jpg")
        answer = api.call("GET", f"/storage/buckets/{box}/files/jpg/preview", width="100", height="100")
        assert (answer.content, answer.headers["content-type"]) == (JPEG, "image/jpeg")
        assert api.refused("GET", f"{path}/preview") == (400, "storage_file_type_unsupported")


class TestLists:
    """The files of a bucket."""

    def test_files_are_listed_filtered_and_searched(self, api: Api) -> None:
        home = bucket(api, "lists")
        for file_id, name in (("a", "Apple.txt"), ("b", "Pear.txt"), ("c", "pineapple.png")):
            stored(api, home, file_id, PNG + file_id.encode(), name=name)
        path = f"/storage/buckets/{home}/files"

        def ids(*queries: str, **params: str) -> list[str]:
            return [file["$id"] for file in api.ok("GET", path, queries=queries, **params)["files"]]

        assert ids() == ["a", "b", "c"]
        assert ids(search="APPLE") == ["a", "c"]
        assert ids(query("endsWith", "name", ".txt")) == ["a", "b"]
        assert ids(query("orderDesc", "sizeOriginal"), query("orderDesc", "$id"), query("limit", None, 1)) == ["c"]
        assert ids(query("cursorAfter", None, "a")) == ["b", "c"]
        assert ids(query("equal", "mimeType", "image/png"), query("greaterThan", "sizeOriginal", 9999)) == []
        signature = hashlib.md5(PNG + b"b", usedforsecurity=False).hexdigest()
        assert ids(query("equal", "signature", signature)) == ["b"]
        assert api.refused("GET", path, queries=(query("equal", "sha256", "x"),)) == (400, "general_query_invalid")


class TestWhoMay:
    """Keys by scope; everybody else by the permissions of the bucket or the file."""

    def test_nobody_reads_without_a_permission(self, api: Api, box: str, ann: dict[str, str]) -> None:
        stored(api, box, "secret", PNG, permissions=['read("any")'])  # which a bucket without fileSecurity ignores
        for path in ("", "/secret", "/secret/view", "/secret/download", "/secret/preview", "/nothing"):
            for headers in ({}, ann):
                answer = api.refused("GET", f"/storage/buckets/{box}/files{path}", key=False, headers=headers)
                assert answer == (401, "user_unauthorized")

    def test_a_key_reaches_what_its_scopes_say(self, api: Api, box: str) -> None:
        stored(api, box, "scoped", PNG)
        reader, writer = ({"x-appwrite-key": api.new_key(f"files.{what}")} for what in ("read", "write"))
        path = f"/storage/buckets/{box}/files/scoped"
        assert api.call("GET", f"{path}/view", headers=reader).content == PNG
        assert api.refused("GET", f"{path}/view", headers=writer) == (401, "general_unauthorized_scope")
        assert api.refused("DELETE", path, headers=reader) == (401, "general_unauthorized_scope")
        assert refusal(send(api, box, "unique()", b"x", headers=reader)) == (401, "general_unauthorized_scope")
        assert api.call("DELETE", path, headers=writer).status_code == 204

    def test_who_may_not_store_hears_it_however_large_the_file(self, api: Api, box: str) -> None:
        for _ in range(3):  # the connection is of use afterwards
            assert refusal(send(api, box, "f", bytes(PIECE), key=False)) == (401, "general_unauthorized_scope")
        assert api.call("GET", f"/storage/buckets/{box}").status_code == 200

    def test_a_public_bucket_is_read_by_guests_and_written_by_none(self, api: Api) -> None:
        public = bucket(api, "public", permissions=['read("any")', 'create("any")', 'delete("any")'])
        stored(api, public, "f", PNG)
        path = f"/storage/buckets/{public}/files"
        assert get(api, f"{path}/f/view", key=False).content == PNG
        assert [file["$id"] for file in api.ok("GET", path, key=False)["files"]] == ["f"]
        assert refusal(send(api, public, "g", b"x", key=False)) == (401, "general_unauthorized_scope")
        assert api.refused("DELETE", f"{path}/f", key=False) == (401, "general_unauthorized_scope")

    def test_a_disabled_bucket_is_gone_for_all_but_keys(self, api: Api) -> None:
        closed = bucket(api, "closed", permissions=['read("any")'], enabled=False)
        stored(api, closed, "f", PNG)
        assert get(api, f"/storage/buckets/{closed}/files/f/view").content == PNG
        refused = api.refused("GET", f"/storage/buckets/{closed}/files/f/view", key=False)
        assert refused == (404, "storage_bucket_not_found")

    def test_a_user_keeps_files_of_their_own(self, api: Api, ann: dict[str, str], bob: dict[str, str]) -> None:
        home = bucket(api, "homes", permissions=['create("users")'], fileSecurity=True)
        made = send(api, home, "mine", PNG, name="a.png", key=False, headers=ann)
        assert made.status_code == 201, made.text
        assert made.json()["$permissions"] == ['read("user:ann")', 'update("user:ann")', 'delete("user:ann")']
        send(api, home, "his", PNG, name="b.png", key=False, headers=bob)
        path = f"/storage/buckets/{home}/files"
        assert [file["$id"] for file in api.ok("GET", path, key=False, headers=ann)["files"]] == ["mine"]
        assert api.ok("GET", path, key=False)["total"] == 0
        assert api.refused("GET", f"{path}/mine/view", key=False, headers=bob) == (404, "storage_file_not_found")
        assert api.refused("DELETE", f"{path}/mine", key=False, headers=bob) == (404, "storage_file_not_found")
        shared = {"permissions": ['read("users")', 'write("user:ann")']}
        api.ok("PUT", f"{path}/mine", shared, key=False, headers=ann)
        assert api.call("GET", f"{path}/mine/view", key=False, headers=bob).content == PNG
        assert api.refused("DELETE", f"{path}/mine", key=False, headers=bob) == (401, "user_unauthorized")
        assert api.call("DELETE", f"{path}/mine", key=False, headers=ann).status_code == 204

    def test_a_user_can_not_speak_for_others(self, api: Api, ann: dict[str, str], bob: dict[str, str]) -> None:
        home = bucket(api, "others", permissions=['create("users")'], fileSecurity=True)
        answer = send(api, home, "f", PNG, permissions=['delete("user:bob")'], key=False, headers=ann)
        assert refusal(answer) == (401, "user_unauthorized")
        data, header = piece(0, BIG, len(BIG))
        assert send(api, home, "big", data, key=False, headers=ann | header).status_code == 201
        data, header = piece(PIECE, BIG, len(BIG))
        answer = send(api, home, "big", data, key=False, headers=bob | header)
        assert refusal(answer) == (400, "storage_invalid_content_range")

    def test_a_user_without_a_permission_stores_nothing(self, api: Api, box: str, ann: dict[str, str]) -> None:
        assert refusal(send(api, box, "f", b"x", key=False, headers=ann)) == (401, "user_unauthorized")
        own = bucket(api, "own", permissions=['create("user:bob")', 'read("any")'], fileSecurity=True)
        assert refusal(send(api, own, "f", b"x", key=False, headers=ann)) == (401, "user_unauthorized")


class TestFilesOfMessages:
    """What an unfinished message is sent with stays."""

    @pytest.fixture
    def draft(self, api: Api) -> str:
        """A bucket with a file that a scheduled email carries."""
        home = bucket(api, "mail")
        stored(api, home, "paper", b"%PDF-1.7 paper", name="paper.pdf")
        with api.engine.begin() as connection:
            project = projects.find(connection, api.project)
            reference = files.reference(connection, project, f"{home}:paper")
            assert (reference.filename, reference.content_type) == ("paper.pdf", "application/pdf")
            email = Email(subject="s", content="c", attachments=(reference,))
            request = SendRequest(content=email, addresses=["ann@example.com"], id="with-paper", draft=True)
            number = accept(connection, api.vault, api.settings, project, request).message_id
            assert number is not None
            assert load(connection, number).content == Email(
                subject="s",
                content="c",
                html=None,
                attachments=(files.load(connection, project, "paper", bucket_id=home),),
            )
        return home

    def test_it_goes_when_the_message_is_finished(self, api: Api, draft: str) -> None:
        path = f"/storage/buckets/{draft}"
        assert api.refused("DELETE", f"{path}/files/paper") == (409, "storage_file_in_use")
        assert api.refused("DELETE", path) == (409, "storage_file_in_use")
        stored(api, draft, "free", b"x")
        assert api.call("DELETE", f"{path}/files/free").status_code == 204
        with api.engine.begin() as connection:
            connection.execute(text("UPDATE messages SET finished_at = now() WHERE public_id = 'with-paper'"))
        assert api.call("DELETE", f"{path}/files/paper").status_code == 204
        with api.engine.begin() as connection:
            number = connection.execute(text("SELECT id FROM messages WHERE public_id = 'with-paper'")).scalar_one()
            assert "paper.pdf" in load(connection, number).unsendable

    def test_only_what_is_there_can_be_attached(self, api: Api, box: str) -> None:
        data, header = piece(0, BIG, len(BIG))
        stored(api, box, "coming", data, headers=header)
        stored(api, box, "text", b"x")
        with api.engine.begin() as connection:
            project = projects.find(connection, api.project)
            for named in (f"{box}:coming", f"{box}:none", "none:text"):
                with pytest.raises(LookupError):
                    files.reference(connection, project, named)
            for named in ("text", ":", f"{box}:", f"{box}:text:x", "a\0:b"):
                with pytest.raises(ValueError, match="bucket:file"):
                    files.reference(connection, project, named)
            with pytest.raises(LookupError):
                files.view(connection, project, "text")  # an id alone means: in no bucket

    def test_the_image_of_a_push_is_a_png_or_jpeg(self, api: Api, box: str) -> None:
        stored(api, box, "push.png", PNG, name="push.png")
        stored(api, box, "push.gif", b"GIF89a....", name="push.gif")
        with api.engine.begin() as connection:
            project = projects.find(connection, api.project)
            assert files.image_reference(connection, project, f"{box}:push.png").content_type == "image/png"
            with pytest.raises(Exception, match="PNG or JPEG"):
                files.image_reference(connection, project, f"{box}:push.gif")

    def test_attachments_have_25_mb_together_stored_ones_too(self, api: Api, box: str) -> None:
        for start in (0, PIECE, 2 * PIECE):
            data, header = piece(start, BIG, len(BIG))
            stored(api, box, "heavy", data, headers=header)
        with api.engine.begin() as connection:
            project = projects.find(connection, api.project)
            heavy = files.reference(connection, project, f"{box}:heavy")
            email = Email(subject="s", content="c", attachments=(heavy, heavy, heavy))
            request = SendRequest(content=email, addresses=["ann@example.com"], draft=True)
            with pytest.raises(ValueError, match="together"):
                accept(connection, api.vault, api.settings, project, request)


class TestThePythonSdk:
    """`appwrite` drives it unchanged."""

    def test_a_small_file_goes_there_and_back(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "Größe.png"
        path.write_bytes(PNG)
        made = storage.create_file("sdk", "small", InputFile.from_path(str(path)), permissions=['read("any")'])
        assert (made.name, made.mimetype, made.permissions) == ("Größe.png", "image/png", ['read("any")'])
        assert storage.get_file_download("sdk", "small") == PNG
        assert storage.get_file_view("sdk", "small") == PNG
        assert storage.get_file_preview("sdk", "small", width=10) == PNG
        assert storage.update_file("sdk", "small", name="b.png").name == "b.png"
        assert "small" in {each.id for each in storage.list_files("sdk").files}
        storage.delete_file("sdk", "small")
        with pytest.raises(AppwriteException) as refused:
            storage.get_file("sdk", "small")
        assert (refused.value.code, refused.value.type) == (404, "storage_file_not_found")

    @pytest.mark.parametrize("file_id", ["large", "unique()"])
    def test_a_large_file_is_sent_in_pieces_at_once(self, storage: Storage, file_id: str) -> None:
        said: list[float] = []
        sent = InputFile.from_bytes(BIG, "big.bin")
        made = storage.create_file("sdk", file_id, sent, on_progress=lambda now: said.append(now["progress"]))
        assert (made.chunkstotal, made.chunksuploaded, made.sizeoriginal) == (3, 3, len(BIG))
        assert made.signature == hashlib.md5(BIG, usedforsecurity=False).hexdigest()
        assert len(said) == 3
        assert storage.get_file_download("sdk", made.id) == BIG

    def test_an_upload_that_was_broken_off_goes_on(self, api: Api, storage: Storage) -> None:
        for start in (0, 2 * PIECE):  # with a gap
            data, header = piece(start, BIG, len(BIG))
            stored(api, "sdk", "resumed", data, name="big.bin", headers=header)
        made = storage.create_file("sdk", "resumed", InputFile.from_bytes(BIG, "big.bin"))
        assert (made.id, made.chunksuploaded) == ("resumed", 3)
        assert storage.get_file_download("sdk", "resumed") == BIG

    def test_a_json_file_comes_back_as_the_file_it_is(self, storage: Storage) -> None:
        data = b'{"a": 1.0, "a": 2}\n'
        assert storage.create_file("sdk", "json", InputFile.from_bytes(data, "a.json")).mimetype == "application/json"
        assert storage.get_file_download("sdk", "json") == data
        assert storage.get_file_view("sdk", "json") == data
