"""A caller's own vector against the namespace's encoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.errors import InvalidArgument
from somabrain_service.commands.context import AppContext
from somabrain_service.domain.memory import Vector
from somabrain_service.encoders.protocols import LEXICAL


def validate_caller_vector(context: AppContext, encoder_id: str, vector: Vector) -> NDArray[np.float32]:
    """The vector as float32[d] of length 1.

    Raises:
        InvalidArgument: it is of another encoder or has another dimension than the namespace's vectors.
        EncoderUnavailable: this process does not know the namespace's encoder, and so no dimension.
    """
    if encoder_id == LEXICAL:
        raise InvalidArgument(vector.field, "the namespace keeps no vectors; leave it unset")
    if vector.encoder_id not in ("", encoder_id):
        raise InvalidArgument(
            f"{vector.field}.encoder_id", f"must be the namespace's, {encoder_id!r}, or empty; encode with that one"
        )
    dimensions = context.dimensions(encoder_id)
    if len(vector.values) != dimensions:
        raise InvalidArgument(
            f"{vector.field}.values",
            f"must hold {dimensions} numbers, as {encoder_id!r} makes, not {len(vector.values)}",
        )
    # Scaled first, so that neither very large nor very small numbers leave the range when squared.
    values = vector.values / np.abs(vector.values).max()
    return np.asarray(values / np.linalg.norm(values), np.float32)
