"""The Amazon SES adapter against the sandbox, and the sandbox against AWS's own client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.ses_request import NO_SUCH_SET, UNVERIFIED_DOMAIN
from messaging.local.sandbox.web.ses import REFUSED_KEY, fields
from messaging.message import Attachment, Email
from messaging.outcome import Action, Outcome
from messaging.receipt import Event, ForgedReceiptError, Inbound, Receipt
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, arrived, outgoing, people, sandbox
from tests.integration.receipt_catcher import Catcher, catching
from workers.providers import ses
from workers.providers.base import Account, Adapter, Context, Recipient

EMAIL = Email(subject="Grüße", content="<p>there</p>", html=True)
AS_MIME = Email(subject="Hello", content="{{there}}")
"""SendBulkEmail would read it as a template."""


class Sns:
    """Fetches what is at SNS from the sandbox, as workers do for a replaced endpoint."""

    def __init__(self, addresses: SandboxAddresses) -> None:
        self._base = f"{addresses.web}/ses/sns"
        self.fetched: list[str] = []

    async def __call__(self, url: str) -> bytes:
        """The page."""
        parts = urlsplit(url)
        self.fetched.append(parts.path)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.get(f"{self._base}{parts.path}{'?' if parts.query else ''}{parts.query}")
        if not answer.is_success:
            raise OSError(answer.status_code)
        return answer.content


def account_of(given: dict[str, Any], **options: object) -> Account:
    """An account with these credentials and options."""
    return Account(
        provider_id=1,
        public_id="ses",
        kind="ses",
        credentials=given,
        options={**ENVELOPE, "configurationSet": given["configurationSet"], "topicArn": given["topicArn"], **options},
    )


def opened(addresses: SandboxAddresses, account: Account) -> Adapter:
    """Its adapter at the sandbox."""
    return ses.open_adapter(
        account, Context(tokens=NoTokens(), endpoints={"ses": f"{addresses.web}/ses"}, concurrency=10)
    )


async def sent(adapter: Adapter, to: Sequence[Recipient], content: Email = EMAIL) -> Sequence[Outcome]:
    """The outcomes of one call."""
    return await adapter.send(adapter.prepare(outgoing(content)), to)


@contextlib.asynccontextmanager
async def reporting(directory: Path) -> AsyncIterator[tuple[SandboxAddresses, Catcher]]:
    """A sandbox whose events of SES go to a catcher."""
    async with (
        sandbox(directory) as addresses,
        catching() as catcher,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        body = {"kind": "ses", "url": catcher.url}
        (await client.post(f"{addresses.control}/webhooks", json=body)).raise_for_status()
        yield addresses, catcher


async def receipts_in(requests: Sequence[Inbound], account: Account, sns: Sns) -> list[Receipt]:
    """What they bring, in order."""
    return [receipt for request in requests for receipt in await ses.read_receipts(request, account, sns)]


async def receipts_after(
    catcher: Catcher, account: Account, sns: Sns, count: int
) -> tuple[list[Inbound], list[Receipt]]:
    """The first `count` receipts, and the requests that brought them, once the subscription is confirmed."""
    (invitation,) = await catcher.until(1)
    assert await receipts_in([invitation], account, sns) == []
    requests = (await catcher.until(1 + count))[1:]
    return requests, await receipts_in(requests, account, sns)


EXPECTED = {
    "ann": [Event.ACCEPTED, Event.DELIVERED],
    "bounced": [Event.ACCEPTED, Event.BOUNCED_HARD],
    "soft-bounced": [Event.ACCEPTED, Event.DEFERRED, Event.BOUNCED_SOFT],
    "complained": [Event.ACCEPTED, Event.DELIVERED, Event.COMPLAINED],
    "unsubscribed": [Event.ACCEPTED, Event.DELIVERED, Event.UNSUBSCRIBED],
    "opened": [Event.ACCEPTED, Event.DELIVERED, Event.OPENED, Event.CLICKED],
    "rejected": [Event.ACCEPTED, Event.REJECTED],
    "no-receipt": [Event.ACCEPTED],
}


def test_every_event_comes_back_with_the_tag_of_its_delivery(tmp_path: Path) -> None:
    """Nothing is told before the subscription is confirmed, and everything after."""

    async def run() -> None:
        account = account_of(fields())
        to = people(*(f"{name}@example.com" for name in EXPECTED))
        async with reporting(tmp_path) as (addresses, catcher):
            adapter, sns = opened(addresses, account), Sns(addresses)
            outcomes = await sent(adapter, to)
            await adapter.aclose()
            assert {outcome.action for outcome in outcomes} == {Action.ACCEPTED}
            _, receipts = await receipts_after(catcher, account, sns, sum(map(len, EXPECTED.values())))
        for one, outcome in zip(to, outcomes, strict=True):
            mine = [receipt for receipt in receipts if receipt.tag == one.tag]
            wanted = EXPECTED[one.address.partition("@")[0]]
            assert sorted(receipt.event for receipt in mine) == sorted(wanted), one.address
            assert {receipt.provider_message_id for receipt in mine} == {outcome.provider_message_id}
        assert len({receipt.key for receipt in receipts}) == len(receipts)
        assert not any("@" in receipt.reason for receipt in receipts)
        assert len(sns.fetched) == 2, "one certificate and one confirmation"

    asyncio.run(run())


def test_a_receipt_that_is_altered_under_way_is_forged(tmp_path: Path) -> None:
    """One letter of the message or its signature; another topic; the right one goes through."""

    async def run() -> None:
        account = account_of(fields())
        async with reporting(tmp_path) as (addresses, catcher):
            adapter, sns = opened(addresses, account), Sns(addresses)
            await sent(adapter, people("bounced@example.com"))
            await adapter.aclose()
            requests, receipts = await receipts_after(catcher, account, sns, 2)
            assert {receipt.event for receipt in receipts} == {Event.ACCEPTED, Event.BOUNCED_HARD}
            (told,) = (request for request in requests if b"Permanent" in request.body)  # one may overtake the other
            place = told.body.index(b'"Signature": "') + 40
            for altered in (
                told.body.replace(b"Permanent", b"Transient"),
                told.body[:place] + (b"A" if told.body[place : place + 1] != b"A" else b"B") + told.body[place + 1 :],
            ):
                assert altered != told.body
                forged = Inbound(
                    method=told.method,
                    url=told.url,
                    headers=told.headers,
                    body=altered,
                    received_at=told.received_at,
                )
                with pytest.raises(ForgedReceiptError):
                    await ses.read_receipts(forged, account, sns)
            with pytest.raises(ForgedReceiptError):
                await ses.read_receipts(told, account_of(fields(), topicArn="arn:aws:sns:eu-central-1:1:x"), sns)

    asyncio.run(run())


def test_without_a_configuration_set_the_older_notifications_lead_by_the_messages_id(tmp_path: Path) -> None:
    """They carry no tag, and tell of three things only."""

    async def run() -> None:
        account = account_of(fields(), configurationSet="")
        async with reporting(tmp_path) as (addresses, catcher):
            adapter, sns = opened(addresses, account), Sns(addresses)
            (outcome,) = await sent(adapter, people("complained@example.com"))
            await adapter.aclose()
            _, receipts = await receipts_after(catcher, account, sns, 2)
        assert sorted(receipt.event for receipt in receipts) == [Event.COMPLAINED, Event.DELIVERED]
        assert {receipt.tag for receipt in receipts} == {None}
        assert {receipt.provider_message_id for receipt in receipts} == {outcome.provider_message_id}

    asyncio.run(run())


def test_the_mailboxes_of_awss_simulator_work_here_too(tmp_path: Path) -> None:
    """As at AWS, for whoever tries an account out."""

    async def run() -> None:
        account = account_of(fields())
        async with reporting(tmp_path) as (addresses, catcher):
            adapter, sns = opened(addresses, account), Sns(addresses)
            await sent(adapter, people("bounce+x@simulator.amazonses.com", "complaint@simulator.amazonses.com"))
            await adapter.aclose()
            _, receipts = await receipts_after(catcher, account, sns, 5)
        events = sorted(receipt.event for receipt in receipts)
        assert events == [Event.ACCEPTED, Event.ACCEPTED, Event.BOUNCED_HARD, Event.COMPLAINED, Event.DELIVERED]

    asyncio.run(run())


ANSWERS = {
    "invalid": Action.DISABLE_TARGET,
    "content": Action.REJECT_MESSAGE,
    "malformed": Action.REJECT_MESSAGE,
    "unverified": Action.STOP_PROVIDER,
    "throttled": Action.RETRY_AFTER,
    "daily-quota": Action.QUOTA,
    "limit": Action.QUOTA,
    "suspended": Action.STOP_PROVIDER,
    "paused": Action.STOP_PROVIDER,
    "mail-from": Action.STOP_PROVIDER,
    "no-set": Action.STOP_PROVIDER,
    "forbidden": Action.STOP_PROVIDER,
    "clock": Action.STOP_PROVIDER,
    "server-error": Action.AMBIGUOUS_RETRY,
    "unavailable": Action.RETRY,
    "reset": Action.AMBIGUOUS_RETRY,
    "lost-answer": Action.AMBIGUOUS_RETRY,
}


def test_each_class_of_answer_leads_to_its_action_and_harms_no_other_recipient(tmp_path: Path) -> None:
    """A message that goes as MIME, one request each: all of them in one call, with good addresses between them."""

    async def run() -> None:
        bad = [f"{name}@example.com" for name in ANSWERS]
        good = [f"good{n}@example.com" for n in range(len(bad))]
        to = people(*(address for pair in zip(bad, good, strict=True) for address in pair))
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(fields()))
            outcomes = await sent(adapter, to, AS_MIME)
            await adapter.aclose()
            entries = await arrived(addresses, "ses")
        found = {one.address: outcome for one, outcome in zip(to, outcomes, strict=True)}
        assert {name: found[f"{name}@example.com"].action for name in ANSWERS} == ANSWERS
        assert {found[address].action for address in good} == {Action.ACCEPTED}
        assert sorted(entry["recipient"] for entry in entries) == sorted([*good, "lost-answer@example.com"])
        assert not any("@" in outcome.reason.replace("@domain", "") for outcome in outcomes)

    asyncio.run(run())


STATUSES = {
    "invalid": Action.DISABLE_TARGET,
    "content": Action.REJECT_MESSAGE,
    "malformed": Action.REJECT_MESSAGE,
    "unverified": Action.STOP_PROVIDER,
    "throttled": Action.RETRY_AFTER,
    "daily-quota": Action.QUOTA,
    "suspended": Action.STOP_PROVIDER,
    "paused": Action.STOP_PROVIDER,
    "mail-from": Action.STOP_PROVIDER,
    "no-set": Action.STOP_PROVIDER,
    "server-error": Action.RETRY,
    "unavailable": Action.RETRY,
}
"""What an entry of a bulk has a status for."""
WHOLES = {
    "limit": Action.QUOTA,
    "clock": Action.STOP_PROVIDER,
    "reset": Action.AMBIGUOUS_RETRY,
    "lost-answer": Action.AMBIGUOUS_RETRY,
}
"""What a bulk as a whole is answered with."""


def test_each_entry_of_a_bulk_has_its_own_answer(tmp_path: Path) -> None:
    """All of them in one request, with good addresses between them; the events of these come back."""

    async def run() -> None:
        bad = [f"{name}@example.com" for name in STATUSES]
        good = [f"good{n}@example.com" for n in range(len(bad))]
        to = people(*(address for pair in zip(bad, good, strict=True) for address in pair))
        account = account_of(fields())
        async with reporting(tmp_path) as (addresses, catcher):
            adapter = opened(addresses, account)
            outcomes = await sent(adapter, to)
            await adapter.aclose()
            entries = await arrived(addresses, "ses")
            _, receipts = await receipts_after(catcher, account, Sns(addresses), 2 * len(good))
        found = {one.address: outcome for one, outcome in zip(to, outcomes, strict=True)}
        assert {name: found[f"{name}@example.com"].action for name in STATUSES} == STATUSES
        assert {found[address].action for address in good} == {Action.ACCEPTED}
        assert not any("@" in outcome.reason.replace("@domain", "") for outcome in outcomes)
        assert not any(outcome.outage for outcome in outcomes)
        assert [(entry["recipient"], entry["id"]) for entry in entries] == [
            (address, found[address].provider_message_id) for address in good
        ]
        assert {receipt.tag for receipt in receipts} == {one.tag for one in to if one.address in good}

    asyncio.run(run())


@pytest.mark.parametrize("name", WHOLES)
def test_what_a_bulk_as_a_whole_is_answered_with_counts_for_all_of_it(name: str, tmp_path: Path) -> None:
    """Nobody's answer came, or the account is in the way."""

    async def run() -> None:
        to = people("ann@example.com", f"{name}@example.com", "bob@example.com")
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(fields()))
            outcomes = await sent(adapter, to)
            await adapter.aclose()
            entries = await arrived(addresses, "ses")
        assert [outcome.action for outcome in outcomes] == [WHOLES[name]] * 3
        arriving = [one.address for one in to] if name == "lost-answer" else []
        assert [entry["recipient"] for entry in entries] == arriving

    asyncio.run(run())


def test_a_bulk_that_is_not_allowed_goes_one_by_one(tmp_path: Path) -> None:
    """A key's user may have SendEmail alone."""

    async def run() -> None:
        to = people("ann@example.com", "forbidden@example.com", "bob@example.com")
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(fields()))
            outcomes = await sent(adapter, to)
            await adapter.aclose()
        assert [outcome.action for outcome in outcomes] == [Action.ACCEPTED, Action.STOP_PROVIDER, Action.ACCEPTED]

    asyncio.run(run())


@pytest.mark.parametrize(
    "email",
    [
        EMAIL,
        Email(subject="Grüße", content="plain\nlines & <signs>", headers={"X-Campaign": "spring", "Importance": "low"}),
        Email(subject="x {{y}}", content="<p>{{{name}}} {{#if}}</p>", html=True),
        Email(subject="s", content="<b>b</b>", html=True, text="other"),
        Email(
            subject="s",
            content="b",
            attachments=(Attachment(filename="a.pdf", content_type="application/pdf", content=bytes(300)),),
        ),
    ],
    ids=["html", "text", "braces", "both", "file"],
)
def test_a_mail_is_the_same_whichever_way_it_went(email: Email, tmp_path: Path) -> None:
    """To one recipient as MIME, to several in a bulk where that can carry it; what it says is data."""

    async def run() -> None:
        names = ("from", "to", "cc", "reply_to", "subject", "text", "html", "attachments")
        (alone,) = people("ann@example.com", name="Änn, Dr.", unsubscribe_url="https://mail.example.org/u/1")
        to = people(*["ann@example.com"] * 3, name="Änn, Dr.", unsubscribe_url="https://mail.example.org/u/1")
        account = account_of(fields(), replyToEmail="help@example.org", replyToName="Hölp")
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account)
            await sent(adapter, [alone], email)
            await sent(adapter, to, email)
            await adapter.aclose()
            first, *others = await arrived(addresses, "ses")
        assert [entry["tag"] for entry in others] == [one.tag for one in to]
        for entry in others:
            for name in names:
                one, other = (x["payload"][name] for x in (first, entry))
                if name in {"text", "html"}:
                    one, other = ((text or "").replace("\r\n", "\n").rstrip("\n") for text in (one, other))
                assert one == other, name
            headers = dict(entry["payload"]["headers"])
            assert headers["List-Unsubscribe"] == "<https://mail.example.org/u/1>"
            assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert {name: headers[name] for name in email.headers} == email.headers

    asyncio.run(run())


def test_what_arrives_is_what_was_written(tmp_path: Path) -> None:
    """Subject, both bodies, the sender's name, unsubscribe headers; a check names the account."""

    async def run() -> None:
        (one,) = people("ann@example.com", name="Änn", unsubscribe_url="https://mail.example.org/u/1")
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(fields()))
            await sent(adapter, [one])
            checked = await adapter.check()
            await adapter.aclose()
            (entry,) = await arrived(addresses, "ses")
        mail = entry["payload"]
        assert (mail["subject"], mail["html"].strip(), mail["text"].strip()) == ("Grüße", "<p>there</p>", "there")
        assert (mail["from"], mail["to"]) == ("News <news@example.org>", "Änn <ann@example.com>")
        headers = dict(mail["headers"])
        assert headers["List-Unsubscribe"] == "<https://mail.example.org/u/1>"
        assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert entry["tag"] == one.tag
        assert not mail["defects"]
        assert checked.action is Action.ACCEPTED
        assert checked.reason.startswith("eu-central-1, production access, 14 a second, 1 of 50,000")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "options", "named"),
    [
        ({"accessKey": REFUSED_KEY}, {}, "accessKey"),
        ({"secretKey": "another"}, {}, "accessKey or secretKey"),
        ({}, {"configurationSet": NO_SUCH_SET}, "configurationSet"),
        ({}, {"fromEmail": f"news@{UNVERIFIED_DOMAIN}"}, "verify fromEmail"),
    ],
)
def test_an_account_that_may_not_send_is_stopped_with_what_to_correct(
    given: dict[str, str], options: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Key, secret, configuration set, sender."""

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            adapter = opened(addresses, account_of(fields() | given, **options))
            (outcome,) = await sent(adapter, people("ann@example.com"))
            await adapter.aclose()
        assert outcome.action is Action.STOP_PROVIDER, outcome
        assert named in outcome.reason

    asyncio.run(run())


def test_the_certificate_is_served_under_both_names(tmp_path: Path) -> None:
    """Under its own, as in SigningCertURL, and under a short one for people."""

    async def run() -> None:
        async with reporting(tmp_path) as (addresses, catcher):
            adapter = opened(addresses, account_of(fields()))
            await sent(adapter, people("ann@example.com"))
            await adapter.aclose()
            (invitation,) = await catcher.until(1)
            sns = Sns(addresses)
            await ses.read_receipts(invitation, account_of(fields()), sns)
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                short = (await client.get(f"{addresses.web}/ses/cert.pem")).content
            assert x509.load_pem_x509_certificate(short) == x509.load_pem_x509_certificate(await sns(sns.fetched[0]))

    asyncio.run(run())


def test_awss_own_client_is_understood(tmp_path: Path) -> None:
    """The sandbox checks its signature, takes its message, and refuses what AWS would."""
    given = fields()

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            await asyncio.to_thread(use, addresses)
            (entry,) = await arrived(addresses, "ses")
        assert (entry["recipient"], entry["tag"], entry["payload"]["subject"]) == ("ann@example.com", "d1", "Hello")

    def use(addresses: SandboxAddresses) -> None:
        client = boto3.client(
            "sesv2",
            endpoint_url=f"{addresses.web}/ses",
            region_name=given["region"],
            aws_access_key_id=given["accessKey"],
            aws_secret_access_key=given["secretKey"],
            config=Config(retries={"max_attempts": 0}, proxies={}),
        )
        raw = b"From: news@example.org\r\nTo: ann@example.com\r\nSubject: Hello\r\n\r\nthere\r\n"
        message: dict[str, Any] = {
            "Content": {"Raw": {"Data": raw}},
            "Destination": {"ToAddresses": ["ann@example.com"]},
        }
        answer = client.send_email(**message, EmailTags=[{"Name": "delivery", "Value": "d1"}])
        assert answer["MessageId"]
        assert client.get_account()["SendQuota"]["SentLast24Hours"] == 1.0
        refused: list[dict[str, Any]] = [
            {"EmailTags": [{"Name": "delivery", "Value": "a b"}]},
            {"Destination": {"ToAddresses": []}},
            {"Destination": {"ToAddresses": ["no address"]}},
            {"Content": {"Raw": {"Data": b"From: a@example.org\r\n\r\n" + b"x" * 2000}}},
        ]
        for wrong in refused:
            with pytest.raises(ClientError) as caught:
                client.send_email(**(message | wrong))
            assert caught.value.response["Error"]["Code"] == "BadRequestException"

    asyncio.run(run())


def test_a_bulk_of_awss_own_client_is_understood(tmp_path: Path) -> None:
    """Its template is filled in for each entry; what SES would refuse is refused."""
    given = fields()

    async def run() -> None:
        async with sandbox(tmp_path) as addresses:
            await asyncio.to_thread(use, addresses)
            entries = await arrived(addresses, "ses")
        assert [(entry["recipient"], entry["tag"], entry["payload"]["subject"]) for entry in entries] == [
            ("ann@example.com", "d1", "Hello Ann"),
            ("bob@example.com", "d2", "Hello you"),
        ]
        assert [dict(entry["payload"]["headers"])["X-A"] for entry in entries] == ["2", "1"]

    def use(addresses: SandboxAddresses) -> None:
        client = boto3.client(
            "sesv2",
            endpoint_url=f"{addresses.web}/ses",
            region_name=given["region"],
            aws_access_key_id=given["accessKey"],
            aws_secret_access_key=given["secretKey"],
            config=Config(retries={"max_attempts": 0}, proxies={}),
        )
        template = {
            "TemplateContent": {"Subject": "Hello {{name}}", "Html": "<p>{{ name }}</p>"},
            "TemplateData": '{"name": "you"}',
            "Headers": [{"Name": "X-A", "Value": "1"}],
        }
        ann = {
            "Destination": {"ToAddresses": ["Ann <ann@example.com>"]},
            "ReplacementTags": [{"Name": "delivery", "Value": "d1"}],
            "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": '{"name": "Ann"}'}},
            "ReplacementHeaders": [{"Name": "X-A", "Value": "2"}],
        }
        bob = {
            "Destination": {"ToAddresses": ["bob@example.com"]},
            "ReplacementTags": [{"Name": "delivery", "Value": "d2"}],
        }

        def send(entries: list[dict[str, Any]], **other: Any) -> Any:
            return client.send_bulk_email(
                FromEmailAddress="news@example.org",
                DefaultContent={"Template": template | other},
                BulkEmailEntries=entries,
            )

        results = send([ann, bob])["BulkEmailEntryResults"]
        assert [result["Status"] for result in results] == ["SUCCESS", "SUCCESS"]
        assert len({result["MessageId"] for result in results}) == 2
        nowhere = {"Destination": {"ToAddresses": ["no address"]}}
        file = {"FileName": "none", "RawContent": b"x"}
        refused: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
            ([], {}),
            ([bob] * 51, {}),
            ([bob, nowhere], {}),
            ([bob], {"TemplateData": "{}"}),
            ([bob], {"TemplateContent": {"Subject": "s", "Text": "{{#if name}}"}}),
            ([bob], {"TemplateContent": {"Text": "t"}}),
            ([bob], {"TemplateContent": {"Subject": "s", "Text": "t" * 1_100_000}}),
            ([bob], {"Headers": [{"Name": "Reply-To", "Value": "a@example.org"}]}),
            ([bob], {"Headers": [{"Name": f"X-{n}", "Value": "1"} for n in range(16)]}),
            ([bob], {"Headers": [{"Name": "X-A", "Value": "ü"}]}),
            ([bob], {"Attachments": [file]}),
        ]
        for entries, other in refused:
            with pytest.raises(ClientError) as caught:
                send(entries, **other)
            assert caught.value.response["Error"]["Code"] == "BadRequestException", (entries, other)

    asyncio.run(run())
