"""Secrets at rest."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.channel import Channel
from messaging.errors import SettingsError
from messaging.vault import Vault

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
