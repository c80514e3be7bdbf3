"""Tokens shared by all workers, encrypted in the database so that a flushed Redis does not lose them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.store import vault_keys
from messaging.vault import Vault


@dataclass(frozen=True)
class StoredToken:
    """A token in clear, and what may be done with it."""

    token: str
    usable: bool
    replaceable: bool


def lock(connection: Connection, key: str) -> None:
    """Let one worker at a time mint the token under `key` (until the transaction ends)."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"token {key}"})


def load(connection: Connection, vault: Vault, key: str) -> StoredToken | None:
    """The token under `key`, or None."""
    row = connection.execute(
        text("""SELECT token, expires_at > now() AS usable, keep_until <= now() AS replaceable
                  FROM provider_tokens WHERE key = :key"""),
        {"key": key},
    ).one_or_none()
    return None if row is None else StoredToken(str(vault.open(bytes(row.token))), row.usable, row.replaceable)


def save(connection: Connection, vault: Vault, key: str, token: str, *, lifetime_s: float, min_age_s: float) -> None:
    """Store a freshly minted token."""
    connection.execute(
        text("""INSERT INTO provider_tokens (key, token, minted_at, expires_at, keep_until)
                VALUES (:key, :token, now(), now() + make_interval(secs => :lifetime),
                        now() + make_interval(secs => :age))
                ON CONFLICT (key) DO UPDATE SET token = excluded.token, minted_at = excluded.minted_at,
                    expires_at = excluded.expires_at, keep_until = excluded.keep_until"""),
        {"key": key, "token": vault_keys.seal(connection, vault, token), "lifetime": lifetime_s, "age": min_age_s},
    )
