"""One of everything, so that every page of the console has something to show."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import text

from messaging.channel import Channel
from messaging.client.messaging import Messaging
from messaging.client.session import Session
from messaging.message import Email, Push
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.store import audit, console_imports, projects
from messaging.store.console_imports import ImportKind
from tests.integration.road import Road
from workers.providers.base import Recipient

OTHER = "other"
"""Another project, with nothing in it."""
NO_OBJECT = frozenset({"project", "channel", "kind"})
"""Places in a path that name no object of a project."""
REFUSED = Outcome(Action.REJECT_MESSAGE, "PayloadTooLarge", "The payload is too large.")


def path_of(path: str, samples: Mapping[str, str]) -> str:
    """The path below /console with a sample in every place; one nobody gave a sample for is an error."""
    missing = [name for name in re.findall(r"{(\w+)}", path) if name not in samples]
    assert not missing, f"{path}: give {missing} a sample in {__name__}"
    return re.sub(r"{(\w+)}", lambda place: samples[place[1]], path).removeprefix("/console")


def client_of(world: Road) -> Messaging:
    """The project's client, on the world's connections."""
    return Messaging(session=Session(world.settings, engine=world.engine, vault=world.vault))


def answers_by_turns(recipient: Recipient) -> Outcome:
    """Every second recipient is refused."""
    return REFUSED if int(recipient.tag.rpartition("-")[2], 16) % 2 else ACCEPTED


def make(world: Road, operator_id: str) -> dict[str, str]:
    """Name of a place in a path → what may stand there. The message was sent to six, three of whom were refused."""
    client = client_of(world)
    provider = world.add_provider("apple", "apns", enabled=True)
    world.add_provider("mails", "sendgrid", enabled=True)
    targets = world.add_push_targets(6, provider=provider)
    world.add_topic("news", targets)
    client.users.create(user_id="ada", name="Ada", email="ada@example.com")
    world.provider.answer = answers_by_turns
    sent = world.send(Push(title="Hello <b>you</b>", body="there", data={"a": "b"}), topics=["news"])
    world.expand(sent.message_id)
    world.deliver()
    world.sweep()
    world.send(Email(subject="A draft", content="<p>Hello</p>"), users=["ada"], draft=True, id="draft")
    entry = client.suppressions.add("email", "gone@example.com")
    check = client.providers.check("apple")
    with world.engine.begin() as connection:
        projects.ensure(connection, OTHER)
        number, month = connection.execute(text("SELECT id, month FROM messages WHERE month IS NOT NULL")).one()
        batch = connection.execute(text("SELECT min(id) FROM batches")).scalar_one()
        kept = console_imports.begin(
            connection, world.project_id, kind=ImportKind.SUBSCRIBERS, subject="news", operator="o", size_bytes=1
        )
        aside = connection.execute(
            text("""INSERT INTO quarantine
                      (project_id, kind, reason, month, message_id, batch_id, target_id, deliveries) VALUES (
                      :project, 'delivery', 'It ended two workers.', :month, :message, :batch, :target, 1)
                    RETURNING id"""),
            {"project": world.project_id, "month": month, "message": number, "batch": batch, "target": targets[0]},
        ).scalar_one()
        audit.note(connection, operator="o@example.com", action="something.done", project="default")
    key, _ = client.keys.create("a key")
    return {
        "project": "default",
        "channel": Channel.EMAIL,
        "kind": "twilio",
        "message": sent.public_id,
        "draft": "draft",
        "delivery": world.deliveries(sent)[0].id,
        "number": str(number),
        "batch": str(batch),
        "operator": operator_id,
        "provider": "apple",
        "check": check.id,
        "topic": "news",
        "user": "ada",
        "target": "t0",
        "suppression": entry.id,
        "import": kept,
        "entry": str(aside),
        "key": key.id,
        "mail": "none",
    }
