"""A topic's growth as a picture: points of a line and bars, worked out here so that it needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from messaging.store.topic_growth import Day

WIDTH, HEIGHT = 720, 200
_TOP, _BOTTOM, _SIDE = 10, 6, 8


@dataclass(frozen=True, slots=True)
class Bar:
    """Who joined on one day."""

    day: date
    joined: int
    subscribers: int
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn: bars for each day's new subscribers, a line for all of them."""

    bars: Sequence[Bar]
    bar_width: float
    line: str
    """`points` of an SVG polyline."""
    most_joined: int
    most: int
    joined: int
    width: int = WIDTH
    height: int = HEIGHT


def drawn(days: Sequence[Day]) -> Picture:
    """The picture of those days, oldest first."""
    step = (WIDTH - 2 * _SIDE) / max(1, len(days))
    room = HEIGHT - _TOP - _BOTTOM
    most_joined = max((day.joined for day in days), default=0)
    most = max((day.subscribers for day in days), default=0)
    bars, points = [], []
    for place, day in enumerate(days):
        high = room * day.joined / most_joined if most_joined else 0.0
        x = _SIDE + place * step
        bars.append(
            Bar(day.day, day.joined, day.subscribers, round(x, 1), round(_TOP + room - high, 1), round(high, 1))
        )
        y = _TOP + room * (1 - day.subscribers / most) if most else _TOP + room
        points.append(f"{x + step / 2:.1f},{y:.1f}")
    return Picture(
        bars=bars,
        bar_width=round(step * 0.7, 1),
        line=" ".join(points),
        most_joined=most_joined,
        most=most,
        joined=sum(day.joined for day in days),
    )
