"""From an error to when its key is tried again: the one table."""

from __future__ import annotations

from typing import Final

from common.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SomaBrainError,
    Unavailable,
)
from somabrain_operator.plan.backoff import Backoff

BACKOFFS: Final[tuple[tuple[type[Exception], Backoff], ...]] = (
    (Aborted, Backoff(base_s=0.1, cap_s=5)),  # a race was lost: read again
    (NotFound, Backoff(base_s=1, cap_s=60)),  # the namespace or the resource is going away
    (Unavailable, Backoff(base_s=1, cap_s=30)),  # the API server restarts
    (ResourceExhausted, Backoff(base_s=1, cap_s=30)),  # it asks us to slow down
    (PermissionDenied, Backoff(base_s=10, cap_s=300)),  # somebody must grant it
    (FailedPrecondition, Backoff(base_s=10, cap_s=300)),  # the same words give the same answer
    (SomaBrainError, Backoff(base_s=5, cap_s=300)),
    (Exception, Backoff(base_s=5, cap_s=300)),  # a fault of ours: logged with its trace, and not in a hot loop
)
"""The first row whose class fits."""


def backoff_for(error: Exception) -> Backoff:
    """Return how a key that ended with `error` is tried again."""
    return next(backoff for kind, backoff in BACKOFFS if isinstance(error, kind))
