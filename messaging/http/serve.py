"""The `api` process."""

from __future__ import annotations

import sys

import uvicorn

from messaging.http.app import create_app
from messaging.settings import Settings

_SWITCH_S = 0.001
"""Threads hand over after a fifth of the usual time: a request is a handful of short waits for the database."""
_GRACE_S = 20
"""For requests under way when SIGTERM comes; less than what the runner and systemd wait before SIGKILL."""


def run_api(host: str, port: int) -> None:
    """Serve the application on `host`:`port` until SIGTERM or SIGINT. Raises SettingsError for missing settings."""
    sys.setswitchinterval(_SWITCH_S)
    uvicorn.run(
        create_app(Settings.load()),
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
