"""Twilio's status callbacks and the texts people answer with, signed with the auth token of the account that sent."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from messaging.local.sandbox.webhooks import Post, events_for

_STATUS: Mapping[str, tuple[str, str]] = {
    "delivered": ("delivered", ""),
    "deferred": ("sent", ""),  # Twilio has no word for a carrier that goes on trying
    "bounced_hard": ("undelivered", "30005"),
    "bounced_soft": ("undelivered", "30003"),
    "rejected": ("undelivered", "30007"),
}
"""MessageStatus and ErrorCode by event."""


def sign(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """X-Twilio-Signature: HMAC-SHA1 over the address and the sorted fields."""
    said = url + "".join(f"{name}{form[name]}" for name in sorted(form))
    return base64.b64encode(hmac.digest(auth_token.encode(), said.encode(), hashlib.sha1)).decode()


def posts(
    form: Mapping[str, str], *, account: str, auth_token: str, sid: str, answers_to: str | None
) -> Sequence[Post]:
    """What Twilio tells of an accepted message, in order.

    `answers_to` is where the number's incoming messages go; without it they go where the status goes.
    """
    callback = form.get("StatusCallback", "")
    parties = {"From": form.get("From", ""), "To": form["To"]}
    told = []
    for event in events_for(form["To"]):
        if event == "unsubscribed":
            url = answers_to or _untagged(callback)
            fields = _stop(account, parties)
        else:
            status, code = _STATUS[event]
            url = callback
            fields = parties | {
                "MessageSid": sid,
                "MessageStatus": status,
                "SmsSid": sid,
                "SmsStatus": status,
                "AccountSid": account,
                "ApiVersion": "2010-04-01",
            }
            fields |= {"ErrorCode": code} if code else {}
        if url:
            headers = {
                "content-type": "application/x-www-form-urlencoded; charset=utf-8",
                "x-twilio-signature": sign(auth_token, url, fields),
            }
            told.append(Post(url=url, body=urlencode(fields).encode(), headers=headers))
    return told


def _stop(account: str, parties: Mapping[str, str]) -> dict[str, str]:
    """The recipient's answer."""
    sid = "SM" + secrets.token_hex(16)
    return {
        "MessageSid": sid,
        "SmsSid": sid,
        "SmsMessageSid": sid,
        "SmsStatus": "received",
        "AccountSid": account,
        "ApiVersion": "2010-04-01",
        "From": parties["To"],
        "To": parties["From"],
        "Body": "STOP",
        "NumMedia": "0",
        "NumSegments": "1",
    }


def _untagged(callback: str) -> str:
    """The address without the name of a delivery: an answer belongs to none."""
    parts = urlsplit(callback)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "delivery"]
    return parts._replace(query=urlencode(query)).geturl()
