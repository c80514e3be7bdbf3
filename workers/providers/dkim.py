"""DKIM signatures (RFC 6376) of mail that no provider signs for us.

A message's body is hashed once; each copy costs one signature over its headers. Signing a copy from scratch, as
libraries do, takes 7 ms for RSA with 2048 bits; this takes half a millisecond.
Sources: RFC 6376, RFC 8301 (RSA from 1024 bits, SHA-256 only), RFC 8463 (Ed25519), RFC 8058 §4 (what unsubscribe
headers need).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from messaging.errors import ContentError, SettingsError
from workers.providers.mime import Sender, mailbox

SIGNED = (
    "from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding",
    "reply-to", "list-unsubscribe", "list-unsubscribe-post",
)  # fmt: skip
"""Signed where the message has them; From once more than it is there, so that no second one can be put in."""

_LEAST_RSA_BITS = 1024
_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_AT_END = re.compile(rb"[ \t]+(?=\r\n)")
_LINE = 72


@dataclass(frozen=True)
class Signer:
    """A key and the name its public half has in the DNS: `<selector>._domainkey.<domain>`."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    def begin(self, common: bytes) -> Signing:
        """What all copies share: `common` are their shared headers, a blank line and the body."""
        headers, _, body = common.partition(b"\r\n\r\n")
        digest = b64encode(sha256(relaxed_body(body)).digest()).decode("ascii")
        return Signing(self, relaxed_headers(headers), digest)


@dataclass(frozen=True)
class Signing:
    """One message about to be signed, copy by copy."""

    signer: Signer
    shared: Mapping[str, bytes]
    """Canonical shared headers by name, in lower case."""
    body_hash: str

    def header(self, head: bytes, at_s: float) -> bytes:
        """The DKIM-Signature line of the copy whose own headers are `head`; `at_s` is the time in epoch seconds."""
        found = {**self.shared, **relaxed_headers(head)}
        names = [name for name in SIGNED if name in found]
        rsa = isinstance(self.signer.key, RSAPrivateKey)
        line = (
            f"DKIM-Signature: v=1; a={'rsa' if rsa else 'ed25519'}-sha256; c=relaxed/relaxed; d={self.signer.domain};"
            f"\r\n s={self.signer.selector}; t={int(at_s)}; bh={self.body_hash};"
            f"\r\n h={':'.join(names)}:from;"
            f"\r\n b="
        ).encode("ascii")
        signed = b"".join(found[name] + b"\r\n" for name in names) + relaxed_headers(line)["dkim-signature"]
        signature = b64encode(self._sign(signed)).decode("ascii")
        folded = "\r\n ".join(signature[start : start + _LINE] for start in range(0, len(signature), _LINE))
        return line + folded.encode("ascii") + b"\r\n"

    def _sign(self, data: bytes) -> bytes:
        key = self.signer.key
        if isinstance(key, RSAPrivateKey):
            return key.sign(data, PKCS1v15(), SHA256())
        return key.sign(sha256(data).digest())  # RFC 8463 §3: the hash is what is signed


def relaxed_headers(block: bytes) -> dict[str, bytes]:
    """Header lines in canonical form, without their line ends, by name in lower case (RFC 6376 §3.4.2)."""
    found: dict[str, bytes] = {}
    for line in _FOLD.sub(b"", block).split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            name = name.strip().lower()
            found[name.decode("ascii")] = name + b":" + _BLANKS.sub(b" ", value).strip(b" ")
    return found


def relaxed_body(body: bytes) -> bytes:
    """A body with CRLF line ends in canonical form (RFC 6376 §3.4.4)."""
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    if b" \r\n" in body or b"\t" in body or b"  " in body:  # base64 by the megabyte has none
        body = _BLANKS.sub(b" ", _BLANKS_AT_END.sub(b"", body))
    lines = body.rstrip(b"\r\n")
    return lines + b"\r\n" if lines else b""


def signer_of(credentials: Mapping[str, object], options: Mapping[str, object], sender: Sender) -> Signer | None:
    """The signer of an account, or None when it has no `dkimKey`.

    Raises `SettingsError` for a key that can't be read, a key without a selector and a name that can't be in the DNS.
    """
    pem = str(credentials.get("dkimKey") or "").strip()
    selector = str(options.get("dkimSelector") or "").strip()
    if not pem:
        return None
    if not selector:
        raise SettingsError("The provider has a dkimKey and no dkimSelector: set the name its public half has.")
    if not _SELECTOR.match(selector):
        raise SettingsError("The provider's dkimSelector is no DNS name: letters, digits, - and dots.")
    return Signer(_domain(str(options.get("dkimDomain") or "") or sender.mailbox.domain), selector, read_key(pem))


def read_key(pem: str) -> RSAPrivateKey | Ed25519PrivateKey:
    """The private key in a PEM text; raises `SettingsError` that says nothing of the key but what is wrong with it."""
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode("utf-8"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise SettingsError("The provider's dkimKey can't be read: give it as PEM, without a password.") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_RSA_BITS:
        raise SettingsError("The provider's dkimKey is neither RSA of at least 1024 bits nor Ed25519: make another.")
    return key


def _domain(name: str) -> str:
    try:
        return mailbox(f"postmaster@{name}").domain.lower()
    except ContentError:
        raise SettingsError("The provider's dkimDomain is no domain name: correct it or leave it out.") from None
