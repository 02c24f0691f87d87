"""Every error has its row in the table of back-offs."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import Aborted, SomaBrainError, Unavailable
from somabrain_operator.controller.rate_limits import BACKOFFS, backoff_for


def leaves(kind: type[SomaBrainError]) -> Iterator[type[SomaBrainError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from leaves(below)


def test_every_error_has_backoff() -> None:
    """A key is requeued after any error, including a bug of ours."""
    for kind in leaves(SomaBrainError):
        assert any(issubclass(kind, row) for row, _ in BACKOFFS)
    assert backoff_for(RuntimeError()).cap_s == 300


def test_backoff_rows_are_not_shadowed() -> None:
    """The first matching row applies, so a base class is listed after its subclasses."""
    for index, (kind, _) in enumerate(BACKOFFS):
        assert not any(issubclass(kind, earlier) for earlier, _ in BACKOFFS[:index])


def test_conflict_is_retried_sooner_than_unavailable() -> None:
    """A conflict is retried sooner than an unavailable server."""
    assert backoff_for(Aborted("x")).initial_s < backoff_for(Unavailable("x")).initial_s
