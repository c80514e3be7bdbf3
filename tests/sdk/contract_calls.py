"""One valid call for each operation of the contract, in an order in which each finds what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.integration.http.api import query

KEY, USER, GUEST = "key", "user", "guest"

IDS: Mapping[str, str] = {
    "messageId": "letter",
    "providerId": "kept",
    "sessionId": "current",
    "subscriberId": "reader",
    "targetId": "phone",
    "topicId": "news",
    "userId": "ada",
}
"""What stands for `{name}` in a path unless the call says otherwise."""

_REPLY = {
    "fromName": "Shop",
    "fromEmail": "news@shop.example",
    "replyToName": "Desk",
    "replyToEmail": "desk@shop.example",
}
_SENDER = {"from": "+15005550006"}

SERVICE_ACCOUNT: Mapping[str, str] = {
    "type": "service_account",
    "project_id": "shop",
    "client_email": "sender@shop.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n",
    "token_uri": "https://oauth2.googleapis.com/token",
}
"""In shape; it opens nothing."""

PROVIDERS: Mapping[str, Mapping[str, Any]] = {
    "apns": {"authKey": "key", "authKeyId": "ABCDE12345", "teamId": "TEAM123456", "bundleId": "com.example.app"},
    "appwrite": {"qos": 1, "expiry": 60},
    "fcm": {"serviceAccountJSON": SERVICE_ACCOUNT},
    "mailgun": {"apiKey": "k", "domain": "mail.shop.example", "isEuRegion": True, **_REPLY},
    "msg91": {"templateId": "t", "senderId": "s", "authKey": "k"},
    "resend": {"apiKey": "k", **_REPLY},
    "sendgrid": {"apiKey": "k", **_REPLY},
    "ses": {"accessKey": "a", "secretKey": "s", "region": "eu-central-1", **_REPLY},
    "smtp": {
        "host": "smtp.shop.example",
        "port": 587,
        "username": "u",
        "password": "p",
        "encryption": "tls",
        "autoTLS": True,
        "mailer": "shop",
        **_REPLY,
    },
    "telesign": {"customerId": "c", "apiKey": "k", **_SENDER},
    "textmagic": {"username": "u", "apiKey": "k", **_SENDER},
    "twilio": {"accountSid": "AC0", "authToken": "t", **_SENDER},
    "vonage": {"apiKey": "k", "apiSecret": "s", **_SENDER},
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One call."""

    method: str
    template: str
    body: Mapping[str, Any] | None = None
    who: str = KEY
    places: Mapping[str, str] | None = None
    queries: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The template with its places filled."""
        return self.template.format_map({**IDS, **(self.places or {})})


def _ask(method: str, template: str, body: Mapping[str, Any] | None = None, **more: Any) -> Asked:
    return Asked(method=method, template=template, body=body, **more)


_PAGE = (query("orderDesc", "$createdAt"), query("limit", None, 5))

_USERS = (
    _ask("POST", "/users", {"userId": "ada", "email": "ada@shop.example", "phone": "+4915112345678", "name": "Ada"}),
    _ask("GET", "/users", queries=_PAGE),
    _ask("GET", "/users/{userId}"),
    _ask("PUT", "/users/{userId}/labels", {"labels": ["vip"]}),
    _ask("POST", "/users/{userId}/sessions"),
    _ask("GET", "/users/{userId}/sessions"),
    _ask("POST", "/users/{userId}/jwts", {"sessionId": "recent", "duration": 60}),
    _ask(
        "POST",
        "/users/{userId}/targets",
        {"targetId": "phone", "providerType": "push", "identifier": "token-1", "providerId": "kept", "name": "Phone"},
    ),
    _ask("GET", "/users/{userId}/targets", queries=_PAGE),
    _ask("GET", "/users/{userId}/targets/{targetId}"),
    _ask("PATCH", "/users/{userId}/targets/{targetId}", {"identifier": "token-2", "name": "New phone"}),
)

_TOPICS = (
    _ask("POST", "/messaging/topics", {"topicId": "news", "name": "News", "subscribe": ["users"], "description": "d"}),
    _ask("GET", "/messaging/topics", queries=_PAGE),
    _ask("GET", "/messaging/topics/{topicId}"),
    _ask("PATCH", "/messaging/topics/{topicId}", {"name": "Fresh news", "qos": 1, "expiry": 60}),
    _ask("POST", "/messaging/topics/{topicId}/subscribers", {"subscriberId": "reader", "targetId": "phone"}),
    _ask("GET", "/messaging/topics/{topicId}/subscribers", queries=_PAGE),
    _ask("GET", "/messaging/topics/{topicId}/subscribers/{subscriberId}"),
)

_LATER = "2099-01-01T00:00:00.000Z"
_MESSAGES = (
    _ask(
        "POST",
        "/messaging/messages/email",
        {"messageId": "letter", "subject": "S", "content": "<b>C</b>", "users": ["ada"], "draft": True, "html": True},
    ),
    _ask("PATCH", "/messaging/messages/email/{messageId}", {"subject": "T", "replyToName": "Desk"}),
    _ask(
        "POST",
        "/messaging/messages/push",
        {"messageId": "ring", "title": "T", "body": "B", "targets": ["phone"], "scheduledAt": _LATER, "badge": 1},
    ),
    _ask(
        "PATCH",
        "/messaging/messages/push/{messageId}",
        {"title": "U", "data": {"a": "1"}},
        places={"messageId": "ring"},
    ),
    _ask("POST", "/messaging/messages/sms", {"messageId": "code", "content": "1", "topics": ["news"], "draft": True}),
    _ask("PATCH", "/messaging/messages/sms/{messageId}", {"content": "2"}, places={"messageId": "code"}),
    _ask("GET", "/messaging/messages", queries=_PAGE),
    _ask("GET", "/messaging/messages/{messageId}"),
    _ask("GET", "/messaging/messages/{messageId}/targets", places={"messageId": "ring"}),
    _ask("DELETE", "/messaging/messages/{messageId}"),
)

_ADA = {"email": "eva@shop.example", "password": "correct horse"}
_ACCOUNT = (
    _ask("POST", "/account", {"userId": "eva", "name": "Eva", **_ADA}, who=GUEST),
    _ask("POST", "/account/sessions/email", _ADA, who=GUEST),
    _ask("POST", "/account/sessions/anonymous", {}, who=GUEST),
    _ask("GET", "/account", who=USER),
    _ask("GET", "/account/sessions/{sessionId}", who=USER),
    _ask("POST", "/account/jwts", {}, who=USER),
    _ask("POST", "/account/targets/push", {"targetId": "tablet", "identifier": "token-3"}, who=USER),
    _ask("PUT", "/account/targets/{targetId}/push", {"identifier": "token-4"}, who=USER, places={"targetId": "tablet"}),
    _ask(
        "POST",
        "/messaging/topics/{topicId}/subscribers",
        {"subscriberId": "tablet", "targetId": "tablet"},
        who=USER,
    ),
    _ask(
        "DELETE",
        "/messaging/topics/{topicId}/subscribers/{subscriberId}",
        {},
        who=USER,
        places={"subscriberId": "tablet"},
    ),
    _ask("DELETE", "/account/targets/{targetId}/push", {}, who=USER, places={"targetId": "tablet"}),
    _ask("DELETE", "/account/sessions/{sessionId}", {}, who=USER),
)

_ENDS = (
    _ask("DELETE", "/messaging/topics/{topicId}/subscribers/{subscriberId}"),
    _ask("DELETE", "/messaging/topics/{topicId}"),
    _ask("DELETE", "/messaging/providers/{providerId}"),
    _ask("DELETE", "/users/{userId}/targets/{targetId}"),
    _ask("DELETE", "/users/{userId}"),
)


def _providers() -> Iterator[Asked]:
    for kind, fields in PROVIDERS.items():
        made = {"providerId": kind, "name": kind.title(), "enabled": False, **fields}
        yield _ask("POST", f"/messaging/providers/{kind}", made)
        changed = {"name": "Renamed", **fields}
        yield _ask("PATCH", f"/messaging/providers/{kind}/{{providerId}}", changed, places={"providerId": kind})
    yield _ask("POST", "/messaging/providers/fcm", {"providerId": "kept", "name": "Kept"})
    yield _ask("GET", "/messaging/providers", queries=_PAGE)
    yield _ask("GET", "/messaging/providers/{providerId}")


CALLS: tuple[Asked, ...] = (
    _ask("GET", "/ping", who=GUEST),
    _ask("GET", "/health"),
    *_providers(),
    *_USERS,
    *_TOPICS,
    *_MESSAGES,
    *_ACCOUNT,
    *_ENDS,
)
