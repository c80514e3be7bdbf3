"""What stand-ins read of a request: who makes it, and its fields."""

import base64
import binascii
import json
from typing import Any
from urllib.parse import parse_qsl

from messaging.local.sandbox.exchange import Request

_FORM = b"application/x-www-form-urlencoded"


def basic_auth(request: Request) -> tuple[str, str]:
    """User and password of HTTP Basic; empty where there are none."""
    scheme, _, encoded = request.headers.get(b"authorization", b"").partition(b" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (user, password) if scheme.lower() == b"basic" else ("", "")


def form_of(request: Request, *, keep_blank: bool = True) -> dict[str, str]:
    """The fields of a form body; of a name that comes more than once, the last."""
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=keep_blank))


def json_object(request: Request) -> dict[str, Any] | None:
    """The JSON object that is the body; None for anything else."""
    try:
        document = json.loads(request.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def fields_of(request: Request, *, keep_blank: bool = True) -> dict[str, str] | None:
    """The fields of a form, or of a JSON object as texts; None for a body that is neither."""
    if request.headers.get(b"content-type", b"").startswith(_FORM):
        return form_of(request, keep_blank=keep_blank)
    document = json_object(request)
    return None if document is None else {name: str(value) for name, value in document.items() if value is not None}
