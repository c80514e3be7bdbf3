"""The adapters against Prism, a mock server nobody here wrote, which checks requests by the providers' descriptions."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from messaging.local.free_ports import free_ports
from messaging.message import Attachment, Content, Email, Sms
from messaging.outcome import Action, Outcome
from tests.integration.mail_sandbox import NoTokens, outgoing, people
from tests.sdk.node import node_program, packages
from workers.providers.base import Account, Context

pytestmark = pytest.mark.timeout(600)

_START_S = 120.0
_ENVELOPE = {"fromEmail": "news@example.org", "fromName": "News"}
_FILE = Attachment(filename="ü.txt", content_type="text/plain", content=b"x")
_MAIL = Email(subject="Grüße", content="<p>b</p>", html=True, headers={"X-A": "1"})
_MAIL_WITH_FILE = Email(subject="s", content="b", attachments=(_FILE,))


@dataclass(frozen=True)
class Kind:
    """A provider, its description, and an account."""

    file: str
    credentials: Mapping[str, object]
    options: Mapping[str, object]
    content: Content
    address: str


KINDS: Mapping[str, Kind] = {
    "mailgun": Kind(
        "mailgun_messages", {"apiKey": "key", "domain": "mg.example.org"}, _ENVELOPE, _MAIL, "ann@example.com"
    ),
    "resend": Kind("resend_emails", {"apiKey": "re_key"}, _ENVELOPE, _MAIL, "ann@example.com"),
    "sendgrid": Kind("sendgrid_mail_send", {"apiKey": "SG.key"}, _ENVELOPE, _MAIL, "ann@example.com"),
    "twilio": Kind(
        "twilio_messages",
        {"accountSid": "AC" + "0" * 32, "authToken": "token"},
        {"from": "+15005550006"},
        Sms(content="Hello"),
        "+447700900000",
    ),
}

Prisms = Callable[[str], str]


@pytest.fixture(scope="module")
def prism(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prisms]:
    """The address of a Prism with the description of a kind; each is started once."""
    node, cli = node_program(), packages() / "@stoplight" / "prism-cli" / "dist" / "index.js"
    if not cli.is_file():
        pytest.skip(f"no Prism in {cli.parent}: run `make install-sdks`")
    running: dict[str, str] = {}
    with ExitStack() as stack:

        def address_of(kind: str) -> str:
            if kind not in running:
                document = shared_dir / "contracts" / f"{KINDS[kind].file}.openapi.json"
                if kind == "mailgun":
                    document = _with_plain_lists(document, tmp_path_factory.mktemp("prism") / document.name)
                running[kind] = stack.enter_context(_running([node, str(cli), "mock"], document))
            return running[kind]

        yield address_of


def _with_plain_lists(document: Path, copy: Path) -> Path:
    """The description for Prism, which reads every field of a form as one text, and no form of another type."""
    api = json.loads(document.read_text())
    for path in api["paths"].values():
        content = path["post"]["requestBody"]["content"]
        content["application/x-www-form-urlencoded"] = content["multipart/form-data"]
    for schema in api["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            if field.get("type") == "array":
                field["type"] = "string"
                del field["items"]
    copy.write_text(json.dumps(api))
    return copy


@contextmanager
def _running(command: Sequence[str], document: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port), str(document)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + _START_S
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    pytest.fail(f"Prism did not start:\n{log.read()[-2000:]}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def sent(
    kind: str,
    endpoint: str,
    *,
    content: Content | None = None,
    count: int = 1,
    headers: Mapping[str, str] | None = None,
    change: Callable[[Any], Any] = lambda prepared: prepared,
) -> Sequence[Outcome]:
    """The outcomes of one call; `headers` go along, `change` spoils what was prepared."""
    known = KINDS[kind]
    account = Account(provider_id=1, public_id="p", kind=kind, credentials=known.credentials, options=known.options)

    async def run() -> Sequence[Outcome]:
        module = import_module(f"workers.providers.{kind}")
        adapter = module.open_adapter(account, Context(tokens=NoTokens(), endpoints={kind: endpoint}))
        adapter._client.headers.update(headers or {})
        try:
            prepared = change(adapter.prepare(outgoing(content or known.content)))
            found: Sequence[Outcome] = await adapter.send(prepared, people(*[known.address] * count))
            return found
        finally:
            await adapter.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_request_is_taken(kind: str, prism: Prisms) -> None:
    """Prism finds nothing to object to, and what it answers is understood."""
    (outcome,) = sent(kind, prism(kind))
    assert outcome.action is Action.ACCEPTED, outcome


@pytest.mark.parametrize("kind", ["mailgun", "resend", "sendgrid"])
def test_a_request_with_a_file_is_taken(kind: str, prism: Prisms) -> None:
    """As multipart, or in base64."""
    (outcome,) = sent(kind, prism(kind), content=_MAIL_WITH_FILE)
    assert outcome.action is Action.ACCEPTED, outcome


def test_a_batch_that_is_answered_with_one_id_is_unknown(prism: Prisms) -> None:
    """Prism answers every batch so: the ids don't add up."""
    outcomes = sent("resend", prism("resend"), count=2)
    assert [outcome.action for outcome in outcomes] == [Action.AMBIGUOUS_RETRY] * 2


@pytest.mark.parametrize(
    ("kind", "status", "action"),
    [
        ("mailgun", 401, Action.STOP_PROVIDER),
        ("mailgun", 429, Action.RETRY_AFTER),
        ("mailgun", 500, Action.AMBIGUOUS_RETRY),
        ("sendgrid", 400, Action.REJECT_MESSAGE),
        ("sendgrid", 401, Action.STOP_PROVIDER),
        ("sendgrid", 403, Action.STOP_PROVIDER),
        ("sendgrid", 404, Action.STOP_PROVIDER),
        ("sendgrid", 413, Action.REJECT_MESSAGE),
        ("sendgrid", 500, Action.AMBIGUOUS_RETRY),
    ],
)
def test_a_refusal_as_the_description_has_it_is_understood(
    kind: str, status: int, action: Action, prism: Prisms
) -> None:
    """With its own example for a body."""
    (outcome,) = sent(kind, prism(kind), headers={"prefer": f"code={status}"})
    assert outcome.action is action, outcome
    assert outcome.code.startswith(str(status))
    assert outcome.retry_after_s == (120 if action is Action.RETRY_AFTER else None)


def test_credentials_that_are_missing_stop_the_account(prism: Prisms) -> None:
    """Prism looks for them as the description says."""
    (outcome,) = sent("resend", prism("resend"), headers={"authorization": ""})
    assert outcome.action is Action.STOP_PROVIDER, outcome


def test_a_request_against_the_description_is_refused(prism: Prisms) -> None:
    """So that the others show something."""
    without_subject = sent(
        "resend",
        prism("resend"),
        change=lambda prepared: replace(prepared, shared={**prepared.shared, "subject": None}),
    )
    without_sender = sent(
        "mailgun",
        prism("mailgun"),
        change=lambda prepared: replace(prepared, fields=tuple(f for f in prepared.fields if f[0] != "from")),
    )
    assert {outcome.action for outcome in without_subject} == {Action.REJECT_MESSAGE}
    assert Action.ACCEPTED not in {outcome.action for outcome in without_sender}
