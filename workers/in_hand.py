"""How many rows of a batch a worker has in hand, and for how many requests: what a hard crash leaves in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from messaging.catalog import ProviderKind


def seats_wanted(kind: ProviderKind, open_: int) -> int:
    """How many of the requests its account may have in flight a run over `open_` rows can use; 1 at least."""
    requests = -(-open_ // kind.request_size)
    return max(1, min(kind.calls_in_flight, requests))


def window_size(kind: ProviderKind, *, seats: int | None, most: int) -> int:
    """Rows claimed at once: half of what is in hand, so that one window is claimed while another is sent.

    `seats` are the requests that the account leaves to this run, None where it has no such limit: with fewer, fewer
    rows are in hand. `most` bounds what is in hand, but a window is always full requests, and one of them at least.
    """
    requests = kind.concurrency if seats is None else max(1, seats * kind.concurrency // kind.calls_in_flight)
    half = min(most, requests * kind.request_size) // 2
    return max(1, half // kind.request_size) * kind.request_size
