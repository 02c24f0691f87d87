"""Back-off of background jobs."""

from __future__ import annotations

import pytest

from somabrain_service.background.runner import BACKOFF


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (5, 16), (6, 30), (10_000, 30)])
def test_job_backoff_doubles_up_to_cap(failures: int, longest: float) -> None:
    assert BACKOFF.delay_s(failures, 0.0) == longest / 2
    assert BACKOFF.delay_s(failures, 1.0) == longest <= BACKOFF.cap_s
