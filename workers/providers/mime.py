"""Email on the wire: addresses, header lines, and a message rendered once for all its recipients.

Building an `EmailMessage` costs over a millisecond, so `render` does it once and what differs between
recipients (Date, Message-ID, To) is put in front as bytes.
Sources: RFC 5322 (messages), RFC 2047 (words), RFC 6532 (UTF-8 headers), RFC 5321 §4.5.3.1 (limits).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, quote
from html.parser import HTMLParser

import idna

from messaging.channel import Role
from messaging.clock import clock
from messaging.errors import ContentError, SettingsError
from messaging.message import Attachment, Email
from workers.providers.base import Outgoing, Recipient

_POLICY = SMTP.clone(cte_type="7bit")
"""Seven-bit bodies pass every relay, 8BITMIME or not."""

_LINE_LIMIT = 998
_FOLD_AT = 78
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no header may hold: line ends above all, also those only Python's `splitlines` sees; tab is allowed."""
_NAME = re.compile(r"[!-9;-~]+\Z")
_LOCAL = re.compile(
    r"(?:[\w!#$%&'*+/=?^`{|}~.-]|[^\x00-\x9f\s\ud800-\udfff])+\Z"
    r"|\"(?:[^\"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|\\[ -~])*\"\Z"
)
"""Any letters between dots, more freely than RFC 5322 (real mailboxes begin or end with a dot), or a quoted string."""
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_SPECIALS = re.compile(r"[][\\()<>@,:;\".]")
_UNSUBSCRIBE_URL = re.compile(r"https?://[!-;=?-~]{1,900}\Z")
_BARE_LINE_END = re.compile(rb"\r\n|\r|\n")

RESERVED = frozenset(
    {
        "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version",
        "return-path", "received", "dkim-signature", "content-type", "content-transfer-encoding",
        "content-disposition", "content-id",
    }
)  # fmt: skip
"""Headers the program writes itself; a message that names one is refused."""


@dataclass(frozen=True)
class Mailbox:
    """An email address as it goes on the wire: the domain in ASCII, the local part as written."""

    local: str
    domain: str

    @property
    def spec(self) -> str:
        """`local@domain`."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Whom a provider account writes as."""

    mailbox: Mailbox
    name: str = ""
    reply_to: Mailbox | None = None
    reply_to_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A message without the headers in which its copies differ."""

    common: bytes
    """Header lines all copies share, a blank line and the body; CRLF throughout."""
    domain: str
    """Right-hand side of Message-IDs."""
    to_of_copies: bytes
    """The To line of cc and bcc copies."""
    needs_utf8: bool = False
    """Whether a header of every copy holds an address only SMTPUTF8 can carry."""
    copies_need_utf8: bool = False
    """The same of `to_of_copies`."""
    header_names: tuple[str, ...] = ()
    """Headers the message has of its own."""

    def head(self, recipient: Recipient, mailbox: Mailbox, date: str) -> bytes:
        """Date, Message-ID, To and unsubscribe headers of one copy, to be put before `common`.

        Raises `ContentError` when the recipient's name or unsubscribe address can't stand in a header.
        """
        to = address_line("To", [(recipient.name or "", mailbox)]) if recipient.role is Role.TO else self.to_of_copies
        lines = [f"Date: {date}\r\nMessage-ID: {message_id(recipient.tag, self.domain)}\r\n".encode("ascii"), to]
        if unsubscribing := unsubscribe_headers(recipient, self.header_names):
            if not _UNSUBSCRIBE_URL.match(recipient.unsubscribe_url or ""):
                raise ContentError("the unsubscribe address is no http(s) address of one line", "header_invalid")
            lines += [f"{name}: {value}\r\n".encode("ascii") for name, value in unsubscribing.items()]
        return b"".join(lines)

    def utf8_shown_to(self, recipient: Recipient) -> bool:
        """Whether the headers of this copy, but for its own address, hold what only SMTPUTF8 can carry."""
        return self.needs_utf8 or (self.copies_need_utf8 and recipient.role is not Role.TO)


def mailbox(address: str) -> Mailbox:
    """The address with its domain in ASCII (IDNA 2008); raises `ContentError` when it is not an address."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not _LOCAL.match(local) or len(local.encode("utf-8", "replace")) > 64:  # noqa: PLR2004  (RFC 5321)
        raise ContentError("not an email address: expected name@domain", "address_invalid")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ContentError("the address's domain is not a valid name", "address_invalid") from None
    if not _DOMAIN.match(domain) or ".." in domain or len(domain) > 253:  # noqa: PLR2004  (RFC 1035 §2.3.4)
        raise ContentError("the address's domain is not a valid name", "address_invalid")
    return Mailbox(local, domain)


def sender_of(options: Mapping[str, object]) -> Sender:
    """The sender in a provider's options.

    Raises `SettingsError` when fromEmail or replyToEmail is no address, or a name can't stand in a header.
    """
    from_email, reply_to_email = (str(options.get(key) or "") for key in ("fromEmail", "replyToEmail"))
    for key in ("fromName", "replyToName"):
        if _CONTROL.search(str(options.get(key) or "")):
            raise SettingsError(f"The provider's {key} holds a line end or control character: remove it.")
    try:
        return Sender(
            mailbox=mailbox(from_email),
            name=str(options.get("fromName") or ""),
            reply_to=mailbox(reply_to_email) if reply_to_email else None,
            reply_to_name=str(options.get("replyToName") or ""),
        )
    except ContentError as error:
        raise SettingsError(f"The provider's fromEmail or replyToEmail is {error}. Correct it and enable it.") from None


def reply_to_of(email: Email, sender: Sender) -> tuple[str, Mailbox] | None:
    """Name and mailbox for Reply-To: the message's own, else the account's, else None."""
    if email.reply_to_email:
        return email.reply_to_name or "", mailbox(email.reply_to_email)
    return (sender.reply_to_name, sender.reply_to) if sender.reply_to else None


def message_id(tag: str, domain: str) -> str:
    """The Message-ID of a delivery: the same on every attempt, so that receivers can tell a repeated one."""
    return f"<{tag}@{domain}>"


def unsubscribe_headers(recipient: Recipient, own: Iterable[str]) -> dict[str, str]:
    """The two headers with which one copy's reader unsubscribes with a click (RFC 8058 §3.1).

    None where the delivery has no such address, or where `own`, the names of the message's own headers, has one.
    """
    names = {name.lower() for name in own}
    if not recipient.unsubscribe_url or "list-unsubscribe" in names:
        return {}
    headers = {
        "List-Unsubscribe": f"<{recipient.unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    return {name: value for name, value in headers.items() if name.lower() not in names}


def render(outgoing: Outgoing, sender: Sender, *, mailer: str = "") -> Template:
    """The message as bytes, once for all recipients; raises `ContentError` naming what can't be sent."""
    email = outgoing.content
    if not isinstance(email, Email):
        raise ContentError(f"an email provider can't send a {outgoing.content.channel} message", "wrong_channel")
    shown_cc = [("", mailbox(address)) for address in outgoing.visible_cc]
    shown_to = [("", mailbox(address)) for address in outgoing.visible_to]
    reply_to = reply_to_of(email, sender)
    lines = [address_line("From", [(sender.name, sender.mailbox)])]
    if shown_cc:
        lines.append(address_line("Cc", shown_cc))
    if reply_to:
        lines.append(address_line("Reply-To", [reply_to]))
    lines.append(header_line("Subject", email.subject))
    if mailer:
        lines.append(header_line("X-Mailer", mailer))
    lines += [header_line(name, value) for name, value in checked_headers(email.headers, RESERVED).items()]
    in_headers = [sender.mailbox, *(box for _, box in shown_cc), *([reply_to[1]] if reply_to else [])]
    return Template(
        common=b"".join(lines) + _body(email),
        domain=sender.mailbox.domain,
        to_of_copies=address_line("To", shown_to) if shown_to else b"To: undisclosed-recipients:;\r\n",
        needs_utf8=any(box.needs_utf8 for box in in_headers),
        copies_need_utf8=any(box.needs_utf8 for _, box in shown_to),
        header_names=tuple(email.headers),
    )


def checked_headers(headers: Mapping[str, str], reserved: frozenset[str]) -> dict[str, str]:
    """The extra headers; raises `ContentError` for a reserved or malformed name and for line ends in a value."""
    for name, value in headers.items():
        if not _NAME.match(name):
            raise ContentError(f"the header name {name!r} is malformed", "header_invalid")
        if name.lower() in reserved:
            raise ContentError(f"the header {name} is written by the program: leave it out", "header_reserved")
        _refuse_control(name, value)
    return dict(headers)


def header_line(name: str, value: str) -> bytes:
    """`Name: value` and CRLF, folded, non-ASCII words encoded (RFC 2047); raises `ContentError`."""
    _refuse_control(name, value)
    line = f"{name}: {_words(_collapse(value), len(name) + 2)}\r\n"
    if any(len(part) > _LINE_LIMIT for part in line.split("\r\n")):
        raise ContentError(f"the header {name} holds a word of over {_LINE_LIMIT} characters", "header_invalid")
    return line.encode("ascii")


def address_line(name: str, mailboxes: Iterable[tuple[str, Mailbox]]) -> bytes:
    """`Name: display name <address>, …` and CRLF, folded between and before addresses; raises `ContentError`."""
    entries = [_entry(name, display, box) for display, box in mailboxes]
    line = f"{name}: {', '.join(entries)}\r\n"
    if len(line) > _FOLD_AT + 2:
        folded = ("\r\n <".join(entry.rsplit(" <", 1)) if len(entry) > _FOLD_AT - 6 else entry for entry in entries)
        line = name + ": " + ",\r\n ".join(folded) + "\r\n"
    return line.encode("utf-8")


def plain_text(email: Email) -> str:
    """The plain part: the content itself, the text given beside HTML, or what the markup says in words."""
    if not email.html:
        return email.content
    return email.text if email.text is not None else text_of_html(email.content)


def text_of_html(markup: str) -> str:
    """The words of an HTML document: blocks on lines of their own, links followed by their address."""
    reader = _TextReader()
    reader.feed(markup)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def date_source(now: Callable[[], datetime] = clock.now) -> Callable[[], str]:
    """A function that gives the current Date value, formatted once a second."""
    cached: tuple[datetime, str] | None = None

    def current() -> str:
        nonlocal cached
        second = now().replace(microsecond=0)
        if cached is None or cached[0] != second:
            cached = second, format_datetime(second)
        return cached[1]

    return current


def _body(email: Email) -> bytes:
    """MIME headers, blank line and parts."""
    message = EmailMessage(policy=_POLICY)
    text = plain_text(email)
    try:
        if not email.html:
            message.set_content(text)
        elif text:
            message.set_content(text)
            message.add_alternative(email.content, subtype="html")
        else:
            message.set_content(email.content, subtype="html")
        for attachment in email.attachments:
            _attach(message, attachment)
        body = message.as_bytes()
    except ValueError as error:  # UnicodeEncodeError is one: a lone surrogate can't be written in UTF-8
        raise ContentError(f"the content can't be written as MIME: {error}", "content_invalid") from error
    if body.count(b"\r\n") == body.count(b"\n") == body.count(b"\r"):
        return body
    return _BARE_LINE_END.sub(b"\r\n", body)


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    _refuse_control("attachment filename", attachment.filename)
    declared = _POLICY.header_factory("content-type", attachment.content_type)
    if _CONTROL.search(attachment.content_type) or declared.defects:
        raise ContentError(
            f"the attachment's content type {attachment.content_type!r} is not type/subtype", "attachment_invalid"
        )
    maintype, subtype = declared.maintype, declared.subtype
    if maintype in {"message", "multipart"}:
        maintype, subtype = "application", "octet-stream"  # neither may be base64 (RFC 2046 §5.1, §5.2.1)
    params = {name: value for name, value in declared.params.items() if name == "charset"}
    message.add_attachment(
        attachment.content, maintype=maintype, subtype=subtype, filename=attachment.filename, params=params
    )


def _entry(header: str, display: str, box: Mailbox) -> str:
    if not display:
        return box.spec
    _refuse_control(header, display)
    display = _collapse(display)
    if display.isascii() and "=?" not in display:
        phrase = f'"{quote(display)}"' if _SPECIALS.search(display) else display
    else:
        phrase = _words(display, len(header) + 2)
    return f"{phrase} <{box.spec}>"


def _words(value: str, used: int) -> str:
    """`value` for a header line on which `used` characters stand already, folded with CRLF."""
    charset = "us-ascii" if value.isascii() and "=?" not in value else "utf-8"
    return Header(value, charset, maxlinelen=_FOLD_AT, header_name="x" * (used - 2)).encode(linesep="\r\n")


def _collapse(value: str) -> str:
    """Runs of blanks as one space: a fold in the middle of a run would leave a blank line."""
    return re.sub(r"[ \t]+", " ", value).strip(" ")


def _refuse_control(name: str, value: str) -> None:
    if _CONTROL.search(value):
        raise ContentError(f"{name} holds a line end or control character: remove it", "header_injection")


class _TextReader(HTMLParser):
    _BLOCKS = frozenset(
        {"p", "div", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr"}
    )
    _SKIPPED = frozenset({"script", "style", "title", "template"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._SKIPPED:
            self._skipping += 1
        elif tag == "br":
            self.parts.append("\n")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in self._BLOCKS:
            self.parts.append("\n\n" if tag != "tr" else "\n")
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.parts)))
        elif tag == "img" and (alt := dict(attrs).get("alt")):
            self.parts.append(alt)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag in self._BLOCKS:
            self.parts.append("\n\n" if tag != "tr" else "\n")
        elif tag == "td":
            self.parts.append(" ")
        elif tag == "a" and self._links:
            href, start = self._links.pop()
            if href.startswith(("http:", "https:", "mailto:")) and href not in "".join(self.parts[start:]):
                self.parts.append(f" ({href})")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(re.sub(r"\s+", " ", data))
