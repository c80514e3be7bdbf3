"""What goes wrong inside is told without what it was about."""

from __future__ import annotations

import logging

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from messaging.log_lines import outline, set_up_logs
from tests.integration.road import Road
from workers.providers.base import Recipient


def test_an_adapter_that_breaks_tells_no_address(road: Road, capfd: pytest.CaptureFixture[str]) -> None:
    """The address in its exception, and in its variables, is in no log and in no row but its target's."""
    set_up_logs()
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        road.add_topic("news", road.add_push_targets(1, provider=road.add_provider("apns", "apns")))
        (address,) = (row for row in _column(road, "SELECT identifier FROM targets"))

        def break_down(recipient: Recipient) -> None:
            raise RuntimeError(f"{recipient!r} {address}")

        road.provider.during = break_down
        sent = road.send(topics=["news"])
        road.deliver()
        said = capfd.readouterr()
        assert "RuntimeError" in said.out + said.err
        assert address not in said.out + said.err
        (delivery,) = road.deliveries(sent)
        assert address not in f"{delivery.error} {delivery.error_code}"
    finally:
        logging.getLogger().setLevel(logging.WARNING)
        structlog.reset_defaults()


def test_a_statement_that_fails_tells_no_value(road: Road) -> None:
    """Neither by its parameters nor by the row PostgreSQL quotes."""
    with pytest.raises(DBAPIError) as raised, road.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO projects (public_id, name) VALUES (:id, :id), (:id, :id)"), {"id": "ada@example.org"}
        )
    assert "parameters hidden" in str(raised.value)
    assert outline(raised.value).startswith("sqlalchemy.exc.IntegrityError 23505 at ")
    assert "ada@" not in outline(raised.value)


def _column(road: Road, statement: str) -> list[str]:
    with road.engine.begin() as connection:
        return [str(row) for row in connection.execute(text(statement)).scalars()]
