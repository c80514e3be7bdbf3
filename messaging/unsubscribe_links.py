"""Links by which a reader of bulk mail ends it with one click (RFC 8058): a delivery's name, signed."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Self

from messaging.settings import Settings
from messaging.vault import Vault

PATH = "/v1/unsubscribe"


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the links of one installation."""

    base: str
    vault: Vault

    @classmethod
    def of(cls, settings: Settings, vault: Vault) -> Self | None:
        """None where nobody said under which address this installation is reached."""
        return None if settings.outside_url is None else cls(f"{settings.outside_url}{PATH}/", vault)

    def url(self, tag: str) -> str:
        """The link in the message to the delivery with that tag."""
        return f"{self.base}{token(self.vault, tag)}"


def token(vault: Vault, tag: str) -> str:
    """What stands in the link: the tag and a signature over it."""
    return f"{tag}.{_signature(vault, tag)}"


def read(vault: Vault, given: str) -> str | None:
    """The tag in a token of ours, or None."""
    tag, _, signature = given.partition(".")
    return tag if hmac.compare_digest(_signature(vault, tag).encode(), signature.encode()) else None


def _signature(vault: Vault, tag: str) -> str:
    return urlsafe_b64encode(vault.unsubscribe_mac(tag.encode())[:18]).decode()
