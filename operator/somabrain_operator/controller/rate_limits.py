"""Table of the back-off per class of error."""

from __future__ import annotations

from typing import Final

from common.aio.backoff import Backoff
from common.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SomaBrainError,
    Unavailable,
)

BACKOFFS: Final[tuple[tuple[type[Exception], Backoff], ...]] = (
    (Aborted, Backoff(initial_s=0.1, cap_s=5)),  # a race was lost: read again
    (NotFound, Backoff(initial_s=1, cap_s=60)),  # the namespace or the resource is going away
    (Unavailable, Backoff(initial_s=1, cap_s=30)),  # the API server restarts
    (ResourceExhausted, Backoff(initial_s=1, cap_s=30)),  # the API server throttles us
    (PermissionDenied, Backoff(initial_s=10, cap_s=300)),  # an administrator must grant it
    (FailedPrecondition, Backoff(initial_s=10, cap_s=300)),  # the same request fails the same way
    (SomaBrainError, Backoff(initial_s=5, cap_s=300)),
    (Exception, Backoff(initial_s=5, cap_s=300)),  # a defect: logged with its stack trace, not retried in a hot loop
)
"""Rows of error class and back-off; the first whose class matches applies."""


def backoff_for(error: Exception) -> Backoff:
    """Return the back-off of a key whose reconcile failed with `error`."""
    return next(backoff for kind, backoff in BACKOFFS if isinstance(error, kind))
