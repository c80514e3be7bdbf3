"""A day, second by second: campaigns that share the bulk pool and the provider's quota, and codes in their own lane.

Deterministic by its seed. Simplified on purpose: a second is the smallest step of the bulk lane, messages under way
share it evenly, and a process is one core. The lane of the codes is simulated code by code, one process of its pool
for a minute of each hour, because a hundred million codes a day would take the day.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

# deliveries by hour of the day, of what people in one time zone are sent; the mean is 1
# fmt: off
HOURS = (
    0.2, 0.15, 0.1, 0.1, 0.1, 0.2, 0.5, 0.9, 1.3, 1.6, 1.6, 1.6,
    1.7, 1.5, 1.5, 1.4, 1.4, 1.6, 1.7, 1.7, 1.3, 0.95, 0.6, 0.3,
)
# fmt: on
_BY_DAY = range(8, 21)  # hours in which campaigns begin
_SIMULATED_S = 60
_SLOTS = 8  # of a process of the high lane


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is asked for and what there is to do it with."""

    campaign_deliveries: int
    """A day, over all campaigns."""
    campaigns: int
    codes: int
    """A day; each is a message to one target."""
    bulk_per_s: float
    """What the bulk pool can do a second."""
    quota_per_s: float
    """What the provider takes a second, codes included."""
    code_processes: int
    code_us: float
    """Processor time of one code in its process."""
    provider_ms: float = 60.0
    """The provider's answer, in the median."""


@dataclass(frozen=True)
class Campaign:
    """One message to many, in seconds of the day."""

    sent_s: float
    size: int
    last_s: float
    """When its last delivery left."""

    @property
    def took_s(self) -> float:
        """From the send to the last delivery."""
        return self.last_s - self.sent_s


@dataclass(frozen=True)
class Day:
    """What became of it."""

    campaigns: Sequence[Campaign]
    code_p50_ms: float
    code_p99_ms: float
    busiest_code_process: float
    """Share of its core that the lane of the codes used in its busiest hour."""
    quota_seconds: int
    """Seconds in which the quota, and not the pool, was the limit."""


def simulate(shape: Shape, *, seed: int) -> Day:
    """One day; campaigns that are not through by midnight go on until they are."""
    chance = random.Random(seed)
    campaigns, limited = _bulk(shape, _arrivals(shape, chance))
    waits, busiest = _codes(shape, chance)
    return Day(campaigns, percentile(waits, 0.50) * 1e3, percentile(waits, 0.99) * 1e3, busiest, limited)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed; 0 where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def _arrivals(shape: Shape, chance: random.Random) -> list[tuple[float, int]]:
    """When each campaign is sent and to how many: a few large ones, many small ones, together what is asked for."""
    weights = [chance.lognormvariate(0.0, 1.2) for _ in range(shape.campaigns)]
    hours = chance.choices(_BY_DAY, weights=[HOURS[hour] for hour in _BY_DAY], k=shape.campaigns)
    total = sum(weights)
    # people send on the hour, and at the minute they think of it
    times = [hour * 3600.0 + (0.0 if chance.random() < 0.5 else chance.uniform(0, 3600)) for hour in hours]
    sizes = [max(1, round(shape.campaign_deliveries * weight / total)) for weight in weights]
    return sorted(zip(times, sizes, strict=True))


def _bulk(shape: Shape, arrivals: Sequence[tuple[float, int]]) -> tuple[list[Campaign], int]:
    left: dict[int, float] = {}
    done: list[Campaign] = []
    waiting, second, limited = 0, int(arrivals[0][0]) if arrivals else 0, 0
    while waiting < len(arrivals) or left:
        while waiting < len(arrivals) and arrivals[waiting][0] <= second:
            left[waiting] = float(arrivals[waiting][1])
            waiting += 1
        if not left:
            second = math.ceil(arrivals[waiting][0])
            continue
        codes_per_s = shape.codes / 86_400 * HOURS[second // 3600 % 24]
        quota = max(0.0, shape.quota_per_s - codes_per_s)
        room = min(shape.bulk_per_s, quota)
        limited += quota < min(shape.bulk_per_s, sum(left.values()))
        if room <= 0:
            raise ValueError("The codes alone fill the provider's quota: nothing is left for campaigns.")
        for number in _share(left, room):
            at, size = arrivals[number]
            done.append(Campaign(at, size, max(at, second + 1.0)))
        second += 1
    return sorted(done, key=lambda campaign: campaign.sent_s), limited


def _share(left: dict[int, float], room: float) -> list[int]:
    """Take `room` from what is left, evenly; the campaigns that this ends."""
    ended = []
    for at, (number, size) in enumerate(sorted(left.items(), key=lambda each: each[1])):
        taken = min(size, room / (len(left) - at))
        room -= taken
        left[number] = size - taken
        if left[number] <= 1e-6:
            ended.append(number)
    for number in ended:
        del left[number]
    return ended


def _codes(shape: Shape, chance: random.Random) -> tuple[list[float], float]:
    """Waits of the codes in seconds, over all hours, and the share of a core used in the busiest."""
    waits: list[float] = []
    busiest, spend = 0.0, shape.code_us / 1e6
    for factor in HOURS:
        per_s = shape.codes / 86_400 * factor / shape.code_processes
        busiest = max(busiest, per_s * spend)
        waits += _one_minute(per_s, spend, shape.provider_ms / 1e3, chance)
    return waits, busiest


def _one_minute(per_s: float, spend_s: float, provider_s: float, chance: random.Random) -> list[float]:
    """Waits from the send to the request of the codes of one process: a slot first, then the core."""
    waits: list[float] = []
    if per_s <= 0:
        return waits
    free = [0.0] * _SLOTS
    core = now = 0.0
    while (now := now + chance.expovariate(per_s)) < _SIMULATED_S:
        begun = max(now, heapq.heappop(free), core)
        core = begun + spend_s
        waits.append(core - now)
        heapq.heappush(free, core + chance.lognormvariate(math.log(provider_s), 0.4))
    return waits
