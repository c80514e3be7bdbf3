"""Example values for a JSON schema: what stands in our document and in the requests shown on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging.http.parameters import UNIQUE

TELLING = frozenset(
    {
        *("title", "body", "topics", "email", "enabled"),
        *("apiKey", "apiSecret", "accessKey", "secretKey", "region", "domain", "isEuRegion", "fromEmail"),
        *("accountSid", "authToken", "from", "customerId", "username", "templateId", "senderId"),
        *("authKey", "authKeyId", "teamId", "bundleId", "serviceAccountJSON", "sendTo"),
        "rows",
    }
)
"""Parameters that a request for something new shows although they may be left out."""

_BY_NAME: Mapping[str, Any] = {
    "address": "ada@example.org",
    "authKey": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n",
    "authKeyId": "ABC123DEFG",
    "body": "It leaves at nine.",
    "bundleId": "org.example.app",
    "content": "Your train leaves at nine.",
    "data": {"train": "IC 815"},
    "description": "Trains that are late",
    "domain": "mg.example.org",
    "email": "ada@example.org",
    "fromEmail": "news@example.org",
    "host": "mail.example.org",
    "identifier": "ada@example.org",
    "labels": ["vip"],
    "limits": {"perSecond": 50, "perMinute": 1000, "concurrency": 5, "warmUp": False},
    "name": "Trains",
    "password": "correct horse battery",  # nosec B105  an example for readers; opens nothing
    "number": "+4930901820",
    "phone": "+4930901820",
    "permissions": ['read("users")'],
    "prefs": {"language": "de"},
    "replyToEmail": "desk@example.org",
    "rows": [{"address": "ada@example.org", "providerType": "email", "scope": "bulk"}],
    "scheduledAt": "2126-11-23T09:00:00.000Z",
    "sendTo": "+4930901820",
    "serviceAccountJSON": {"type": "service_account", "project_id": "example"},
    "subject": "A change to your journey",
    "subscribe": ["users"],
    "teamId": "TEAM123456",
    "title": "Your train",
    "weight": 3,
}
_BY_PLACE: Mapping[str, str] = {
    "bucketId": "pictures",
    "checkId": "check",
    "fileId": "platform.png",
    "messageId": "train-815",
    "providerId": "provider",
    "sessionId": "session",
    "subscriberId": "ada-trains",
    "suppressionId": "e-0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "targetId": "ada-phone",
    "topicId": "trains",
    "userId": "ada",
}


def example(name: str, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
    """A value that `schema` takes, for a parameter of that name."""
    if schema.get("pattern", "").startswith(r"^(unique\(\)"):
        return UNIQUE
    if name in _BY_NAME:
        return _BY_NAME[name]
    if "enum" in schema:
        return schema["enum"][0]
    return _of_kind(name, schema)


def _of_kind(name: str, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401
    match schema.get("type", "string"):
        case "boolean":
            return schema.get("default", True)
        case "integer":
            return schema.get("default", schema.get("minimum", 1))
        case "array":
            return [_single(name, schema.get("items", {}))]
        case "object":
            return {}
    return _BY_PLACE.get(name, _word(name, schema))


def _single(name: str, items: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return example({"emails": "email"}.get(name, name.removesuffix("s") + "Id"), items)


def _word(name: str, schema: Mapping[str, Any]) -> str:
    lower = name.lower()
    if "email" in lower:
        return "ada@example.org"
    if "phone" in lower or lower == "from":
        return "+4930901820"
    if lower in {"cc", "ccid", "bcc", "bccid"}:
        return "ada-mail"
    longest = schema.get("maxLength")
    return name if longest is None else name[:longest]
