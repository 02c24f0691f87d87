"""Labels of lines that end close together stay readable."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bench.plot import LABEL, spread_labels


@given(st.lists(st.floats(0, 400), max_size=4))
def test_spread_labels_prevents_overlap_and_preserves_order(heights: list[float]) -> None:
    """Labels do not overlap and keep the order of their lines; the topmost stays in place and none moves up."""
    moved = spread_labels(heights)
    assert all(after - before >= LABEL - 1e-9 for before, after in pairwise(sorted(moved)))
    assert all(after >= before for before, after in zip(heights, moved, strict=True))
    assert min(moved, default=0) == min(heights, default=0)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    assert [moved[index] for index in order] == sorted(moved)
