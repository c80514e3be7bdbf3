"""A stack whose processes disagree about the time, by minutes. PostgreSQL and the providers' stand-ins are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from messaging.client.messaging import Messaging
from messaging.local.children import Command, spawn
from messaging.message import Email, Push, Sms
from messaging.status import DeliveryStatus, MessageState
from messaging.store.delivery_views import DeliveryView
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure, emails, fcm_tokens
from tests.acceptance.stack import UNHURT, Stack, running, until
from tests.acceptance.sums import recorded

FIVE_S = 300.0
STEPS_AFTER_S = 15.0
"""Some clocks are set this long after their process started, in the middle of what follows."""
SOON = timedelta(seconds=40)
"""All of them are sent before that is over, by a busy machine too."""
LATE = timedelta(seconds=100)
"""On a busy machine; far less than any clock is off."""

SHIFTS: Mapping[str, tuple[float, float, float]] = {
    " beat ": (-FIVE_S, FIVE_S, STEPS_AFTER_S),
    "messaging api": (FIVE_S, -FIVE_S, STEPS_AFTER_S),
    "cli.main api": (FIVE_S, -FIVE_S, STEPS_AFTER_S),
    "cli.main send": (-FIVE_S, -FIVE_S, 0),
    "-Q messaging.high,messaging ": (FIVE_S, -FIVE_S, STEPS_AFTER_S),
    "-Q messaging.fanout": (FIVE_S, FIVE_S, 0),
    "-Q messaging.push.high": (-FIVE_S, FIVE_S, STEPS_AFTER_S),
    "-Q messaging.email.high": (FIVE_S, FIVE_S, 0),
    "-Q messaging.sms.high": (FIVE_S, -FIVE_S, STEPS_AFTER_S),
}
"""A part of a command line → seconds ahead at first, and later."""

BEATS: tuple[tuple[float, float, float], ...] = ((FIVE_S, FIVE_S, 0), (FIVE_S, -FIVE_S, STEPS_AFTER_S))
"""Two more, beside the stack's own."""


def shifting(shifts: Mapping[str, tuple[float, float, float]], library: str = "") -> dict[str, str]:
    """The environment that does it; by `library` where that is named."""
    shifted = {
        "PYTHONPATH": str(Path(__file__).parent / "shifted"),
        "SHIFTED_CLOCKS": json.dumps(shifts),
        "PYTHONWARNINGS": "ignore",
    }
    return shifted | ({"SHIFTED_BY": library} if library else {})


@contextmanager
def stack_out_of_step(library: str = "") -> Iterator[Stack]:
    """The stack, with three beats."""
    with running("--sandbox", **UNHURT, **shifting(SHIFTS, library)) as stack:
        beats = [_beat(stack, number, shift, library) for number, shift in enumerate(BEATS)]
        try:
            with stack.client() as client:
                configure(client, stack.sandbox)
            yield stack
        finally:
            for beat in beats:
                beat.terminate()
                beat.wait(60)


def _beat(stack: Stack, number: int, shift: tuple[float, float, float], library: str) -> subprocess.Popen[bytes]:
    file = stack.directory / f"beat-{number}"
    env = {
        "MESSAGING_DATABASE_URL": stack.runtime.database_url,
        "MESSAGING_BROKER_URL": stack.runtime.broker_url,
        "MESSAGING_SECRET_KEY": stack.secret_key,
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
    argv = [sys.executable, "-m", "celery", "-A", "workers.app", "beat", "-s", str(file), "-l", "INFO"]
    log = stack.directory / "logs" / f"beat-{number}.log"
    return spawn(
        Command(argv=argv, cwd=stack.directory, env=own | UNHURT | env | shifting({" beat ": shift}, library), log=log)
    )


def each_planned_message_comes_once_and_in_time(stack: Stack, library: str = "") -> None:
    """By HTTP, a bare producer, Python and the command line, over five kinds of provider."""
    devices, phones, readers = apns_tokens(6) + fcm_tokens(2), [f"+4477009{n:05}" for n in range(3)], emails(2)
    with stack.client() as client, bare.producer(stack.runtime.broker_url) as app:
        targets = [client.targets.create(token, provider_id="fcm" if ":" in token else "apns").id for token in devices]
        at = client.now() + SOON
        ids = [
            *(_over_http(stack, targets[n], at.isoformat()) for n in (0, 6)),
            *(
                app.send_task(
                    bare.PUSH,
                    kwargs={"title": "Hi", "targets": [targets[n]]},
                    queue=bare.QUEUE,
                    eta=at,
                    expires=at + LATE,
                ).id
                for n in (1, 2, 7)
            ),
            *(client.send(Push(title="Hi"), targets=[targets[n]], scheduled_at=at).id for n in (3, 4, 5)),
            *(client.send(Sms(content="Hi"), addresses=[phone], scheduled_at=at).id for phone in phones[:2]),
            *(client.send(Email(subject="Hi", content="x"), addresses=[one], scheduled_at=at).id for one in readers),
            _typed(stack, phones[2], library),
        ]
        until(lambda: {*ids} <= {view.id for view in client.list(limit=100)}, "intake has not committed all")
        rows = [_row(stack, client, message_id) for message_id in ids]
    assert {row.status for row in rows} <= {DeliveryStatus.ACCEPTED, DeliveryStatus.DELIVERED}, rows
    tried = {(row.provider_id, row.attempts) for row in rows}
    assert {attempts for _, attempts in tried} == {1}, f"{tried}\n{stack.tail('push-high', 'sms-high', 'email-high')}"
    for row in rows:
        assert row.accepted_at is not None
        assert at - SOON <= row.accepted_at < at + LATE
        if row is not rows[-1]:
            assert row.accepted_at >= at, "it was sent too early"
    everybody = {*devices, *phones, *readers}
    came = [line["recipient"] for line in recorded(stack.sandbox["control"]) if line["recipient"] in everybody]
    assert sorted(came) == sorted(everybody)


def _over_http(stack: Stack, target: str, at: str) -> str:
    headers = {"x-appwrite-project": stack.runtime.project, "x-appwrite-key": stack.runtime.api_key}
    said = {"messageId": "unique()", "title": "Hi", "body": "x", "targets": [target], "scheduledAt": at}
    url = f"{stack.runtime.endpoint}/messaging/messages/push"
    answer = httpx.post(url, headers=headers, json=said, trust_env=False, timeout=30)
    assert answer.is_success, answer.text
    return str(answer.json()["$id"])


def _typed(stack: Stack, phone: str, library: str) -> str:
    """Four seconds from now, on a machine that is five minutes slow."""
    said = ["send", "sms", "Hi", "--to", phone, "--at", "+4s", "--data-dir", str(stack.directory)]
    done = subprocess.run(
        [sys.executable, "-m", "messaging.cli.main", *said],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | shifting(SHIFTS, library),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _row(stack: Stack, client: Messaging, message_id: str) -> DeliveryView:
    message = client.wait(message_id, (SOON + LATE).total_seconds())
    assert message.state is MessageState.SENT, stack.tail("fanout", "push-high")
    (row,) = client.deliveries(message_id)
    return row
