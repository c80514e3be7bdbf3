"""The project and API key of a stack: made once per database, then read back."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from messaging.local.bootstrap import first_project
from messaging.local.private_files import write_private

if TYPE_CHECKING:
    from pathlib import Path


def project_and_key(directory: Path, *, database_url: str, secret_key: str, embedded: bool) -> tuple[str, str]:
    """(project id, API key) from `directory`/api.key (mode 0600), made first where the database is another one.

    The embedded database is the directory's own, whatever its port is today. Raises `SettingsError` for a secret key
    that is too short.
    """
    path = directory / "api.key"
    database = "embedded" if embedded else hashlib.sha256(database_url.encode()).hexdigest()
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["database"] == database:
            return str(kept["project"]), str(kept["api_key"])
    project, api_key = first_project(database_url, secret_key)
    write_private(path, json.dumps({"database": database, "project": project, "api_key": api_key}) + "\n")
    return project, api_key
