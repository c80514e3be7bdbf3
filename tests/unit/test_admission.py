"""What comes off a queue becomes a task Celery can read, or a refusal that says why."""

from __future__ import annotations

import base64
import datetime as dt
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.security.certificate import Certificate, FSCertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer

from messaging.clock import clock
from messaging.errors import SettingsError
from messaging.settings import Settings
from messaging.task_signatures import CONTENT_TYPE, Signer, Trusted
from messaging.wire import TaskName
from tests.certificates import Files, signing_pair
from workers.admission import (
    ETA_HEADER,
    EXPIRES_HEADER,
    SIGNED_UNTIL_HEADER,
    UNREADABLE_HEADER,
    Admission,
    Came,
    Task,
)

OPEN = Admission([*TaskName, "celery.map"], trusted=None, project="default")
ETA = "2031-01-31T12:00:00+00:00"


def came(body: object, *, headers: object = None, **changed: Any) -> Came:
    """A message with that body, as JSON unless it is bytes."""
    usual: dict[str, Any] = {
        "body": body if isinstance(body, bytes) else json.dumps(body),
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"task": TaskName.SEND_PUSH, "id": "t1"} if headers is None else headers,
        "tag": "tag-1",
        "queue": "messaging",
    }
    return Came(**(usual | changed))


def refusal(task: Task) -> list[str]:
    """Id, name and reason of a refused message."""
    assert task.headers["task"] == TaskName.REFUSED, task
    assert task.body is not None
    arguments: list[str] = json.loads(task.body)[0]
    return arguments


def test_a_plain_task_stays_as_it_is_but_for_its_times() -> None:
    """They would lie in a worker's memory, or throw it away."""
    task = OPEN.admit(
        came([[], {"a": 1}, {}], headers={"task": TaskName.SEND_SMS, "id": "t", "eta": ETA, "expires": 7})
    )
    assert task.body is None
    assert (task.headers[ETA_HEADER], task.headers[EXPIRES_HEADER]) == (ETA, "7")
    assert not {"eta", "expires"} & set(task.headers)


def test_the_older_protocol_is_taken_too() -> None:
    """With its id, its times and its callbacks, which are in the body there."""
    document = (
        Celery(set_as_current=False)
        .amqp.as_task_v1("t2", TaskName.SEND_EMAIL, (), {"subject": "x"}, eta=dt.datetime.fromisoformat(ETA))
        .body
    )
    task = OPEN.admit(came(document, headers={}))
    assert (task.headers["id"], task.headers["task"], task.headers[ETA_HEADER]) == ("t2", TaskName.SEND_EMAIL, ETA)
    assert task.body is not None
    args, kwargs, embed = json.loads(task.body)
    assert (args, kwargs) == ([], {"subject": "x"})
    assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}


class Trap:
    """Unpickling it runs code."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return pytest.fail, ("executed",)


PICKLED = pickle.dumps(([], {"x": Trap()}, {}))
YAML = b"!!python/object/apply:pytest.fail [executed]"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (PICKLED, "application/x-python-serialize"), (PICKLED, "application/json"), (YAML, "application/x-yaml"),
        (YAML, "application/json"), (PICKLED, CONTENT_TYPE), (b"\x93\x90", "application/x-msgpack"), (PICKLED, None),
    ],
)  # fmt: skip
def test_json_only(body: bytes, content_type: str | None, signed: Signed) -> None:
    """Pickle, YAML and the rest are refused under whatever name, and not executed; signed tasks or none."""
    task = OPEN.admit(came(body, content_type=content_type))
    assert task.headers[UNREADABLE_HEADER].startswith("can't be read as a task")
    assert task.body == b"[[], {}, {}]"
    assert refusal(OPEN.admit(came(body, content_type=content_type, headers={"task": TaskName.DELIVER, "id": "x"})))
    assert refusal(signed.admission.admit(came(body, content_type=content_type)))


@pytest.mark.parametrize(
    "headers",
    [
        {}, [], "x", {"task": []}, {"task": {}, "id": 7}, {"task": 7}, {"task": "celery.shutdown", "id": "x"},
        {"task": TaskName.REFUSED}, {"task": "a" * 5000}, {"task": "me@example.org <script>"}
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [[[], {}, {}], {"task": ["x"], "args": []}, {"task": {"a": 1}, "args": [], "id": []}])
def test_what_names_no_task_of_ours_is_refused(headers: object, body: object) -> None:
    """Under whatever can be shown of its names; a name that is no text ends no worker."""
    task_id, name, reason = refusal(OPEN.admit(came(body, headers=headers if headers is not None else {})))
    assert task_id in {"tag-1", "x"}
    assert len(name) <= 200
    assert "<script>" not in name + reason
    assert "no task" in reason


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"nonsense", 42, None, "text", {}, [], [[], {}], [[], [], {}], [[], {}, 7]]
)
@pytest.mark.parametrize("name", [TaskName.DELIVER, TaskName.SWEEP, TaskName.CHECK, TaskName.CANCEL])
def test_a_body_that_is_no_task_is_refused_or_becomes_a_failed_message(body: object, name: TaskName) -> None:
    """All our tasks are guarded alike."""
    task = OPEN.admit(came(body, headers={"task": name, "id": "t"}))
    if name is TaskName.CANCEL:
        assert task.headers[UNREADABLE_HEADER]
    else:
        assert refusal(task)[:2] == ["t", name]


def test_headers_of_wrong_types_are_put_right() -> None:
    """Celery would stumble over them, and the worker with it."""
    wrong: dict[str, Any] = {
        "task": TaskName.SEND_PUSH, "id": 7, "retries": "x", "timelimit": [1, 2, 3], "root_id": {}, "shadow": [],
        UNREADABLE_HEADER: "forged", SIGNED_UNTIL_HEADER: "forged",
    }  # fmt: skip
    headers = OPEN.admit(came([[], {}, {}], headers=wrong)).headers
    assert headers["id"] == "tag-1"
    assert (headers["retries"], headers["timelimit"], headers["root_id"], headers["shadow"]) == (
        0,
        [None, None],
        None,
        None,
    )
    assert not {UNREADABLE_HEADER, SIGNED_UNTIL_HEADER} & set(headers)


# -- signed --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signed:
    """Trust in some certificates, and the means to sign."""

    folder: Path
    admission: Admission
    signer: Signer | None
    producer: Files
    foreign: Files

    def made(self, document: object, files: Files | None = None, serializer: str = "json") -> str:
        """A body signed by Celery's own code."""
        files = files or self.producer
        sign = SecureSerializer(
            PrivateKey(files.key.read_bytes()), Certificate(files.certificate.read_text()), None, serializer=serializer
        )
        return str(sign.serialize(document))

    def admit(self, body: str | bytes, *, headers: object = None, queue: str = "messaging") -> Task:
        """What becomes of a signed body."""
        return self.admission.admit(
            Came(
                body=body,
                content_type=CONTENT_TYPE,
                content_encoding="utf-8",
                headers={} if headers is None else headers,
                tag="tag-1",
                queue=queue,
            )
        )


def document(name: str = TaskName.SEND_PUSH, **changed: object) -> dict[str, object]:
    """A task in the older protocol, complete in itself."""
    usual: dict[str, object] = {
        "task": name,
        "id": "t1",
        "args": [],
        "kwargs": {"title": "x"},
        "eta": ETA,
        "expires": None,
    }
    return usual | changed


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """A producer of the default project, one of project `b`, and somebody else."""
    folder = tmp_path_factory.mktemp("signing")
    certificates = folder / "certificates"
    ours = signing_pair(folder, "ours")
    producer, foreign = signing_pair(folder, "shop"), signing_pair(folder, "foreign")
    certificates.mkdir()
    shutil.copy(producer.certificate, certificates)
    settings = settings_for(folder, certificates)
    trusted = Trusted.of(settings)
    signer = Signer.of(settings)
    assert trusted is not None
    assert signer is not None
    assert ours.key.exists()
    return Signed(folder, Admission([*TaskName], trusted=trusted, project="default"), signer, producer, foreign)


def settings_for(folder: Path, certificates: Path | None, **changed: Any) -> Settings:
    """Settings that sign with the key in `folder`."""
    own: dict[str, Any] = {
        "task_signing_certificates": certificates,
        "task_signing_key": folder / "ours.key",
        "task_signing_certificate": folder / "ours.pem",
    }
    return Settings.load(
        {}, database_url="postgresql://x/x", broker_url="redis://x", secret_key="x" * 32, **(own | changed)
    )


def test_what_a_producer_signed_is_done_with_its_id_and_its_times(signed: Signed) -> None:
    """Nothing beside the signed body counts, whatever stands in the headers."""
    forged = {
        "id": "other",
        "task": TaskName.SEND_SMS,
        "eta": None,
        ETA_HEADER: "2030",
        "timelimit": [9, 9],
        "retries": 9,
    }
    for headers in ({}, forged):
        task = signed.admit(signed.made(document()), headers=headers)
        assert (task.headers["id"], task.headers["task"], task.headers[ETA_HEADER]) == ("t1", TaskName.SEND_PUSH, ETA)
        assert task.headers.get("retries", 0) == 0
        assert dt.datetime.fromisoformat(task.headers[SIGNED_UNTIL_HEADER]) > dt.datetime.now(dt.UTC)
        assert task.body is not None
        assert json.loads(task.body)[:2] == [[], {"title": "x"}]


def test_an_unsigned_task_is_refused(signed: Signed) -> None:
    """A producer's and one of ours."""
    for name in (TaskName.SEND_PUSH, TaskName.DELIVER):
        task = signed.admission.admit(came([[], {}, {}], headers={"task": name, "id": "t"}))
        assert "not signed" in refusal(task)[2]


def test_a_task_of_somebody_else_is_refused(signed: Signed) -> None:
    """A foreign certificate, and a foreign key under a trusted certificate's name."""
    assert "not among those trusted" in refusal(signed.admit(signed.made(document(), signed.foreign)))[2]
    mixed = Files(certificate=signed.producer.certificate, key=signed.foreign.key)
    assert "signature is not that of its body" in refusal(signed.admit(signed.made(document(), mixed)))[2]


def test_a_changed_body_is_refused(signed: Signed) -> None:
    """Recorded and sent again with another audience."""
    parts = base64.b64decode(signed.made(document())).split(b"\x00\x01", 4)
    changed = base64.b64encode(b"\x00\x01".join([*parts[:4], json.dumps(document(id="t2")).encode()]))
    assert "signature is not that of its body" in refusal(signed.admit(changed))[2]


def test_the_newer_protocol_leaves_too_much_unsigned(signed: Signed) -> None:
    """Its id is a header: a copy with another id would be another message. The reason says what to set."""
    body = signed.made([[], {"title": "x"}, {}])
    task = signed.admit(body, headers={"task": TaskName.SEND_PUSH, "id": "t"})
    assert "task_protocol = 1" in refusal(task)[2]


def test_what_was_signed_must_be_json(signed: Signed) -> None:
    """A certificate is no licence to run code in a worker: Celery itself would unpickle it."""
    task = signed.admit(signed.made(document(kwargs={"x": Trap()}), serializer="pickle"))
    assert "not JSON" in refusal(task)[2]


@pytest.mark.parametrize(
    "body", ["", "x", "AAAA", b"\xff\xff", base64.b64encode(b"\x00\x01".join([b"!"] * 5)), "é", b"[]"]
)
def test_what_only_looks_signed_is_refused(body: bytes | str, signed: Signed) -> None:
    """Garbage in the place of an envelope."""
    assert refusal(signed.admit(body))


def test_our_own_tasks_take_our_own_signature_only(signed: Signed) -> None:
    """A producer can't say what to deliver; our certificate makes no message."""
    assert signed.signer is not None
    body = json.dumps([["b1"], {}, {}]).encode()
    headers = {"task": TaskName.DELIVER, "id": "h", "shadow": "push"}
    task = signed.admit(signed.signer.sign(body), headers=headers)
    assert (task.headers["task"], task.headers["shadow"]) == (TaskName.DELIVER, "push")
    assert task.body is not None
    assert json.loads(task.body) == [["b1"], {}, {}]
    assert "producer's" in refusal(signed.admit(signed.made([["b1"], {}, {}]), headers=headers))[2]
    ours = signed.signer.sign(json.dumps(document()).encode())
    assert "project" in refusal(signed.admit(ours))[2]


def test_a_certificate_is_good_for_its_project(tmp_path: Path) -> None:
    """Whoever may write to another project's queue still has no certificate for it."""
    certificates = tmp_path / "certificates"
    signing_pair(tmp_path, "ours")
    ours, theirs = signing_pair(tmp_path, "a"), signing_pair(tmp_path, "b")
    (certificates / "b").mkdir(parents=True)
    shutil.copy(ours.certificate, certificates)
    shutil.copy(theirs.certificate, certificates / "b")
    shutil.copy(ours.certificate, certificates / "b")  # good for both
    trusted = Trusted.of(settings_for(tmp_path, certificates))
    assert trusted is not None
    signed = Signed(tmp_path, Admission([*TaskName], trusted=trusted, project="default"), None, ours, theirs)
    for queue in ("messaging", "messaging.high", "messaging.b"):
        assert signed.admit(signed.made(document()), queue=queue).headers["task"] == TaskName.SEND_PUSH
    assert signed.admit(signed.made(document(), theirs), queue="messaging.b").headers["task"] == TaskName.SEND_PUSH
    for queue in ("messaging", "messaging.high", "messaging.c"):
        assert "project" in refusal(signed.admit(signed.made(document(), theirs), queue=queue))[2]


def test_a_certificate_out_of_its_time_is_refused_and_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """Celery's own store would not load."""
    certificates = tmp_path / "certificates"
    signing_pair(tmp_path, "ours")
    day = dt.timedelta(days=1)
    early, late = (
        signing_pair(tmp_path, "early", begins=day),
        signing_pair(tmp_path, "late", begins=-3 * day, lasts=day),
    )
    certificates.mkdir()
    for each in (early, late):
        shutil.copy(each.certificate, certificates)
    trusted = Trusted.of(settings_for(tmp_path, certificates))
    assert trusted is not None
    signed = Signed(tmp_path, Admission([*TaskName], trusted=trusted, project="default"), None, early, late)
    for each in (early, late):
        assert "valid from" in refusal(signed.admit(signed.made(document(), each)))[2]


def test_a_certificate_that_is_added_or_removed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a restart."""
    monkeypatch.setattr("messaging.task_signatures._LOOK_AGAIN_S", -1.0)
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    signing_pair(tmp_path, "ours")
    shop = signing_pair(tmp_path, "shop")
    trusted = Trusted.of(settings_for(tmp_path, certificates))
    assert trusted is not None
    signed = Signed(tmp_path, Admission([*TaskName], trusted=trusted, project="default"), None, shop, shop)
    body = signed.made(document())
    assert "trusted" in refusal(signed.admit(body))[2]
    (certificates / "broken.pem").write_text("nonsense")  # harms no other
    shutil.copy(shop.certificate, certificates)
    assert signed.admit(body).headers["task"] == TaskName.SEND_PUSH
    (certificates / "shop.pem").unlink()
    assert "trusted" in refusal(signed.admit(body))[2]


def test_our_signature_is_one_that_celery_reads(signed: Signed) -> None:
    """The form is Celery's, both ways."""
    assert signed.signer is not None
    store = FSCertStore(str(signed.folder / "ours.pem"))
    read = SecureSerializer(None, None, store).deserialize(signed.signer.sign(b'{"a": [1]}'))
    assert read == {"a": [1]}


def test_settings_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """Some of three, no folder, a key of another certificate, a key that is too short."""
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    signing_pair(tmp_path, "ours")
    other = signing_pair(tmp_path, "other")
    short = signing_pair(tmp_path, "short", bits=1024)
    assert Signer.of(settings_for(tmp_path, None, task_signing_key=None, task_signing_certificate=None)) is None
    with pytest.raises(SettingsError, match="all of"):
        Signer.of(settings_for(tmp_path, None))
    with pytest.raises(SettingsError, match="no folder"):
        Trusted.of(settings_for(tmp_path, tmp_path / "none"))
    with pytest.raises(SettingsError, match="is not the RSA key"):
        Signer.of(settings_for(tmp_path, certificates, task_signing_key=other.key))
    with pytest.raises(SettingsError, match="can't be read"):
        Signer.of(settings_for(tmp_path, certificates, task_signing_key=other.certificate))
    with pytest.raises(SettingsError, match="2048"):
        Trusted(certificates, short.certificate, project="default", now=clock.now)
