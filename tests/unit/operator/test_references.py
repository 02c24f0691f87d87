"""How often the references of SomaBrains are read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somabrain_operator.references.poller import MIN_INTERVAL_S, READS_PER_S, poll_interval_s


@given(st.integers(0, 100_000), st.floats(1, 3600))
def test_looks_ask_for_no_more_reads_than_their_share_unless_the_longest_time_demands_it(
    references: int, longest_s: float
) -> None:
    pace = poll_interval_s(references, longest_s)
    assert pace <= longest_s
    assert references / pace <= READS_PER_S * 1.001 or pace == longest_s


@given(st.integers(0, 150), st.floats(MIN_INTERVAL_S, 3600))
def test_few_references_are_looked_at_within_five_seconds(references: int, longest_s: float) -> None:
    assert poll_interval_s(references, longest_s) == MIN_INTERVAL_S
