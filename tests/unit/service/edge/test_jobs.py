"""Background jobs: back-off and locks."""

from __future__ import annotations

import pytest

from somabrain_service.background.runner import MAX_BACKOFF_S, backoff_s
from somabrain_service.store.postgres.maintenance.session import lock_key


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (5, 16), (6, 30), (10_000, 30)])
def test_a_work_that_fails_waits_twice_as_long_each_time_up_to_a_bound(failures: int, longest: float) -> None:
    assert backoff_s(failures, 0.0) == longest / 2
    assert backoff_s(failures, 1.0) == longest <= MAX_BACKOFF_S


def test_every_work_has_a_lock_of_its_own() -> None:
    """Each job has its own advisory lock id, within the range of PostgreSQL's integer."""
    numbers = {lock_key(f"work-{i}") for i in range(1000)}
    assert len(numbers) == 1000
    assert all(-(2**31) <= number < 2**31 for number in numbers)
