"""A message as our own webhook protocol writes it: JSON, the same for every channel but for `content`.

The protocol is described in docs/reference/webhook-provider.md.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from messaging.channel import Channel, Role
from messaging.errors import ContentError
from messaging.message import Email, Push, Sms
from workers.providers.base import Outgoing, Recipient
from workers.providers.mime import (
    RESERVED,
    Sender,
    checked_headers,
    header_line,
    mailbox,
    plain_text,
    reply_to_of,
)

_PHONE = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_TOKEN = re.compile(r"[^\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]{1,4096}")


@dataclass(frozen=True)
class Prepared:
    """A request without its recipients."""

    message_id: str
    head: bytes
    """The request's JSON object without its closing brace."""

    def body(self, entries: Sequence[bytes]) -> bytes:
        """The request for these recipients, each an `entry`."""
        return self.head + b',"recipients":[' + b",".join(entries) + b"]}"

    def request_id(self, tags: Sequence[str]) -> str:
        """The request's id: the same whenever this message goes to these deliveries."""
        digest = sha256("\n".join((self.message_id, *tags)).encode("utf-8", "surrogatepass"))
        return f"msg_{digest.hexdigest()[:40]}"


def render(outgoing: Outgoing, channel: Channel, sender: Sender | None, receipts_url: str | None) -> Prepared:
    """The part all recipients share; raises `ContentError` naming what can't be sent."""
    content = outgoing.content
    if content.channel is not channel:
        raise ContentError(f"this webhook can't send a {content.channel} message", "wrong_channel")
    fields: dict[str, object] = {
        "type": "messages.send",
        "channel": channel.value,
        "messageId": outgoing.message_id,
        "expiresAt": outgoing.expires_at.isoformat(),
    }
    if receipts_url:
        fields["receiptsUrl"] = receipts_url
    match content:
        case Email():
            fields |= _envelope(content, sender) if sender is not None else {}
            fields["content"] = _email(content)
        case Push():
            fields["content"] = _push(content)
        case Sms():
            if not content.content:
                raise ContentError("the text is empty: give a content")
            fields["content"] = {"content": content.content}
    for name, shown in (("visibleTo", outgoing.visible_to), ("visibleCc", outgoing.visible_cc)):
        if shown:
            fields[name] = list(shown)
    try:
        return Prepared(outgoing.message_id, encoded(fields)[:-1])
    except UnicodeEncodeError:
        raise ContentError("the message holds half a character (a lone surrogate): remove it") from None


def entry(recipient: Recipient, channel: Channel) -> bytes:
    """One recipient of a request; raises `ContentError` for what is no address of the channel."""
    address = recipient.address
    if channel is Channel.EMAIL:
        address = mailbox(address).spec
    elif not (_PHONE if channel is Channel.SMS else _TOKEN).fullmatch(address):
        expected = "a number in E.164, such as +4930123456" if channel is Channel.SMS else "a token without blanks"
        raise ContentError(f"not an address: expected {expected}", "address_invalid")
    fields = {
        "delivery": recipient.tag,
        "to": address,
        "name": recipient.name or None,
        "role": None if recipient.role is Role.TO else recipient.role.value,
        "unsubscribeUrl": recipient.unsubscribe_url,
    }
    try:
        return encoded({name: value for name, value in fields.items() if value is not None})
    except UnicodeEncodeError:
        raise ContentError("the recipient's address or name holds half a character", "address_invalid") from None


def encoded(document: object) -> bytes:
    """Compact JSON in UTF-8; raises `UnicodeEncodeError` for a lone surrogate."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _envelope(email: Email, sender: Sender) -> dict[str, object]:
    envelope: dict[str, object] = {
        "from": {"email": sender.mailbox.spec} | ({"name": sender.name} if sender.name else {})
    }
    reply_to = reply_to_of(email, sender)
    if reply_to:
        name, box = reply_to
        envelope["replyTo"] = {"email": box.spec} | ({"name": name} if name else {})
    return envelope


def _email(email: Email) -> dict[str, object]:
    header_line("Subject", email.subject)  # raises for a line end, which a reader's program would take for a header's
    content: dict[str, object] = {
        "subject": email.subject,
        "content": email.content,
        "html": bool(email.html),
        "text": plain_text(email),
    }
    if email.headers:
        content["headers"] = checked_headers(email.headers, RESERVED)
    if email.attachments:
        content["attachments"] = [
            {
                "filename": attachment.filename,
                "contentType": attachment.content_type,
                "content": b64encode(attachment.content).decode("ascii"),
            }
            for attachment in email.attachments
        ]
    return content


def _push(push: Push) -> dict[str, object]:
    fields: dict[str, object] = {
        "title": push.title,
        "body": push.body,
        "data": dict(push.data) or None,
        "action": push.action,
        "image": push.image,
        "icon": push.icon,
        "sound": push.sound,
        "color": push.color,
        "tag": push.tag,
        "badge": push.badge,
        "contentAvailable": push.content_available or None,
        "critical": push.critical or None,
        "priority": push.priority,
        "channelId": push.channel_id,
        "collapseId": push.collapse_id,
        "pushType": push.push_type,
    }
    return {name: value for name, value in fields.items() if value is not None}
