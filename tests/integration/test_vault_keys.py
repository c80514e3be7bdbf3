"""The master key is rotated while everything goes on: nothing is unreadable for a moment, and the old key ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from messaging import file_links, unsubscribe_links
from messaging.channel import Channel
from messaging.cli.main import app
from messaging.clock import clock
from messaging.errors import ConflictError, SettingsError
from messaging.http import jwt_tokens
from messaging.http.jwt_tokens import Spoken, TokenError
from messaging.store import audit, provider_tokens, providers, suppressions, vault_keys
from messaging.store.tables import Base
from messaging.vault import MasterKey, Vault
from tests.integration.road import SECRET, Road

ROOT = Path(__file__).resolve().parents[2]
NEW = "fedcba9876543210fedcba9876543210"
ADDRESS = "ada@example.com"
SPOKEN = Spoken("ada", "session")


@pytest.fixture
def road(postgres_url: str, valkey_url: str) -> Iterator[Road]:
    """An installation that has never rotated its key, with an account and shared tokens."""
    made = Road(postgres_url, valkey_url)
    made.execute("TRUNCATE vault_keys, provider_tokens")
    made.vault = vault_keys.open_vault(made.engine, SECRET)
    made.add_provider("sms")
    for number in range(10):
        keep_token(made, made.vault, f"key {number}")
    yield made
    made.execute("TRUNCATE vault_keys, provider_tokens")
    made.close()


def keep_token(road: Road, vault: Vault, key: str, token: str | None = None) -> None:
    """A shared token is minted."""
    with road.engine.begin() as connection:
        provider_tokens.save(connection, vault, key, token or f"token of {key}", lifetime_s=3600, min_age_s=0)


def readable(road: Road, vault: Vault) -> bool:
    """Whether everything that is sealed opens."""
    with road.engine.begin() as connection:
        number = providers.find(connection, road.project_id, "sms")
        account = providers.load_account(connection, vault, number)
        keys = connection.execute(text("SELECT key FROM provider_tokens")).scalars().all()
        tokens = {key: provider_tokens.load(connection, vault, key) for key in keys}
    return account.credentials["authToken"] == "secret" and all(
        found is not None and found.token == f"token of {key}" for key, found in tokens.items()
    )


def sealed(road: Road) -> list[bytes]:
    """Everything that is sealed, as it lies in the database."""
    with road.engine.begin() as connection:
        return [
            bytes(value)
            for each in vault_keys.SEALED
            for value in connection.execute(text(f"SELECT {each.column} FROM {each.table}")).scalars()
        ]


def begin(road: Road, old: str = SECRET, new: str = NEW) -> None:
    """Let the new key open everything too."""
    with road.engine.begin() as connection:
        vault_keys.begin(connection, MasterKey(old), MasterKey(new))


def finish(road: Road, key: str = NEW) -> None:
    """Take the old key out of use."""
    with road.engine.begin() as connection:
        vault_keys.finish(connection, MasterKey(key))


def status(road: Road, key: str = NEW) -> vault_keys.Status:
    """Where the keys stand."""
    with road.engine.begin() as connection:
        return vault_keys.status(connection, MasterKey(key))


def reseal(road: Road, key: str = NEW, **more: Any) -> int:
    """Seal everything again; how many rows that were."""
    return sum(vault_keys.reseal(road.engine, vault_keys.open_vault(road.engine, key), **more))


def test_whoever_never_rotates_sees_no_difference(road: Road) -> None:
    """No row of keys, no mark on what is sealed: a program that knows the key alone reads and writes the same."""
    alone = Vault(SECRET)
    assert readable(road, alone)
    assert readable(road, road.vault)
    found = status(road, SECRET)
    assert (found.generation, found.left, found.rotating) == (0, 0, False)
    assert reseal(road, SECRET) == 0


def test_afterwards_the_old_key_opens_nothing_and_the_new_one_everything(road: Road) -> None:
    """Both keys work while processes are restarted; after the end the old one is refused by name."""
    begin(road)
    for key in (SECRET, NEW):
        assert readable(road, vault_keys.open_vault(road.engine, key))
    assert reseal(road) == 11
    for key in (SECRET, NEW):
        assert readable(road, vault_keys.open_vault(road.engine, key))
    finish(road)
    assert readable(road, vault_keys.open_vault(road.engine, NEW))
    with pytest.raises(SettingsError, match="rotated out of use"):
        readable(road, vault_keys.open_vault(road.engine, SECRET))
    for value in sealed(road):
        with pytest.raises(SettingsError):
            Vault(SECRET).open(value)
    with road.engine.begin() as connection:
        kept = connection.execute(text("SELECT what, generation, sealed FROM vault_keys")).all()
    assert {(row.what, row.generation) for row in kept} == {("secret", 1), ("lasting", 0)}
    for row in kept:
        with pytest.raises(SettingsError):
            MasterKey(SECRET).open(bytes(row.sealed), bound_to=f"{row.what} {row.generation}")


def test_what_left_the_house_works_over_two_rotations(road: Road) -> None:
    """Unsubscribe links in sent mail, suppressed addresses and kept answers are known by keys that never change."""
    before = Vault(SECRET)
    link = unsubscribe_links.token(before, "d53-1-1")
    mac, counter = before.request_mac(b"a request"), before.counter_name("sign-in")
    with road.engine.begin() as connection:
        suppressions.add(connection, before, road.project_id, channel=Channel.EMAIL, address=ADDRESS)
    third = "third key third key third key 33"
    for old, new in ((SECRET, NEW), (NEW, third)):
        begin(road, old, new)
        reseal(road, new)
        finish(road, new)
    after = vault_keys.open_vault(road.engine, third)
    assert unsubscribe_links.read(after, link) == "d53-1-1"
    assert (after.request_mac(b"a request"), after.counter_name("sign-in")) == (mac, counter)
    with road.engine.begin() as connection:
        assert suppressions.find(connection, after, road.project_id, channel=Channel.EMAIL, address=ADDRESS)
    assert status(road, third).generation == 2
    assert readable(road, after)


def test_tokens_and_file_links_of_before_end_with_the_old_key(road: Road) -> None:
    """They hold while the rotation is under way, in processes with either key.

    Then whoever has the old key can't make any more.
    """
    running, ends = road.vault, clock.now() + timedelta(days=1)
    old_jwt = jwt_tokens.make_token(running, "p", SPOKEN, duration_s=600)
    old_link = file_links.token(running, "p", "b", "f", ends)
    begin(road)
    fresh = vault_keys.open_vault(road.engine, NEW)
    new_jwt = jwt_tokens.make_token(fresh, "p", SPOKEN, duration_s=600)
    new_link = file_links.token(fresh, "p", "b", "f", ends)
    for vault in (fresh, vault_keys.open_vault(road.engine, SECRET)):
        for jwt in (old_jwt, new_jwt):
            assert jwt_tokens.read_token(vault, "p", jwt) == SPOKEN
        for link in (old_link, new_link):
            assert file_links.opens(vault, link, "p", "b", "f")
    assert jwt_tokens.read_token(running, "p", new_jwt) == SPOKEN  # it reads the new generation when it meets it
    reseal(road)
    finish(road)
    after = vault_keys.open_vault(road.engine, NEW)
    assert jwt_tokens.read_token(after, "p", new_jwt) == SPOKEN
    assert file_links.opens(after, new_link, "p", "b", "f")
    assert not file_links.opens(after, old_link, "p", "b", "f")
    with pytest.raises(TokenError):
        jwt_tokens.read_token(after, "p", old_jwt)


def test_readers_and_writers_go_on_while_the_key_is_rotated(road: Road) -> None:
    """Two with the old key and two with the new one read and write all the time.

    Nobody fails, and nothing is left under the old generation.
    """
    begin_now, stop, failed = threading.Event(), threading.Event(), []
    rounds = [0, 0, 0, 0]

    def work(place: int, key: str) -> None:
        try:
            if key == NEW:
                begin_now.wait(60)
            vault = vault_keys.open_vault(road.engine, key)
            while not stop.is_set():
                keep_token(road, vault, f"key {rounds[place] % 10}")
                assert readable(road, vault)
                with road.engine.begin() as connection:
                    providers.update(connection, vault, road.project_id, "sms", credentials={"authToken": "secret"})
                rounds[place] += 1
        except Exception as error:  # noqa: BLE001  shown by the assertion below
            failed.append(error)

    def until_all_moved(by: int) -> None:
        before, deadline = list(rounds), time.monotonic() + 60
        while any(now < then + by for now, then in zip(rounds, before, strict=True)) and not failed:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(place, key)) for place, key in enumerate((SECRET, SECRET, NEW, NEW))]
    for thread in threads:
        thread.start()
    try:
        begin(road)
        begin_now.set()
        until_all_moved(2)
        reseal(road, batch=1)
        assert status(road).left == 0
        until_all_moved(2)
    finally:
        begin_now.set()
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failed
    assert status(road).left == 0
    finish(road)
    assert readable(road, vault_keys.open_vault(road.engine, NEW))


def test_a_process_that_was_running_seals_under_the_new_generation_at_once(road: Road) -> None:
    """It has met nothing new yet, and looks before it seals."""
    assert road.vault.generation == 0
    begin(road)
    keep_token(road, road.vault, "key 3")
    assert ("provider_tokens.token", 1, 1) in status(road).rows


def test_a_new_generation_waits_for_whoever_is_just_sealing(road: Road) -> None:
    """Else what they commit afterwards would be under the old one, and not be sealed again."""
    waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with road.engine.connect() as sealing, sealing.begin():
        provider_tokens.save(sealing, road.vault, "late", "token of late", lifetime_s=60, min_age_s=0)
        thread = threading.Thread(target=begin, args=(road,))
        thread.start()
        deadline = time.monotonic() + 60
        while not sealing.execute(waits).scalar():
            assert thread.is_alive(), "it did not wait"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(60)
    assert reseal(road) == 12
    finish(road)
    assert readable(road, vault_keys.open_vault(road.engine, NEW))


def test_what_was_begun_is_not_mixed_with_another_rotation(road: Road) -> None:
    """A third key is refused until the end, the end is refused to the old key and while something is left."""
    begin(road)
    begin(road)  # again: nothing happens
    assert status(road).generation == 1
    with pytest.raises(ConflictError, match="not finished"):
        begin(road, SECRET, "a third key of thirty-two letters")
    with pytest.raises(ConflictError, match="11 rows"):
        finish(road)
    reseal(road)
    with pytest.raises(ConflictError, match="would be taken out of use"):
        finish(road, SECRET)
    finish(road)
    with pytest.raises(ConflictError, match="the one in use"):
        begin(road, NEW, NEW)


class Command:
    """`messaging secrets` with the environment of the installation."""

    def __init__(self, postgres_url: str, valkey_url: str, folder: Path) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
        self.addresses = {"MESSAGING_DATABASE_URL": postgres_url, "MESSAGING_BROKER_URL": valkey_url}
        self.clean = clean
        self.unset = {name: None for name in os.environ if name.startswith("MESSAGING_")}

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "messaging.cli.main", "secrets", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.clean, "PYTHONPATH": str(ROOT), **env},
        )

    def run(self, *arguments: str, **env: str) -> Result:
        """The command in this process, which is quicker; an error is in `exception`."""
        return CliRunner().invoke(app, ["secrets", *arguments], env={**self.unset, **env})


@pytest.fixture
def command(postgres_url: str, valkey_url: str, tmp_path: Path) -> Command:
    """The command line."""
    return Command(postgres_url, valkey_url, tmp_path)


def test_a_command_killed_half_way_is_run_again(road: Road, command: Command) -> None:
    """Everything stays readable in between, with either key; the second run does the rest."""
    env = {**command.addresses, "MESSAGING_SECRET_KEY": SECRET, "NEXT_KEY": NEW}
    with road.engine.connect() as blocking:
        blocking.execute(text("SELECT 1 FROM provider_tokens WHERE key = 'key 7' FOR UPDATE"))
        process = command.start("rotate", "--new-key-env", "NEXT_KEY", **env)
        try:
            deadline = time.monotonic() + 120
            while ("providers.credentials", 1, 1) not in status(road).rows:  # the first batch is committed
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert status(road).left == 10
        finally:
            process.kill()
            process.communicate(timeout=60)
        blocking.rollback()
    for key in (SECRET, NEW):
        assert readable(road, vault_keys.open_vault(road.engine, key))
    again = command.run("rotate", "--new-key-env", "NEXT_KEY", "--finish", **env)
    assert again.exit_code == 0, again.output
    assert NEW not in again.output
    assert status(road).left == 0
    assert not status(road).rotating
    assert readable(road, vault_keys.open_vault(road.engine, NEW))
    refused = command.run("status", **env)
    assert "Set the newest one" in str(refused.exception)


@pytest.mark.parametrize("killed", ["before the database knows the key", "before the file is replaced", "not at all"])
def test_a_data_directory_gets_its_new_key_in_one_step(
    road: Road, command: Command, tmp_path: Path, killed: str
) -> None:
    """Wherever it was killed, `secret.key` holds a key that opens everything, and running it again ends it."""
    write = {"secret.key": SECRET, "secret.key.new": NEW} if killed != "not at all" else {"secret.key": SECRET}
    for name, secret in write.items():
        (tmp_path / name).write_text(secret + "\n")
        (tmp_path / name).chmod(0o600)
    url, broker = command.addresses.values()
    (tmp_path / "runtime.json").write_text(f'{{"database_url": "{url}", "broker_url": "{broker}"}}')
    if killed == "before the file is replaced":
        begin(road)
    done = command.run("rotate", "--data-dir", str(tmp_path))
    assert done.exit_code == 0, done.output
    file = tmp_path / "secret.key"
    key = file.read_text().strip()
    assert key != SECRET
    assert (key == NEW) == (killed != "not at all")
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "secret.key.new").exists()
    assert command.run("finish", "--data-dir", str(tmp_path)).exit_code == 0
    assert '"left": 0' in command.run("status", "--json", "--data-dir", str(tmp_path)).stdout
    assert readable(road, vault_keys.open_vault(road.engine, key))
    with road.engine.begin() as connection:
        finished, *before = audit.listed(connection)
    assert (finished.action, finished.subject) == ("secrets.finish", MasterKey(key).name)
    if killed == "not at all":
        assert (before[0].action, before[0].subject) == ("secrets.rotate", finished.subject)


def test_a_key_that_is_made_is_in_its_file_before_the_database_has_it(
    road: Road, command: Command, tmp_path: Path
) -> None:
    """Without a data directory the new key's place must be named; nothing is written to the terminal."""
    env = {**command.addresses, "MESSAGING_SECRET_KEY": SECRET}
    assert "--new-key-file" in str(command.run("rotate", **env).exception)
    file = tmp_path / "next.key"
    done = command.run("rotate", "--new-key-file", str(file), **env)
    assert done.exit_code == 0, done.output
    made = file.read_text().strip()
    assert len(made) >= 32
    assert made not in done.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert readable(road, vault_keys.open_vault(road.engine, made))


def test_every_sealed_column_takes_part() -> None:
    """Whoever seals for the database does it through `vault_keys.seal`; each file that does has its column here."""
    calls = re.compile(r"([\w.]+)\.seal\(")
    found = {
        (str(path.relative_to(ROOT)), name)
        for folder in ("messaging", "workers")
        for path in (ROOT / folder).rglob("*.py")
        for name in calls.findall(path.read_text())
        if path.name != "vault_keys.py"
    }
    assert found == {
        ("messaging/store/providers.py", "vault_keys"),
        ("messaging/store/provider_tokens.py", "vault_keys"),
        ("messaging/store/quarantine.py", "vault_keys"),
        ("messaging/store/erasure.py", "vault_keys"),
    }
    assert len(vault_keys.SEALED) == len(found)
    columns = {(table.name, column.name) for table in Base.metadata.tables.values() for column in table.columns}
    assert {(each.table, each.column) for each in vault_keys.SEALED} <= columns
