"""Our HTTP/2 client and other people's, one process each, against the same `nghttpd`, in the same run.

    python -m benchmarks.peers [--runs 5] [--requests 20000]

Every round measures every client once; rates are medians over the rounds, ratios are taken within a round first.
Ours and httpx are handed whole requests; aioapns, node-apn and firebase-admin make theirs from a notification, as
they are used, and a Celery task is all of it. Needs Debian's nghttp2-server and haproxy, Node with npm, and the
`bench` extra (`make bench` installs what comes from PyPI and npm).

aioapns waits for the `apns-id` header of an answer, which nghttpd can't give: it is measured against HAProxy, and so
is ours once more, for that ratio.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import Figure, publish
from benchmarks.http2_client import certificate
from benchmarks.native import native_server
from benchmarks.native import program as haproxy
from benchmarks.peers import measure
from benchmarks.peers.measure import HERE, Measured
from benchmarks.peers.server import TOKEN_PREFIX, nghttpd, program

OURS, OURS_FCM, OURS_HAPROXY = "ours, as APNs", "ours, as FCM", "ours, as APNs, HAProxy"
HTTPX, HTTPX_FCM, NODE = "httpx, as APNs", "httpx, as FCM", "@parse/node-apn"
AIOAPNS, FIREBASE, CELERY = "aioapns, HAProxy", "firebase-admin send_each_async", "a Celery task per recipient"
# peer: (the client of ours it is compared with, the goal for ours over it)
COMPARED: dict[str, tuple[str, float | None]] = {
    HTTPX: (OURS, 10.0),
    HTTPX_FCM: (OURS_FCM, 10.0),
    NODE: (OURS, 1.0),
    AIOAPNS: (OURS_HAPROXY, None),
    FIREBASE: (OURS_FCM, None),
    CELERY: (OURS, None),
}
Round = dict[str, Measured]


def install() -> None:
    """node-apn beside its package.json; ends with what to do where something else is missing."""
    program()
    haproxy()
    if find_spec("aioapns") is None:
        sys.exit(
            "peers: aioapns is missing. Install with: .venv/bin/python -m pip install -c constraints.txt -e '.[bench]'"
        )
    if shutil.which("node") is None or shutil.which("npm") is None:
        sys.exit("peers: Node or npm is missing; node-apn needs Node 20.")
    if not (HERE / "node_modules" / "@parse" / "node-apn").is_dir():
        quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
        subprocess.run(["npm", "install", "--loglevel=error", *quiet], cwd=HERE, check=True)  # noqa: S607  found above


def figures(rounds: list[Round], published_us: float) -> list[Figure]:
    """A figure for each client's rate, each ratio with a goal, and each client's processor time."""

    def middle(name: str, of: Callable[[Measured], float]) -> float:
        return statistics.median(of(each[name]) for each in rounds)

    found = []
    for name, (mine, goal) in COMPARED.items():
        times = statistics.median(each[mine].per_s / each[name].per_s for each in rounds)
        wanted = "" if goal is None else f"at least {goal:g}"
        met = None if goal is None else times >= goal
        rates = (
            f"{middle(mine, _per_s):,.0f}/s beside {middle(name, _per_s):,.0f}/s,"
            f" {middle(mine, _cpu_us):,.0f} beside {middle(name, _cpu_us):,.0f} us of CPU"
        )
        found.append(Figure(f"bare client over {name}", times, "times", goal=wanted, met=met, beside=rates))
    for name in (OURS, OURS_FCM, OURS_HAPROXY, *COMPARED):
        base = COMPARED[name][0] if name in COMPARED else name
        ours, cpu = middle(base, _cpu_us), middle(name, _cpu_us)
        server = f"{middle(name, _server_us):.0f} us of the server's"
        found.append(
            Figure(f"CPU a request: {name}", cpu, "us", beside=f"ours {ours:.0f} us, {server}", ratio=cpu / ours)
        )
    found.append(Figure("CPU to publish a Celery task", published_us, "us"))
    return found


def _per_s(measured: Measured) -> float:
    return measured.per_s


def _cpu_us(measured: Measured) -> float:
    return measured.cpu_us


def _server_us(measured: Measured) -> float:
    return measured.server_us


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000, help="of the fast clients; slow ones send fewer")
    arguments = parser.parse_args()
    install()
    many, some, few = arguments.requests, arguments.requests // 4, max(1000, arguments.requests // 16)
    rounds: list[Round] = []
    published: list[float] = []
    with tempfile.TemporaryDirectory(prefix="heliograph-peers-") as name:
        directory = Path(name)
        key, cert = certificate(directory)
        with nghttpd(directory, key, cert) as server, native_server(key, cert) as echoing:
            for number in range(arguments.runs):
                took: Round = {
                    OURS: measure.python_client("ours, as APNs", server, many),
                    NODE: measure.node_apn(server, TOKEN_PREFIX, many),
                    HTTPX: measure.python_client("httpx, as APNs", server, few),
                    OURS_FCM: measure.python_client("ours, as FCM", server, many),
                    HTTPX_FCM: measure.python_client("httpx, as FCM", server, few),
                    FIREBASE: measure.python_client("firebase-admin", server, few),
                    OURS_HAPROXY: measure.python_client("ours, as APNs", echoing, many),
                    AIOAPNS: measure.python_client("aioapns", echoing, some),
                }
                took[CELERY], publish_us = measure.celery_task_per_recipient(server, directory / "broker", few)
                published.append(publish_us)
                rounds.append(took)
                said = ", ".join(f"{each} {it.per_s:,.0f}/s {it.cpu_us:,.0f} us" for each, it in took.items())
                print(f"round {number + 1}: {said}", flush=True)
    rates: dict[str, list[float]] = defaultdict(list)
    for each in rounds:
        for client, measured in each.items():
            rates[client].append(measured.per_s)
    by_client = [(client, statistics.median(of)) for client, of in rates.items()]
    publish("peers", figures(rounds, statistics.median(published)), rates_by_client=by_client)


if __name__ == "__main__":
    main()
