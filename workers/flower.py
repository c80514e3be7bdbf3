"""Flower behind its password, to look at only: `python -m workers.flower --address=… --port=…`.

Flower 2.2 asks for its password page by page and forgets some (`/metrics`, `/healthcheck`, its files), and is read-only
action by action. Here both are decided once, before any of its handlers is chosen, and there is no way to start it
without a password. Its options are Flower's own (https://flower.readthedocs.io/en/latest/config.html), from
`FLOWER_*` or the command line; it is configured by no file, which would be Python somebody left in the directory.
"""

from __future__ import annotations

import atexit
import hmac
import signal
import sys
from base64 import b64decode
from functools import cached_property
from typing import Any

from flower import command
from flower.app import Flower
from flower.options import options
from flower.urls import settings as flower_settings
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from messaging.settings import Settings
from workers.flower_pages import COLUMNS, OurBroker, Pages, in_words, page_of, without_password

_READS = frozenset({"GET", "HEAD"})
_TABLE = "/tasks/datatable"
"""The page of tasks asks for its rows with POST; it changes nothing."""
_HEADERS = {
    # its pages carry scripts and styles of their own, and are framed by nobody
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Refusal(RequestHandler):
    """The answer to who may not ask, or to what may not be asked for."""

    def initialize(self, status: int, sentence: str) -> None:
        """Remember what to say."""
        self._status, self._sentence = status, sentence

    def set_default_headers(self) -> None:
        """Those of every answer."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def check_xsrf_cookie(self) -> None:
        """Nothing is done, so nobody need be asked."""

    def prepare(self) -> None:
        """Answer."""
        self.set_status(self._status)
        if self._status == 401:  # noqa: PLR2004  HTTP's own number
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._sentence)


class GuardedFlower(Flower):  # type: ignore[misc]  # Flower ships no types
    """Flower that answers only who knows its password, and does nothing but show."""

    def __init__(self, ours: Settings, **more: Any) -> None:  # noqa: ANN401  Flower's own
        super().__init__(**more)
        self.console = ours.console_address
        """Where its pages link to; None where nobody said."""
        self.broker_authority = ours.broker_ca_file
        self._broker_url = ours.broker_url.get_secret_value()
        self._project = ours.project

    def console_page(self, task: Any) -> str | None:  # noqa: ANN401  Celery's, without types
        """The console's page about a task, if there is one."""
        return page_of(self.console, task.name, task.args, task_id=str(task.uuid or ""), project=self._project)

    @cached_property
    def broker_uri(self) -> str:
        """The broker's address without its password; kombu would put our transport's name in place of its scheme."""
        return without_password(self._broker_url)

    @cached_property
    def broker_uri_with_password(self) -> str:
        """The broker's address."""
        return self._broker_url

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:  # noqa: ANN401  tornado's delegate
        """Flower's own handler, or a refusal."""
        if not _knows_password(request.headers.get("Authorization", ""), self.options.basic_auth):
            return self._refuse(request, 401, "Give the name and the password of Flower.\n")
        prefix = f"/{self.options.url_prefix.strip('/')}" if self.options.url_prefix else ""
        if request.method not in _READS and request.path != f"{prefix}{_TABLE}":
            return self._refuse(request, 405, "Flower only shows. Use the `messaging` command to change something.\n")
        if request.path == f"{prefix}/broker":
            return self.get_handler_delegate(request, OurBroker)
        return super().find_handler(request, **more)

    def _refuse(self, request: HTTPServerRequest, status: int, sentence: str) -> Any:  # noqa: ANN401
        return self.get_handler_delegate(request, Refusal, {"status": status, "sentence": sentence})


def _knows_password(header: str, known: list[str]) -> bool:
    """Whether a header is `Basic` with one of `known`, each `name:password` (RFC 7617)."""
    scheme, _, said = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = b64decode(said, validate=True)
    except ValueError:
        return False
    return any(hmac.compare_digest(given, each.encode()) for each in known)


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 where no password is set."""
    options.tasks_columns = COLUMNS
    command.apply_env_options()
    options.conf = "/dev/null"  # read after the environment; an empty file
    command.apply_options("flower", [*arguments, "--conf=/dev/null"])
    if not options.basic_auth or not all(":" in each and each.partition(":")[2] for each in options.basic_auth):
        print("flower: set FLOWER_BASIC_AUTH to name:password; it is not served without.", file=sys.stderr)  # noqa: T201  stderr is where a supervisor looks
        return 1
    options.read_only = True
    options.format_task = in_words
    command.extract_settings()
    command.setup_logging()

    from workers.app import app, settings  # noqa: PLC0415  reads the settings; a missing password is said first

    own = flower_settings | {"template_loader": Pages(flower_settings["template_path"])}
    served = GuardedFlower(settings, capp=app, options=options, **own)
    atexit.register(served.stop)
    signal.signal(signal.SIGTERM, command.sigterm_handler)
    served.start_http_server()
    try:
        served.start()
    except (KeyboardInterrupt, SystemExit):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
