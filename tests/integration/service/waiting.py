"""Waiting for what happens in other processes."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 30.0


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true; fail with `what` after `WAIT_S`."""
    ends_at = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < ends_at, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.05)
