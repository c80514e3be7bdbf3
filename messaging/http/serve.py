"""The `api` process."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from messaging.http.slow_clients import PatientProtocol
from messaging.interpreter import collect_seldom
from messaging.log_lines import set_up_logs

_GRACE_S = 20
"""For requests under way when SIGTERM comes; less than what the runner and systemd wait before SIGKILL."""
MOST_CONNECTIONS = 1000
"""Further ones are told 503 at once. Sixteen are worked on at a time; each of the rest costs some tens of kilobytes."""
_BACKLOG = 512
"""Connections the system holds until we have looked at them."""


def run_api(app: ASGIApp, host: str, port: int) -> None:
    """Serve the application on `host`:`port` until SIGTERM or SIGINT."""
    collect_seldom()
    set_up_logs()
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=_BACKLOG,
        http=PatientProtocol,
        ws="none",
    )
