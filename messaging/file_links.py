"""Links to files that anyone may follow until they expire: a phone fetches the image of a push message."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from urllib.parse import quote

from messaging.clock import clock
from messaging.errors import InvalidArgumentError
from messaging.settings import Settings
from messaging.vault import Vault

LIFETIME = timedelta(days=15)
"""Of the link in a push message, from when it is sent."""

_TOKEN = re.compile(r"([0-9a-f]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)


def image_url(  # noqa: PLR0917  the parts of an address, in their order
    settings: Settings, vault: Vault, project: str, bucket: str, file: str, expires_at: datetime
) -> str:
    """An https address of that file's bytes, for everybody who has it, until `expires_at`. Ids are public ones.

    Raises `InvalidArgumentError` where no public address of this server is set.
    """
    if settings.public_url is None:
        raise InvalidArgumentError(
            "image",
            "devices must be able to fetch it, and this server knows no address of its own."
            " Set MESSAGING_PUBLIC_URL to the https:// address that it is reached at",
        )
    base = settings.public_url.rstrip("/").removesuffix("/v1")
    path = f"/v1/storage/buckets/{quote(bucket, safe='')}/files/{quote(file, safe='')}/view"
    said = f"project={quote(project, safe='')}&token={token(vault, project, bucket, file, expires_at)}"
    return f"{base}{path}?{said}"


def token(vault: Vault, project: str, bucket: str, file: str, expires_at: datetime) -> str:
    """What opens that file until `expires_at`: the time in hexadecimal, and a signature over it and the ids."""
    seconds = int(expires_at.timestamp())
    return f"{seconds:x}.{_signature(vault, project, bucket, file, seconds)}"


def opens(vault: Vault, given: str, project: str, bucket: str, file: str, *, now: datetime | None = None) -> bool:
    """Whether the token `given` was made by us for that file and has not expired."""
    found = _TOKEN.fullmatch(given)
    if found is None:
        return False
    seconds = int(found[1], 16)
    said = _said(project, bucket, file, seconds)
    genuine = any(hmac.compare_digest(_written(mac), found[2]) for mac in vault.link_macs(said))
    return genuine and (now or clock.now()).timestamp() < seconds


def _signature(vault: Vault, project: str, bucket: str, file: str, seconds: int) -> str:
    return _written(vault.link_mac(_said(project, bucket, file, seconds)))


def _said(project: str, bucket: str, file: str, seconds: int) -> bytes:
    return "\n".join((project, bucket, file, str(seconds))).encode()  # no id has a line break


def _written(mac: bytes) -> str:
    return urlsafe_b64encode(mac).decode().rstrip("=")
