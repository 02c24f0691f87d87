"""Pooling of token vectors."""

from __future__ import annotations

import numpy as np
import pytest

from somabrain_service.encoders.onnx import Pooling, pool

TOKENS = np.array([[[1, 8], [3, 2], [9, 9]], [[-5, -1], [7, 7], [9, 9]]], np.float32)
MASK = np.array([[1, 1, 0], [1, 0, 0]], np.int64)


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [("mean", [[2, 5], [-5, -1]]), ("cls", [[1, 8], [-5, -1]]), ("max", [[3, 8], [-5, -1]])],
)
def test_pooling_ignores_padding(pooling: Pooling, pooled: list[list[float]]) -> None:
    assert pool(TOKENS, MASK, pooling).tolist() == pooled
