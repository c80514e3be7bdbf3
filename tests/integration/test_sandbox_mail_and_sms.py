"""The sandbox as SendGrid, Twilio and a mail server, driven by the sendgrid SDK, httpx and smtplib."""

import json
import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
import python_http_client.exceptions
import sendgrid
from sendgrid.helpers.mail import Attachment, CustomArg, Header, Mail, Personalization, To

from messaging.local.sandbox.credentials import sendgrid_credentials, smtp_credentials, twilio_credentials
from messaging.local.sandbox.server import SandboxAddresses
from messaging.local.sandbox.smtp import REFUSED_PASSWORD
from messaging.local.sandbox.threaded import sandbox_in_thread
from messaging.local.sandbox.twilio import REFUSED_TOKEN

PATIENCE_S = 60.0
"""For an answer: a busy machine may stand still for seconds."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A running sandbox."""
    with sandbox_in_thread(tmp_path_factory.mktemp("mail")) as addresses:
        yield addresses


@pytest.fixture(autouse=True)
def _no_faults(sandbox: SandboxAddresses) -> Iterator[None]:
    yield
    httpx.delete(f"{sandbox.control}/faults", timeout=PATIENCE_S).raise_for_status()


def recorded(sandbox: SandboxAddresses, protocol: str, *recipients: str) -> list[dict[str, Any]]:
    """The record's lines of these recipients."""
    text = httpx.get(f"{sandbox.control}/record", params={"protocol": protocol}, timeout=PATIENCE_S).text
    return [line for line in map(json.loads, text.splitlines()) if line["recipient"] in recipients]


# ---------------------------------------------------------------------------- SendGrid


def mail_to(*recipients: str) -> Mail:
    """A mail with one personalization per recipient, tagged."""
    mail = Mail(from_email="shop@example.com", subject="Hello -name-", plain_text_content="Hi -name-")
    mail.add_content("<p>Hi -name-</p>", "text/html")
    for recipient in reversed(recipients):  # the helper of sendgrid 6.12.5 puts each new one in front
        personalization = Personalization()
        personalization.add_to(To(recipient, substitutions={"-name-": recipient.partition("@")[0]}))
        personalization.add_custom_arg(CustomArg("delivery", f"tag-{recipient}"))
        personalization.add_header(Header("X-Order", "17"))
        mail.add_personalization(personalization)
    return mail


def client(sandbox: SandboxAddresses, key: str | None = None) -> Any:
    """The official SDK, pointed here."""
    return sendgrid.SendGridAPIClient(key or sendgrid_credentials()["apiKey"], host=sandbox.sendgrid)


def test_each_recipient_of_a_mail_is_recorded_with_what_it_reads(sandbox: SandboxAddresses) -> None:
    """202 with X-Message-Id; every personalization stands alone, substitutions done, attachments measured."""
    mail = mail_to("ada@example.com", "bob@example.com")
    mail.add_attachment(Attachment("aGVsbG8=", "a.txt", "text/plain"))
    answer = client(sandbox).send(mail)
    assert answer.status_code == 202
    lines = recorded(sandbox, "sendgrid", "ada@example.com", "bob@example.com")
    assert [line["tag"] for line in lines] == ["tag-ada@example.com", "tag-bob@example.com"]
    assert {line["id"] for line in lines} == {answer.headers["X-Message-Id"]}
    payload = lines[1]["payload"]
    assert (payload["subject"], payload["text"], payload["html"]) == ("Hello bob", "Hi bob", "<p>Hi bob</p>")
    assert payload["headers"] == {"X-Order": "17"}
    assert payload["attachments"] == [{"filename": "a.txt", "type": "text/plain", "bytes": 5}]


def test_one_bad_address_refuses_the_request_and_is_named(sandbox: SandboxAddresses) -> None:
    """The whole request is refused, the field names the personalization, nobody is recorded as accepted."""
    with pytest.raises(python_http_client.exceptions.BadRequestsError) as caught:
        client(sandbox).send(mail_to("cy@example.com", "invalid@example.com", "invalid+2@example.com"))
    fields = [error["field"] for error in json.loads(caught.value.body)["errors"]]
    assert fields == ["personalizations.1.to.0.email", "personalizations.2.to.0.email"]
    assert {line["outcome"] for line in recorded(sandbox, "sendgrid", "cy@example.com")} == {"refused"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": {"email": "nobody"}}, "from.email"),
        ({"subject": ""}, "subject"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/html", "value": "a"}, {"type": "text/plain", "value": "a"}]}, "content"),
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{"to": [{"email": "a b@x.com"}]}]}, "personalizations.0.to.0.email"),
        ({"personalizations": [{"to": [{"email": "a@x.com"}, {"email": "A@x.com"}]}]}, "personalizations.0.to.1.email"),
        ({"headers": {"Subject": "x"}}, "headers.Subject"),
        ({"attachments": [{"filename": "a", "content": "%%%"}]}, "attachments.0.content"),
    ],
)
def test_a_broken_mail_is_refused_by_field(sandbox: SandboxAddresses, change: dict[str, Any], field: str) -> None:
    """`errors[].field` says where the mail is wrong."""
    mail: dict[str, Any] = {
        "personalizations": [{"to": [{"email": "a@x.com"}]}],
        "from": {"email": "b@y.com"},
        "subject": "s",
        "content": [{"type": "text/plain", "value": "v"}],
    }
    key = {"authorization": f"Bearer {sendgrid_credentials()['apiKey']}"}
    answer = httpx.post(f"{sandbox.sendgrid}/v3/mail/send", headers=key, json=mail | change, timeout=PATIENCE_S)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("key", "status", "said"),
    [
        ("nonsense", 401, "invalid, expired, or revoked"),
        ("SG.revoked", 401, "invalid, expired, or revoked"),
        ("SG.no-credits", 401, "Maximum credits exceeded"),
        ("SG.forbidden", 403, "access forbidden"),
    ],
)
def test_keys_are_looked_at(sandbox: SandboxAddresses, key: str, status: int, said: str) -> None:
    """A bad key, one without credits and one without the right are told apart."""
    with pytest.raises(python_http_client.exceptions.HTTPError) as caught:
        client(sandbox, key).send(mail_to("ada@example.com"))
    assert caught.value.status_code == status
    assert said in json.loads(caught.value.body)["errors"][0]["message"]


def test_a_rate_limit_says_when_to_come_back(sandbox: SandboxAddresses) -> None:
    """429 with nothing remaining and the reset in epoch seconds."""
    with pytest.raises(python_http_client.exceptions.TooManyRequestsError) as caught:
        client(sandbox).send(mail_to("rate-limit@example.com"))
    assert caught.value.headers["X-RateLimit-Remaining"] == "0"
    assert int(caught.value.headers["X-RateLimit-Reset"]) > 1_700_000_000


def test_an_answer_can_be_lost_after_acceptance(sandbox: SandboxAddresses) -> None:
    """The connection goes, the record has the mail."""
    with pytest.raises(ConnectionError):
        client(sandbox).send(mail_to("lost-answer@example.com"))
    assert [line["outcome"] for line in recorded(sandbox, "sendgrid", "lost-answer@example.com")] == ["accepted"]


# ---------------------------------------------------------------------------- Twilio


def text(sandbox: SandboxAddresses, **fields: str) -> httpx.Response:
    """Twilio's answer to a text with these fields."""
    account = twilio_credentials()
    form = {"To": "+4915112345678", "From": "+15005550006", "Body": "Your code is 17"} | fields
    return httpx.post(
        f"{sandbox.twilio}/2010-04-01/Accounts/{account['accountSid']}/Messages.json",
        auth=(account["accountSid"], account["authToken"]),
        data={name: value for name, value in form.items() if value},
        timeout=PATIENCE_S,
    )


def test_a_text_is_queued_and_recorded(sandbox: SandboxAddresses) -> None:
    """201 with sid and status; the tag is the StatusCallback's `delivery`."""
    callback = "https://example.com/receipts?delivery=d17"
    answer = text(sandbox, To="+4915100000001", Body="ü" * 161, StatusCallback=callback)
    assert answer.status_code == 201
    assert answer.json()["sid"].startswith("SM")
    assert (answer.json()["status"], answer.json()["num_segments"]) == ("queued", "2")
    (line,) = recorded(sandbox, "twilio", "+4915100000001")
    assert (line["outcome"], line["tag"], line["id"]) == ("accepted", "d17", answer.json()["sid"])
    assert line["payload"]["Body"] == "ü" * 161


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"To": "+15005550001"}, 400, 21211),
        ({"To": "+15005550002"}, 400, 21612),
        ({"To": "+15005550003"}, 400, 21408),
        ({"To": "+15005550004"}, 400, 21610),
        ({"To": "+15005550009"}, 400, 21614),
        ({"From": "+15005550001"}, 400, 21212),
        ({"From": "+15005550007"}, 400, 21606),
        ({"From": "+15005550008"}, 400, 21611),
        ({"To": "12345"}, 400, 21211),
        ({"To": ""}, 400, 21604),
        ({"From": ""}, 400, 21603),
        ({"Body": ""}, 400, 21619),
        ({"Body": "x" * 1601}, 400, 21617),
        ({"ValidityPeriod": "36001"}, 400, 21624),
        ({"StatusCallback": "ftp://x"}, 400, 21609),
        ({"To": "+19994290001"}, 429, 20429),
        ({"To": "+19995030001"}, 503, 20503),
    ],
)
def test_texts_are_refused_with_twilios_codes(
    sandbox: SandboxAddresses, fields: dict[str, str], status: int, code: int
) -> None:
    """The error body has code, message, more_info and status."""
    answer = text(sandbox, **fields)
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["more_info"].endswith(f"/{code}")
    assert body["message"]


def test_a_wrong_token_is_told_so(sandbox: SandboxAddresses) -> None:
    """Basic authentication is looked at."""
    sid = twilio_credentials()["accountSid"]
    url = f"{sandbox.twilio}/2010-04-01/Accounts/{sid}/Messages.json"
    for auth in (None, (sid, REFUSED_TOKEN), ("me", "you")):
        answer = httpx.post(url, auth=auth, data={"To": "+4915112345678"}, timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()["code"]) == (401, 20003)


def test_faults_reach_twilio_and_sendgrid_apart(sandbox: SandboxAddresses) -> None:
    """They share a listener, not their faults; goaway_after closes after that many requests."""
    faults = {"protocol": "twilio", "rate_503": 1, "retry_after_s": 3, "goaway_after": 1}
    httpx.post(f"{sandbox.control}/faults", json=faults, timeout=PATIENCE_S).raise_for_status()
    answer = text(sandbox)
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "3", "close")
    assert client(sandbox).send(mail_to("dora@example.com")).status_code == 202


# ---------------------------------------------------------------------------- SMTP


def letter(recipient: str, *, message_id: str = "<1@example.com>") -> EmailMessage:
    """A mail with both parts and an attachment."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", recipient, "Grüße"
    message["Message-ID"] = message_id
    message.set_content("Hällo\n.\ndots stay\n")
    message.add_alternative("<p>Hällo</p>", subtype="html")
    message.add_attachment(b"12345", maintype="application", subtype="pdf", filename="a.pdf")
    return message


def connect(sandbox: SandboxAddresses, *, implicit: bool = False) -> smtplib.SMTP:
    """A connection with TLS, by STARTTLS or from the first byte."""
    trust = ssl.create_default_context(cafile=sandbox.ca_file)
    host, _, port = (sandbox.smtps if implicit else sandbox.smtp).rpartition(":")
    if implicit:
        return smtplib.SMTP_SSL(host, int(port), context=trust, timeout=PATIENCE_S)
    connection = smtplib.SMTP(host, int(port), timeout=PATIENCE_S)
    connection.starttls(context=trust)
    return connection


@pytest.mark.parametrize("implicit", [False, True])
def test_a_mail_is_recorded_as_it_is_read(sandbox: SandboxAddresses, implicit: bool) -> None:
    """With STARTTLS and with implicit TLS: login, subject, parts, attachment, and the Message-ID as tag."""
    recipient = f"ada{int(implicit)}@example.com"
    login = smtp_credentials(sandbox)
    with connect(sandbox, implicit=implicit) as connection:
        connection.login(login["username"], login["password"])
        connection.send_message(letter(recipient))
    (line,) = recorded(sandbox, "smtp", recipient)
    payload = line["payload"]
    assert (line["outcome"], line["status"], line["tag"], line["about"]["tls"]) == (
        "accepted",
        250,
        "<1@example.com>",
        True,
    )
    assert (payload["subject"], payload["text"].splitlines()) == ("Grüße", ["Hällo", ".", "dots stay"])
    assert payload["html"].strip() == "<p>Hällo</p>"
    assert payload["attachments"] == [{"filename": "a.pdf", "type": "application/pdf", "bytes": 5}]
    assert payload["defects"] == []


def test_plain_connections_need_neither_tls_nor_login(sandbox: SandboxAddresses) -> None:
    """A relay on loopback takes mail as it comes."""
    host, _, port = sandbox.smtp.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=PATIENCE_S) as connection:
        assert connection.send_message(letter("plain@example.com")) == {}
    assert recorded(sandbox, "smtp", "plain@example.com")[0]["about"]["tls"] is False


def test_a_wrong_password_is_refused(sandbox: SandboxAddresses) -> None:
    """535, as the protocol has it."""
    with connect(sandbox) as connection, pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        connection.login("sandbox", REFUSED_PASSWORD)
    assert caught.value.smtp_code == 535


@pytest.mark.parametrize(
    ("recipient", "code", "enhanced"),
    [
        ("unknown-user@example.com", 550, b"5.1.1"),
        ("bounce+17@example.com", 550, b"5.2.1"),
        ("mailbox-full@example.com", 452, b"4.2.2"),
        ("policy@example.com", 550, b"5.7.1"),
    ],
)
def test_bad_recipients_are_refused_alone(
    sandbox: SandboxAddresses, recipient: str, code: int, enhanced: bytes
) -> None:
    """RCPT gets the refusal, the other recipient its mail."""
    with connect(sandbox) as connection:
        refused = connection.sendmail("a@b.com", [recipient, "good@example.com"], b"Subject: x\r\n\r\ny\r\n")
    assert list(refused) == [recipient]
    assert refused[recipient][0] == code
    assert refused[recipient][1].startswith(enhanced)
    assert recorded(sandbox, "smtp", recipient)[-1]["outcome"] == "refused"


def test_a_greylisted_recipient_is_taken_the_second_time(sandbox: SandboxAddresses) -> None:
    """450 once, then the mail goes through."""
    with connect(sandbox) as connection:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            connection.send_message(letter("greylist+1@example.com"))
        assert caught.value.recipients["greylist+1@example.com"][0] == 450
        assert connection.send_message(letter("greylist+1@example.com")) == {}


def test_a_message_may_be_refused_at_its_end(sandbox: SandboxAddresses) -> None:
    """RCPT is fine, the final dot is not."""
    with connect(sandbox) as connection, pytest.raises(smtplib.SMTPDataError) as caught:
        connection.send_message(letter("spam@example.com"))
    assert caught.value.smtp_code == 554
    assert recorded(sandbox, "smtp", "spam@example.com")[0]["outcome"] == "refused"


@pytest.mark.parametrize(("local", "outcome"), [("lost-answer", "accepted"), ("drop-data", "unanswered")])
def test_a_connection_may_go_after_the_final_dot(sandbox: SandboxAddresses, local: str, outcome: str) -> None:
    """The sender can't know; the record does."""
    with pytest.raises(smtplib.SMTPServerDisconnected):
        connect(sandbox).send_message(letter(f"{local}@example.com"))
    assert [line["outcome"] for line in recorded(sandbox, "smtp", f"{local}@example.com")] == [outcome]


def test_a_server_closes_with_421_after_so_many_messages(sandbox: SandboxAddresses) -> None:
    """`goaway_after` on SMTP: the next MAIL is answered 421 and the connection ends."""
    body = {"protocol": "smtp", "goaway_after": 1}
    httpx.post(f"{sandbox.control}/faults", json=body, timeout=PATIENCE_S).raise_for_status()
    connection = connect(sandbox)
    connection.send_message(letter("erin@example.com"))
    with pytest.raises(smtplib.SMTPSenderRefused) as caught:
        connection.send_message(letter("erin@example.com"))
    assert caught.value.smtp_code == 421
    connection.close()
