"""`messaging secrets …`: the key that secrets at rest are kept under."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from messaging.cli.audited import who
from messaging.cli.connection import DEFAULT_DATA_DIR, database_url
from messaging.cli.options import DataDir, Json
from messaging.cli.output import note, plain, print_json, print_table, progress_bar
from messaging.errors import ConflictError, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from messaging.store.vault_keys import Status
    from messaging.vault import MasterKey

app = typer.Typer(no_args_is_help=True)

_MAKE_ANOTHER = "Set or write one of 32 random characters or more, or name a file that does not exist yet."


@app.command()
def rotate(
    *,
    new_key_file: Annotated[
        Path | None,
        typer.Option("--new-key-file", help="Holds the new key; made, mode 0600, where it does not exist."),
    ] = None,
    new_key_env: Annotated[
        str | None, typer.Option("--new-key-env", metavar="VARIABLE", help="Environment variable with the new key.")
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Take the old key out of use at once: no process may run with it.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Put a new secret key beside the old one and seal everything again. Run it again where it was interrupted."""
    from messaging.store import audit, vault_keys
    from messaging.vault import MasterKey

    where = _where(data_dir)
    mine = MasterKey(where.secret_key)
    given = _given(new_key_file, new_key_env)
    with _database(data_dir) as engine:
        with engine.begin() as connection:
            before = vault_keys.status(connection, mine)
        if _holds_new(before, mine):
            new = mine
            if given is not None and MasterKey(given).name != mine.name:
                raise ConflictError(
                    "The rotation before this one is not finished. Run `messaging secrets finish` first."
                )
        else:
            new = MasterKey(where.new_key(given, begun=before.rotating, file=new_key_file))
            with engine.begin() as connection:
                vault_keys.begin(connection, mine, new)
                audit.note(connection, operator=who(), action="secrets.rotate", subject=new.name)
            where.adopt()
        _reseal(engine, new, total=_left(engine, new))
        if finish:
            _finish(engine, new)
    if finish:
        note(f"Every secret is under the key {new.name}; the key {mine.name} opens nothing any more.")
    else:
        note(
            f"Every secret is under the key {new.name}; the key before it still works. Give every process the new one"
            " (a stack of `messaging up`: restart it), then run `messaging secrets finish`."
        )


@app.command()
def finish(*, data_dir: DataDir = None) -> None:
    """Take the old secret key out of use, when every process has the new one."""
    from messaging.store import vault_keys
    from messaging.vault import MasterKey

    mine = MasterKey(_where(data_dir).secret_key)
    with _database(data_dir) as engine:
        with engine.begin() as connection:
            rotating = vault_keys.status(connection, mine).rotating
        if not rotating:
            note("No rotation is under way.")
            return
        _finish(engine, mine)
    note(f"The key {mine.name} is the only one now; the one before it opens nothing any more.")


@app.command()
def status(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Which keys are in use, and how many rows are under which generation."""
    from messaging.store import vault_keys
    from messaging.vault import MasterKey

    mine = MasterKey(_where(data_dir).secret_key)
    with _database(data_dir) as engine, engine.begin() as connection:
        found = vault_keys.status(connection, mine)
    if json:
        rows = [{"column": column, "generation": number, "rows": count} for column, number, count in found.rows]
        print_json({**plain(found), "rows": rows, "mine": mine.name, "rotating": found.rotating, "left": found.left})
        return
    print_table(
        ("KEY", "STATE", "SINCE", "THIS ONE"),
        (
            (key.name, "goes out of use" if key.retiring else "in use", key.since, key.name == mine.name)
            for key in found.masters
        ),
        empty="No key.",
    )
    print_table(
        ("SEALED", "GENERATION", "ROWS"),
        ((column, f"{number}{'' if number == found.generation else ' (old)'}", n) for column, number, n in found.rows),
        empty="Nothing is sealed yet.",
    )
    if all(key.name != mine.name for key in found.masters):
        raise SettingsError(f"The key of this command ({mine.name}) is not among them. Set the newest one.")


@dataclass(frozen=True)
class _Where:
    """The secret key in use, and the file it is kept in, where that is a data directory's."""

    secret_key: str
    file: Path | None

    @property
    def _next(self) -> Path | None:
        return None if self.file is None else self.file.with_name(self.file.name + ".new")

    def new_key(self, given: str | None, *, begun: bool, file: Path | None) -> str:
        """The key to rotate to: it is in a file before the database knows it, so that no crash can lose it."""
        from messaging.local.private_files import kept_secret, write_private

        if self._next is None:
            if given is None and file is None:
                raise SettingsError(
                    "Which key comes next? Name a file that it is in or shall be written to (--new-key-file), or a"
                    " variable (--new-key-env)."
                )
            return given if given is not None else kept_secret(file or Path())
        if given is not None and not begun:
            write_private(self._next, given + "\n")
        return given if given is not None else kept_secret(self._next)

    def adopt(self) -> None:
        """Replace the file by the new one; before and after, the key in it opens everything."""
        if self._next is not None and self.file is not None and self._next.exists():
            self._next.replace(self.file)


def _where(data_dir: Path | None) -> _Where:
    secret = os.environ.get("MESSAGING_SECRET_KEY", "")
    if data_dir is None and os.environ.get("MESSAGING_DATABASE_URL"):
        if not secret:
            raise SettingsError("Which key is in use? Set MESSAGING_SECRET_KEY, or name the --data-dir of a stack.")
        return _Where(secret, None)
    from messaging.client.runtime import read_runtime

    directory = data_dir or DEFAULT_DATA_DIR
    found = read_runtime(directory)
    folder = directory.parent if directory.suffix == ".json" else directory
    return _Where(found.secret_key, None if secret else folder / "secret.key")


def _given(file: Path | None, variable: str | None) -> str | None:
    """The key the command was given; None where it is to be made."""
    if file is not None and variable is not None:
        raise SettingsError("Two new keys are named. Give --new-key-file or --new-key-env.")
    if variable is not None:
        if not os.environ.get(variable):
            raise SettingsError(f"The variable {variable} is empty or not set. {_MAKE_ANOTHER}")
        return os.environ[variable]
    if file is not None and file.exists():
        found = file.read_text(encoding="utf-8").strip()
        if not found:
            raise SettingsError(f"The file {file} is empty. {_MAKE_ANOTHER}")
        return found
    return None


def _holds_new(found: Status, mine: MasterKey) -> bool:
    """Whether this is the new one of the two keys of a rotation under way."""
    return found.rotating and any(key.name == mine.name and not key.retiring for key in found.masters)


def _left(engine: Engine, master: MasterKey) -> int:
    from messaging.store import vault_keys

    with engine.begin() as connection:
        return vault_keys.status(connection, master).left


def _finish(engine: Engine, master: MasterKey) -> None:
    from messaging.store import audit, vault_keys

    with engine.begin() as connection:
        vault_keys.finish(connection, master)
        audit.note(connection, operator=who(), action="secrets.finish", subject=master.name)


def _reseal(engine: Engine, new: MasterKey, *, total: int) -> None:
    from messaging.store import vault_keys

    progress, task = progress_bar("Sealing again")
    progress.update(task, total=total)
    with progress:
        for done in vault_keys.reseal(engine, vault_keys.open_vault(engine, new.secret)):
            progress.advance(task, done)


@contextmanager
def _database(data_dir: Path | None) -> Iterator[Engine]:
    from sqlalchemy import NullPool, create_engine

    from messaging.settings import sqlalchemy_url

    engine = create_engine(sqlalchemy_url(database_url(data_dir)), poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()
