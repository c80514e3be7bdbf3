"""What one account certainly did not send goes over another; what may have arrived never does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from messaging.channel import Channel, OnUnknown
from messaging.message import Email, Push
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.producer import Accepted
from messaging.status import DeliveryStatus, MessageState
from messaging.store import clock, provider_stops, providers
from messaging.store.providers import ProviderView
from tests.integration.road import Road, Scripted

S = DeliveryStatus
LETTER = Email(subject="Hello", content="there")
REFUSED = Outcome(Action.RETRY, "ConnectError", "not sent: no connection", outage=True)


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """Two email accounts, the first of which is tried first."""
    made = Road(postgres_url, valkey_url)
    for priority, name in enumerate(("first", "second")):
        made.add_provider(name, "sendgrid", priority=priority)
        made.others[name] = Scripted()
    yield made
    made.close()


def script(road: Road, name: str) -> Scripted:
    """What stands for the account."""
    found = road.others[name]
    assert isinstance(found, Scripted)
    return found


def state_of(road: Road, name: str) -> ProviderView:
    """The account."""
    with road.engine.connect() as connection:
        return providers.get(connection, road.vault, road.project_id, name)


def now(road: Road) -> datetime:
    """What the database's clock says."""
    with road.engine.connect() as connection:
        return clock.ask(connection)


def letters(count: int) -> list[str]:
    """So many addresses."""
    return [f"reader{number:04}@example.com" for number in range(count)]


def settle(road: Road, rounds: int = 12) -> None:
    """Deliver and sweep until nothing waits."""
    for _ in range(rounds):
        road.make_due()
        road.deliver()
        road.sweep()
        if not road.batches():
            return


def test_a_misconfigured_account_stops_and_its_traffic_moves(road: Road) -> None:
    """At once, without an attempt spent; the operator reads why, and nothing is doubled."""
    script(road, "first").answer = lambda _: Outcome(Action.STOP_PROVIDER, "401", "the key is wrong")
    message = road.send(LETTER, addresses=letters(5))
    road.deliver()
    assert state_of(road, "first").stopped_reason == "401: the key is wrong"
    assert state_of(road, "first").stopped_until is None
    settle(road)
    assert road.statuses(message) == {S.ACCEPTED: 5}
    assert {delivery.provider_id for delivery in road.deliveries(message)} == {"second"}
    assert {delivery.attempts for delivery in road.deliveries(message)} == {1}
    view = road.view(message)
    assert (view.state, view.total) == (MessageState.SENT, 5)


def test_a_newsletter_moves_by_the_sweep(road: Road) -> None:
    """Every batch that waits for the stopped account, in its order."""
    road.execute("UPDATE providers SET enabled = enabled")
    message = road.send(LETTER, addresses=letters(40))
    road.settings = road.settings.model_copy(update={"task_size": 10})
    road.expand(message.message_id)
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "first")
        provider_stops.stop_for(connection, number, "the key was revoked", action=Action.STOP_PROVIDER)
    swept = road.sweep()
    assert swept.moved == 40
    settle(road)
    assert road.statuses(message) == {S.ACCEPTED: 40}
    assert script(road, "first").received == []
    assert len(script(road, "second").received) == 40
    assert road.sweep().moved == 0


def test_what_may_have_arrived_stays_with_its_provider(road: Road) -> None:
    """A lost answer is repeated there, under the same name, or held; it never leaves by another door."""
    answers = dict.fromkeys(letters(4), ACCEPTED)
    answers[letters(4)[0]] = Outcome(Action.AMBIGUOUS_RETRY, "ReadTimeout", "no answer", outage=True)
    answers[letters(4)[1]] = Outcome(Action.STOP_PROVIDER, "403", "no rights")
    script(road, "first").answer = lambda recipient: answers[recipient.address]
    message = road.send(LETTER, addresses=letters(4), on_unknown=OnUnknown.RETRY)
    settle(road)
    elsewhere = {received.address for received in script(road, "second").received}
    assert letters(4)[0] not in elsewhere
    assert letters(4)[1] in elsewhere
    assert road.statuses(message)[S.RETRYING] == 1
    with road.engine.begin() as connection:
        provider_stops.start(connection, providers.find(connection, road.project_id, "first"))
    script(road, "first").answer = lambda _: ACCEPTED
    settle(road)
    assert road.statuses(message) == {S.ACCEPTED: 4}
    tags = [r.tag for name in ("first", "second") for r in script(road, name).received if r.address == letters(4)[0]]
    assert len(set(tags)) == 1


def test_a_password_code_does_not_wait_for_a_provider_that_is_down(road: Road) -> None:
    """In the high lane a failed connection is enough to try the other account, before any breaker opens."""
    script(road, "first").answer = lambda _: REFUSED
    message = road.send(LETTER, addresses=["ada@example.com"])
    road.deliver()
    assert state_of(road, "first").stopped_reason is None
    road.deliver()
    assert road.statuses(message) == {S.ACCEPTED: 1}
    assert [len(script(road, name).received) for name in ("first", "second")] == [1, 1]


def test_a_country_one_account_cannot_reach_is_tried_over_another_and_stops_nothing(road: Road) -> None:
    """The account works for everybody else."""
    nobody = Outcome(Action.STOP_PROVIDER, "21408", "not that country", one_route=True)
    script(road, "first").answer = lambda r: nobody if r.address == letters(1)[0] else ACCEPTED
    message = road.send(LETTER, addresses=letters(12))
    road.expand(message.message_id)
    settle(road)
    assert road.statuses(message) == {S.ACCEPTED: 12}
    assert carried(road, message) == {"first": 11, "second": 1}
    assert state_of(road, "first").stopped_reason is None


def test_two_accounts_that_are_both_down_do_not_toss_a_message_about_for_ever(road: Road) -> None:
    """It waits where it is after a few moves, and arrives once one works again."""
    for name in ("first", "second"):
        script(road, name).answer = lambda _: REFUSED
    message = road.send(LETTER, addresses=["ada@example.com"])
    road.settings = road.settings.model_copy(update={"max_attempts": 30})
    settle(road, rounds=8)
    with road.engine.connect() as connection:
        assert connection.execute(text("SELECT max(moves) FROM batches")).scalar_one() <= 6
    for name in ("first", "second"):
        script(road, name).answer = lambda _: ACCEPTED
    settle(road)
    assert road.statuses(message) == {S.ACCEPTED: 1}


def test_a_used_up_quota_pauses_the_account_and_it_is_tried_again_by_one(road: Road) -> None:
    """Half open: one request finds out; if it passes, the account works again."""
    script(road, "first").answer = lambda _: Outcome(Action.QUOTA, "402", "no credit")
    script(road, "second").answer = lambda _: Outcome(Action.QUOTA, "402", "no credit")
    message = road.send(LETTER, addresses=letters(6))
    settle(road, rounds=3)
    assert state_of(road, "first").stopped_until is not None
    assert state_of(road, "second").stopped_until is not None
    assert road.statuses(message) == {S.RETRYING: 6}
    before = {name: len(script(road, name).received) for name in ("first", "second")}
    road.make_due()
    road.deliver()
    assert before == {name: len(script(road, name).received) for name in before}, "nothing is sent while it pauses"
    road.execute("UPDATE providers SET stopped_until = now()")
    for name in before:
        script(road, name).answer = lambda _: ACCEPTED
    settle(road)
    assert road.statuses(message) == {S.ACCEPTED: 6}
    assert {delivery.attempts for delivery in road.deliveries(message)} == {1}, "waiting costs no attempt"


def test_a_trial_that_fails_makes_the_pause_longer(road: Road) -> None:
    """Twice as long each time."""
    road.execute("UPDATE providers SET enabled = false WHERE public_id = 'second'")
    script(road, "first").answer = lambda _: REFUSED
    road.send(LETTER, addresses=["ada@example.com"])
    before = now(road)
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "first")
        provider_stops.stop_for(connection, number, "out of order", action=None)
    for pause in (timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=40)):
        until = state_of(road, "first").stopped_until
        assert until is not None
        assert before + pause <= until <= now(road) + pause
        road.execute("UPDATE providers SET stopped_until = now() WHERE id = :id", id=number)
        road.make_due()
        before = now(road)
        road.deliver()
    assert {received.attempt for received in script(road, "first").received} == {1}, "finding out costs no attempt"


def test_push_fails_over_to_an_account_of_the_same_app_only(postgres_url: str, valkey_url: str) -> None:
    """A token means nothing to another app."""
    road = Road(postgres_url, valkey_url)
    try:
        first = road.add_provider("first", "apns")
        road.add_provider("fire", "fcm", priority=1)
        tokens = road.add_push_targets(3, provider=first)
        road.others = {name: Scripted() for name in ("first", "fire", "twin")}
        with road.engine.begin() as connection:
            provider_stops.stop_for(connection, first, "revoked", action=Action.STOP_PROVIDER)
        message = road.send(Push(title="Hello"), targets=[f"t{number}" for number in range(len(tokens))])
        assert road.sweep().moved == 0
        road.add_provider("twin", "apns", priority=2)
        assert road.sweep().moved == 3
        settle(road)
        assert road.statuses(message) == {S.ACCEPTED: 3}
        assert [len(script(road, name).received) for name in ("first", "fire", "twin")] == [0, 0, 3]
    finally:
        road.close()


def carried(road: Road, message: Accepted) -> Counter[str | None]:
    """Deliveries by the account that has them."""
    return Counter(delivery.provider_id for delivery in road.deliveries(message))


def test_traffic_is_shared_out_by_weight_among_equals(road: Road) -> None:
    """Three to one, and none to the account of lower rank; single messages as well as topics."""
    road.add_provider("third", "sendgrid", priority=0, weight=3)
    road.execute("UPDATE providers SET priority = 0, weight = 1 WHERE public_id = 'first'")
    message = road.send(LETTER, addresses=letters(400))
    road.expand(message.message_id)
    shared = carried(road, message)
    assert set(shared) == {"first", "third"}
    assert 60 <= shared["first"] <= 140
    with road.engine.begin() as connection:
        connection.execute(text("UPDATE targets SET public_id = 'e' || id"))
        target = connection.execute(text("SELECT public_id FROM targets LIMIT 1")).scalar_one()
    single: Counter[str | None] = Counter()
    for _ in range(80):
        single += carried(road, road.send(LETTER, targets=[target]))
    assert set(single) == {"first", "third"}
    assert 5 <= single["first"] <= 40


def test_a_targets_own_provider_is_honoured(road: Road) -> None:
    """Whatever the priorities say, while it works."""
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "second")
        connection.execute(
            text("""INSERT INTO targets (project_id, public_id, channel, identifier, address_hash, provider_id)
                    VALUES (:project, 'own', 'email', 'own@example.com', 'x', :provider)"""),
            {"project": road.project_id, "provider": number},
        )
    message = road.send(LETTER, targets=["own"])
    assert carried(road, message) == {"second": 1}
    assert message.view is None or message.view.channel is Channel.EMAIL
