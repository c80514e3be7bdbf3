"""A project full of everything that can be asked for over HTTP, each thing under an id that says whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import Table, text

from messaging.http import openapi
from messaging.http.operations import Operation
from messaging.http.surface import OPERATIONS
from messaging.store import api_keys, projects
from messaging.store.tables import Base
from tests.integration.http import storage
from tests.integration.http.api import Api
from tests.integration.http.people import PASSWORD

_CHANNELS = ("email", "sms", "push")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A project, whose `word` is in each of its ids, names, texts and addresses."""

    api: Api
    word: str
    number: int
    made: dict[str, str] = field(default_factory=dict)
    """Ids we gave to things of it, by the name of their parameter."""

    @property
    def phone(self) -> str:
        """A number registered in it."""
        return f"+49309018{sum(self.word.encode()):04}"

    def value(self, operation: Operation, name: str) -> Any:
        """Its own thing for a parameter of that name."""
        if name == "messageId":
            channel = operation.path.split("/")[3]
            return f"{self.word}-{channel}" if channel in _CHANNELS else self.made["messageId"]
        if name == "providerId":
            kind = operation.path.split("/")[3] if operation.path.startswith("/messaging/providers/") else ""
            return f"{self.word}-{kind}" if kind in self.kinds else self.made["providerId"]
        found: Mapping[str, Any] = {
            **self.made,
            "topics": [self.made["topicId"]],
            "users": [self.made["userId"]],
            "targets": [self.made["targetId"]],
            "cc": [self.made["targetId"]],
            "bcc": [self.made["targetId"]],
            "attachments": [f"{self.made['bucketId']}:{self.made['fileId']}"],
            "image": f"{self.made['bucketId']}:{self.made['fileId']}",
            **dict.fromkeys(("address", "email", "identifier", "sendTo"), f"{self.word}@example.org"),
            **{name: [f"{self.word}@example.org"] for name in ("emails", "addresses")},
            **dict.fromkeys(("phone", "number"), self.phone),
        }
        if name not in found:
            pytest.fail(f"{operation.name} takes '{name}': say in {__name__} what that is in a project")
        return found[name]

    @property
    def kinds(self) -> frozenset[str]:
        """Provider kinds it has an account of, as they are spelt in paths."""
        return frozenset(kind for kind, _ in provider_creations())

    def new_key(self, *scopes: str) -> str:
        """The secret of another key of it."""
        with self.api.engine.begin() as connection:
            return api_keys.create(connection, self.number, name=self.word, scopes=scopes)[1]


def provider_creations() -> Iterator[tuple[str, Operation]]:
    """(kind, operation) of each way to create an account at a provider."""
    for operation in OPERATIONS:
        parts = operation.path.split("/")
        if operation.method == "POST" and parts[:3] == ["", "messaging", "providers"] and len(parts) == 4:
            yield parts[3], operation


def full_project(api: Api, word: str) -> Owner:
    """A project of that name with everything in it."""
    with api.engine.begin() as connection:
        number = projects.ensure(connection, word, name=f"{word} project")
        _, key = api_keys.create(connection, number, name=word)
    owner = Owner(api=replace(api, project=word, key=key), word=word, number=number)
    own, made = owner.api, owner.made
    for kind, operation in provider_creations():
        own.ok(
            "POST",
            operation.path,
            openapi.example_body(operation) | {"providerId": f"{word}-{kind}", "name": word, "enabled": False},
        )
    twilio = {"accountSid": f"AC{word:0<32}", "authToken": f"{word}-token", "from": "+15005550006", "enabled": True}
    made["providerId"] = own.ok(
        "POST", "/messaging/providers/twilio", {"providerId": f"{word}-account", "name": word, **twilio}
    )["$id"]
    _add_people(owner)
    own.ok("POST", "/messaging/topics", {"topicId": f"{word}-topic", "name": word, "description": word})
    made["topicId"] = f"{word}-topic"
    made["subscriberId"] = f"{word}-subscriber"
    own.ok(
        "POST",
        f"/messaging/topics/{word}-topic/subscribers",
        {"subscriberId": f"{word}-subscriber", "targetId": f"{word}-mail"},
    )
    made["bucketId"] = storage.bucket(own, f"{word}-bucket", permissions=['read("users")'])
    made["fileId"] = f"{word}-file"
    storage.stored(own, made["bucketId"], made["fileId"], storage.PNG, name=f"{word}.png")
    suppression = {"providerType": "email", "address": f"{word}@example.org", "scope": "bulk", "reason": word}
    made["suppressionId"] = own.ok("POST", "/messaging/suppressions", suppression)["$id"]
    _add_messages(owner)
    check = own.ok("POST", f"/messaging/providers/{made['providerId']}/checks", {"sendTo": owner.phone})
    made["checkId"] = check["$id"]
    _add_what_came_in(owner)
    return owner


def _add_people(owner: Owner) -> None:
    own, made, word = owner.api, owner.made, owner.word
    person = {"userId": f"{word}-user", "email": f"{word}@example.org", "name": word, "phone": owner.phone}
    own.ok("POST", "/users", person | {"password": PASSWORD})
    made["userId"] = f"{word}-user"
    for target, channel, identifier in (
        (f"{word}-mail", "email", f"{word}-second@example.org"),
        (f"{word}-phone", "sms", owner.phone.replace("018", "019")),
    ):
        body = {"targetId": target, "providerType": channel, "identifier": identifier, "name": word}
        own.ok("POST", f"/users/{word}-user/targets", body)
    made["targetId"] = f"{word}-mail"
    own.ok("PATCH", f"/users/{word}-user/prefs", {"prefs": {"motto": word}})
    session = own.ok("POST", f"/users/{word}-user/sessions", {})
    made["sessionId"], made["session"] = session["$id"], session["secret"]
    made["jwt"] = own.ok("POST", f"/users/{word}-user/jwts", {})["jwt"]


def _add_messages(owner: Owner) -> None:
    own, word = owner.api, owner.word
    texts: Mapping[str, Mapping[str, Any]] = {
        "email": {"subject": word, "content": word},
        "sms": {"content": word},
        "push": {"title": word, "body": word},
    }
    for channel in _CHANNELS:
        draft = {"messageId": f"{word}-{channel}", "draft": True, **texts[channel]}
        own.ok("POST", f"/messaging/messages/{channel}", draft)
    owner.made["messageId"] = own.ok(
        "POST",
        "/messaging/messages/sms",
        {"messageId": f"{word}-sent", "content": word, "targets": [f"{word}-phone"]},
        headers={"idempotency-key": "the-same-in-both"},
    )["$id"]


def _add_what_came_in(owner: Owner) -> None:
    """A receipt, and rows that only workers write."""
    with owner.api.engine.begin() as connection:
        key = connection.execute(
            text("SELECT receipt_key FROM providers WHERE project_id = :p AND public_id = :id"),
            {"p": owner.number, "id": owner.made["providerId"]},
        ).scalar_one()
        connection.execute(
            text("""INSERT INTO provider_log (provider_id, what, reason)
                    SELECT id, 'stopped', :word FROM providers WHERE project_id = :p"""),
            {"p": owner.number, "word": owner.word},
        )
        connection.execute(
            text("""INSERT INTO delivery_events (month, message_id, target_id, key, provider_id, event, code, reason)
                    SELECT d.month, d.message_id, d.target_id, 'k', b.provider_id, 'deferred', 'code', :word
                      FROM deliveries d JOIN messages m ON m.id = d.message_id
                      JOIN batches b ON b.month = d.month AND b.id = d.batch_id WHERE m.project_id = :p"""),
            {"p": owner.number, "word": owner.word},
        )
        connection.execute(
            text("""INSERT INTO past_attempts (month, message_id, target_id, provider_id, attempt, code, reason)
                    SELECT d.month, d.message_id, d.target_id, b.provider_id, 1, '503', :word
                      FROM deliveries d JOIN messages m ON m.id = d.message_id
                      JOIN batches b ON b.month = d.month AND b.id = d.batch_id WHERE m.project_id = :p"""),
            {"p": owner.number, "word": owner.word},
        )
        owner.made["entryId"] = str(
            connection.execute(
                text("""INSERT INTO quarantine (project_id, kind, reason, task_id, task_name, sealed)
                        VALUES (:p, 'task', :word, :word, 'messaging.send_push', '') RETURNING id"""),
                {"p": owner.number, "word": owner.word},
            ).scalar_one()
        )
    owner.api.client.post(f"{owner.api.url}/receipts/{key}", content=f"MessageStatus={owner.word}").raise_for_status()


# -- what a project has in the database ----------------------------------------------------------------

_OWNED_BY: Mapping[str, str] = {
    "project_id": "= :project",
    "provider_id": "IN (SELECT id FROM providers WHERE project_id = :project)",
    "message_id": "IN (SELECT id FROM messages WHERE project_id = :project)",
    "file_id": "IN (SELECT id FROM files WHERE project_id = :project)",
    "target_id": "IN (SELECT id FROM targets WHERE project_id = :project)",
}
"""Columns that say whose a row is, the surest first."""
NOBODYS = frozenset(
    {"rate_limits", "revocations", "provider_tokens", "refusals", "vault_keys", "starts"}
    | {"operators", "operator_sessions", "audit_log"}
)
"""Tables whose rows belong to no project: their keys are hashes, task ids, or names of our own."""


def unowned_tables() -> set[str]:
    """Tables of which nobody has said whose their rows are."""
    return {table.name for table in Base.metadata.sorted_tables if not _whose(table)} - NOBODYS


def rows_of(owner: Owner) -> dict[str, list[str]]:
    """Every row of the project as text, by table."""
    tables = [table for table in Base.metadata.sorted_tables if _whose(table) and table.name not in NOBODYS]
    found: dict[str, list[str]] = {table.name: [] for table in tables}
    each = " UNION ALL ".join(f"SELECT '{one.name}', t::text FROM {one.name} t WHERE {_whose(one)}" for one in tables)
    with owner.api.engine.begin() as connection:
        for name, row in connection.execute(text(f"{each} ORDER BY 1, 2"), {"project": owner.number}):
            found[name].append(row)
    return found


def _whose(table: Table) -> str:
    """The condition for the rows of a project; empty where no column says whose they are."""
    if table.name == "projects":
        return "id = :project"
    column = next((name for name in _OWNED_BY if name in table.columns), None)
    return "" if column is None else f"{column} {_OWNED_BY[column]}"


_POINTERS: Sequence[tuple[str, str, str]] = (
    # (whose row, its column or expression, what it points at)
    ("targets", "user_id", "users"),
    ("targets", "provider_id", "providers"),
    ("targets", "session_id", "sessions"),
    ("subscribers", "topic_id", "topics"),
    ("subscribers", "target_id", "targets"),
    ("sessions", "user_id", "users"),
    ("files", "bucket_id", "buckets"),
    ("messages", "unnest(topic_ids)", "topics"),
    ("messages", "unnest(user_ids)", "users"),
    ("messages", "unnest(target_ids)", "targets"),
    ("messages", "unnest(cc_ids)", "targets"),
    ("messages", "unnest(bcc_ids)", "targets"),
    ("messages", "fixed_provider_id", "providers"),
)
_OF_MESSAGES: Sequence[tuple[str, str, str]] = (
    ("deliveries", "target_id", "targets"),
    ("batches", "provider_id", "providers"),
)


def strays(owner: Owner) -> list[str]:
    """Rows of the project that point at a thing of another project."""
    of_message = "message_id IN (SELECT id FROM messages WHERE project_id = :project)"
    each = " UNION ALL ".join(
        f"SELECT '{table}.{column} points at one of the {other} of another project'"
        f" FROM (SELECT {column} AS n FROM {table} WHERE {whose}) x"
        f" JOIN {other} o ON o.id = x.n WHERE o.project_id <> :project"
        for pointers, whose in ((_POINTERS, "project_id = :project"), (_OF_MESSAGES, of_message))
        for table, column, other in pointers
    )
    with owner.api.engine.begin() as connection:
        return list(connection.execute(text(each), {"project": owner.number}).scalars())
