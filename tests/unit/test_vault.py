"""Secrets at rest."""

from __future__ import annotations

import secrets
import warnings

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.channel import Channel
from messaging.errors import SettingsError
from messaging.http.jwt_tokens import TokenError, read_token
from messaging.vault import PREFIX_BYTES, MasterKey, Ring, Vault, first_ring, prefix

VAULT = Vault(secrets.token_hex(16))


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none()))
def test_what_is_sealed_opens_as_it_was(value: dict[str, object]) -> None:
    """What is sealed opens as it was."""
    assert VAULT.open(VAULT.seal(value)) == value


def test_a_sealed_secret_shows_nothing_of_itself() -> None:
    """A sealed secret does not contain its clear text, and no two seals are alike."""
    sealed = VAULT.seal({"apiKey": "SG.very-secret"})
    assert b"very-secret" not in sealed
    assert sealed != VAULT.seal({"apiKey": "SG.very-secret"})


def test_another_key_opens_nothing() -> None:
    """A secret sealed under another key is refused with the setting to correct."""
    with pytest.raises(SettingsError, match="MESSAGING_SECRET_KEY"):
        Vault(secrets.token_hex(16)).open(VAULT.seal("x"))


def test_a_changed_byte_is_noticed() -> None:
    """A sealed secret that was changed does not open."""
    sealed = bytearray(VAULT.seal("x"))
    sealed[-1] ^= 1
    with pytest.raises(SettingsError):
        VAULT.open(bytes(sealed))


def test_a_short_key_is_refused() -> None:
    """A secret key that could be guessed is refused."""
    with pytest.raises(SettingsError, match="too short"):
        Vault("short")


def test_an_address_has_one_hash_per_channel_and_key() -> None:
    """The hash of an address ignores case, and differs by channel and by key."""
    one = VAULT.address_hash(Channel.EMAIL, "Ada@example.com")
    assert one == VAULT.address_hash(Channel.EMAIL, "ada@EXAMPLE.com")
    assert one != VAULT.address_hash(Channel.SMS, "Ada@example.com")
    assert one != Vault(secrets.token_hex(16)).address_hash(Channel.EMAIL, "Ada@example.com")
    assert len(one) == 16


FIRST = secrets.token_hex(16)


def ring(*generations: int) -> Ring:
    """A ring that grew out of the first key."""
    first = first_ring(FIRST)
    grown = {number: str(number).encode() * 32 for number in generations if number}
    return Ring(first.lasting, grown | {number: first.secrets[number] for number in generations if number == 0})


@given(st.text())
def test_a_newer_generation_is_sealed_with_and_an_older_one_still_opens(value: str) -> None:
    """While a rotation is under way both are read; afterwards the older one is not."""
    before, during, after = Vault(FIRST), Vault(FIRST, lambda: ring(0, 1)), Vault(FIRST, lambda: ring(1))
    old, new = before.seal(value), during.seal(value)
    assert (during.open(old), during.open(new), after.open(new)) == (value, value, value)
    assert new.startswith(prefix(1))
    for vault, sealed in ((after, old), (before, new)):
        with pytest.raises(SettingsError):
            vault.open(sealed)


def test_the_generation_of_a_sealed_secret_can_not_be_changed() -> None:
    """It is authenticated with it."""
    vault = Vault(FIRST, lambda: Ring(ring(1).lasting, {1: b"same" * 8, 2: b"same" * 8}))
    sealed = vault.seal("x")
    assert sealed.startswith(prefix(2))
    with pytest.raises(SettingsError):
        vault.open(prefix(1) + sealed[PREFIX_BYTES:])


def test_the_ring_is_read_once_and_again_for_what_is_new() -> None:
    """Opening a thousand secrets costs no thousand queries; signatures of strangers cost one a second at most."""
    asked: list[int] = []
    known = [0]

    def load() -> Ring:
        asked.append(1)
        return ring(*known)

    vault = Vault(FIRST, load)
    assert asked == []
    sealed = vault.seal("x")
    assert [vault.open(sealed) for _ in range(1000)] == ["x"] * 1000
    assert len(asked) == 1
    known.append(1)
    newer = Vault(FIRST, lambda: ring(0, 1)).seal("y")
    assert vault.open(newer) == "y"
    assert len(asked) == 2
    assert [vault.token_key_of(number) for number in range(5, 1000)] == [None] * 995
    assert len(asked) < 500


def test_a_token_that_names_no_key_of_ours_is_refused() -> None:
    """Neither an unknown number nor an empty key lets anybody sign for a user."""
    claims = {"projectId": "p", "userId": "u", "sessionId": "", "iat": 1, "exp": 2**40}
    for kid in ("7", "-1", "x", "", "9" * 5000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the key is too short
            forged = jwt.encode(claims, b"\0" * 32, algorithm="HS256", headers={"kid": kid})
        with pytest.raises(TokenError):
            read_token(Vault(FIRST, lambda: ring(0, 1)), "p", forged)


def test_keys_do_not_print() -> None:
    """Neither a ring nor a master key shows itself."""
    assert FIRST not in repr(first_ring(FIRST)) + repr(MasterKey(FIRST))


def test_a_key_of_the_ring_opens_only_as_what_it_was_sealed() -> None:
    """Rows of the table can't be exchanged."""
    master = MasterKey(FIRST)
    sealed = master.seal(b"key", bound_to="secret 1")
    assert master.open(sealed, bound_to="secret 1") == b"key"
    for opener, bound_to in ((master, "secret 2"), (MasterKey(FIRST[::-1]), "secret 1")):
        with pytest.raises(SettingsError):
            opener.open(sealed, bound_to=bound_to)
