"""What a User-Agent header is taken to say."""

from __future__ import annotations

import time

import pytest

from messaging.http.user_agent import parse_user_agent

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("header", "system", "program", "device", "title"),
    [
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51",
            ("WIN", "Windows", "10.0"),
            ("browser", "Microsoft Edge", "124.0.2478.51"),
            "desktop",
            "Microsoft Edge on Windows",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) {_WEBKIT} Version/17.4.1 Mobile/15E Safari/604",
            ("IOS", "iOS", "17.4.1"),
            ("browser", "Safari", "17.4.1"),
            "smartphone",
            "Apple iPhone",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/124.0",
            ("IOS", "iOS", "16.6"),
            ("browser", "Chrome", "124.0"),
            "tablet",
            "Apple iPad",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007) {_WEBKIT} Chrome/123.0 Mobile Safari/537",
            ("AND", "Android", "14"),
            ("browser", "Chrome", "123.0"),
            "smartphone",
            "Samsung SM-S918B",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:125.0) Gecko/20100101 Firefox/125.0",
            ("MAC", "Mac", "10.15"),
            ("browser", "Firefox", "125.0"),
            "desktop",
            "Firefox on Mac",
        ),
        ("okhttp/4.12.0", ("", "", ""), ("library", "okhttp", "4.12.0"), "", "okhttp"),
        ("node", ("", "", ""), ("", "", ""), "", ""),
        ("", ("", "", ""), ("", "", ""), "", ""),
        ("Mozilla/5.0", ("", "", ""), ("", "", ""), "", ""),
    ],
)
def test_clients_are_told_apart(
    header: str, system: tuple[str, str, str], program: tuple[str, str, str], device: str, title: str
) -> None:
    """Browsers, phones and programs; what is unknown is empty."""
    found = parse_user_agent(header)
    assert (found.os_code, found.os_name, found.os_version) == system
    assert (found.type, found.name, found.version) == program
    assert (found.device, found.title) == (device, title)


@pytest.mark.parametrize("header", ["iPhone" * 2000, "Android 1; " * 2000, "Version/1" * 2000, "M" * 100_000, "\0(;"])
def test_a_hostile_header_costs_nothing(header: str) -> None:
    """No pattern backtracks without end; what others do on this processor meanwhile does not count."""
    started = time.thread_time()
    parse_user_agent(header)
    assert time.thread_time() - started < 0.1
