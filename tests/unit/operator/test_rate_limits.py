"""Every error has its row in the table of back-offs."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from common.errors import Aborted, SomaBrainError, Unavailable
from somabrain_operator.controller.rate_limits import BACKOFFS, backoff_for
from somabrain_operator.plan.backoff import Backoff


def leaves(kind: type[SomaBrainError]) -> Iterator[type[SomaBrainError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from leaves(below)


def test_every_error_of_the_tree_is_retried_at_some_time() -> None:
    """A key is requeued after any error, including a bug of ours."""
    for kind in leaves(SomaBrainError):
        assert any(issubclass(kind, row) for row, _ in BACKOFFS)
    assert backoff_for(RuntimeError()).cap_s == 300


def test_no_row_hides_behind_an_earlier_one() -> None:
    """The first matching row counts, so a base class comes after its subclasses."""
    for index, (kind, _) in enumerate(BACKOFFS):
        assert not any(issubclass(kind, earlier) for earlier, _ in BACKOFFS[:index])


def test_a_lost_race_is_tried_sooner_than_a_server_that_is_down() -> None:
    """A conflict is retried sooner than an unavailable server."""
    assert backoff_for(Aborted("x")).base_s < backoff_for(Unavailable("x")).base_s


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_delay_is_within_its_bounds_and_never_falls(attempt: int, share: float) -> None:
    """The delay is between half and all of the doubled base, and never above its bound."""
    backoff = Backoff(base_s=1, cap_s=60)
    assert 0.5 <= backoff.delay_s(attempt, share) <= 60
    assert backoff.delay_s(attempt, share) <= backoff.delay_s(attempt + 1, share)
