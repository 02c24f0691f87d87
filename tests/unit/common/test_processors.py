"""The processors that a process may use are those of its affinity and its control group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.processors import usable_processors


@pytest.mark.parametrize(
    ("content", "limit"), [("max 100000\n", 999), ("100000 100000\n", 1), ("150000 100000\n", 2), ("5000 100000\n", 1)]
)
def test_cgroup_cpu_limit_bounds_usable_processors(tmp_path: Path, content: str, limit: int) -> None:
    """A fractional limit is rounded up: 1.5 processors are two, and 0.05 is one."""
    (tmp_path / "cpu.max").write_text(content)
    assert usable_processors(tmp_path / "cpu.max") == min(limit, len(os.sched_getaffinity(0)))


def test_affinity_is_used_without_cgroup_limit(tmp_path: Path) -> None:
    """Without control groups of version 2 all processors of the affinity are usable."""
    assert usable_processors(tmp_path / "missing") == len(os.sched_getaffinity(0))
