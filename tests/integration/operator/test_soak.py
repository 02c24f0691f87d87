"""The short form of `make soak`: edits, restarts of the API server and cut watches leave no damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.soak_operator import soaking

MINUTES = 0.6


@pytest.mark.timeout(240)
def test_soak_ends_with_all_ready_and_no_leaks(tmp_path: Path) -> None:
    """Every resource becomes Ready again, no work queue key or task is leaked, and the operator had no error."""
    with soaking(tmp_path, brains=3, seed=7) as soak:
        before = soak.sample(0)
        report = soak.run(MINUTES, sample_s=2, fault_s=10)
        after = soak.sample(0)
        assert soak.operator.process.poll() is None
    assert {"restart api server", "cut connections", "recreate"} <= report.done.keys()
    assert after.tasks <= before.tasks * 1.05 + 5  # some connections are still being closed
    assert after.depth <= 1
    assert '"exception"' not in (tmp_path / "operator.log").read_text()
