"""Errors that fail only one item of a batch; any other error fails the whole call."""

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
