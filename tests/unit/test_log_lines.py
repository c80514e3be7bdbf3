"""Logs tell what happened and where, and repeat no value."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError

from messaging.log_lines import hush, outline, set_up_logs
from workers.quiet import Reticent, keep_quiet

SECRET = "canary-5f1c"


@pytest.fixture
def configured() -> Any:
    """Our set-up, taken back afterwards."""
    set_up_logs()
    yield
    structlog.reset_defaults()


def raised() -> BaseException:
    """An exception whose text, whose cause's text and whose local variables hold a secret."""
    password = SECRET
    try:
        try:
            int(password)
        except ValueError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError as error:
        return error
    raise AssertionError


def test_an_exception_is_told_by_what_and_where_it_is() -> None:
    """Its causes too; not by what it says."""
    told = outline(raised())
    assert told.startswith("RuntimeError at tests/unit/test_log_lines.py:")
    assert "; after ValueError at " in told
    assert " raised" in told
    assert SECRET not in told


def test_a_database_error_is_told_by_its_code() -> None:
    """PostgreSQL's text would quote the row."""
    error = IntegrityError(f"INSERT {SECRET}", {"email": SECRET}, UniqueViolation(f"Key ({SECRET}) exists"))
    assert outline(error) == "sqlalchemy.exc.IntegrityError 23505"


def test_a_logged_exception_shows_no_text_and_no_variable(configured: None, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    """By `exc_info` of any kind."""
    log = structlog.get_logger("test")
    log.error("An operation failed.", operation="x", exc_info=raised())
    try:
        raise raised()
    except RuntimeError:
        log.exception("Again.")
    said = capsys.readouterr().out
    assert "An operation failed." in said
    assert said.count("RuntimeError at ") == 2
    assert SECRET not in said


def test_celerys_lines_show_no_text_of_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    """Neither of a task that failed nor of anything else its consumer says with an exception."""
    keep_quiet()
    keep_quiet()
    trace, consumer = logging.getLogger("celery.app.trace"), logging.getLogger("celery.worker.consumer.consumer")
    assert sum(isinstance(each, Reticent) for each in trace.filters) == 1
    error = raised()
    info = (type(error), error, error.__traceback__)
    context = {"id": "1", "name": "messaging.send_sms", "exc": repr(error), "traceback": SECRET, "args": SECRET}
    trace.error("Task %(name)s[%(id)s] raised unexpected: %(exc)s\n%(traceback)s", context, exc_info=info)
    trace.error("Task %(name)s[%(id)s] raised unexpected: %(exc)s\n%(traceback)s", context)
    consumer.error("Received unregistered task of type %s.\n%s", SECRET, SECRET, exc_info=info)
    assert "messaging.send_sms[1] raised unexpected: RuntimeError at" in caplog.text
    assert "Received unregistered task of type: RuntimeError" in caplog.text
    assert SECRET not in caplog.text


def test_libraries_write_down_nothing_they_send_at_any_level() -> None:
    """Whatever the root logger is set to."""
    hush()
    for name in ("httpx", "httpcore.http11", "hpack.hpack", "urllib3.connectionpool", "celery.pool", "google.auth"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG), name
