"""Providers in the console: a form out of the catalogue, secrets that never come back, and care of an account."""

from __future__ import annotations

import asyncio
import json

import pytest

from messaging.catalog import KINDS
from messaging.store import audit, provider_checks, provider_stops, providers
from messaging.store.check_steps import Step, StepName, StepState
from tests.integration.console.browser import Browser, in_words
from tests.integration.console.well_formed import problems
from tests.integration.http.api import Api
from tests.integration.road import Road
from workers.pacing import RedisPacer

HOME = "/p/default/providers"
P8 = "-----BEGIN {0}-----\nMIGTAgEAMBMGByqGSM49\n-----END {0}-----\n".format("PRIVATE KEY")


@pytest.mark.parametrize("kind", sorted(name for name, kind in KINDS.items() if kind.has_adapter))
def test_every_kind_has_a_form_with_a_field_for_all_it_takes(admin: Browser, kind: str) -> None:
    """Secrets are typed unseen, and a file can be sent where the provider hands out one."""
    page = admin.page(f"{HOME}/new/{kind}")
    assert problems(page) == []
    for field in (*KINDS[kind].credentials, *KINDS[kind].options):
        assert f'name="{field.name}"' in page
        if field.from_file:
            assert f'name="{field.name}_file" type="file"' in page
        elif field.secret:
            assert f'name="{field.name}" type="password"' in page


def test_an_account_is_added_and_its_secret_is_shown_nowhere(admin: Browser, viewer: Browser, api: Api) -> None:
    """It is enabled as nothing is missing; a viewer sees how it is, and no credentials."""
    fields = {
        "name": "Letters",
        "id": "letters",
        "apiKey": "SG.very-secret",
        "fromEmail": "news@example.com",
        "priority": "3",
        "weight": "7",
        "per_second": "12.5",
        "warm_up": "yes",
    }
    assert admin.done(f"{HOME}/new/sendgrid", fields) == f"{HOME}/letters"
    page = admin.page(f"{HOME}/letters")
    assert problems(page) == []
    assert "Letters is there and enabled" in page
    assert "12.5 a second" in in_words(page)
    assert "warms up" in in_words(page)
    assert "news@example.com" in page
    everywhere = page + admin.page(f"{HOME}/letters/edit") + admin.page(HOME) + admin.page("/p/default/audit")
    assert "very-secret" not in everywhere
    seen = viewer.page(f"{HOME}/letters")
    assert "apiKey" not in seen
    assert "working" in in_words(seen)
    with api.engine.begin() as connection:
        entry = audit.listed(connection, project="default", limit=1)[0]
    assert (entry.action, entry.subject, entry.operator) == ("provider.create", "letters", "admin@example.com")
    assert "secret" not in json.dumps(dict(entry.details))


def test_a_form_that_is_refused_keeps_what_was_typed_but_secrets(admin: Browser) -> None:
    """Each fault stands beside its field, all of them at once."""
    answer = admin.post(
        f"{HOME}/new/sendgrid",
        {"name": "Typed", "apiKey": "SG.hidden", "fromEmail": "nobody", "weight": "many", "per_second": "1"},
    )
    assert answer.status_code == 400
    assert problems(answer.text) == []
    assert 'value="Typed"' in answer.text
    assert 'value="nobody"' in answer.text
    assert "SG.hidden" not in answer.text
    assert answer.text.count('aria-invalid="true"') == 2
    assert "is a whole number" in answer.text
    assert "Typed" not in admin.read(HOME)
    taken = {"name": "x", "id": "twice", "apiKey": "SG.x", "fromEmail": "a@example.com"}
    admin.done(f"{HOME}/new/sendgrid", taken)
    assert "exists already" in admin.refused(f"{HOME}/new/sendgrid", taken)
    twilio = {"name": "x", "accountSid": "AC1", "authToken": "t", "from": "+15005550006", "warm_up": "yes"}
    assert "only email accounts are warmed up" in admin.refused(f"{HOME}/new/twilio", twilio)


def test_keys_come_out_of_files(admin: Browser) -> None:
    """A .p8 key and a service account's JSON; a file that is another one is refused by name."""
    fields = {
        "name": "Apple",
        "id": "apple",
        "authKeyId": "KEY4567890",
        "teamId": "TEAM567890",
        "bundleId": "com.example",
    }
    made = admin.post(f"{HOME}/new/apns", fields, files={"authKey_file": ("AuthKey.p8", P8)})
    assert made.status_code == 303
    assert "set" in admin.read(f"{HOME}/apple")
    account = json.dumps({"project_id": "p", "client_email": "a@example.com", "private_key": "k"})
    google = {"name": "Google", "id": "google"}
    made = admin.post(f"{HOME}/new/fcm", google, files={"serviceAccountJSON_file": ("account.json", account)})
    assert made.status_code == 303
    bad = admin.post(f"{HOME}/new/fcm", google, files={"serviceAccountJSON_file": ("account.json", b"\xff\xfe\x00")})
    assert bad.status_code == 400
    assert "the file is no text" in bad.text


def test_an_empty_secret_stays_and_an_emptied_option_goes(admin: Browser, api: Api, world: Road) -> None:
    """What is as it was is not sent to the account again; what was changed is named in the audit log."""
    number = world.add_provider("edited", "sendgrid", name="Edited")
    form = {"name": "Edited", "fromEmail": "news@example.com", "fromName": "Ada", "priority": "0", "weight": "0"}
    admin.done(f"{HOME}/edited/edit", form)
    with api.engine.begin() as connection:
        account = providers.load_account(connection, world.vault, number)
    assert (account.credentials["apiKey"], account.options["fromName"]) == ("SG.secret", "Ada")
    admin.done(f"{HOME}/edited/edit", form | {"fromName": "", "apiKey": "SG.other"})
    with api.engine.begin() as connection:
        account = providers.load_account(connection, world.vault, number)
        entry = audit.listed(connection, project="default", limit=1)[0]
    assert (account.credentials["apiKey"], account.options["fromName"]) == ("SG.other", "")
    assert entry.details == {"changed": "apiKey, fromName"}


def test_an_account_is_disabled_enabled_started_and_deleted(admin: Browser, api: Api, world: Road) -> None:
    """A stopped one says why, and is started again."""
    number = world.add_provider("cared", "sendgrid", name="Cared")
    admin.done(f"{HOME}/cared/disable")
    assert "disabled" in admin.read(f"{HOME}/cared")
    admin.done(f"{HOME}/cared/enable")
    with api.engine.begin() as connection:
        provider_stops.stop_for(connection, number, "the credit is used up", action=None)
    assert "the credit is used up; tried again" in admin.read(HOME)
    admin.done(f"{HOME}/cared/start")
    assert "started by an operator" in admin.read(f"{HOME}/cared")
    admin.done(f"{HOME}/cared/delete")
    assert admin.get(f"{HOME}/cared").status_code == 404


def test_the_pace_of_an_account_is_what_the_workers_share(admin: Browser, world: Road, valkey_url: str) -> None:
    """A pause that a provider asked for is on the list, with its end."""
    number = world.add_provider("paced", "sendgrid", name="Paced")

    async def pause() -> None:
        pacer = RedisPacer(valkey_url)
        await pacer.pause(number, 300)
        await pacer.aclose()

    asyncio.run(pause())
    assert "paused until" in admin.read(f"{HOME}/paced")
    assert "paused until" in admin.read(HOME)


def test_a_check_moves_until_it_has_ended(admin: Browser, api: Api, world: Road) -> None:
    """Its page asks for the steps every second; the steps of one that has ended ask no more."""
    world.add_provider("checked", "sendgrid", name="Checked")
    path = admin.done(f"{HOME}/checked/checks", {"send_to": ""})
    assert "It waits for a worker of email." in admin.read(path)
    moving = admin.get(path, htmx=True).text
    assert 'hx-trigger="every 1s"' in moving
    assert "<html" not in moving
    with api.engine.begin() as connection:
        taken = provider_checks.take(connection, path.rpartition("/")[2])
        assert taken is not None
        step = Step(StepName.CREDENTIALS, StepState.PASSED, "The provider takes the account.", None, 12)
        provider_checks.end(connection, taken, [step])
    ended = admin.get(path, htmx=True).text
    assert "hx-trigger" not in ended
    assert "The provider takes the account." in ended
    assert "passed" in admin.read(f"{HOME}/checked")
    assert "is no email address" in admin.refused(f"{HOME}/checked/checks", {"send_to": "nobody"})


def test_where_receipts_go_is_told_to_admins_only(admin: Browser, operator: Browser, api: Api, world: Road) -> None:
    """Who knows the address can report; others see how receipts fare."""
    world.add_provider("told", "sendgrid", name="Told")
    with api.engine.begin() as connection:
        key = providers.get(connection, world.vault, world.project_id, "told").receipt_key
    assert key in admin.page(f"{HOME}/told")
    assert key not in operator.page(f"{HOME}/told")
    assert "Applied 0" in operator.read(f"{HOME}/told")
    assert admin.done(f"{HOME}/told/receipts") == f"{HOME}/told"


def test_only_admins_change_accounts(operator: Browser, world: Road) -> None:
    """An operator sees no button, and is refused the form."""
    world.add_provider("kept", "sendgrid", name="Kept")
    assert "Delete" not in operator.read(f"{HOME}/kept")
    for path in (f"{HOME}/new", f"{HOME}/new/smtp", f"{HOME}/kept/edit"):
        assert operator.get(path).status_code == 403
    for path in (f"{HOME}/new/smtp", f"{HOME}/kept/edit", f"{HOME}/kept/delete", f"{HOME}/kept/checks"):
        assert operator.post(path).status_code == 403
    assert operator.get(f"{HOME}/kept").status_code == 200
