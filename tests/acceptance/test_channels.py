"""Every channel, from a producer that has nothing of ours through the Procfile's processes to a provider."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest

from messaging.client.messaging import Messaging
from messaging.status import DeliveryStatus, MessageState
from messaging.store.messages import MessageView
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, email_topic, emails, fcm_tokens, push_topic
from tests.acceptance.stack import Stack, until
from tests.acceptance.sums import recorded, sums

pytestmark = pytest.mark.timeout(600)

_S = DeliveryStatus


def send(stack: Stack, task: str, **kwargs: Any) -> str:
    """The task id, which is the message id."""
    with bare.producer(stack.runtime.broker_url) as app:
        return str(app.send_task(task, kwargs=kwargs, queue=bare.QUEUE).id)


def finished(client: Messaging, message_id: str, *, within_s: float = 120.0) -> MessageView:
    """The message once it is finished; intake may not have seen it yet."""
    until(lambda: message_id in {view.id for view in client.list(limit=100)}, f"no message {message_id}")
    return client.wait(message_id, within_s)


def test_a_push_reaches_every_device_of_a_topic(stack: Stack, client: Messaging) -> None:
    """Sent by a program that has never imported us; half the devices are Apple's, half Google's."""
    apns, fcm = apns_tokens(600), fcm_tokens(600)
    topic = push_topic(client, apns=apns, fcm=fcm)
    program = (
        "import sys, json; from celery import Celery; app = Celery(broker=sys.argv[1])\n"
        "task = app.send_task('messaging.send_push', queue='messaging', kwargs=json.loads(sys.argv[2]))\n"
        "assert not {'messaging', 'workers'} & set(sys.modules)\n"
        "print(task.id)"
    )
    kwargs = json.dumps({"title": "Hello", "body": "there", "data": {"order": "17"}, "topics": [topic]})
    sent = subprocess.run(
        [sys.executable, "-c", program, stack.runtime.broker_url, kwargs],
        capture_output=True,
        text=True,
        check=True,
        cwd=stack.directory,
        timeout=180,
    )
    message = finished(client, sent.stdout.strip())
    assert message.state is MessageState.SENT
    assert message.totals == {_S.ACCEPTED: 1200}
    found = sums(client, stack.sandbox["control"], [message.id], apns + fcm, "apns", "fcm")
    found.assert_exact()
    assert found.doubled == 0
    assert len(found.taken) == 1200
    payloads = [line["payload"] for line in recorded(stack.sandbox["control"], "apns") if line["recipient"] in apns]
    assert all(each["aps"]["alert"] == {"title": "Hello", "body": "there"} for each in payloads)
    assert all(each["order"] == "17" for each in payloads)


def test_an_html_email_reaches_every_reader_of_a_topic(stack: Stack, client: Messaging) -> None:
    """Through SendGrid, many in a call, and each sees only himself."""
    readers = emails(300)
    topic = email_topic(client, readers)
    task = send(stack, bare.EMAIL, subject="News", content="<h1>Hello</h1><p>there</p>", topics=[topic])
    message = finished(client, task)
    assert message.state is MessageState.SENT
    found = sums(client, stack.sandbox["control"], [task], readers)
    found.assert_exact()
    assert found.doubled == 0
    lines = [line for line in recorded(stack.sandbox["control"], "sendgrid") if line["recipient"] in set(readers)]
    assert {line["recipient"] for line in lines} == set(readers)
    assert {line["about"]["role"] for line in lines} == {"to"}


def test_an_email_with_an_attachment_goes_over_smtp_to_to_cc_and_bcc(stack: Stack, client: Messaging) -> None:
    """Three deliveries of one message: the copy is shown to all, the blind copy to nobody, the file arrives whole."""
    people = emails(3)
    to, cc, bcc = (client.targets.create(address, channel="email", provider_id="smtp").id for address in people)
    file = bytes(range(256)) * 40
    task = send(
        stack,
        bare.EMAIL,
        subject="Your invoice",
        content="It is attached.",
        targets=[to],
        cc=[cc],
        bcc=[bcc],
        attachments=[{"filename": "invoice.pdf", "content_base64": base64.b64encode(file).decode()}],
    )
    message = finished(client, task)
    assert message.state is MessageState.SENT
    found = sums(client, stack.sandbox["control"], [task], people)
    found.assert_exact()
    assert found.doubled == 0
    mails = {
        line["recipient"]: line["payload"]
        for line in recorded(stack.sandbox["control"], "smtp")
        if line["recipient"] in people
    }
    assert mails.keys() == set(people)
    for mail in mails.values():
        assert [(each["filename"], each["bytes"]) for each in mail["attachments"]] == [("invoice.pdf", len(file))]
        assert (mail["to"], mail["cc"]) == (people[0], people[1])
        assert people[2] not in json.dumps(mail["headers"])


def test_a_text_message_reaches_its_phone(stack: Stack, client: Messaging) -> None:
    """To a raw number, which becomes a target without a user."""
    phone = "+4915112345678"
    task = send(stack, bare.SMS, content="Your code is 123 456.", addresses=[phone])
    message = finished(client, task)
    assert message.state is MessageState.SENT
    found = sums(client, stack.sandbox["control"], [task], [phone], "twilio")
    found.assert_exact()
    assert found.taken == {phone: 1}
    (line,) = [line for line in recorded(stack.sandbox["control"], "twilio") if line["recipient"] == phone]
    assert line["payload"]["Body"] == "Your code is 123 456."


def test_a_dead_device_fails_alone_and_its_target_expires(stack: Stack, client: Messaging) -> None:
    """The others are not held up, and the next message does not try the dead one again."""
    alive, dead = apns_tokens(5), "dead0410" + apns_tokens(1)[0][8:]
    topic = push_topic(client, apns=[*alive, dead])
    message = finished(client, send(stack, bare.PUSH, title="Hello", topics=[topic]))
    assert message.state is MessageState.PARTIALLY_SENT
    assert message.totals == {_S.ACCEPTED: 5, _S.FAILED: 1}
    (failed,) = client.deliveries(message.id, _S.FAILED)
    assert (failed.identifier, failed.error_code) == (dead, "Unregistered")
    assert failed.target_id is not None
    target_id = failed.target_id
    until(lambda: client.targets.get(target_id).expired, "the target did not expire")

    again = finished(client, send(stack, bare.PUSH, title="Hello again", topics=[topic]))
    assert again.totals == {_S.ACCEPTED: 5}
    found = sums(client, stack.sandbox["control"], [again.id], alive, "apns")
    assert found.taken == dict.fromkeys(alive, 2)  # one of each message
