"""This machine: the disk, the certificates it was given, and the processes of a stack on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from messaging.doctor.finding import Finding, broken, ok, size, skipped, warning
from messaging.local.children import identity
from messaging.settings import Settings

_TIMEOUT_S = 5.0
_TIGHT, _FULL = 0.15, 0.05
_FULL_BYTES = 1 << 30
SOON = timedelta(days=21)


def disk(directory: Path, *, usage: Callable[[Path], Any] = shutil.disk_usage) -> Finding:
    """Whether the disk of a data directory has room."""
    try:
        found = usage(directory)
    except OSError as error:
        return skipped("disk", f"{directory}: {error.strerror}")
    said = f"{size(found.free)} of {size(found.total)} free for {directory}"
    advice = (
        "Make room: PostgreSQL stops when it is full. MESSAGING_RETENTION_DAYS decides how long the ledger is kept."
    )
    if found.free < found.total * _FULL or found.free < _FULL_BYTES:
        return broken("disk", said, advice)
    if found.free < found.total * _TIGHT:
        return warning("disk", said, advice)
    return ok("disk", said)


def certificates(settings: Settings, *, now: datetime | None = None) -> Finding:
    """Whether a certificate of the settings ends soon."""
    at = now or datetime.now(UTC)
    ends: list[tuple[datetime, Path]] = []
    faults: list[str] = []
    for file in _certificate_files(settings):
        try:
            ends += [(each.not_valid_after_utc, file) for each in x509.load_pem_x509_certificates(file.read_bytes())]
        except (OSError, ValueError) as error:
            faults.append(f"{file}: {error}")
    if faults:
        return broken("certificates", "; ".join(faults), "Correct the setting, or the file and its owner.")
    if not ends:
        return ok("certificates", "none in use")
    end, file = min(ends)
    if end <= at:
        return broken("certificates", f"{file} ended {end:%Y-%m-%d}", "Replace it.")
    if end <= at + SOON:
        return warning("certificates", f"{file} ends {end:%Y-%m-%d}", "Replace it soon.")
    return ok("certificates", f"{len(ends)}, the first ends {end:%Y-%m-%d}")


def _certificate_files(settings: Settings) -> list[Path]:
    named = (settings.ca_file, settings.broker_ca_file, settings.task_signing_certificate)
    folder = settings.task_signing_certificates
    trusted = () if folder is None or not folder.is_dir() else (each for each in folder.iterdir() if each.is_file())
    return [*(each for each in named if each is not None), *sorted(trusted)]


def stack(directory: Path) -> Iterator[Finding]:
    """The processes of a stack that `messaging up` runs on this machine."""
    try:
        runtime = json.loads((directory / "runtime.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield skipped("processes", f"{directory}/runtime.json can't be read: {error}")
        return
    yield processes(runtime.get("processes") or {})
    yield answers("API", str(runtime.get("endpoint", "")).removesuffix("/v1") + "/health/ready")
    if runtime.get("flower"):
        yield answers("Flower", f"{runtime['flower']}/healthcheck")


def processes(pids: dict[str, int]) -> Finding:
    """Whether each process that was started runs."""
    gone = [name for name, pid in pids.items() if identity(pid) is None]
    if gone:
        return broken(
            "processes",
            f"not running: {', '.join(gone)}",
            "`messaging up` starts them again; see their files in logs/.",
        )
    return ok("processes", f"{len(pids)} running")


def answers(name: str, url: str) -> Finding:
    """Whether a page of a process answers."""
    try:
        status = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).status_code
    except (httpx.TransportError, httpx.InvalidURL) as error:
        return broken(name, f"does not answer: {type(error).__name__}", "Look into its log; is its port taken?")
    if status != HTTPStatus.OK:
        return broken(name, f"answers {status}", "Look at the other checks, and into its log.")
    return ok(name, "answers")
