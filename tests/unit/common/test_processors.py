"""The processors that a process may use are those of its affinity and its control group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.processors import usable_processors


@pytest.mark.parametrize(
    ("content", "limit"), [("max 100000\n", 999), ("100000 100000\n", 1), ("150000 100000\n", 2), ("5000 100000\n", 1)]
)
def test_a_limit_of_the_control_group_counts(tmp_path: Path, content: str, limit: int) -> None:
    """A limit of one and a half processors is two, and one of a twentieth is one."""
    (tmp_path / "cpu.max").write_text(content)
    assert usable_processors(tmp_path / "cpu.max") == min(limit, len(os.sched_getaffinity(0)))


def test_without_a_control_group_the_affinity_counts(tmp_path: Path) -> None:
    """A machine without control groups of version 2 has all its processors."""
    assert usable_processors(tmp_path / "missing") == len(os.sched_getaffinity(0))
