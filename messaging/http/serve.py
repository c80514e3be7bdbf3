"""The `api` process."""

from __future__ import annotations

import uvicorn

from messaging.http.app import create_app
from messaging.interpreter import collect_seldom
from messaging.settings import Settings

_GRACE_S = 20
"""For requests under way when SIGTERM comes; less than what the runner and systemd wait before SIGKILL."""


def run_api(host: str, port: int) -> None:
    """Serve the application on `host`:`port` until SIGTERM or SIGINT. Raises SettingsError for missing settings."""
    app = create_app(Settings.load())
    collect_seldom()
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
