"""Receipts from end to end, for every kind alike: the adapter sends, the sandbox reports, the reader understands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sendgrid.helpers.eventwebhook import EventWebhook
from svix.webhooks import Webhook
from twilio.request_validator import RequestValidator

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.local.sandbox.inbox import reader_view
from messaging.message import Content, Email, Sms
from messaging.outcome import Action
from messaging.receipt import Event, ForgedReceiptError, Inbound
from tests.integration.mail_sandbox import arrived, people, sandbox
from tests.integration.receipt_catcher import (
    catching,
    keyed_account,
    receipts_in,
    register,
    sent,
)
from workers.providers.base import Account

TEXT = "Grüße & 😀 + 1%"
plivo_utils: Any = import_module("plivo.utils")  # these two have no types
telesign_util: Any = import_module("telesign.util")


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a kind tells, by the beginning of an address."""

    kind: str
    reported: Mapping[str, Sequence[Event]]
    requests: int
    """For one message to each address."""
    with_message: bool
    """The receipt address goes with each message; else it is registered with the account."""

    def __str__(self) -> str:
        return f"{self.kind}, address {'of the message' if self.with_message else 'of the account'}"

    def addresses(self) -> list[str]:
        """One of each."""
        if KINDS[self.kind].channel is Channel.EMAIL:
            return [f"{word}+1@example.com" for word in self.reported]
        return [f"{prefix}{place:04}" for place, prefix in enumerate(self.reported)]


NUMBERS: Mapping[str, Sequence[Event]] = {
    "+15551000": (Event.DELIVERED,),
    "+1888001": (Event.BOUNCED_HARD,),
    "+1888002": (Event.DEFERRED, Event.BOUNCED_SOFT),
    "+1888003": (Event.REJECTED, Event.UNSUBSCRIBED),
    "+1888004": (Event.REJECTED,),
    "+1888005": (Event.DEFERRED, Event.DELIVERED),
    "+1888006": (),
}
"""An opt-out is one receipt that is a failure as well."""
SENT_AGAIN = {"+1888002": (Event.ACCEPTED, Event.BOUNCED_SOFT), "+1888005": (Event.ACCEPTED, Event.DELIVERED)}
"""Of kinds that have no word for a message they go on trying: they say once more that it was sent."""
UNDEFERRED = {"+1888002": (Event.BOUNCED_SOFT,), "+1888005": (Event.DELIVERED,)}
MAILBOXES: Mapping[str, Sequence[Event]] = {
    "a": (Event.DELIVERED,),
    "bounced": (Event.BOUNCED_HARD,),
    "soft-bounced": (Event.DEFERRED, Event.BOUNCED_SOFT),
    "late": (Event.DEFERRED, Event.DELIVERED),
    "complained": (Event.DELIVERED, Event.COMPLAINED),
    "unsubscribed": (Event.DELIVERED, Event.UNSUBSCRIBED),
    "opened": (Event.DELIVERED, Event.OPENED, Event.CLICKED),
    "rejected": (Event.REJECTED,),
    "no-receipt": (),
}
# What Mailgun takes and doesn't send; a suppressed opt-out is one event that is a failure as well.
KEPT_BACK = {
    "suppressed-bounce": (Event.BOUNCED_HARD,),
    "suppressed-unsubscribe": (Event.REJECTED, Event.UNSUBSCRIBED),
}


def without(stories: Mapping[str, Sequence[Event]], word: str) -> Mapping[str, Sequence[Event]]:
    """All the others."""
    return {name: events for name, events in stories.items() if name != word}


STORIES = (
    Story(kind="infobip", reported=NUMBERS, requests=2, with_message=True),
    # Without an address of its own a message has no intermediate reports.
    Story(kind="infobip", reported={**NUMBERS, **UNDEFERRED}, requests=2, with_message=False),
    Story(kind="mailgun", reported={**MAILBOXES, **KEPT_BACK}, requests=16, with_message=False),
    # MSG91 has one word for all that could not be delivered; it reports many at a time.
    Story(
        kind="msg91", reported={**NUMBERS, **SENT_AGAIN, "+1888001": (Event.BOUNCED_SOFT,)}, requests=2,
        with_message=False,
    ),
    Story(kind="plivo", reported={**NUMBERS, **SENT_AGAIN}, requests=8, with_message=True),
    # Resend has no opt-out of single emails.
    Story(
        kind="resend", reported={**without(MAILBOXES, "unsubscribed"), "suppressed": (Event.BOUNCED_HARD,)},
        requests=13, with_message=False,
    ),
    Story(kind="sendgrid", reported=MAILBOXES, requests=3, with_message=False),
    Story(kind="telesign", reported=NUMBERS, requests=8, with_message=True),
    # Textmagic has no word for a number that is dead; who answers STOP is told in another way.
    Story(
        kind="textmagic", reported={**without(NUMBERS, "+1888003"), "+1888001": (Event.BOUNCED_SOFT,)}, requests=7,
        with_message=False,
    ),
    Story(
        kind="twilio", reported={**without(NUMBERS, "+1888003"), **SENT_AGAIN}, requests=7, with_message=True,
    ),
    Story(kind="vonage", reported=NUMBERS, requests=8, with_message=True),
    Story(kind="vonage", reported=NUMBERS, requests=8, with_message=False),
)  # fmt: skip


UNTAGGED = {"textmagic"}
"""Receipts of these bear the message's id alone."""


def content_of(kind: str) -> Content:
    """A message the kind can send."""
    return Email(subject="s", content=TEXT) if KINDS[kind].channel is Channel.EMAIL else Sms(content=TEXT)


def prove_plivo(request: Inbound, account: Account) -> bool:
    """Both of its signatures."""
    form = dict(parse_qsl(request.body.decode()))
    token = str(account.credentials["authToken"])
    nonce, new, old = (request.headers[f"x-plivo-signature-{name}"] for name in ("v3-nonce", "v3", "v2"))
    good = plivo_utils.validate_v3_signature("POST", request.url, nonce, token, new, form)
    return bool(good and plivo_utils.validate_signature(request.url, nonce, old, token))


def prove_resend(request: Inbound, account: Account) -> bool:
    """By the library of Svix, which raises what is wrong."""
    Webhook(str(account.credentials["webhookKey"])).verify(request.body, dict(request.headers))
    return True


def prove_sendgrid(request: Inbound, account: Account) -> bool:
    """By its own library."""
    signature, time = (request.headers[f"x-twilio-email-event-webhook-{name}"] for name in ("signature", "timestamp"))
    public = str(account.credentials["webhookKey"])
    return bool(EventWebhook(public).verify_signature(request.body.decode(), signature, time))


def prove_telesign(request: Inbound, account: Account) -> bool:
    """By its own library; the signature stands in two headers."""
    signature = request.headers["x-ts-authorization"]
    key = account.credentials["apiKey"]
    good = telesign_util.verify_telesign_callback_signature(key, signature, request.body.decode())
    return bool(good and request.headers["authorization"].endswith(f":{signature}"))


def prove_twilio(request: Inbound, account: Account) -> bool:
    """By its own library."""
    validator = RequestValidator(str(account.credentials["authToken"]))
    form = dict(parse_qsl(request.body.decode()))
    return bool(validator.validate(request.url, form, request.headers["x-twilio-signature"]))


PROOFS: Mapping[str, Callable[[Inbound, Account], bool]] = {
    "plivo": prove_plivo,
    "resend": prove_resend,
    "sendgrid": prove_sendgrid,
    "telesign": prove_telesign,
    "twilio": prove_twilio,
}
"""What others wrote to verify the provider's requests."""


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_every_message_is_reported_under_its_tag(story: Story, tmp_path: Path) -> None:
    """Each address's own events and no others, to the address they belong to, with the id the answer had told."""
    kind = story.kind

    async def run() -> None:
        account, key = keyed_account(kind)
        to = people(*story.addresses())
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            registered = f"{catcher.url}/of/the/account"
            await register(addresses, account, registered, key)
            url = catcher.url if story.with_message else None
            outcomes = await sent(addresses, account, to, content_of(kind), receipts_url=url)
            receipts = await catcher.receipts(account, sum(map(len, story.reported.values())))
            entries = await arrived(addresses, kind)
        assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
        assert [reader_view(entry)["text"] for entry in entries] == [TEXT] * len(to)
        assert len(catcher.caught) == story.requests
        assert {request.url.startswith(registered) for request in catcher.caught} == {not story.with_message}
        if kind in PROOFS:
            assert all(PROOFS[kind](request, account) for request in catcher.caught)
        assert len({(receipt.event, receipt.key) for receipt in receipts}) == len(receipts)
        for one, outcome, expected in zip(to, outcomes, story.reported.values(), strict=True):
            tag, number = (None if kind in UNTAGGED else one.tag), outcome.provider_message_id
            own = [each for each in receipts if each.tag == tag and (tag or each.provider_message_id == number)]
            assert sorted(receipt.event for receipt in own) == sorted(expected), one
            assert {receipt.provider_message_id for receipt in own} <= {number}

    asyncio.run(run())


LOST = {
    "infobip": "+19990040000", "mailgun": "lost-answer@example.com", "msg91": "+19990040000", "plivo": "+19990040000",
    "resend": "lost-answer@example.com", "sendgrid": "lost-answer@example.com", "telesign": "+19990040000",
    "twilio": "+19990040000", "vonage": "+19990040000",
}  # fmt: skip


@pytest.mark.parametrize("kind", LOST)
def test_an_answer_that_was_lost_is_made_up_for_by_a_receipt(kind: str, tmp_path: Path) -> None:
    """The sender does not know; the provider has the message and says so."""

    async def run() -> None:
        account, key = keyed_account(kind)
        (lost,) = people(LOST[kind])
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url, key)
            (outcome,) = await sent(addresses, account, [lost], content_of(kind), receipts_url=catcher.url)
            assert outcome.action is Action.AMBIGUOUS_RETRY
            (receipt,) = await catcher.receipts(account, 1)
        assert (receipt.event, receipt.tag) == (Event.DELIVERED, lost.tag)

    asyncio.run(run())


def flipped(request: Inbound) -> Iterator[Inbound]:
    """Each byte of the body changed in its turn."""
    for place, byte in enumerate(request.body):
        yield replace(request, body=request.body[:place] + bytes([byte ^ 1]) + request.body[place + 1 :])


def elsewhere(request: Inbound) -> Iterator[Inbound]:
    """The address is signed, too, and with it the tag."""
    yield from flipped(request)
    yield replace(request, url=f"{request.url}x")


def bent_block(request: Inbound) -> Iterator[Inbound]:
    """Mailgun signs a block of the body that has nothing to do with the rest of it."""
    block = json.dumps(json.loads(request.body)["signature"]).encode()
    start = request.body.index(block)
    yield from list(flipped(request))[start : start + len(block)]


def another_time(request: Inbound) -> Iterator[Inbound]:
    """SendGrid signs the time as well."""
    yield from flipped(request)
    time = "x-twilio-email-event-webhook-timestamp"
    yield replace(request, headers={**request.headers, time: str(int(request.headers[time]) + 1)})


def bent_headers(request: Inbound) -> Iterator[Inbound]:
    """Telesign's signature with another letter, or left out."""
    yield from flipped(request)
    signature = request.headers["x-ts-authorization"]
    wrong = ("B" if signature[0] == "A" else "A") + signature[1:]
    yield replace(request, headers={name: value.replace(signature, wrong) for name, value in request.headers.items()})
    bare = {name: value for name, value in request.headers.items() if "authorization" not in name}
    yield replace(request, headers=bare)


FORGED: Mapping[str, Callable[[Inbound], Iterable[Inbound]]] = {
    "mailgun": bent_block,
    "plivo": elsewhere,
    "resend": flipped,
    "sendgrid": another_time,
    "telesign": bent_headers,
    "twilio": elsewhere,
    "vonage": flipped,
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_caught_on_the_way_and_changed_is_forged(kind: str, tmp_path: Path) -> None:
    """Wherever it is changed; and to another account it is forged as it is."""

    async def run() -> None:
        account, key = keyed_account(kind)
        address = "a@example.com" if KINDS[kind].channel is Channel.EMAIL else "+15551000000"
        async with sandbox(tmp_path) as addresses, catching() as catcher:
            await register(addresses, account, catcher.url, key)
            await sent(addresses, account, people(address), content_of(kind), receipts_url=catcher.url)
            (request,) = await catcher.until(1)
        assert await receipts_in([request], account)
        for forged in FORGED[kind](request):
            with pytest.raises(ForgedReceiptError):
                await receipts_in([forged], account)
        with pytest.raises(ForgedReceiptError):
            await receipts_in([request], keyed_account(kind)[0])

    asyncio.run(run())
