"""Receipts of Amazon SES: SNS messages signed by certificates made here, and what their events mean."""

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from messaging.outcome import Action
from messaging.receipt import Event, ForgedReceiptError, Inbound, Receipt, UnreadableReceiptError
from workers.providers import ses_sns
from workers.providers.base import Account
from workers.providers.ses import read_receipts
from workers.providers.ses_receipts import receipts_of

NOW = datetime(2026, 11, 23, 5, 14, 59, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abc.pem"
SUBSCRIBE_URL = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0k3n"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, until: datetime) -> bytes:
    """A certificate of that key, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(days=400), until)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


GOOD = certificate_of(KEY, until=NOW + timedelta(days=1))


@pytest.fixture(autouse=True)
def _no_certificates() -> Iterator[None]:
    ses_sns._certificates.clear()
    yield
    ses_sns._certificates.clear()


class Web:
    """What is fetched, and what is there."""

    def __init__(self, pages: Mapping[str, bytes] | None = None) -> None:
        self.pages = {CERTIFICATE_URL: GOOD, SUBSCRIBE_URL: b"<ok/>"} if pages is None else pages
        self.fetched: list[str] = []

    async def __call__(self, url: str) -> bytes:
        """The page, or OSError."""
        self.fetched.append(url)
        if url not in self.pages:
            raise OSError("404")
        return self.pages[url]


def message(text: str = "{}", **fields: str) -> dict[str, str]:
    """A notification without its signature."""
    return {
        "Type": "Notification",
        "MessageId": "11111111-2222",
        "TopicArn": TOPIC,
        "Message": text,
        "Timestamp": "2026-11-23T05:14:58.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
    } | fields


def sign(fields: dict[str, str], key: rsa.RSAPrivateKey = KEY) -> dict[str, str]:
    """The same, signed as AWS's page says: names and values on lines of their own, in alphabetical order."""
    unsigned = {"SignatureVersion", "SigningCertURL", "UnsubscribeURL", "Signature"}
    text = "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields) if name not in unsigned)
    algorithm = SHA1() if fields["SignatureVersion"] == "1" else SHA256()  # noqa: S303  version 1 is SHA-1
    return fields | {"Signature": base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()}


def inbound(fields: Mapping[str, Any], *, at: datetime = NOW) -> Inbound:
    """The request that brings it."""
    headers = {"x-amz-sns-message-type": str(fields.get("Type")), "content-type": "text/plain; charset=UTF-8"}
    body = json.dumps(fields).encode()
    return Inbound(method="POST", url="https://x/v1/receipts/k", headers=headers, body=body, received_at=at)


def read(request: Inbound, web: Web | None = None, **options: object) -> Sequence[Receipt]:
    """What the request brings to an account with these options."""
    account = Account(provider_id=1, public_id="ses", kind="ses", credentials={}, options=options)
    return asyncio.run(read_receipts(request, account, web or Web()))


BOUNCE = json.dumps(
    {
        "eventType": "Bounce",
        "bounce": {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [
                {
                    "emailAddress": "ann@example.com",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 <ann@example.com> gone",
                }
            ],
            "timestamp": "2026-11-23T05:14:57.669Z",
        },
        "mail": {"timestamp": "2026-11-23T05:14:50.000Z", "messageId": "0107-1", "tags": {"delivery": ["m1-t1"]}},
    }
)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon SES Email Event Notification"}], ids=["", "subject"])
def test_a_signed_bounce_is_read(version: str, subject: dict[str, str]) -> None:
    """Either version of the signature; a subject counts where there is one."""
    fields = sign(message(BOUNCE, SignatureVersion=version, UnsubscribeURL="https://x", **subject))
    (receipt,) = read(inbound(fields), topicArn=TOPIC)
    assert receipt == Receipt(
        event=Event.BOUNCED_HARD,
        key="11111111-2222",
        tag="m1-t1",
        provider_message_id="0107-1",
        at=datetime(2026, 11, 23, 5, 14, 57, 669_000, tzinfo=UTC),
        action=Action.DISABLE_TARGET,
        code="Permanent/General",
        reason="bounced for good: smtp; 550 <address> gone",
    )


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Signature"])
def test_a_field_with_another_letter_is_forged(name: str) -> None:
    """Everything that says something is signed."""
    fields = sign(message(BOUNCE, Subject="Event"))
    value = fields[name]
    with pytest.raises(ForgedReceiptError):
        read(inbound(fields | {name: value[:-4] + ("B" if value[-4] != "B" else "C") + value[-3:]}))


def test_a_field_that_is_added_or_taken_off_is_forged() -> None:
    """A subject that was not signed, or is gone."""
    with pytest.raises(ForgedReceiptError):
        read(inbound(sign(message(BOUNCE)) | {"Subject": "s"}))
    signed = sign(message(BOUNCE, Subject="s"))
    del signed["Subject"]
    with pytest.raises(ForgedReceiptError):
        read(inbound(signed))


@pytest.mark.parametrize("version", ["", "0", "3", "SHA256"])
def test_a_version_nobody_knows_is_forged(version: str) -> None:
    """Nothing can be said of it."""
    with pytest.raises(ForgedReceiptError, match="raw message delivery"):
        read(inbound(sign(message(BOUNCE)) | {"SignatureVersion": version}))


def test_one_version_does_not_pass_for_the_other() -> None:
    """A hash is what it was made by."""
    with pytest.raises(ForgedReceiptError):
        read(inbound(sign(message(BOUNCE)) | {"SignatureVersion": "1"}))


def test_an_event_delivered_raw_is_refused_with_what_to_do() -> None:
    """It has no signature."""
    with pytest.raises(ForgedReceiptError, match="switch raw message delivery off"):
        read(replace(inbound(json.loads(BOUNCE)), headers={"x-amz-sns-rawdelivery": "true"}))


@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", None])
def test_a_header_of_another_type_is_forged(kind: str | None) -> None:
    """A confirmation can't be taken for a notification."""
    request = inbound(sign(message(BOUNCE)))
    headers = {"x-amz-sns-message-type": kind} if kind else {}
    if kind == "Notification":
        assert read(replace(request, headers=headers))
        return
    with pytest.raises(ForgedReceiptError):
        read(replace(request, headers=headers))


FOREIGN = [
    "http://sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com.evil.example/a.pem",
    "https://evil.example/sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
    "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
    "https://sns.s3.amazonaws.com/a.pem",
    "https://sns.s3-us-west-2.amazonaws.com/a.pem",
    "https://sns-eu-central-1.amazonaws.com/a.pem",
    "https://x.sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com/a.pem?x=.pem",
    "https://sns.eu-central-1.amazonaws.com/a.pem\n",
    "https://sns.eu-central-1.amazonaws.com/../a/b.pem",
    "https://sns.eu-central-1.amazonaws.com/a.txt",
    "https://SNS.eu-central-1.amazonaws.com/a.pem",
    "",
]


@pytest.mark.parametrize("url", FOREIGN)
def test_a_certificate_that_is_not_at_sns_is_not_even_fetched(url: str) -> None:
    """Anybody can sign with a certificate of their own, or have a bucket named sns."""
    web = Web({url: GOOD})
    with pytest.raises(ForgedReceiptError):
        read(inbound(sign(message(BOUNCE, SigningCertURL=url))), web)
    assert not web.fetched


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "ap-southeast-4", "cn-north-1"])
def test_every_region_of_aws_has_its_certificates(region: str) -> None:
    """China's under its own name."""
    host = f"sns.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    url = f"https://{host}/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem"
    assert read(inbound(sign(message(BOUNCE, SigningCertURL=url))), Web({url: GOOD}))


def test_a_certificate_is_fetched_once() -> None:
    """And kept in the process."""
    web = Web()
    for _ in range(3):
        read(inbound(sign(message(BOUNCE))), web)
    assert web.fetched == [CERTIFICATE_URL]


def test_only_so_many_certificates_are_kept() -> None:
    """Whoever knows the secret path can't fill the memory."""
    urls = [f"https://sns.eu-central-1.amazonaws.com/{n}.pem" for n in range(50)]
    web = Web(dict.fromkeys(urls, GOOD))
    for url in urls:
        read(inbound(sign(message(BOUNCE, SigningCertURL=url))), web)
    assert len(ses_sns._certificates) <= 16


def test_a_certificate_that_cannot_be_had_is_no_forgery() -> None:
    """The caller tries again."""
    with pytest.raises(OSError, match="404"):
        read(inbound(sign(message(BOUNCE))), Web({}))


def test_a_certificate_that_cannot_be_read_is_told() -> None:
    """A page about something else."""
    with pytest.raises(UnreadableReceiptError):
        read(inbound(sign(message(BOUNCE))), Web({CERTIFICATE_URL: b"<html>"}))


@pytest.mark.parametrize(
    "pem",
    [
        certificate_of(rsa.generate_private_key(public_exponent=65537, key_size=2048), until=NOW + timedelta(days=1)),
        certificate_of(KEY, until=NOW - timedelta(seconds=1)),
        certificate_of(ec.generate_private_key(ec.SECP256R1()), until=NOW + timedelta(days=1)),
    ],
    ids=["another key", "out of date", "no RSA"],
)
def test_a_certificate_that_does_not_fit_is_forged(pem: bytes) -> None:
    """Of another key, of another time, of another kind."""
    with pytest.raises(ForgedReceiptError):
        read(inbound(sign(message(BOUNCE))), Web({CERTIFICATE_URL: pem}))


def test_a_signature_in_other_letters_of_the_same_bytes_is_forged() -> None:
    """Base64 leaves some bits unused: each signature has one form."""
    fields = sign(message(BOUNCE))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = fields["Signature"].rstrip("=")[-1]
    other = fields["Signature"].rstrip("=")[:-1] + alphabet[alphabet.index(last) ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(fields["Signature"])
    with pytest.raises(ForgedReceiptError):
        read(inbound(fields | {"Signature": other}))


def test_the_topic_must_be_the_accounts_where_it_names_one() -> None:
    """Anybody's topic is signed by AWS; without topicArn the secret path is all there is."""
    other = sign(message(BOUNCE, TopicArn="arn:aws:sns:eu-central-1:999999999999:mail"))
    with pytest.raises(ForgedReceiptError, match="topic"):
        read(inbound(other), topicArn=TOPIC)
    assert read(inbound(other))


def confirmation(**fields: str) -> dict[str, str]:
    """What SNS sends first."""
    return message(
        "You have chosen to subscribe to the topic.",
        **({"Type": "SubscriptionConfirmation", "Token": "t0k3n", "SubscribeURL": SUBSCRIBE_URL} | fields),
    )


def test_a_subscription_is_confirmed_and_brings_nothing() -> None:
    """By a GET of its address."""
    web = Web()
    assert read(inbound(sign(confirmation())), web, topicArn=TOPIC) == []
    assert web.fetched == [CERTIFICATE_URL, SUBSCRIBE_URL]


@pytest.mark.parametrize(
    "fields",
    [
        {"SubscribeURL": "https://evil.example/?Action=ConfirmSubscription"},
        {"SubscribeURL": "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription"},
        {"SubscribeURL": "https://sns.s3.amazonaws.com/?Action=ConfirmSubscription"},
        {"SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?a b"},
        {"TopicArn": "arn:aws:sns:eu-central-1:999999999999:mail"},
    ],
)
def test_a_subscription_that_is_not_ours_is_not_confirmed(fields: dict[str, str]) -> None:
    """Another's topic, or an address that is not of SNS."""
    web = Web(dict.fromkeys([CERTIFICATE_URL, *fields.values()], GOOD))
    with pytest.raises(ForgedReceiptError):
        read(inbound(sign(confirmation(**fields))), web, topicArn=TOPIC)
    assert web.fetched == [CERTIFICATE_URL]


def test_an_unsigned_subscription_is_not_confirmed() -> None:
    """The token is signed too."""
    web = Web()
    with pytest.raises(ForgedReceiptError):
        read(inbound(sign(confirmation()) | {"Token": "other"}), web)
    assert web.fetched == [CERTIFICATE_URL]


def test_a_subscription_that_cannot_be_confirmed_now_is_tried_again() -> None:
    """By the caller."""
    with pytest.raises(OSError, match="404"):
        read(inbound(sign(confirmation())), Web({CERTIFICATE_URL: GOOD}))


def test_the_end_of_a_subscription_is_no_news_and_is_not_undone() -> None:
    """Its SubscribeURL would subscribe again."""
    web = Web()
    assert read(inbound(sign(confirmation(Type="UnsubscribeConfirmation"))), web) == []
    assert web.fetched == [CERTIFICATE_URL]


def told(name: str, about: str = "", **detail: Any) -> dict[str, Any]:
    """An event."""
    mail = {"timestamp": "2026-11-23T05:14:50Z", "messageId": "0107-1", "tags": {"delivery": ["m1-t1"], "ses:x": ["y"]}}
    return {"eventType": name, "mail": mail} | (
        {about: {"timestamp": "2026-11-23T05:14:57Z", **detail}} if about else {}
    )


def bounce(kind: str, subtype: str) -> dict[str, Any]:
    """A bounce."""
    return told("Bounce", "bounce", bounceType=kind, bounceSubType=subtype)


def unsubscribing(new: bool, old: bool) -> dict[str, Any]:
    """A change of a contact's preferences."""
    preferences = {"newTopicPreferences": {"unsubscribeAll": new}, "oldTopicPreferences": {"unsubscribeAll": old}}
    return told("Subscription", "subscription", **preferences)


@pytest.mark.parametrize(
    ("event", "meaning", "action", "code"),
    [
        (told("Send"), Event.ACCEPTED, Action.NONE, ""),
        (told("Delivery", "delivery", recipients=["a@b.example"]), Event.DELIVERED, Action.DELIVERED, ""),
        (
            told("DeliveryDelay", "deliveryDelay", delayType="MailboxFull"),
            Event.DEFERRED, Action.NONE, "MailboxFull",
        ),
        (bounce("Permanent", "NoEmail"), Event.BOUNCED_HARD, Action.DISABLE_TARGET, "Permanent/NoEmail"),
        (bounce("Permanent", "Suppressed"), Event.BOUNCED_HARD, Action.DISABLE_TARGET, "Permanent/Suppressed"),
        (
            bounce("Permanent", "OnAccountSuppressionList"),
            Event.BOUNCED_HARD, Action.DISABLE_TARGET, "Permanent/OnAccountSuppressionList",
        ),
        (
            bounce("Permanent", "UnsubscribedRecipient"),
            Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, "Permanent/UnsubscribedRecipient",
        ),
        (bounce("Transient", "General"), Event.BOUNCED_SOFT, Action.NONE, "Transient/General"),
        (bounce("Transient", "MailboxFull"), Event.BOUNCED_SOFT, Action.NONE, "Transient/MailboxFull"),
        (bounce("Transient", "ContentRejected"), Event.REJECTED, Action.NONE, "Transient/ContentRejected"),
        (bounce("Transient", "MessageTooLarge"), Event.REJECTED, Action.NONE, "Transient/MessageTooLarge"),
        (bounce("Undetermined", "Undetermined"), Event.BOUNCED_SOFT, Action.NONE, "Undetermined/Undetermined"),
        (bounce("New", "Kind"), Event.BOUNCED_SOFT, Action.NONE, "New/Kind"),
        (
            told("Complaint", "complaint", complaintFeedbackType="abuse"),
            Event.COMPLAINED, Action.SUPPRESS_TARGET, "abuse",
        ),
        (told("Complaint", "complaint"), Event.COMPLAINED, Action.SUPPRESS_TARGET, "Complaint"),
        (told("Reject", "reject", reason="Bad content"), Event.REJECTED, Action.REJECT_MESSAGE, "Reject"),
        (told("Rendering Failure", "failure"), Event.REJECTED, Action.REJECT_MESSAGE, "Rendering Failure"),
        (told("Open", "open"), Event.OPENED, Action.NONE, ""),
        (told("Click", "click"), Event.CLICKED, Action.NONE, ""),
        (unsubscribing(new=True, old=False), Event.UNSUBSCRIBED, Action.SUPPRESS_TARGET, ""),
        (unsubscribing(new=False, old=True), Event.RESUBSCRIBED, Action.UNSUPPRESS_TARGET, ""),
    ],
)  # fmt: skip
def test_what_an_event_means(event: dict[str, Any], meaning: Event, action: Action, code: str) -> None:
    """With our tag, the message's id and its own time."""
    (receipt,) = receipts_of(json.dumps(event), "n1")
    assert (receipt.event, receipt.action, receipt.code) == (meaning, action, code)
    assert (receipt.key, receipt.tag, receipt.provider_message_id) == ("n1", "m1-t1", "0107-1")
    seconds = 50 if meaning is Event.ACCEPTED else 57
    assert receipt.at == datetime(2026, 11, 23, 5, 14, seconds, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        json.dumps({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have enabled notifications"}),
        json.dumps({"notificationType": "Received", "mail": {}}),
        json.dumps(told("Complaint", "complaint", complaintFeedbackType="not-spam")),
        json.dumps(unsubscribing(new=False, old=False)),
        json.dumps(told("SomethingNew", "new")),
        "{}",
    ],
)
def test_what_is_no_news_of_a_delivery_brings_none(text: str) -> None:
    """Tests of the topic, mail that came in, readers who say it is no spam."""
    assert receipts_of(text, "n1") == []


@pytest.mark.parametrize("text", ["", "hello", "[]", "7", "[" * 50_000])
def test_what_is_no_event_is_unreadable(text: str) -> None:
    """It is kept with that reason."""
    with pytest.raises(UnreadableReceiptError):
        receipts_of(text, "n1")


def test_an_older_notification_leads_by_the_messages_id() -> None:
    """An identity's feedback has no tags."""
    event = bounce("Permanent", "General") | {"mail": {"messageId": "0107-1"}}
    event["notificationType"] = event.pop("eventType")
    (receipt,) = receipts_of(json.dumps(event), "n1")
    assert (receipt.event, receipt.tag, receipt.provider_message_id) == (Event.BOUNCED_HARD, None, "0107-1")


def test_recipients_of_somebody_elses_message_are_told_apart() -> None:
    """We send to one at a time; an account may be shared."""
    event = told("Delivery", "delivery", recipients=["a@example.com", "b@example.com"])
    assert [receipt.key for receipt in receipts_of(json.dumps(event), "n1")] == ["n1", "n1:1"]
