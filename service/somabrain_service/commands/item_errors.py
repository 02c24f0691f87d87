"""Which failures are those of one item of a batch; any other is the whole call's."""

from __future__ import annotations

from common import errors

PER_ITEM_ERRORS = (
    errors.InvalidArgument,
    errors.Unimplemented,
    errors.NotFound,
    errors.AlreadyExists,
    errors.Aborted,
    errors.FailedPrecondition,
    errors.ResourceExhausted,
)
