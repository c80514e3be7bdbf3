"""Tune Python for a long-lived process that makes many small objects."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """Keep the garbage collector off what stays for ever, and let it look seldom at what comes and goes.

    Nothing on the road makes cycles. Collecting as often as Python does by itself cost a push worker an eighth of its
    time (`benchmarks/end_to_end.py`). Call it when everything is imported and opened.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
