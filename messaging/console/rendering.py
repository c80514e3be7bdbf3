"""Templates, and how values read in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from messaging.clock import clock
from messaging.console import static
from messaging.status import MessageState
from messaging.store.messages import MessageView

_STEPS = ((60.0, "s"), (60.0, "min"), (24.0, "h"), (float("inf"), "d"))
_SMALL = 10


def spoken(seconds: float) -> str:
    """A time span in its largest unit: 45 s, 3 min, 2.5 h."""
    for size, unit in _STEPS:
        if abs(seconds) < size:
            return f"{seconds:.0f} {unit}" if unit == "s" or abs(seconds) >= _SMALL else f"{seconds:.3g} {unit}"
        seconds /= size
    raise AssertionError


def when(at: datetime | None) -> Markup:
    """A point in time, relative to now, with the whole of it in the title."""
    if at is None:
        return Markup('<span class="quiet">never</span>')
    passed = (clock.now() - at).total_seconds()
    said = "now" if abs(passed) < 1 else f"{spoken(passed)} ago" if passed > 0 else f"in {spoken(-passed)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%d %b %Y %H:%M:%S} UTC", said
    )


def number(value: float | None) -> str:
    """12,345; a dash for None."""
    return "-" if value is None else f"{value:,.0f}"


def percent(part: float, whole: float) -> str:
    """A share, never rounded up to 100 nor down to 0."""
    if not whole:
        return "0 %"
    share = part / whole * 100
    if 0 < share < 0.1:  # noqa: PLR2004  less than is shown
        return "< 0.1 %"
    if 99.9 < share < 100:  # noqa: PLR2004  more than is shown
        return "> 99.9 %"
    return f"{share:.3g} %"


def rate(message: MessageView) -> str:
    """How fast a message goes out, since it began; empty where it does not, or only just does."""
    if message.started_at is None or message.state is not MessageState.PROCESSING or not message.settled:
        return ""
    passed_s = (clock.now() - message.started_at).total_seconds()
    return f"{message.settled / passed_s:,.0f} a second" if passed_s >= 1 and message.settled >= passed_s else ""


@cache
def environment() -> Environment:
    """The templates' environment."""
    made = Environment(
        loader=PackageLoader("messaging.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"when": when, "number": number, "spoken": spoken}
    made.globals |= {"static": static.address, "percent": percent, "rate": rate, "now": clock.now}
    return made


def render(template: str, values: Mapping[str, Any]) -> str:
    """The document."""
    return environment().get_template(template).render(values)
