"""A target's address: the browser's PushSubscription as JSON, read and held against what a stranger might put there.

Source: https://www.w3.org/TR/push-api/#dom-pushsubscriptionjson
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from messaging.errors import ContentError
from workers.providers.webpush_crypto import AUTH_BYTES, POINT_BYTES, from_base64url

_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?(?P<path>/[!\"$-~]*)"
)
"""No user, no fragment, ASCII only: what browsers hand out."""
_DEFAULT_PORTS = {"https": "443", "http": "80"}
_PUBLIC_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
"""At least two labels, and the last begins with a letter: no IP address in any spelling, nor a bare host name."""
_PRIVATE_DOMAINS = frozenset(
    {"arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
     "private", "test"}
)  # fmt: skip
"""Last labels that lead into a private network or nowhere (RFC 6761, RFC 6762, RFC 8375, and common use)."""

_PUSH_SERVICES = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "web.push.apple.com",
    ".notify.windows.com",
)
"""Those of Chrome and its relatives, Firefox, Safari and Edge."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a browser is pushed to, and the keys only it can read with."""

    scheme: str
    host: str
    """In lower case."""
    origin: str
    """Scheme, host and port: the audience of a VAPID token."""
    path: str
    """With the query."""
    key: ec.EllipticCurvePublicKey
    auth: bytes

    @property
    def is_well_known(self) -> bool:
        """Whether the push service is a browser maker's, and not one a stranger may have set up."""
        return any(self.host == name or (name[0] == "." and self.host.endswith(name)) for name in _PUSH_SERVICES)


def parse(address: str) -> Subscription:
    """The subscription in `address`; raises `ContentError` with code ``subscription_invalid``."""
    try:
        document = json.loads(address)
        endpoint, keys = document["endpoint"], document["keys"]
        encoded = keys["p256dh"], keys["auth"]
        key, auth = (from_base64url(value) for value in encoded)
        found = _ENDPOINT.fullmatch(endpoint)
        if found is None or len(key) != POINT_BYTES or len(auth) != AUTH_BYTES:
            raise ValueError  # noqa: TRY301  one sentence for all that can be wrong
        reader = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ContentError(
            'not a push subscription: expected the browser\'s {"endpoint", "keys": {"p256dh", "auth"}}',
            "subscription_invalid",
        ) from None
    scheme, host, port = found["scheme"], found["host"].lower(), found["port"]
    shown_port = "" if port in {None, _DEFAULT_PORTS[scheme]} else f":{port}"
    return Subscription(scheme, host, f"{scheme}://{host}{shown_port}", found["path"], reader, auth)


def require_public(subscription: Subscription) -> None:
    """Raise `ContentError` with code ``endpoint_refused`` unless the endpoint is https at a public name.

    A subscription comes from a stranger's browser, and would else make us call into our own network. What a public
    name resolves to is looked at when it is connected to (`destinations.py`).
    """
    host = subscription.host
    public = _PUBLIC_NAME.fullmatch(host) and host.rpartition(".")[2] not in _PRIVATE_DOMAINS
    if subscription.scheme != "https" or not public:
        raise ContentError("the endpoint is not https at a public host name", "endpoint_refused")
