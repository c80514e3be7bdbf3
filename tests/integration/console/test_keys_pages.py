"""API keys and the quarantine in the console."""

from __future__ import annotations

import re

from messaging.store import quarantine
from messaging.wire import TaskName
from tests.integration.console.browser import Browser
from tests.integration.console.well_formed import problems
from tests.integration.http.api import Api
from tests.integration.road import Road

KEYS, QUARANTINE = "/p/default/keys", "/p/default/quarantine"


def test_a_key_is_shown_once_works_and_is_revoked(admin: Browser, api: Api) -> None:
    """Its secret is on the answer to the form and nowhere else; its scopes hold."""
    made = admin.post(KEYS, {"name": "billing", "scope": ["topics.read"], "expires": "2999-01-01T00:00"})
    assert made.status_code == 200
    assert problems(made.text) == []
    found = re.search(r'class="secret">([^<]+)<', made.text)
    assert found is not None
    secret = found[1]
    assert api.call("GET", "/messaging/topics", key=False, headers={"x-appwrite-key": secret}).is_success
    assert api.call("GET", "/messaging/messages", key=False, headers={"x-appwrite-key": secret}).status_code == 401
    page = admin.page(KEYS)
    assert problems(page) == []
    assert secret not in page + admin.page("/p/default/audit")
    assert "key.create" in admin.read("/p/default/audit")
    revoke = re.search(rf'action="/console({KEYS}/[^/"]+/revoke)"[^>]+Revoke the key billing', page)
    assert revoke is not None
    admin.done(revoke[1])
    assert "billing" not in admin.read(KEYS)


def test_a_key_that_may_nothing_or_is_over_is_refused(admin: Browser) -> None:
    """What was chosen stays chosen."""
    page = admin.post(KEYS, {"name": "typed", "scope": ["topics.read"], "expires": "2001-01-01T00:00"})
    assert page.status_code == 400
    assert problems(page.text) == []
    assert 'value="topics.read" checked' in page.text
    assert "that is over already" in page.text
    assert "choose what the key may do" in admin.refused(KEYS, {"name": "x"})


def test_only_admins_make_keys(operator: Browser) -> None:
    """Others see which there are."""
    assert "tests" in operator.read(KEYS)
    assert operator.post(KEYS, {"name": "mine", "all": "yes"}).status_code == 403


def test_what_was_put_aside_is_listed_and_replayed(operator: Browser, viewer: Browser, world: Road) -> None:
    """A viewer may look at it."""
    with world.engine.begin() as connection:
        quarantine.put_aside_task(
            connection, world.vault, world.project_id, task_id="task-1", task_name=TaskName.SEND_SMS, said={}, deaths=3
        )
    page = viewer.page(QUARANTINE)
    assert problems(page) == []
    assert "ended the worker 3 times" in page
    assert "Replay" not in page
    replay = re.search(rf'action="/console({QUARANTINE}/\d+/replay)"', operator.page(QUARANTINE))
    assert replay is not None
    assert viewer.post(replay[1]).status_code == 403
    operator.done(replay[1])
    assert "replayed" in operator.read(QUARANTINE)
    assert operator.post(f"{QUARANTINE}/99999/replay").status_code == 404
