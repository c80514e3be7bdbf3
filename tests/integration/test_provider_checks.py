"""A check asks the provider, sends one message through this account alone, and says what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from messaging.channel import Channel, Lane, OnUnknown
from messaging.errors import InvalidArgumentError, NotFoundError, SettingsError
from messaging.outcome import ACCEPTED, Action, Outcome
from messaging.publish import Publisher
from messaging.receipt import Event, Receipt
from messaging.store import (
    message_changes,
    messages,
    provider_checks,
    provider_log,
    provider_stops,
    providers,
    receipt_effects,
    receipts,
    suppressions,
)
from messaging.store.check_steps import CheckOutcome, StepName, StepState
from messaging.store.lists import Wanted
from messaging.store.provider_checks import CheckView, Taken
from messaging.store.receipt_effects import Source
from messaging.store.receipts import ReceiptState, Settled
from messaging.vault import Vault
from messaging.wire import Queue, TaskName
from tests.integration.checked import Checked, work, worker
from tests.integration.road import SECRET, OneAdapter, Road
from workers import checks as checking

NUMBER = "+4930901820"
P, F, W, K = StepState.PASSED, StepState.FAILED, StepState.WAITING, StepState.SKIPPED
REFUSED = Outcome(Action.STOP_PROVIDER, "20003", "account SID or auth token refused: set them anew")


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """Two SMS accounts, and the one to be checked is the second choice."""
    made = Road(postgres_url, valkey_url, callback_url="https://push.example.org")
    for priority, name in enumerate(("first", "second")):
        made.add_provider(name, priority=priority)
        made.others[name] = Checked()
    yield made
    made.close()


def script(road: Road, name: str = "second") -> Checked:
    """What stands for the account."""
    found = road.others[name]
    assert isinstance(found, Checked)
    return found


def begin(road: Road, send_to: str | None = None, *, provider: str = "second") -> str:
    """The id of a new check."""
    with road.engine.begin() as connection:
        return provider_checks.begin(connection, road.project_id, provider, send_to=send_to)[0]


def look(road: Road, check_id: str, *, provider: str = "second") -> CheckView:
    """The check as it stands now."""
    with road.engine.connect() as connection:
        return provider_checks.get(connection, road.project_id, provider, check_id)


def checked(road: Road, send_to: str | None = None, *, provider: str = "second") -> CheckView:
    """A new check, after a worker has done its part."""
    check_id = begin(road, send_to, provider=provider)
    work(road, check_id)
    return look(road, check_id, provider=provider)


def states(check: CheckView) -> dict[StepName, StepState]:
    """By step."""
    return {step.name: step.state for step in check.steps}


def number_of(road: Road, name: str = "second") -> int:
    """The account's own number."""
    with road.engine.connect() as connection:
        return providers.find(connection, road.project_id, name)


def stop(road: Road, name: str = "second") -> None:
    """The account is stopped until somebody acts."""
    with road.engine.begin() as connection:
        provider_stops.stop_for(connection, number_of(road, name), "the key was revoked", action=Action.STOP_PROVIDER)


def tell(road: Road, event: Event, **fields: Any) -> None:
    """The account reports on what it received last."""
    (received,) = script(road).received
    source = Source(number_of(road), road.project_id, Channel.SMS, finds_by_id=False)
    told = Receipt(event=event, key=str(event), tag=received.tag, at=datetime.now(UTC), **fields)
    with road.engine.begin() as connection:
        assert receipt_effects.apply(connection, road.vault, source, [told]).events == 1


def age(road: Road, seconds: float) -> None:
    """Let the time since the checks were last touched be so long."""
    road.execute("UPDATE provider_checks SET updated_at = updated_at - make_interval(secs => :s)", s=seconds)


class TestCredentials:
    """The first step."""

    def test_good_ones_pass_and_it_is_on_record(self, road: Road) -> None:
        script(road).says = Outcome(Action.ACCEPTED, reason="Account 'Shop', balance 12.50 EUR")
        check = checked(road)
        assert states(check) == {StepName.CREDENTIALS: P}
        assert (check.outcome, check.message_id) == (CheckOutcome.PASSED, None)
        assert check.steps[0].detail == "Account 'Shop', balance 12.50 EUR."
        assert check.steps[0].took_ms is not None
        with road.engine.connect() as connection:
            (entry,) = provider_log.listed(connection, road.project_id, "second", Wanted()).entries
        assert (entry.what, entry.reason) == ("checked", "credentials passed: Account 'Shop', balance 12.50 EUR.")
        assert script(road, "first").asked == 0

    def test_refused_ones_fail_and_nothing_is_sent(self, road: Road) -> None:
        """The account itself is left as it is: who checks does not stop."""
        script(road).says = REFUSED
        check = checked(road, NUMBER)
        assert check.outcome is CheckOutcome.FAILED
        assert check.steps[0].detail == "20003: account SID or auth token refused: set them anew."
        assert check.message_id is None
        with road.engine.connect() as connection:
            assert messages.list_views(connection, road.project_id) == []
            assert providers.get(connection, road.vault, road.project_id, "second").stopped_at is None

    def test_those_no_adapter_can_be_opened_with_say_so(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_self: object, _account: object) -> None:
            raise SettingsError("Twilio needs `from`: the sender.")

        monkeypatch.setattr(OneAdapter, "get", refuse)
        check = checked(road)
        assert check.outcome is CheckOutcome.FAILED
        assert check.steps[0].detail == "Its credentials can't be used: Twilio needs `from`: the sender."

    def test_those_sealed_with_another_key_say_so(self, road: Road) -> None:
        """Whose installation it is."""
        sealed = Vault("another secret of another installation").seal({"authToken": "x"})
        road.execute("UPDATE providers SET credentials = :sealed WHERE public_id = 'second'", sealed=sealed)
        check = checked(road)
        assert check.outcome is CheckOutcome.FAILED
        assert "MESSAGING_SECRET_KEY" in check.steps[0].detail

    def test_an_adapter_that_raises_or_hangs_fails_the_check(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it raised stays in the log: it may hold a secret."""
        script(road).says = RuntimeError("auth_token=secret")
        check = checked(road)
        assert check.outcome is CheckOutcome.FAILED
        assert "RuntimeError" in check.steps[0].detail
        assert "secret" not in check.steps[0].detail

        async def hang() -> Outcome:
            await asyncio.sleep(60)
            return ACCEPTED

        monkeypatch.setattr(script(road), "check", hang)
        monkeypatch.setattr(checking, "CHECK_S", 0.05)
        assert "did not answer" in checked(road).steps[0].detail


class TestMessage:
    """What follows a good first step, where an address was given."""

    def test_it_takes_the_whole_road_through_this_account_alone(self, road: Road) -> None:
        """Though another would be tried first; each step is seen when it has happened."""
        check = checked(road, NUMBER)
        names = list(StepName)
        assert states(check) == dict(zip(names, (P, P, P, W, W), strict=True))
        assert check.outcome is None
        assert check.message_id is not None
        road.deliver()
        assert states(look(road, check.id)) == dict(zip(names, (P, P, P, P, W), strict=True))
        tell(road, Event.DELIVERED)
        done = look(road, check.id)
        assert states(done) == dict.fromkeys(names, P)
        assert done.outcome is CheckOutcome.PASSED
        assert [received.address for received in script(road).received] == [NUMBER]
        assert script(road, "first").received == []
        view = road.view(check.message_id)
        assert (view.lane, view.on_unknown) == (Lane.HIGH, OnUnknown.HOLD)
        assert view.content == {
            "content": "Test of the provider account second. It works, and nothing needs to be done."
        }

    def test_a_refusal_is_the_failing_step_and_nobody_stands_in(self, road: Road) -> None:
        """Not even when the account stops over it."""
        script(road).answer = lambda _: Outcome(Action.STOP_PROVIDER, "21608", "a trial account sends to few numbers")
        check = checked(road, NUMBER)
        for _ in range(3):
            road.make_due()
            road.deliver()
            road.sweep()
        stopped = look(road, check.id)
        assert states(stopped)[StepName.HANDED_OVER] is F
        assert "out of use: 21608: a trial account" in stopped.steps[3].detail
        assert script(road, "first").received == []
        script(road).answer = lambda _: Outcome(Action.DISABLE_TARGET, "21211", "not a valid number")
        with road.engine.begin() as connection:
            provider_stops.start(connection, number_of(road))
        road.make_due()
        road.deliver()
        failed = look(road, check.id)
        assert states(failed)[StepName.HANDED_OVER] is F
        assert failed.steps[3].detail == "21211: not a valid number."
        assert (states(failed)[StepName.RECEIPT], failed.outcome) == (K, CheckOutcome.FAILED)
        assert script(road, "first").received == []

    def test_a_short_pause_is_waited_for(self, road: Road) -> None:
        """An outage may be over before the message expires; a quota that is used up is not."""
        for action, state in ((Action.QUOTA, F), (None, W)):
            with road.engine.begin() as connection:
                provider_stops.start(connection, number_of(road))
            check = checked(road, NUMBER)
            with road.engine.begin() as connection:
                provider_stops.stop_for(connection, number_of(road), "it does not answer", action=action)
            road.deliver()
            assert states(look(road, check.id))[StepName.HANDED_OVER] is state
            assert "it does not answer" in look(road, check.id).steps[3].detail
        assert script(road).received == []

    def test_a_fan_out_keeps_to_the_account_as_well(self, road: Road) -> None:
        """Where no audience is small enough to be expanded at once."""
        road.settings = road.settings.model_copy(update={"small_audience": 0})
        check = checked(road, NUMBER)
        assert states(check)[StepName.EXPANDED] is W
        with road.engine.connect() as connection:
            numbers = connection.execute(text("SELECT id FROM messages")).scalars().all()
        road.expand(*numbers)
        road.deliver()
        assert states(look(road, check.id))[StepName.HANDED_OVER] is P
        assert script(road, "first").received == []

    def test_a_target_of_another_account_goes_through_this_one(self, road: Road) -> None:
        """The message is about the account, and the address is whoever's."""
        with road.engine.begin() as connection:
            connection.execute(
                text("""INSERT INTO targets (project_id, public_id, channel, identifier, address_hash, provider_id)
                        VALUES (:project, 't', 'sms', :address, '\\x00', :provider)"""),
                {"project": road.project_id, "address": NUMBER, "provider": number_of(road, "first")},
            )
        checked(road, NUMBER)
        road.deliver()
        assert len(script(road).received) == 1

    def test_a_bounce_is_the_failing_step(self, road: Road) -> None:
        """And the address is treated as after any bounce."""
        check = checked(road, NUMBER)
        road.deliver()
        tell(road, Event.BOUNCED_HARD, code="30005", reason="unknown destination")
        failed = look(road, check.id)
        assert (states(failed)[StepName.HANDED_OVER], states(failed)[StepName.RECEIPT]) == (P, F)
        assert "30005: unknown destination." in failed.steps[4].detail

    def test_a_receipt_that_has_not_come_after_a_minute_is_no_failure(self, road: Road) -> None:
        """And one that comes later is still seen."""
        check = checked(road, NUMBER)
        road.deliver()
        road.execute("UPDATE deliveries SET accepted_at = accepted_at - interval '61 s'")
        late = look(road, check.id)
        assert (states(late)[StepName.RECEIPT], late.outcome) == (K, CheckOutcome.PASSED)
        tell(road, Event.DELIVERED)
        assert states(look(road, check.id))[StepName.RECEIPT] is P

    def test_receipts_that_cannot_be_verified_are_the_failing_step(self, road: Road) -> None:
        """With what to set."""
        check = checked(road, NUMBER)
        road.deliver()
        with road.engine.begin() as connection:
            key = providers.get(connection, road.vault, road.project_id, "second").receipt_key
            assert receipts.keep(connection, key, method="POST", url="https://x/", headers={}, body=b"")
            kept = connection.execute(text("SELECT max(id) FROM receipts")).scalar_one()
            receipts.settle(connection, [Settled(kept, ReceiptState.HELD, reason="Set webhookKey.")])
        failed = look(road, check.id)
        assert states(failed)[StepName.RECEIPT] is F
        assert "Set webhookKey." in failed.steps[4].detail

    def test_a_suppressed_address_is_the_failing_step(self, road: Road) -> None:
        """Nothing is sent to who asked not to be written to, not even a test."""
        with road.engine.begin() as connection:
            suppressions.add(connection, road.vault, road.project_id, channel=Channel.SMS, address=NUMBER)
        check = checked(road, NUMBER)
        assert states(check)[StepName.HANDED_OVER] is F
        assert "suppression list" in check.steps[3].detail
        assert check.outcome is CheckOutcome.FAILED

    def test_a_deleted_message_fails_what_nobody_saw(self, road: Road) -> None:
        check = checked(road, NUMBER)
        assert check.message_id is not None
        with road.engine.begin() as connection:
            message_changes.delete(connection, road.project_id, check.message_id)
        assert look(road, check.id).outcome is CheckOutcome.FAILED

    def test_what_is_no_address_of_the_channel_is_refused_at_once(self, road: Road) -> None:
        with pytest.raises(InvalidArgumentError, match="send_to"):
            begin(road, "ada@example.com")
        with pytest.raises(NotFoundError):
            begin(road, NUMBER, provider="nobody")


class TestNoReceipts:
    """Where none can come, nobody waits for one."""

    def test_the_kind_has_none(self, road: Road) -> None:
        road.add_provider("ios", "apns")
        check = checked(road, "ab" * 32, provider="ios")
        road.deliver()
        done = look(road, check.id, provider="ios")
        assert (done.outcome, states(done)[StepName.RECEIPT]) == (CheckOutcome.PASSED, K)
        assert done.steps[4].detail == "Providers of this kind tell nothing later."

    def test_nobody_said_where_we_are(self, road: Road) -> None:
        road.settings = road.settings.model_copy(update={"callback_url": None})
        check = checked(road, NUMBER)
        road.deliver()
        done = look(road, check.id)
        assert done.outcome is CheckOutcome.PASSED
        assert "MESSAGING_PUBLIC_URL" in done.steps[4].detail


class TestOutOfUse:
    """An account that is stopped or disabled can be checked, and sends nothing."""

    @pytest.mark.parametrize("how", ["stopped", "disabled"])
    def test_the_credentials_are_checked_and_the_state_is_said(self, road: Road, how: str) -> None:
        if how == "stopped":
            stop(road)
        else:
            road.execute("UPDATE providers SET enabled = false WHERE public_id = 'second'")
        check = checked(road)
        assert check.outcome is CheckOutcome.PASSED
        assert f"it is {how}" in check.steps[0].detail
        assert ("provider start second" in check.steps[0].detail) is (how == "stopped")
        sent = checked(road, NUMBER)
        assert states(sent) == {StepName.CREDENTIALS: P, StepName.ACCEPTED: F}
        assert f"Nothing was sent: it is {how}" in sent.steps[1].detail
        assert sent.outcome is CheckOutcome.FAILED
        with road.engine.connect() as connection:
            assert messages.list_views(connection, road.project_id) == []

    def test_one_whose_pause_is_over_is_tried_with_the_message(self, road: Road) -> None:
        """It is the trial, and starts the account."""
        stop(road)
        road.execute("UPDATE providers SET stopped_until = now() - interval '1 s' WHERE public_id = 'second'")
        check = checked(road, NUMBER)
        road.deliver()
        assert states(look(road, check.id))[StepName.HANDED_OVER] is P
        with road.engine.connect() as connection:
            assert providers.get(connection, road.vault, road.project_id, "second").stopped_at is None


class TestWorkers:
    """One worker does it, and none that is lost keeps it from being done."""

    def test_the_hint_goes_the_way_of_what_somebody_waits_for(self, road: Road) -> None:
        """With the check's id as its one argument."""
        with road.engine.begin() as connection:
            check_id, hint = provider_checks.begin(connection, road.project_id, "second", send_to=None)
        assert (hint.queue, hint.task, hint.argument) == (Queue.SMS_HIGH, TaskName.CHECK, check_id)
        before = road.publisher.room(Queue.SMS_HIGH)
        with Publisher(road.settings) as publisher:
            assert publisher.publish([hint])
            assert publisher.room(Queue.SMS_HIGH) == before - 1

    def test_until_a_worker_comes_all_steps_wait(self, road: Road) -> None:
        """And one that has begun is seen."""
        check_id = begin(road, NUMBER)
        assert states(look(road, check_id)) == dict.fromkeys(StepName, W)
        assert "waits for a worker of sms" in look(road, check_id).steps[0].detail
        with road.engine.begin() as connection:
            assert provider_checks.take(connection, check_id) is not None
        assert states(look(road, check_id)) == dict.fromkeys(StepName, W)
        assert "A worker asks" in look(road, check_id).steps[0].detail

    def test_a_second_hint_finds_nothing_to_do(self, road: Road) -> None:
        """Before, during and after."""
        check_id = begin(road, NUMBER)
        with road.engine.begin() as connection:
            taken = provider_checks.take(connection, check_id)
            assert taken is not None
        assert work(road, check_id) == ["nothing to do"]
        assert script(road).asked == 0
        age(road, 61)
        road.sweep()
        assert work(road, check_id, check_id) == ["checked, and a test message accepted", "nothing to do"]
        assert self._finish_late(road, taken) == "done by another worker"
        with road.engine.connect() as connection:
            assert len(messages.list_views(connection, road.project_id)) == 1

    def _finish_late(self, road: Road, taken: Taken) -> str:
        """What the first worker, long given up, makes of it when it wakes."""
        late = worker(road)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(provider_checks, "take", lambda *_: taken)
            return asyncio.run(late.run(taken.public_id))

    def test_the_sweep_repeats_a_hint_nobody_followed(self, road: Road) -> None:
        """After ten seconds, and again after ten more."""
        check_id = begin(road)
        for seconds, repeated in ((9, []), (10.5, [check_id]), (9, []), (10.5, [check_id])):
            with road.engine.begin() as connection:  # whose time stands still, however long this takes
                touched = "UPDATE provider_checks SET updated_at = now() - make_interval(secs => :s)"
                connection.execute(text(touched), {"s": seconds})
                hints = provider_checks.forgotten(connection)
                again = provider_checks.forgotten(connection)
            assert ([hint.argument for hint in hints], again) == (repeated, [])
        assert work(road, check_id) == ["credentials passed"]
        age(road, 1000)
        with road.engine.begin() as connection:
            assert provider_checks.forgotten(connection) == []

    def test_the_sweep_publishes_it(self, road: Road) -> None:
        begin(road)
        age(road, 11)
        before = road.publisher.room(Queue.SMS_HIGH)
        road.sweep()
        assert road.publisher.room(Queue.SMS_HIGH) == before - 1

    def test_one_that_nobody_does_fails_in_the_end(self, road: Road) -> None:
        """A test message that comes much later would puzzle its reader."""
        check_id = begin(road, NUMBER)
        road.execute("UPDATE provider_checks SET created_at = created_at - interval '11 min'")
        age(road, 660)
        road.sweep()
        given_up = look(road, check_id)
        assert given_up.outcome is CheckOutcome.FAILED
        assert "messaging.sms.high" in given_up.steps[0].detail
        assert work(road, check_id) == ["nothing to do"]

    def test_a_check_goes_with_its_provider(self, road: Road) -> None:
        check_id = begin(road)
        with road.engine.begin() as connection:
            providers.delete(connection, road.project_id, "second")
        assert work(road, check_id) == ["nothing to do"]


def test_the_newest_check_comes_first(road: Road) -> None:
    """Of this account only."""
    ids = [begin(road) for _ in range(3)]
    begin(road, provider="first")
    with road.engine.connect() as connection:
        found = provider_checks.listed(connection, road.project_id, "second", Wanted(limit=2))
    assert ([check.id for check in found.checks], found.total) == (ids[:0:-1], 3)


def test_no_secret_is_kept(road: Road) -> None:
    """In what a check says of itself."""
    assert SECRET not in str(checked(road, NUMBER))
