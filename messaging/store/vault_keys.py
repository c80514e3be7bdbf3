"""The ring of keys behind the master key: read it, rotate it, and seal again what was sealed under an older one.

A rotation never leaves a moment in which something can't be read, however often it is killed:

1. `begin`, one transaction: every key of the ring is there under the old master key and under the new one, and there is
   a new generation. Processes with either master key work; whoever seals from now on does it under the new generation.
2. `reseal`, in batches: what is under an older generation is sealed again.
3. `finish`, when every process has the new master key: older generations and whatever the old master key opens go.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from messaging.errors import ConflictError, SettingsError
from messaging.vault import PREFIX_BYTES, MasterKey, Ring, Vault, first_ring, prefix

_LOCK = 0x7661_756C
"""Advisory lock: shared by whoever seals, exclusive for whoever makes a generation. So a secret that was sealed under
an older generation is committed, and seen by `reseal`, before the new one is there."""
_SECRET, _LASTING = "secret", "lasting"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column that holds sealed secrets."""

    table: str
    key: str
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


SEALED = (
    SealedColumn("providers", "id", "credentials"),
    SealedColumn("provider_tokens", "key", "token"),
    SealedColumn("quarantine", "id", "sealed"),
    SealedColumn("erasures", "id", "traces"),
)
"""Every column that `seal` writes; a test looks for others."""


def open_vault(engine: Engine, secret_key: str) -> Vault:
    """A vault that reads its ring from the database when it is first used, and when it meets a newer generation."""
    master = MasterKey(secret_key)

    def load() -> Ring | None:
        with engine.begin() as connection:
            return load_ring(connection, master)

    return Vault(secret_key, load)


def load_ring(connection: Connection, master: MasterKey) -> Ring | None:
    """The ring, opened; None where no key was ever rotated. Raises `SettingsError` for a master key out of use."""
    rows = connection.execute(text("SELECT what, generation, master, sealed FROM vault_keys")).all()
    if not rows:
        return None
    lasting: dict[str, bytes] = {}
    found: dict[int, bytes] = {}
    for row in rows:
        if row.master != master.name:
            continue
        key = master.open(bytes(row.sealed), bound_to=_bound(row.what, row.generation))
        if row.what == _LASTING:
            lasting = {name: bytes.fromhex(value) for name, value in json.loads(key).items()}
        else:
            found[row.generation] = key
    if not found or not lasting:
        known = ", ".join(sorted({row.master for row in rows}))
        raise SettingsError(
            f"MESSAGING_SECRET_KEY is the key {master.name}, and the database knows {known}: it was rotated out of use,"
            " or is another installation's. Set the newest one."
        )
    return Ring(lasting, found)


def seal(connection: Connection, vault: Vault, value: object) -> bytes:
    """`value`, sealed under the newest generation there is, to be stored in this transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _LOCK})
    newest = connection.execute(
        text("SELECT coalesce(max(generation), 0) FROM vault_keys WHERE what = :what"), {"what": _SECRET}
    ).scalar_one()
    if newest != vault.generation:
        vault.adopt(load_ring(connection, vault.master))
    return vault.seal(value)


@dataclass(frozen=True, kw_only=True)
class MasterView:
    """A master key that opens the ring."""

    name: str
    retiring: bool
    since: datetime | None
    """None: it was never rotated, and no row says since when."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where the keys stand."""

    masters: Sequence[MasterView]
    generation: int
    """The one that secrets are sealed under."""
    rows: Sequence[tuple[str, int, int]]
    """(column, generation, how many rows are sealed under it)."""

    @property
    def rotating(self) -> bool:
        """Whether two master keys are in use."""
        return len(self.masters) > 1

    @property
    def left(self) -> int:
        """Rows under an older generation."""
        return sum(count for _, generation, count in self.rows if generation != self.generation)


def status(connection: Connection, master: MasterKey) -> Status:
    """Where the keys stand."""
    masters = [
        MasterView(name=row.master, retiring=row.retiring, since=row.since)
        for row in connection.execute(
            text(
                "SELECT master, retiring, min(created_at) AS since FROM vault_keys"
                " GROUP BY master, retiring ORDER BY retiring DESC"
            )
        )
    ]
    generation: int = connection.execute(
        text("SELECT coalesce(max(generation), 0) FROM vault_keys WHERE what = :what"), {"what": _SECRET}
    ).scalar_one()
    known = range(generation + 1)
    rows = []
    for each in SEALED:
        counts = dict.fromkeys(known, 0)
        for row in connection.execute(
            text(
                f"SELECT substring({each.column} FROM 1 FOR :length) AS head, count(*) AS n"
                f" FROM {each.table} WHERE {each.column} IS NOT NULL GROUP BY 1"
            ),
            {"length": PREFIX_BYTES},
        ):
            number = next((n for n in known if n and bytes(row.head) == prefix(n)), 0)
            counts[number] += row.n
        rows += [(str(each), number, n) for number, n in counts.items() if n]
    return Status(
        masters=masters or [MasterView(name=master.name, retiring=False, since=None)], generation=generation, rows=rows
    )


def begin(connection: Connection, old: MasterKey, new: MasterKey) -> None:
    """Let the master key `new` open the ring beside `old`, and make a new generation; nothing if that is under way.

    Raises `ConflictError` while a rotation to another key is not finished, `SettingsError` for an `old` out of use.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    ring = load_ring(connection, old)
    masters = set(connection.execute(text("SELECT DISTINCT master FROM vault_keys")).scalars())
    if len(masters) > 1:
        if masters == {old.name, new.name}:
            return
        raise ConflictError(
            f"The rotation to the key {next(iter(masters - {old.name}))} is not finished."
            " Give every process that key, then run `messaging secrets finish`."
        )
    if old.name == new.name:
        raise ConflictError("The new key is the one in use. Give another one.")
    ring = ring or first_ring(old.secret)
    grown = Ring(ring.lasting, {**ring.secrets, ring.current + 1: secrets.token_bytes(_SECRET_BYTES)})
    connection.execute(text("DELETE FROM vault_keys"))
    for master in (old, new):
        _write(connection, grown, master, retiring=master is old)


def reseal(engine: Engine, vault: Vault, *, batch: int = 200) -> Iterator[int]:
    """Seal again what is under an older generation; yields how many after each committed batch. Run it again any time.

    What can't be opened raises `SettingsError` and stays as it is.
    """
    with engine.begin() as connection:
        vault.adopt(load_ring(connection, vault.master))
    if vault.generation == 0:
        return  # never rotated: there is nothing older
    for each in SEALED:
        while done := _reseal_batch(engine, vault, each, batch):
            yield done


def _reseal_batch(engine: Engine, vault: Vault, each: SealedColumn, batch: int) -> int:
    # The row is locked while it is opened: nobody's change is undone, and no change is missed, since whoever seals now
    # does it under the new generation. Nothing else of the row changes, so adapters keep their connections.
    with engine.begin() as connection:
        rows = connection.execute(
            text(
                f"SELECT {each.key} AS key, {each.column} AS sealed FROM {each.table}"
                f" WHERE substring({each.column} FROM 1 FOR :length) <> :head"
                f" ORDER BY {each.key} LIMIT :batch FOR UPDATE"
            ),
            {"length": PREFIX_BYTES, "head": prefix(vault.generation), "batch": batch},
        ).all()
        if rows:
            connection.execute(
                text(f"UPDATE {each.table} SET {each.column} = :sealed WHERE {each.key} = :key"),
                [{"key": row.key, "sealed": vault.seal(vault.open(bytes(row.sealed)))} for row in rows],
            )
        return len(rows)


def finish(connection: Connection, master: MasterKey) -> None:
    """Take the old master key and the older generations out of use; nothing if no rotation is under way.

    Raises `ConflictError` while rows are under an older generation, or if `master` is the key to be taken out of use.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    load_ring(connection, master)
    found = status(connection, master)
    if any(each.name == master.name and each.retiring for each in found.masters):
        raise ConflictError(
            f"This MESSAGING_SECRET_KEY ({master.name}) is the one that would be taken out of use."
            " Set the new one here and in every process, then run this again."
        )
    if found.left:
        raise ConflictError(
            f"{found.left:,} rows are still under an older generation. Run `messaging secrets rotate` again first."
        )
    connection.execute(text("DELETE FROM vault_keys WHERE retiring"))
    connection.execute(
        text("DELETE FROM vault_keys WHERE what = :what AND generation < :newest"),
        {"what": _SECRET, "newest": found.generation},
    )


def _write(connection: Connection, ring: Ring, master: MasterKey, *, retiring: bool) -> None:
    lasting = json.dumps({name: key.hex() for name, key in ring.lasting.items()}).encode()
    keys = [(_LASTING, 0, lasting), *((_SECRET, number, secret) for number, secret in ring.secrets.items())]
    connection.execute(
        text(
            "INSERT INTO vault_keys (what, generation, master, sealed, retiring)"
            " VALUES (:what, :generation, :master, :sealed, :retiring)"
        ),
        [
            {
                "what": what,
                "generation": generation,
                "master": master.name,
                "sealed": master.seal(key, bound_to=_bound(what, generation)),
                "retiring": retiring,
            }
            for what, generation, key in keys
        ],
    )


def _bound(what: str, generation: int) -> str:
    return f"{what} {generation}"
