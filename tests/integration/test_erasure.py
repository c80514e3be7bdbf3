"""A person who is deleted is found nowhere any more, and is not written to again."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import text
from twilio.request_validator import RequestValidator
from typer.testing import CliRunner

from messaging.channel import Channel
from messaging.cli.main import app
from messaging.errors import NotFoundError
from messaging.local.sandbox import sendgrid_receipts
from messaging.local.sandbox.credentials import sendgrid_webhook_keys
from messaging.local.sandbox.webhooks import Webhook
from messaging.message import Email, Sms
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.status import DeliveryStatus, MessageState
from messaging.store import (
    erasure,
    projects,
    providers,
    quarantine,
    receipts,
    sessions,
    suppressions,
    targets,
    users,
    vault_keys,
)
from messaging.store.retention import RECEIPT_DAYS
from messaging.store.suppressions import Scope
from tests.integration.http.api import running_api
from tests.integration.road import SECRET, Road
from workers.pacing import NoPacer
from workers.providers.base import Recipient
from workers.receipts import Receipts

ROOT = Path(__file__).resolve().parents[2]
S = DeliveryStatus
ADA, BOB = "Ada.Lovelace+news@example.com", "bob@example.com"
PHONE = "+4930901820"
TOKEN = "fcm-Token:of-Ada/1"
PRIVATE, PUBLIC = sendgrid_webhook_keys()
TRACES = ("ada.lovelace", quote(ADA, safe="").casefold(), "4930901820", TOKEN.casefold(), "countess")
AUTH_TOKEN = "a token of twilio"


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """Accounts for email, SMS and push; Ada with an address on each channel and a session, and Bob."""
    made = Road(postgres_url, valkey_url)
    made.execute("TRUNCATE erasures, refusals, provider_tokens")
    with made.engine.begin() as connection:
        for kind, credentials, options in (
            ("sendgrid", {"apiKey": "SG.x", "webhookKey": PUBLIC}, {"fromEmail": "news@example.org"}),
            ("twilio", {"accountSid": "AC" + "0" * 32, "authToken": AUTH_TOKEN}, {"from": "+15005550006"}),
        ):
            providers.create(
                connection,
                made.vault,
                made.project_id,
                kind=kind,
                provider_id=kind,
                credentials=credentials,
                options=options,
            )
        users.create(
            connection, made.vault, made.project_id, user_id="ada", name="Countess of L.", email=ADA, phone=PHONE
        )
        users.create(connection, made.vault, made.project_id, user_id="bob", email=BOB)
        number = users.find(connection, made.project_id, "ada")
        users.set_attributes(connection, made.project_id, "ada", prefs={"write to": ADA})
        targets.create(
            connection,
            made.vault,
            made.project_id,
            channel=Channel.PUSH,
            identifier=TOKEN,
            user_id="ada",
            name="phone of the Countess",
        )
        sessions.create(connection, made.project_id, user=number, provider="email", provider_uid=ADA)
    yield made
    made.execute("TRUNCATE erasures")
    made.close()


def everything(road: Road) -> dict[str, str]:
    """Table and column → all of it as one text, in lower case, of every table there is."""
    with road.engine.begin() as connection:
        columns = connection.execute(
            text("""SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
                      JOIN information_schema.tables t USING (table_schema, table_name)
                     WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE'
                       AND c.data_type IN ('text', 'bytea', 'jsonb', 'json', 'ARRAY', 'character varying')""")
        ).all()
        found = {}
        for table, column, kind in columns:
            rows = connection.execute(text(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')).scalars()
            shown = (bytes(v).decode("latin-1") if kind == "bytea" else json.dumps(v, default=str) for v in rows)
            found[f"{table}.{column}"] = "\n".join(shown).casefold()
    assert len(found) > 100
    return found


def traces(road: Road) -> set[str]:
    """Where anything of Ada is found."""
    return {place for place, said in everything(road).items() for trace in TRACES if trace in said}


def delete(road: Road, user: str = "ada") -> None:
    """Delete a user."""
    with road.engine.begin() as connection:
        users.delete(connection, road.vault, road.project_id, user)


def second_pass(road: Road) -> None:
    """As if the time for what was in flight were over."""
    road.execute("UPDATE erasures SET due_at = now()")
    assert road.sweep().erased


def keep(road: Road, provider: str, url: str, headers: dict[str, str], body: bytes) -> None:
    """A request came to the account's receipt address."""
    with road.engine.begin() as connection:
        key = providers.get(connection, road.vault, road.project_id, provider).receipt_key
        assert receipts.keep(connection, key, method="POST", url=url, headers=headers, body=body)


def tell_sendgrid(road: Road, *events: dict[str, object]) -> None:
    """Events, signed as SendGrid signs them."""
    data = json.dumps(list(events)).encode()
    post = sendgrid_receipts.signed(Webhook("https://example.org/r", PRIVATE), data, now_s=int(time.time()))
    keep(road, "sendgrid", post.url, dict(post.headers), post.body)


def bounce(tag: str) -> dict[str, object]:
    """What SendGrid says of Ada's address."""
    return {
        "email": ADA,
        "timestamp": 1_795_000_000,
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "reason": f"550 5.1.1 <{ADA}>: no such user",
        "sg_event_id": f"b-{tag}",
        "sg_message_id": "x",
        "delivery": tag,
    }


def delivered(tag: str) -> dict[str, object]:
    """What SendGrid says of Bob's address."""
    return {**bounce(tag), "email": BOB, "event": "delivered", "reason": ""}


def tell_twilio(road: Road, tag: str) -> None:
    """A status callback, signed as Twilio signs it."""
    url = f"https://example.org/v1/receipts/key?delivery={tag}"
    fields = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": PHONE, "From": "+15005550006"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, fields)
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
    keep(road, "twilio", url, headers, urlencode(fields).encode())


def apply_receipts(road: Road) -> None:
    """Work on what waits."""
    asyncio.run(Receipts(road.engine, road.vault, road.settings, NoPacer()).apply_waiting())


def receipt_states(road: Road) -> dict[int, int]:
    """State → how many receipts."""
    with road.engine.begin() as connection:
        rows = connection.execute(text("SELECT state, count(*) AS n FROM receipts GROUP BY 1"))
        return {row.state: row.n for row in rows}


def tags(road: Road) -> dict[str, str]:
    """Address → the tag of its delivery."""
    return {one.address: one.tag for one in road.provider.received}


def refuse_ada(recipient: Recipient) -> Outcome:
    """The provider repeats an address it does not like."""
    if recipient.address == ADA:
        return Outcome(Action.REJECT_MESSAGE, "550", f"550 rejected <{ADA}>: the Countess is away")
    return ACCEPTED


def test_a_deleted_user_is_found_in_no_column_of_any_table(road: Road) -> None:
    """After messages, receipts and everything else that repeats an address.

    The suppressed address stays blocked, what became of others is untouched, and the sums stay exact.
    """
    with road.engine.begin() as connection:
        project = road.project_id
        suppressions.add(connection, road.vault, project, channel=Channel.EMAIL, address=ADA, scope=Scope.BULK)
        connection.execute(text("UPDATE suppressions SET reason = :why"), {"why": f"letter from {ADA}"})
    letter = Email(subject="News", content=f"You are {ADA}.")
    sent = road.send(letter, users=["ada", "bob"])
    raw = road.send(letter, addresses=[ADA, BOB])
    text_message = road.send(Sms(content="1234"), users=["ada"])
    road.deliver()
    told = tags(road)
    road.provider.answer = refuse_ada
    refused = road.send(letter, users=["ada"])
    road.deliver()
    tell_sendgrid(road, bounce(told[ADA]), delivered(told[BOB]))
    tell_twilio(road, told[PHONE])
    keep(road, "sendgrid", f"https://x/?to={quote(ADA, safe='')}", {"x-to": ADA}, b"forged")
    apply_receipts(road)
    road.sweep()
    assert receipt_states(road) == {1: 2, 2: 1}
    with road.engine.begin() as connection:
        quarantine.put_aside_task(
            connection, road.vault, project, task_id="t", task_name="messaging.send_email",
            said={"kwargs": {"addresses": [ADA]}}, deaths=3,
        )  # fmt: skip
    failed = f"'{ADA}' is no email address"
    provider = "(SELECT id FROM providers WHERE public_id = 'sendgrid')"
    for statement in (
        "INSERT INTO refusals (task_id, task_name, reason) VALUES ('t', 'n', :said)",
        "UPDATE messages SET failure = :said",
        "UPDATE delivery_events SET reason = :said",
        """INSERT INTO past_attempts (month, message_id, target_id, provider_id, attempt, code, reason)
            SELECT month, message_id, target_id, 1, 1, 'x', :said FROM deliveries""",
        "UPDATE batches SET waiting_for = :said",
        "UPDATE providers SET stopped_reason = :said",
        f"INSERT INTO provider_log (provider_id, what, reason) VALUES ({provider}, 'stopped', :said)",
        f"""INSERT INTO provider_checks (provider_id, public_id, address, steps) VALUES
            ({provider}, 'c', :said, jsonb_build_array(jsonb_build_object('detail', CAST(:said AS text))))""",
        """INSERT INTO http_answers (project_id, key, request_mac, status, body, keep_until) VALUES
            (1, 'k', '', 201, jsonb_build_object('$id', 'ada', 'name', 'Countess', 'email', CAST(:said AS text)),
             now() + interval '1 day')""",
    ):
        road.execute(statement, said=failed)
    assert traces(road) >= {
        "users.name", "users.email", "users.phone", "users.prefs", "targets.identifier", "targets.name",
        "sessions.provider_uid", "messages.content", "messages.audience", "messages.failure", "receipts.body",
        "receipts.url", "receipts.headers", "refusals.reason", "provider_log.reason", "providers.stopped_reason",
        "provider_checks.address", "provider_checks.steps", "suppressions.reason", "http_answers.body",
    }  # fmt: skip
    assert any(place.startswith("deliveries_") for place in traces(road))
    assert any(place.startswith("delivery_events_") for place in traces(road))
    assert any(place.startswith("past_attempts_") for place in traces(road))
    before = {one.public_id: (road.statuses(one), road.view(one).totals) for one in (sent, raw, text_message, refused)}

    delete(road)
    assert not {place for place in traces(road) if place.partition(".")[0] in {"users", "targets", "sessions"}}
    assert road.sweep().erased == 1
    assert traces(road) == set()

    after = {one.public_id: (road.statuses(one), road.view(one).totals) for one in (sent, raw, text_message, refused)}
    assert after == before
    assert BOB in everything(road)["users.email"]
    assert BOB in everything(road)["messages.audience"]
    second_pass(road)
    with road.engine.begin() as connection:
        (left,) = connection.execute(text("SELECT traces FROM erasures")).scalars()
        assert road.vault.open(bytes(left)) == {"addresses": [], "users": []}
        (kept,) = connection.execute(text("SELECT sealed FROM quarantine")).scalars()
        assert kept is None
        assert suppressions.find(connection, road.vault, project, channel=Channel.EMAIL, address=ADA)
    road.execute("UPDATE providers SET stopped_reason = NULL")
    again = road.send(replace(letter, content="You again?"), addresses=[ADA], lane="bulk")
    road.expand(again.message_id)
    road.deliver()
    assert road.statuses(again) == {S.SUPPRESSED: 1}


def test_messages_in_flight_end_with_exact_sums(road: Road) -> None:
    """Not sent yet: failed, since the target is gone. Sent this very moment: the answer counts.

    What that answer says of the address is erased by the second pass.
    """
    waiting = road.send(Email(subject="x", content="x"), users=["ada", "bob"])
    flying = road.send(Email(subject="y", content="y"), users=["ada", "bob"])
    road.provider.answer = refuse_ada
    road.provider.during = lambda recipient: delete(road) if recipient.address == ADA else None
    first, *others = road.batches()
    road.deliver(first)
    road.provider.during = None
    road.deliver(*others)
    road.sweep()
    sent_first, sent_then = sorted((waiting, flying), key=lambda one: "550" not in str(road.deliveries(one)))
    assert road.statuses(sent_first) == road.statuses(sent_then) == {S.ACCEPTED: 1, S.FAILED: 1}
    assert {d.error_code for d in road.deliveries(sent_first)} == {None, "550"}
    assert {d.error_code for d in road.deliveries(sent_then)} == {None, "target_deleted"}
    for one in (waiting, flying):
        view = road.view(one)
        assert view.state is MessageState.PARTIALLY_SENT
        assert dict(view.totals) == dict(road.statuses(one))
    second_pass(road)
    assert traces(road) == set()


def test_what_receipts_tell_later_is_found_by_the_target(road: Road) -> None:
    """A receipt that comes when nobody knows the address any more is emptied by the next pass, its reason with it."""
    sent = road.send(Email(subject="x", content="x"), users=["ada", "bob"])
    road.deliver()
    told = tags(road)
    delete(road)
    road.sweep()
    second_pass(road)
    tell_sendgrid(road, bounce(told[ADA]))
    tell_sendgrid(road, delivered(told[BOB]))
    apply_receipts(road)
    assert road.statuses(sent) == {S.DELIVERED: 1, S.FAILED: 1}
    assert traces(road)
    second_pass(road)
    assert traces(road) == set()
    assert BOB in everything(road)["receipts.body"]
    road.execute("UPDATE erasures SET created_at = now() - make_interval(days => :days)", days=RECEIPT_DAYS + 1)
    second_pass(road)
    with road.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM erasures")).scalar() == 0


def test_a_receipt_that_waits_is_applied_before_it_is_emptied(road: Road) -> None:
    """What it says of others is not lost."""
    sent = road.send(Email(subject="x", content="x"), users=["ada", "bob"])
    road.deliver()
    told = tags(road)
    tell_sendgrid(road, bounce(told[ADA]), delivered(told[BOB]))
    delete(road)
    road.sweep()
    assert "receipts.body" in traces(road)
    apply_receipts(road)
    assert road.statuses(sent) == {S.DELIVERED: 1, S.FAILED: 1}
    second_pass(road)
    assert traces(road) == set()


def test_a_message_that_others_still_get_is_not_changed_before_it_is_sent(road: Road) -> None:
    """Ada's address in a text that goes to Bob stays until it has gone; her own entry in an audience goes at once."""
    letter = Email(subject="Questions?", content=f"Write to {ADA}.")
    draft = road.send(letter, addresses=[ADA, BOB], draft=True)
    delete(road)
    road.sweep()
    second_pass(road)
    assert traces(road) == {"messages.content"}
    with road.engine.begin() as connection:
        audience = connection.execute(text("SELECT audience FROM messages")).scalar_one()
    assert audience["addresses"] == [BOB]
    road.execute("UPDATE messages SET finished_at = now() WHERE id = :id", id=draft.message_id)
    second_pass(road)
    assert traces(road) == set()


def test_erasing_by_address_reaches_users_and_addresses_of_nobody(road: Road) -> None:
    """An id, an email address or a phone number; what is not there is said to be missing."""
    road.send(Email(subject="x", content="x"), addresses=["eve@example.com"])
    with road.engine.begin() as connection:
        assert erasure.erase(connection, road.vault, road.project_id, PHONE) == ["ada"]
        assert erasure.erase(connection, road.vault, road.project_id, "eve@EXAMPLE.com") == []
        for missing in ("ada", ADA, "nobody"):
            with pytest.raises(NotFoundError):
                erasure.erase(connection, road.vault, road.project_id, missing)
    assert road.sweep().erased == 2
    assert traces(road) == set()
    assert "eve@" not in "".join(everything(road).values())


def test_every_way_in_erases(road: Road, postgres_url: str, valkey_url: str) -> None:
    """HTTP's DELETE, the client and the commands `user delete` and `user erase` leave the same work behind."""
    env = {
        "MESSAGING_DATABASE_URL": postgres_url,
        "MESSAGING_BROKER_URL": valkey_url,
        "MESSAGING_SECRET_KEY": SECRET,
    }
    ways: tuple[Callable[[], bool], ...] = (
        lambda: CliRunner().invoke(app, ["user", "delete", "ada"], env=env).exit_code == 0,
        lambda: CliRunner().invoke(app, ["user", "erase", ADA], env=env).exit_code == 0,
        lambda: over_http(postgres_url, valkey_url) == HTTPStatus.NO_CONTENT,
    )
    for number, way in enumerate(ways, 1):
        assert traces(road)
        assert way()
        assert road.sweep().erased == 1
        assert traces(road) == set()
        if number < len(ways):
            with road.engine.begin() as connection:
                users.create(connection, road.vault, road.project_id, user_id="ada", email=ADA)


def over_http(postgres_url: str, valkey_url: str) -> int:
    """Status of the answer to a server that deletes Ada."""
    with running_api(postgres_url, valkey_url) as api:
        return api.call("DELETE", "/users/ada").status_code


def test_every_column_is_accounted_for(road: Road) -> None:
    """The page names each column that can hold text or bytes, and says what becomes of an address in it."""
    page = (ROOT / "docs" / "explanation" / "erasure.md").read_text()
    named = {
        f"{table}.{column}"
        for line in page.splitlines()
        if line.startswith("| `")
        for table, columns in [line.split("|")[1:3]]
        for table in re.findall(r"`(\w+)`", table)
        for column in re.findall(r"`(\w+)`", columns)
    }
    months = re.compile(r"_\d{4}_\d{2}\.")
    there = {place for place in everything(road) if not months.search(place)} - {"alembic_version.version_num"}
    assert there == named


def test_another_project_keeps_what_it_knows(road: Road) -> None:
    """Erasing a person of one project touches nothing of another that knows the same address."""
    with road.engine.begin() as connection:
        other = projects.ensure(connection, "other")
        users.create(connection, road.vault, other, user_id="ada", name="Ada", email=ADA)
        connection.execute(
            text("INSERT INTO suppressions VALUES (:project, 'email', '\\x01', 'bulk', :why)"),
            {"project": other, "why": f"asked by {ADA}"},
        )
    delete(road)
    road.sweep()
    assert traces(road) == {"users.email", "targets.identifier", "suppressions.reason"}


def test_the_left_over_work_is_sealed_like_other_secrets(road: Road) -> None:
    """The addresses still to be looked for are encrypted, and part of a rotation."""
    delete(road)
    assert "erasures.traces" not in traces(road)
    assert "erasures.traces" in map(str, vault_keys.SEALED)
    assert re.search("ada", str(road.vault.open(stored_traces(road))), re.IGNORECASE)


def stored_traces(road: Road) -> bytes:
    """What the erasure under way looks for."""
    with road.engine.begin() as connection:
        return bytes(connection.execute(text("SELECT traces FROM erasures")).scalar_one())
