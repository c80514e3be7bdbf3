"""A message rendered once and spliced per recipient is the message an `EmailMessage` would be."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, default
from email.utils import parseaddr
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messaging.channel import Role
from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Email, Sms
from workers.providers.base import Outgoing, Recipient
from workers.providers.mime import (
    Mailbox,
    Sender,
    date_source,
    header_line,
    mailbox,
    plain_text,
    render,
    sender_of,
    text_of_html,
)

DATE = "Mon, 23 Nov 2026 05:14:59 +0000"
EXPIRES_AT = datetime(2026, 11, 26, tzinfo=UTC)
SENDER = Sender(mailbox=Mailbox("news", "example.org"), name="Example News")


def recipient(address: str, *, name: str | None = None, role: Role = Role.TO) -> Recipient:
    """A delivery to `address`."""
    return Recipient(target_id=1, address=address, tag="m1-t1", uuid=str(UUID(int=1)), role=role, name=name)


def spliced(email: Email, to: Recipient, **visible: tuple[str, ...]) -> bytes:
    """The bytes of the copy for `to`."""
    outgoing = Outgoing(message_id="m1", content=email, expires_at=EXPIRES_AT, **visible)
    template = render(outgoing, SENDER)
    return template.head(to, mailbox(to.address), DATE) + template.common


def parsed(email: Email, to: Recipient, **visible: tuple[str, ...]) -> EmailMessage:
    """The copy for `to`, as its reader's program takes it apart."""
    message = message_from_bytes(spliced(email, to, **visible), policy=default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_an_ordinary_message_is_byte_for_byte_that_of_email_message() -> None:
    """Text, HTML, an attachment, a Reply-To and an extra header: nothing differs."""
    email = Email(
        subject="Your order",
        content="<p>Grüße</p>",
        html=True,
        text="Grüße\n.\n",
        attachments=(Attachment(filename="a.pdf", content_type="application/pdf", content=bytes(range(256))),),
        reply_to_email="help@example.org",
        reply_to_name="Help",
        headers={"List-Unsubscribe": "<https://example.org/u/1>"},
    )
    plain = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    plain["Date"] = DATE
    plain["Message-ID"] = "<m1-t1@example.org>"
    plain["To"] = Address("Ann Lee", "ann", "example.com")
    plain["From"] = Address("Example News", "news", "example.org")
    plain["Reply-To"] = Address("Help", "help", "example.org")
    plain["Subject"] = "Your order"
    plain["List-Unsubscribe"] = "<https://example.org/u/1>"
    plain.set_content("Grüße\n.\n")
    plain.add_alternative("<p>Grüße</p>", subtype="html")
    plain.add_attachment(bytes(range(256)), maintype="application", subtype="pdf", filename="a.pdf")
    random.seed(1)  # the boundaries
    expected = plain.as_bytes()
    random.seed(1)
    assert spliced(email, recipient("ann@example.com", name="Ann Lee")) == expected


WORDS = st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=120)


@given(subject=WORDS, name=WORDS, body=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
@example(subject="=?utf-8?q?no?=", name='A "B" <c>, d', body=".")
@example(subject="a" * 200, name="é" * 100, body="x" * 2000)
@example(subject="  two  blanks ", name=" ", body="")
def test_any_words_arrive_as_they_were_given(subject: str, name: str, body: str) -> None:
    """Whatever the letters, the reader's program finds the same subject, name and text."""
    wire = spliced(Email(subject=subject, content=body), recipient("ann@example.com", name=name))
    head, _, _ = wire.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 and line.isascii() for line in head.split(b"\r\n"))
    assert b"\n" not in wire.replace(b"\r\n", b"")
    message = message_from_bytes(wire, policy=default)
    assert isinstance(message, EmailMessage)
    # Runs of blanks are one; a folded line and an encoded word say them the same way.
    assert " ".join(str(message["subject"]).split()) == " ".join(subject.split())
    # The new parser of Python 3.11 puts blanks between the encoded words of a name (RFC 2047 §6.2 says none).
    phrase, address = parseaddr(message_from_bytes(wire)["to"])
    assert address == "ann@example.com"
    assert " ".join(str(make_header(decode_header(phrase))).split()) == " ".join(name.split())
    assert message.get_content().splitlines() == (body or "\n").splitlines()


@pytest.mark.parametrize("where", ["subject", "header value", "header name", "reply-to name", "filename", "type"])
@pytest.mark.parametrize(
    "trick", ["x\r\nBcc: eve@example.org", "x\nBcc: eve@example.org", "x\rBcc: e", "x\x00y", "x\u2028y"]
)
def test_a_line_end_in_a_header_is_refused(where: str, trick: str) -> None:
    """Nobody can add a header, or a body, through the content of one."""
    email = {
        "subject": Email(subject=trick, content="b"),
        "header value": Email(subject="s", content="b", headers={"X-A": trick}),
        "header name": Email(subject="s", content="b", headers={trick: "v"}),
        "reply-to name": Email(subject="s", content="b", reply_to_email="r@example.org", reply_to_name=trick),
        "filename": Email(
            subject="s", content="b", attachments=(Attachment(filename=trick, content_type="a/b", content=b""),)
        ),
        "type": Email(
            subject="s", content="b", attachments=(Attachment(filename="f", content_type=trick, content=b""),)
        ),
    }[where]
    with pytest.raises(ContentError):
        spliced(email, recipient("ann@example.com"))


def test_a_line_end_in_a_recipients_name_is_refused_for_that_recipient() -> None:
    """The shared part stays good; only this copy fails."""
    with pytest.raises(ContentError, match="To holds a line end"):
        spliced(Email(subject="s", content="b"), recipient("ann@example.com", name="Ann\r\nBcc: eve@example.org"))


@pytest.mark.parametrize("name", ["Subject", "to", "Bcc", "Message-ID", "Content-Type", "DKIM-Signature"])
def test_a_header_the_program_writes_cannot_be_given_again(name: str) -> None:
    """Two Subjects, or a Bcc that shows, are refused by name."""
    with pytest.raises(ContentError, match=name):
        spliced(Email(subject="s", content="b", headers={name: "x"}), recipient("ann@example.com"))


@pytest.mark.parametrize(
    "address",
    ["", "ann", "@example.com", "ann@", "a b@example.com", "ann@exa mple.com", "ann@-example.com", "ann@a..b",
     "<ann@example.com>", "ann@example.com\r\nX: y", "a\x00b@example.com", "x" * 65 + "@example.com", "a,b@example.com",
     "ann@" + "a" * 260, "ann@\u2028.com"],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(address: str) -> None:
    """Before any server hears of it."""
    with pytest.raises(ContentError):
        mailbox(address)


@pytest.mark.parametrize(
    ("address", "wire", "needs_utf8"),
    [
        ("Ann.Lee+tag@Example.com", "Ann.Lee+tag@Example.com", False),
        ("ann@bücher.example", "ann@xn--bcher-kva.example", False),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example", False),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example", True),
        ('"a b"@example.com', '"a b"@example.com', False),
        ("dotted.@docomo.example", "dotted.@docomo.example", False),
    ],
)
def test_a_domain_goes_on_the_wire_in_ascii(address: str, wire: str, needs_utf8: bool) -> None:
    """Only letters before the @ can ask for SMTPUTF8."""
    box = mailbox(address)
    assert (box.spec, box.needs_utf8) == (wire, needs_utf8)


def test_a_mailbox_in_other_letters_stands_in_to_as_it_is() -> None:
    """RFC 6532: an encoded word can't stand in an address."""
    assert "To: jörg@example.com\r\n".encode() in spliced(
        Email(subject="s", content="b"), recipient("jörg@example.com")
    )


def test_each_recipient_sees_the_copy_of_its_role() -> None:
    """To: its own address; cc and bcc: the primary recipients; bcc nowhere."""
    email = Email(subject="s", content="b")
    seen = {"visible_to": ("ann@example.com", "bob@example.com"), "visible_cc": ("carl@example.com",)}
    for role, address, to in (
        (Role.TO, "ann@example.com", "ann@example.com"),
        (Role.CC, "carl@example.com", "ann@example.com, bob@example.com"),
        (Role.BCC, "dora@example.com", "ann@example.com, bob@example.com"),
    ):
        message = parsed(email, recipient(address, role=role), **seen)
        assert (message["to"], message["cc"], message["bcc"]) == (to, "carl@example.com", None)
    assert b"dora" not in spliced(email, recipient("dora@example.com", role=Role.BCC), **seen)


def test_a_copy_of_a_message_to_too_many_shows_undisclosed_recipients() -> None:
    """With nobody to show, To is an empty group."""
    message = parsed(Email(subject="s", content="b"), recipient("dora@example.com", role=Role.BCC))
    assert message["to"] == "undisclosed-recipients:;"


def test_the_message_id_stays_the_same_on_every_attempt() -> None:
    """Receivers can tell a repeated message by it."""
    first, second = (
        parsed(Email(subject="s", content="b"), recipient("ann@example.com"))["message-id"] for _ in range(2)
    )
    assert first == second == "<m1-t1@example.org>"


def test_a_long_address_in_a_header_is_never_broken_or_encoded() -> None:
    """A List-Unsubscribe address of 200 characters has to arrive in one piece."""
    link = f"<https://example.org/{'u' * 200}>"
    wire = spliced(Email(subject="s", content="b", headers={"List-Unsubscribe": link}), recipient("ann@example.com"))
    assert link.encode() in wire
    with pytest.raises(ContentError, match="998"):
        header_line("X-Long", "x" * 1000)


UNSUBSCRIBE = "https://mail.example.org/v1/unsubscribe/k3y?d=m1-t1"
BOTH = ["List-Unsubscribe", "List-Unsubscribe-Post"]


def bulk(address: str, *, role: Role = Role.TO, url: str | None = UNSUBSCRIBE) -> Recipient:
    """A delivery whose reader can end it."""
    return replace(recipient(address, role=role), unsubscribe_url=url)


@pytest.mark.parametrize("role", list(Role))
def test_every_copy_of_bulk_mail_says_how_its_own_reader_ends_it(role: Role) -> None:
    """Both headers of RFC 8058, once, in one line each."""
    wire = spliced(Email(subject="s", content="b"), bulk("ann@example.com", role=role))
    assert wire.count(f"\r\nList-Unsubscribe: <{UNSUBSCRIBE}>\r\n".encode()) == 1
    assert wire.count(b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n") == 1


def test_other_mail_says_nothing_of_unsubscribing() -> None:
    """A receipt or a password is no bulk mail."""
    assert b"Unsubscribe" not in spliced(Email(subject="s", content="b"), recipient("ann@example.com"))


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe", "LIST-UNSUBSCRIBE"])
def test_a_message_with_an_unsubscribe_header_of_its_own_keeps_it(name: str) -> None:
    """And gets no second one, nor a promise of one click that its own address may not keep."""
    email = Email(subject="s", content="b", headers={name: "<mailto:leave@example.org>"})
    message = parsed(email, bulk("ann@example.com"))
    assert message.get_all("list-unsubscribe") == ["<mailto:leave@example.org>"]
    assert "list-unsubscribe-post" not in message


def test_a_promise_of_one_click_is_made_once() -> None:
    """Where the message brings that header and no address."""
    email = Email(subject="s", content="b", headers={"list-unsubscribe-post": "List-Unsubscribe=One-Click"})
    message = parsed(email, bulk("ann@example.com"))
    assert [len(message.get_all(name) or []) for name in BOTH] == [1, 1]


@pytest.mark.parametrize(
    "url", ["https://a.example/\r\nBcc: eve@example.org", "https://a.example/>,<x", "ftp://a", "é"]
)
def test_an_unsubscribe_address_that_would_break_its_header_is_refused(url: str) -> None:
    """For that copy alone."""
    with pytest.raises(ContentError, match="unsubscribe"):
        spliced(Email(subject="s", content="b"), bulk("ann@example.com", url=url))


@pytest.mark.parametrize(
    ("email", "visible", "role", "needed"),
    [
        (Email(subject="s", content="b"), {"visible_to": ("jörg@example.com",)}, Role.TO, False),
        (Email(subject="s", content="b"), {"visible_to": ("jörg@example.com",)}, Role.BCC, True),
        (Email(subject="s", content="b"), {"visible_cc": ("jörg@example.com",)}, Role.TO, True),
        (Email(subject="s", content="b", reply_to_email="jörg@example.com"), {}, Role.TO, True),
        (Email(subject="s", content="b"), {"visible_to": ("ann@bücher.example",)}, Role.BCC, False),
    ],
)
def test_only_a_copy_that_shows_letters_of_other_alphabets_before_an_at_needs_smtputf8(
    email: Email, visible: dict[str, tuple[str, ...]], role: Role, needed: bool
) -> None:
    """A To copy shows its own address alone."""
    template = render(Outgoing(message_id="m1", content=email, expires_at=EXPIRES_AT, **visible), SENDER)
    assert template.utf8_shown_to(recipient("ann@example.com", role=role)) is needed


def test_attachments_keep_name_type_and_bytes() -> None:
    """Names in any letters, a charset where there is one, messages as plain files."""
    files = (
        Attachment(filename="Übersicht ☃.csv", content_type="text/csv; charset=utf-8", content="é;1\n".encode()),
        Attachment(filename="mail.eml", content_type="message/rfc822", content=b"Subject: x\n\ny"),
        Attachment(filename="empty.bin", content_type="application/octet-stream", content=b""),
    )
    message = parsed(Email(subject="s", content="b", attachments=files), recipient("ann@example.com"))
    found = list(message.iter_attachments())
    assert [part.get_filename() for part in found] == ["Übersicht ☃.csv", "mail.eml", "empty.bin"]
    assert [part.get_content_type() for part in found] == [
        "text/csv",
        "application/octet-stream",
        "application/octet-stream",
    ]
    assert [part.get_payload(decode=True) for part in found] == [file.content for file in files]
    assert found[0].get_content_charset() == "utf-8"


@pytest.mark.parametrize("content_type", ["", "pdf", "a/b/c", "text/pl ain"])
def test_a_malformed_content_type_is_refused(content_type: str) -> None:
    """Instead of being sent as something else."""
    file = Attachment(filename="f", content_type=content_type, content=b"x")
    with pytest.raises(ContentError, match="type/subtype"):
        spliced(Email(subject="s", content="b", attachments=(file,)), recipient("ann@example.com"))


def test_half_a_character_is_refused() -> None:
    """A lone surrogate can't be written in UTF-8."""
    with pytest.raises(ContentError):
        spliced(Email(subject="s", content="\ud83d"), recipient("ann@example.com"))


def test_another_channels_content_is_refused() -> None:
    """An SMS isn't an email."""
    with pytest.raises(ContentError, match="sms"):
        render(Outgoing(message_id="m", content=Sms(content="x"), expires_at=EXPIRES_AT), SENDER)


def test_a_plain_part_is_made_from_the_markup_when_none_is_given() -> None:
    """Blocks on lines of their own, links with their address, nothing of scripts."""
    markup = (
        "<html><head><title>T</title><style>p{}</style></head><body><h1>Hello&nbsp;Ann</h1><p>Your\n order "
        "<a href='https://x.example/o'>17</a> is <b>ready</b>.<br>Bye</p><ul><li>one<li>two</ul>"
        "<script>evil()</script><img alt='Logo'></body></html>"
    )
    assert text_of_html(markup) == (
        "Hello Ann\n\nYour order 17 (https://x.example/o) is ready.\nBye\n\n- one\n- two\n\nLogo"
    )
    assert plain_text(Email(subject="s", content=markup, html=True, text="given")) == "given"
    assert plain_text(Email(subject="s", content="<b>", html=False)) == "<b>"


@given(st.text(max_size=200))
def test_no_markup_stops_the_plain_part(markup: str) -> None:
    """However broken it is."""
    assert isinstance(text_of_html(markup), str)


def test_the_date_is_formatted_once_a_second() -> None:
    """And is the present one."""
    moments = [datetime(2026, 11, 23, 5, 14, 59, 999_999, tzinfo=UTC) + timedelta(microseconds=n) for n in range(2)]
    current = date_source(iter([moments[0], moments[0], moments[1]]).__next__)
    assert [current(), current(), current()] == [DATE, DATE, "Mon, 23 Nov 2026 05:15:00 +0000"]


@pytest.mark.parametrize("key", ["fromName", "replyToName"])
def test_a_name_that_would_end_its_header_is_a_settings_error(key: str) -> None:
    """Once, when the account is opened, instead of with every message."""
    with pytest.raises(SettingsError, match=key):
        sender_of({"fromEmail": "news@example.org", key: "News\r\nBcc: eve@example.org"})


def test_a_sender_without_an_address_is_a_settings_error() -> None:
    """The operator is told which option to correct."""
    with pytest.raises(SettingsError, match="fromEmail"):
        sender_of({"fromName": "x"})
