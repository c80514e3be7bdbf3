"""Whether the secret key is the one that the database's secrets were written with."""

from __future__ import annotations

from sqlalchemy import Engine, text

from messaging.doctor.finding import Finding, broken, ok, warning
from messaging.errors import SettingsError
from messaging.store import vault_keys
from messaging.store.vault_keys import SEALED
from messaging.vault import MasterKey, Vault

_TRIED = 20


def secret_key(engine: Engine, secret: str) -> Finding:
    """Whether it opens the ring of keys, and a few secrets of each kind."""
    opened = 0
    try:
        mine = MasterKey(secret)
        with engine.connect() as connection:
            vault = Vault(secret, lambda: vault_keys.load_ring(connection, mine))
            for each in SEALED:
                rows = connection.execute(
                    text(f"SELECT {each.column} FROM {each.table} WHERE {each.column} IS NOT NULL LIMIT :n"),  # noqa: S608  names of our own  # nosec B608
                    {"n": _TRIED},
                )
                for sealed in rows.scalars().all():
                    vault.open(bytes(sealed))
                    opened += 1
            status = vault_keys.status(connection, mine)
    except SettingsError as error:
        return broken(
            "secret key", str(error), "Set MESSAGING_SECRET_KEY to the key of this database's other processes."
        )
    if status.rotating:
        left = f"{status.left:,} secrets are under the old one" if status.left else "every secret is under the new one"
        again = "Run `messaging secrets rotate` again" if status.left else "Run `messaging secrets finish`"
        return warning(
            "secret key",
            f"{mine.name}; a rotation is under way, {left}",
            f"{again}, when every process has the new key.",
        )
    return ok(
        "secret key", f"{mine.name} opens {opened:,} secrets tried" if opened else f"{mine.name}; nothing sealed yet"
    )
