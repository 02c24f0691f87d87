"""Validation of vectors supplied by callers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.errors import InvalidArgument
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.memory import Vector
from somabrain_service.encoders.protocols import LEXICAL


def validate_caller_vector(context: AppContext, encoder_id: str, vector: Vector) -> NDArray[np.float32]:
    """Return the vector normalized to length 1, float32[d].

    Raises:
        InvalidArgument: its encoder or dimension differs from the namespace's.
        EncoderUnavailable: the namespace's encoder, and so its dimension, is unknown to this process.
    """
    if encoder_id == LEXICAL:
        raise InvalidArgument(vector.field, "the namespace has no vectors; leave it unset")
    if vector.encoder_id not in ("", encoder_id):
        raise InvalidArgument(
            f"{vector.field}.encoder_id", f"must be the namespace's, {encoder_id!r}, or empty; encode with that one"
        )
    dimensions = context.dimensions(encoder_id)
    if len(vector.values) != dimensions:
        raise InvalidArgument(
            f"{vector.field}.values",
            f"must have {dimensions} numbers, as {encoder_id!r} produces, not {len(vector.values)}",
        )
    # Scaled first, so that squares of very large or very small numbers neither overflow nor underflow.
    values = vector.values / np.abs(vector.values).max()
    return np.asarray(values / np.linalg.norm(values), np.float32)
