"""Gaps, folds and leap days mean the same through every way in: the moment that PEP 495 gives them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery import Celery

from messaging.cli.times import parse_time
from messaging.clock import Clock
from messaging.errors import InvalidArgumentError
from messaging.http.parameters import Refused, future
from messaging.message import Push
from messaging.send_request import SendRequest, body_hash, schedule
from messaging.wire import TaskName
from workers.intake import IntakeTask, request_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, tzinfo=UTC)
IN_THE_GAP = datetime(2027, 3, 28, 2, 30)  # noqa: DTZ001  02:00 to 03:00 is skipped that night
TWICE = datetime(2027, 10, 31, 2, 30)  # noqa: DTZ001  from 03:00 summer time back to 02:00
MOMENTS = [
    (IN_THE_GAP, 0, datetime(2027, 3, 28, 1, 30, tzinfo=UTC)),
    (IN_THE_GAP, 1, datetime(2027, 3, 28, 0, 30, tzinfo=UTC)),
    (TWICE, 0, datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
    (TWICE, 1, datetime(2027, 10, 31, 1, 30, tzinfo=UTC)),
    (datetime(2028, 2, 29, 9), 0, datetime(2028, 2, 29, 8, tzinfo=UTC)),  # noqa: DTZ001  the wall's
]
SPELLINGS = [
    ("2027-03-28T02:30:00+01:00", datetime(2027, 3, 28, 1, 30, tzinfo=UTC)),
    ("2027-03-28T03:30:00+02:00", datetime(2027, 3, 28, 1, 30, tzinfo=UTC)),
    ("2027-10-31T02:30:00+02:00", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
    ("2027-10-31T02:30:00+01:00", datetime(2027, 10, 31, 1, 30, tzinfo=UTC)),
    ("2028-02-29T23:59:59Z", datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)),
]
NO_SUCH_DAY = "2027-02-29T09:00:00+00:00"


@pytest.fixture(autouse=True)
def _before_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.http.parameters.clock", Clock(wall_s=NOW.timestamp))


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is Berlin's, by its rule: not every machine has the files of zones."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def by_task(*, eta: str | None = None, expires: str | None = None, **said: str) -> SendRequest:
    """The request of a task with these times."""
    kwargs = {"title": "Hi", "topics": ["news"]} | said
    return request_of(IntakeTask(task_id="t", name=TaskName.SEND_PUSH, kwargs=kwargs, eta=eta, expires=expires))


@pytest.mark.parametrize(("wall", "fold", "moment"), MOMENTS)
def test_python_takes_a_time_of_a_zone(wall: datetime, fold: int, moment: datetime) -> None:
    """As its fold says; the first of two where it says nothing."""
    at = wall.replace(tzinfo=BERLIN, fold=fold)
    found = schedule(SendRequest(content=Push(title="Hi"), scheduled_at=at), NOW)
    assert found == moment
    assert found.tzinfo is UTC


@pytest.mark.parametrize(("wall", "fold", "moment"), MOMENTS)
def test_celery_writes_the_same_moment_into_an_eta(wall: datetime, fold: int, moment: datetime) -> None:
    """A bare producer's `eta` with a zone, as its Celery serialises it."""
    at = wall.replace(tzinfo=BERLIN, fold=fold)
    message = Celery("shop", set_as_current=False).amqp.as_task_v2("t", TaskName.SEND_PUSH, eta=at, expires=at)
    asked = by_task(eta=message.headers["eta"], expires=message.headers["expires"])
    assert (asked.scheduled_at, asked.expires_at) == (moment, moment)


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(("wall", "moment"), [(wall, moment) for wall, fold, moment in MOMENTS if not fold])
def test_the_command_line_takes_local_times(wall: datetime, moment: datetime) -> None:
    """Skipped: as if the clock had not been changed yet. Twice: the first."""
    assert parse_time(wall.isoformat(), argument="--at") == moment


@pytest.mark.parametrize(("spelled", "moment"), SPELLINGS)
def test_a_time_with_an_offset_is_that_moment_everywhere(spelled: str, moment: datetime) -> None:
    """HTTP, a task's arguments, its eta, the command line."""
    assert future("scheduledAt").check(spelled) == moment
    assert by_task(scheduled_at=spelled).scheduled_at == moment
    assert by_task(eta=spelled).scheduled_at == moment
    assert parse_time(spelled, argument="--at") == moment


def test_without_an_offset_http_and_tasks_take_it_as_utc() -> None:
    """And Python refuses to guess."""
    assert future("scheduledAt").check("2027-03-28T02:30:00") == datetime(2027, 3, 28, 2, 30, tzinfo=UTC)
    assert by_task(scheduled_at="2027-03-28T02:30:00").scheduled_at == datetime(2027, 3, 28, 2, 30, tzinfo=UTC)
    with pytest.raises(InvalidArgumentError, match="no zone"):
        schedule(SendRequest(content=Push(title="Hi"), scheduled_at=IN_THE_GAP), NOW)


def test_a_day_that_does_not_exist_is_refused_everywhere() -> None:
    """Nobody's message goes out a day off."""
    with pytest.raises(Refused):
        future("scheduledAt").check(NO_SUCH_DAY)
    with pytest.raises(InvalidArgumentError):
        by_task(scheduled_at=NO_SUCH_DAY)
    with pytest.raises(InvalidArgumentError):
        by_task(eta=NO_SUCH_DAY)
    with pytest.raises(InvalidArgumentError):
        parse_time(NO_SUCH_DAY, argument="--at")


def test_times_of_one_zone_are_compared_as_moments() -> None:
    """In the hour that occurs twice the wall shows 02:50 before 02:10: twenty minutes to live, not minus forty."""
    at = datetime(2027, 10, 31, 2, 50, tzinfo=BERLIN)
    ends = datetime(2027, 10, 31, 2, 10, tzinfo=BERLIN, fold=1)
    assert schedule(SendRequest(content=Push(title="Hi"), scheduled_at=at, expires_at=ends), NOW) == at.astimezone(UTC)
    with pytest.raises(InvalidArgumentError, match="before"):
        schedule(SendRequest(content=Push(title="Hi"), scheduled_at=ends, expires_at=at), NOW)


def test_one_moment_in_two_spellings_is_the_same_request() -> None:
    """So a retry with the same idempotency key is no conflict."""
    at = datetime(2027, 7, 1, 12, tzinfo=BERLIN)
    said = [SendRequest(content=Push(title="Hi"), scheduled_at=each) for each in (at, at.astimezone(UTC))]
    assert body_hash(said[0]) == body_hash(said[1])
    assert body_hash(said[0]) != body_hash(
        SendRequest(content=Push(title="Hi"), scheduled_at=at + timedelta(seconds=1))
    )
