"""Arrays of numbers as PostgreSQL reads them: one string each, which costs a tenth of what the driver's lists do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def halfvec(vector: NDArray[np.float32]) -> str:
    """A vector, for CAST(... AS halfvec)."""
    return str(vector.tolist())


def bigints(numbers: Iterable[int]) -> str:
    """Whole numbers, for CAST(... AS bigint[])."""
    return f"{{{','.join(map(str, numbers))}}}"
