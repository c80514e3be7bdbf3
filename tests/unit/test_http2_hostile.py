"""Whatever a server says: no call hangs, none that arrived is called unsent, none gets another's answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.unit.http2_story import tell

WHICH = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8])
SIZES = st.sampled_from([0, 1, 100, 5_000, 16_384])
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        1: st.sampled_from([0, 1, 100, 4096, 65_536, 2**32 - 1]),
        3: st.sampled_from([0, 1, 1, 2, 3, 100, 100, 2**32 - 1]),
        4: st.sampled_from([0, 1, 10, 65_535, 2**31 - 1, 2**31]),
        5: st.sampled_from([16_384, 16_384, 2**24 - 1, 100]),
    },
)
STATUSES = st.sampled_from([b"200", b"200", b"410", b"503", b"100", b"103", b"", b"abc", b"99", b"0", b"-20", b"2000"])
FRAMES = st.one_of(
    st.tuples(st.just("settings"), SETTINGS),
    st.tuples(st.just("settings"), SETTINGS),
    st.tuples(st.just("answer"), WHICH, st.sampled_from([200, 400, 410, 500]), SIZES),
    st.tuples(st.just("answer"), WHICH, st.sampled_from([200, 400, 410, 500]), SIZES),
    st.tuples(st.just("headers"), WHICH, STATUSES, st.booleans()),
    st.tuples(st.just("data"), WHICH, SIZES, st.booleans(), st.sampled_from([0, 0, 7])),
    st.tuples(st.just("reset"), WHICH, st.sampled_from([0, 2, 5, 7, 7, 8, 11, 77])),
    st.tuples(st.just("goaway"), st.sampled_from([0, 1, 3, 5, 2**31 - 1]), st.sampled_from([0, 2, 11])),
    st.tuples(st.just("short goaway"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("short goaway"), st.integers(8, 9), st.just(1)),
    st.tuples(st.just("window"), WHICH, st.sampled_from([1, 10, 1000, 70_000, 2**31 - 1])),
    st.tuples(st.just("ping"), st.sampled_from([1, 100])),
    st.tuples(st.sampled_from(["priority", "push", "unknown", "bad hpack", "big headers"]), WHICH),
    st.tuples(st.just("continuation"), WHICH, st.sampled_from([1, 70])),
    st.tuples(st.just("settings ack")),
    st.tuples(st.just("garbage"), st.binary(min_size=1, max_size=40)),
)
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 4), SIZES, st.sampled_from([1.0, 5.0, 30.0])),
    st.tuples(st.just("ask"), st.integers(1, 4), SIZES, st.sampled_from([1.0, 5.0, 30.0])),
    st.tuples(st.just("say"), st.lists(FRAMES, min_size=1, max_size=4), st.sampled_from([0, 0, 0, 1, 7])),
    st.tuples(st.just("say"), st.lists(FRAMES, min_size=1, max_size=4), st.sampled_from([0, 0, 0, 1, 7])),
    st.tuples(st.just("say"), st.lists(FRAMES, min_size=1, max_size=4), st.sampled_from([0, 0, 0, 1, 7])),
    st.tuples(st.just("say in time"), st.lists(FRAMES, min_size=1, max_size=2), st.sampled_from([1.0, 5.0, 30.0])),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.5, 1.0, 4.0, 31.0])),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("reads"), st.booleans()),
    st.tuples(st.just("refuse"), st.integers(1, 2)),
    st.tuples(st.just("slow close"), st.booleans()),
    st.tuples(st.just("retire")),
)
GREETINGS = st.one_of(
    st.just([("settings", {3: 100})]),
    st.just([("settings", {3: 100, 4: 10})]),
    st.lists(FRAMES, max_size=2).map(lambda more: [("settings", {}), *more]),
    st.lists(FRAMES, max_size=2),
)


@pytest.mark.timeout(900)  # of a busy machine, which takes many times as long
@settings(max_examples=1_500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(greeting=GREETINGS, steps=st.lists(STEPS, max_size=12), connections=st.sampled_from([1, 1, 2]))
def test_no_server_makes_the_client_hang_or_lie(
    greeting: list[tuple[Any, ...]], steps: list[tuple[Any, ...]], connections: int
) -> None:
    """The same stories each time."""
    note(f"{connections} connections; {greeting!r}; {steps!r}")
    tell(greeting, steps, connections)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=20_000, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck))
@given(greeting=GREETINGS, steps=st.lists(STEPS, max_size=30), connections=st.sampled_from([1, 1, 2]))
def test_no_server_makes_the_client_hang_or_lie_in_long_stories(
    greeting: list[tuple[Any, ...]], steps: list[tuple[Any, ...]], connections: int
) -> None:
    """Other ones each time, and longer."""
    note(f"{connections} connections; {greeting!r}; {steps!r}")
    tell(greeting, steps, connections)
