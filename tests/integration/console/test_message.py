"""One message in the console: how far it is, to whom, why it failed, and what can be done to it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from messaging.message import Push
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.producer import Accepted
from messaging.status import DeliveryStatus
from messaging.store import recipients
from messaging.store.recipients import START, RecipientView
from tests.integration.console import samples
from tests.integration.console.browser import Browser, in_words
from tests.integration.http.api import Api
from tests.integration.road import Road
from workers.providers.base import Recipient

_S = DeliveryStatus
REFUSED = Outcome(Action.REJECT_MESSAGE, "=BadTopic", "The topic is refused.")
AGAIN = Outcome(Action.RETRY, "ServiceUnavailable", "Later.")


@pytest.fixture(scope="module")
def phones(world: Road, api: Api) -> list[int]:
    """A topic of 23 phones, in batches of 5."""
    assert api.project == "default"
    world.settings = world.settings.model_copy(update={"task_size": 5})
    found = world.add_push_targets(23, provider=world.add_provider("apple", "apns", enabled=True))
    world.add_topic("news", found)
    return found


def place_of(recipient: Recipient) -> int:
    """Number of the target."""
    return int(recipient.tag.rpartition("-")[2], 16)


def sent(world: Road, answers: dict[int, Outcome], *, title: str = "Hello") -> Accepted:
    """A message to the topic whose recipients answer so; the others accept it."""
    world.provider.answer = lambda recipient: answers.get(place_of(recipient), ACCEPTED)
    accepted = world.send(Push(title=title), topics=["news"])
    world.expand(accepted.message_id)
    world.deliver()
    world.sweep()
    return accepted


@pytest.fixture(scope="module")
def message(world: Road, phones: list[int]) -> Accepted:
    """Sent to all: two refused, one tried again later, one suppressed afterwards."""
    answers = {phones[3]: REFUSED, phones[20]: REFUSED, phones[9]: AGAIN}
    return sent(world, answers)


def everybody(world: Road, accepted: Accepted, status: DeliveryStatus | None, limit: int) -> list[RecipientView]:
    """Every page of the recipients."""
    found: list[RecipientView] = []
    after = START
    with world.engine.begin() as connection:
        view = world.view(accepted)
        for _ in range(1000):
            page = recipients.page(connection, view, status=status, after=after, limit=limit)
            assert len(page.rows) <= limit
            found += page.rows
            if page.after is None:
                return found
            after = page.after
    pytest.fail("the pages come to no end")


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize("status", [None, *DeliveryStatus])
def test_the_pages_of_recipients_are_the_ledger(
    world: Road, message: Accepted, status: DeliveryStatus | None, limit: int
) -> None:
    """Each row once, whatever the size of a page and the status asked for."""
    wanted = [row.id for row in world.deliveries(message) if status in {None, row.status}]
    assert [row.delivery.id for row in everybody(world, message, status, limit)] == wanted


def test_pages_that_are_cut_short_lead_on(world: Road, message: Accepted) -> None:
    """A search without patience looks at some batches, says where it stopped, and goes on from there."""
    view, after, found = world.view(message), START, list[str]()
    with world.engine.begin() as connection:
        for _ in range(100):
            page = recipients.page(connection, view, status=_S.RETRYING, after=after, limit=2, patience_s=0)
            found += [row.delivery.id for row in page.rows]
            if page.after is None:
                break
            after = page.after
    assert found == [row.id for row in world.deliveries(message) if row.status is _S.RETRYING]
    assert len(found) == 1


def test_a_message_says_how_far_it_is_and_why_not_further(operator: Browser, message: Accepted) -> None:
    """Counts, the reasons with a button each, who is tried again, and what it says."""
    page = operator.page(f"/p/default/messages/{message.public_id}")
    read = in_words(page)
    for said in (
        "accepted 20",
        "failed 2",
        "queued 1",
        "23 in all",
        "=BadTopic The topic is refused. 2",
        "tried again",
    ):
        assert said in read
    assert 'aria-label="95.7 % of 23 recipients settled, 2 of them not sent"' in page
    assert page.count("Hello") >= 3


def test_the_part_that_moves_asks_for_itself_until_the_message_has_moved_on(
    world: Road, operator: Browser, message: Accepted
) -> None:
    """Then for the whole page: other buttons are due."""
    path = f"/p/default/messages/{message.public_id}/progress"
    part = operator.get(f"{path}?state=processing", htmx=True).text
    assert 'hx-trigger="every 1s"' in part
    assert "<html" not in part
    moved = operator.get(f"{path}?state=scheduled", htmx=True).text
    assert 'hx-trigger="load"' in moved
    assert 'hx-select="#message"' in moved
    assert world.view(message).state == "processing"


def test_a_recipient_is_found_by_address_and_id_and_in_no_link(
    world: Road, viewer: Browser, message: Accepted, phones: list[int]
) -> None:
    """The form leads to the ids of its targets: an address stays out of histories and logs."""
    address = f"{3:064x}"
    path = f"/p/default/messages/{message.public_id}"
    for said in (address, address.upper(), "t3"):
        where = viewer.done(f"{path}/find", {"to": said})
        assert where == f"{path}?targets=t3#recipients"
    only = in_words(viewer.page(where).split('id="recipients"')[1])
    assert only.count("apple") == 1
    nobody = viewer.done(f"{path}/find", {"to": "nobody"})
    assert "Nobody with that address or id is among them" in viewer.read(nobody)
    assert len(phones) == len(world.deliveries(message))


def test_a_recipients_story_is_told_in_the_order_of_time(
    world: Road, viewer: Browser, message: Accepted, phones: list[int]
) -> None:
    """Attempts, answers, what the provider told later, evidence, quarantine, and the next try."""
    accepted = next(row for row in world.deliveries(message) if row.cursor == phones[0])
    told = "INSERT INTO delivery_events (month, message_id, target_id, key, provider_id, event, at, code, reason)"
    keys = {"number": message.message_id, "target": phones[0]}
    month = datetime.now(UTC).date().replace(day=1)
    world.execute(
        f"{told} SELECT month, id, :target, 'k', 1, 'deferred', '2001-01-01T00:00Z', '4.2.0', 'Greylisted'"
        " FROM messages WHERE id = :number",
        **keys,
    )
    world.execute(
        "INSERT INTO evidence (month, message_id, target_id, claim, status) SELECT month, id, :target, 1, 3"
        " FROM messages WHERE id = :number",
        **keys,
    )
    read = viewer.read(f"/p/default/messages/{message.public_id}/recipients/{accepted.id}")
    assert month.year > 2001
    order = ["provider tells: deferred", "Given to batch", "Accepted by apple", "answer that came too late"]
    assert [read.index(each) for each in order] == sorted(read.index(each) for each in order)
    assert accepted.provider_message_id is not None
    assert accepted.provider_message_id in read
    waiting = next(row for row in world.deliveries(message) if row.cursor == phones[9])
    tried = viewer.read(f"/p/default/messages/{message.public_id}/recipients/{waiting.id}")
    assert tried.index("Attempt 1 over apple came to nothing") < tried.index("The next try is due")
    for none in ("nothing", "d1-1-1", f"{accepted.id}00000"):
        assert viewer.get(f"/p/default/messages/{message.public_id}/recipients/{none}").status_code == 404


# -- control ---------------------------------------------------------------------------------------


def test_what_failed_is_sent_again_for_one_reason(world: Road, operator: Browser, phones: list[int]) -> None:
    """And nothing else; the audit log says for which."""
    other = Outcome(Action.REJECT_MESSAGE, "TooLarge", "Too large.")
    made = sent(world, {phones[1]: REFUSED, phones[2]: other}, title="Again")
    path = f"/p/default/messages/{made.public_id}"
    operator.done(f"{path}/retry", {"code": "TooLarge"})
    assert "1 failed deliveries are sent again" in operator.read(path)
    world.provider.answer = lambda _: ACCEPTED
    world.deliver()
    assert world.statuses(made) == Counter({_S.ACCEPTED: 22, _S.FAILED: 1})
    with world.engine.begin() as connection:
        noted = connection.execute(text("SELECT details FROM audit_log WHERE action = 'message.retry'")).scalar_one()
    assert noted == {"codes": ["TooLarge"], "deliveries": 1}


def test_a_message_is_paused_resumed_and_cancelled(world: Road, operator: Browser, phones: list[int]) -> None:
    """Buttons are there for what can be done; what can't is refused in words."""
    assert phones
    made = world.send(Push(title="Wait"), topics=["news"])
    world.expand(made.message_id)
    path = f"/p/default/messages/{made.public_id}"
    operator.done(f"{path}/pause")
    assert "/resume" in operator.page(path)
    operator.done(f"{path}/resume")
    operator.done(f"{path}/cancel")
    page = operator.page(path)
    assert world.view(made).state == "cancelled"
    assert "/cancel" not in page.replace(f"{path}/cancelled", "")
    assert "already may still arrive" in in_words(page)
    assert operator.post(f"{path}/pause").status_code == 409


def test_numbers_in_flower_lead_to_the_message(world: Road, viewer: Browser, message: Accepted) -> None:
    """A message's number and a batch's; nonsense is not found."""
    with world.engine.begin() as connection:
        batch = connection.execute(
            text("SELECT min(id) FROM batches WHERE message_id = :id"), {"id": message.message_id}
        )
        number = batch.scalar_one()
    for path in (f"/batches/{number}", f"/go/{message.message_id}"):
        answer = viewer.get(path)
        assert answer.headers["location"] == f"/console/p/default/messages/{message.public_id}"
    for none in ("x", "9" * 30, "99999999"):
        assert viewer.get(f"/batches/{none}").status_code == 404


# -- export ----------------------------------------------------------------------------------------


def exported(browser: Browser, message: Accepted, status: str = "") -> list[dict[str, str]]:
    """The rows of the file."""
    answer = browser.post(f"/p/default/messages/{message.public_id}/export", {"status": status})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert re.search(r'filename="[^"]+\.csv"', answer.headers["content-disposition"])
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_an_export_has_everybody_once_and_is_written_down(
    world: Road, operator: Browser, message: Accepted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages of any size; all of them, or those of a status."""
    monkeypatch.setattr("messaging.console.export._PAGE", 4)  # a small one, where the edge of pages is looked at
    rows = exported(operator, message)
    ledger = {row.id: row for row in world.deliveries(message)}
    assert [row["delivery_id"] for row in rows] == list(ledger)
    for row in rows:
        kept = ledger[row["delivery_id"]]
        assert (row["status"], row["recipient"], row["provider_id"]) == (kept.status, kept.identifier, "apple")
        assert row["attempts"] == str(kept.attempts)
    failed = exported(operator, message, "failed")
    assert [row["status"] for row in failed] == ["failed", "failed"]
    with world.engine.begin() as connection:
        found = connection.execute(text("SELECT details FROM audit_log WHERE action = 'message.export' ORDER BY id"))
        assert [*found.scalars()] == [{"status": "all"}, {"status": "failed"}]


def test_no_cell_of_an_export_is_a_formula(operator: Browser, message: Accepted) -> None:
    """A provider's word or an address that a spreadsheet would run begins with a quote."""
    assert {row["error_code"] for row in exported(operator, message, "failed")} == {"'=BadTopic"}


def test_a_file_for_nobody_has_its_header(operator: Browser, world: Road, phones: list[int]) -> None:
    """A draft has no recipients yet."""
    assert phones
    draft = world.send(Push(title="Draft"), draft=True)
    assert exported(operator, draft) == []
    assert samples.client_of(world).get(draft.public_id).total == 0
