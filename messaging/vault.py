"""Secrets at rest: credentials and tokens encrypted, addresses hashed, all under one secret key.

Until its first rotation every key is derived from MESSAGING_SECRET_KEY itself. From then on that is the *master key*:
it opens a ring of keys kept in the table `vault_keys` (`store/vault_keys.py`), and they do the work.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from messaging.channel import Channel
from messaging.errors import SettingsError

_NONCE_BYTES = 12
_SHORTEST_KEY = 16
_MARK = b"\0key"
PREFIX_BYTES = len(_MARK) + 4
_LASTING = {
    "addresses": b"messaging address hash",
    "counters": b"messaging rate limits",
    "unsubscribe": b"messaging unsubscribe links",
    "requests": b"messaging repeated requests",
}
"""Keys that stay the same over rotations: what they made has left the house or outlives what it was made of."""
_LOOK_AGAIN_S = 1.0
"""What a stranger may have signed is looked for in the table once a second at most: inventing signatures must not keep
the database busy."""


@dataclass(frozen=True)
class Ring:
    """The keys behind a master key. Never shown, logged or stored in clear."""

    lasting: Mapping[str, bytes]
    """Keys by purpose that no rotation changes."""
    secrets: Mapping[int, bytes]
    """What the other keys are derived from, by generation; generation 0 is the first master key itself."""

    @property
    def current(self) -> int:
        """The generation that new secrets are sealed under."""
        return max(self.secrets)

    def __repr__(self) -> str:
        return f"Ring(generations={sorted(self.secrets)})"


def first_ring(secret_key: str) -> Ring:
    """The ring of an installation that has never rotated its key."""
    secret = secret_key.encode()
    return Ring({name: _derive(secret, purpose) for name, purpose in _LASTING.items()}, {0: secret})


def prefix(generation: int) -> bytes:
    """What a secret sealed under that generation begins with; generation 0 has none."""
    return b"" if generation == 0 else _MARK + generation.to_bytes(4)


class MasterKey:
    """The secret key of the settings: names itself without showing itself, and seals the keys of the ring."""

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < _SHORTEST_KEY:
            raise SettingsError("MESSAGING_SECRET_KEY is too short. Set 32 random characters or more.")
        self.secret = secret_key
        self.name = _derive(secret_key.encode(), b"messaging master key name")[:6].hex()
        self._cipher = AESGCM(_derive(secret_key.encode(), b"messaging master key"))

    def __repr__(self) -> str:
        return f"MasterKey({self.name})"

    def seal(self, key: bytes, *, bound_to: str) -> bytes:
        """A key of the ring, encrypted; it opens only as what it is `bound_to`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, bound_to.encode())

    def open(self, sealed: bytes, *, bound_to: str) -> bytes:
        """The key; raises `SettingsError` if it was sealed by another master key, or as something else."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
        except InvalidTag:
            raise SettingsError(
                "The keys in the table vault_keys can't be opened with this MESSAGING_SECRET_KEY."
                " Set the one they were written with, or restore the table."
            ) from None


class _Generation:
    """The keys of one generation."""

    def __init__(self, secret: bytes) -> None:
        self.cipher = AESGCM(_derive(secret, b"messaging encryption"))
        self.tokens = _derive(secret, b"messaging user tokens")
        self.links = _derive(secret, b"messaging file links")


class _Keys:
    """A ring at work; replaced as a whole, so that no thread sees half of one."""

    def __init__(self, ring: Ring) -> None:
        self.lasting = ring.lasting
        self.current = ring.current
        self.of = {number: _Generation(secret) for number, secret in ring.secrets.items()}


class Vault:
    """Encrypts and hashes under keys derived from the secret key (HKDF-SHA256, RFC 5869).

    `load` reads the ring from the database (None where the key was never rotated): once, at first use, and again when
    something was made under a generation that is not known yet. Without it the secret key is the ring. Safe to share
    between threads. Raises `SettingsError` for a key that is too short; whatever `load` raises comes at first use.
    """

    def __init__(self, secret_key: str, load: Callable[[], Ring | None] | None = None) -> None:
        self.master = MasterKey(secret_key)
        self._load = load
        self._loading = threading.Lock()
        self._looked_at = float("-inf")
        self._keys: _Keys | None = None
        if load is None:
            self.adopt(None)

    def adopt(self, ring: Ring | None) -> None:
        """Use the keys of `ring` from now on; None: those of a key that was never rotated."""
        self._keys = _Keys(ring or first_ring(self.master.secret))

    @property
    def generation(self) -> int:
        """The generation this process seals under."""
        return self._ready().current

    def seal(self, value: object) -> bytes:
        """`value` (anything JSON can hold) encrypted with AES-256-GCM.

        What is stored goes through `vault_keys.seal`, which sees to it that the generation is the newest.
        """
        keys, nonce = self._ready(), os.urandom(_NONCE_BYTES)
        head = prefix(keys.current)
        return head + nonce + keys.of[keys.current].cipher.encrypt(nonce, json.dumps(value).encode(), head)

    def open(self, sealed: bytes) -> object:
        """What was sealed, under whichever generation; raises `SettingsError` if no key of ours opens it."""
        attempts = [(0, b"", sealed)]
        if sealed.startswith(_MARK):  # by chance, too, one in 4,000 million of those without a prefix
            head = sealed[:PREFIX_BYTES]
            attempts.insert(0, (int.from_bytes(head[len(_MARK) :]), head, sealed[PREFIX_BYTES:]))
        for number, head, rest in attempts:
            found = self._find(number, at_once=True)
            try:
                if found is not None:
                    value: object = json.loads(found.cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head))
                    return value
            except (InvalidTag, ValueError):  # the latter for what is too short to be sealed
                continue
        raise SettingsError(
            "Stored secrets can't be read with this MESSAGING_SECRET_KEY; set the one they were written with."
            " `messaging secrets status` tells which keys the database knows."
        )

    def address_hash(self, channel: Channel, address: str) -> bytes:
        """A keyed hash (16 bytes) by which an address is found on the suppression list after its erasure."""
        return self._mac("addresses", f"{channel}:{address.casefold()}".encode())[:16]

    def counter_name(self, said: str) -> str:
        """A keyed hash (hex) of what a rate limit counts, so that the counters hold no addresses."""
        return self._mac("counters", said.encode(errors="replace")).hex()

    def request_mac(self, said: bytes) -> bytes:
        """HMAC-SHA256 by which a repeated request is known; a password in it can't be guessed from this."""
        return self._mac("requests", said)

    def unsubscribe_mac(self, said: bytes) -> bytes:
        """HMAC-SHA256 of what an unsubscribe link names."""
        return self._mac("unsubscribe", said)

    @property
    def token_key(self) -> bytes:
        """Signs the tokens (JWT) that speak for a user."""
        keys = self._ready()
        return keys.of[keys.current].tokens

    def token_key_of(self, generation: int) -> bytes | None:
        """The key that tokens of that generation were signed with; None where there is no such generation any more."""
        found = self._find(generation)
        return None if found is None else found.tokens

    def link_mac(self, said: bytes) -> bytes:
        """HMAC-SHA256 of what a link to a file says, so that nobody else can write one."""
        keys = self._ready()
        return hmac.digest(keys.of[keys.current].links, said, hashlib.sha256)

    def link_macs(self, said: bytes) -> Iterator[bytes]:
        """The same under each generation that a link may have been written under, the newest first."""
        known = self._ready().of
        for number in sorted(known, reverse=True):
            yield hmac.digest(known[number].links, said, hashlib.sha256)
        self._look_again()
        for number, found in self._ready().of.items():
            if number not in known:
                yield hmac.digest(found.links, said, hashlib.sha256)

    def _mac(self, purpose: str, said: bytes) -> bytes:
        return hmac.digest(self._ready().lasting[purpose], said, hashlib.sha256)

    def _ready(self) -> _Keys:
        keys = self._keys
        if keys is None:
            with self._loading:
                if self._keys is None:
                    self.adopt(None if self._load is None else self._load())
                keys = self._keys
        assert keys is not None  # noqa: S101  adopted above  # nosec B101  for the type checker
        return keys

    def _find(self, generation: int, *, at_once: bool = False) -> _Generation | None:
        """A generation; the database is asked about one that is not known yet."""
        if generation not in self._ready().of:
            self._look_again(at_once=at_once)
        return self._ready().of.get(generation)

    def _look_again(self, *, at_once: bool = False) -> None:
        if self._load is None:
            return
        with self._loading:
            if at_once or time.monotonic() - self._looked_at >= _LOOK_AGAIN_S:
                self._looked_at = time.monotonic()
                self.adopt(self._load())


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)
