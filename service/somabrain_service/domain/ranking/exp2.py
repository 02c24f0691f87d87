"""2^-x by additions and multiplications alone, so that it is the same number on every processor.

The mathematical libraries differ in the last bit: numpy's vectorized exp2 from processor to processor, and all of them
from C's. Here it is Horner's scheme over the Taylor series of 2^-f for the fraction f of x, times the exact power of
two; the native kernel does the same operations in the same order (kernel/src/exp2.rs).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_EXPONENT = 64.0
"""Above it a result counts as 2^-64, which rounds to 0 in every score."""
_TERMS = 19
"""Terms beyond it are below half a unit in the last place of 2^-f >= 1/2."""


def exp2_negative(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2^-x of x >= 0; float64 of any shape."""
    x = np.minimum(x, MAX_EXPONENT)
    whole = np.floor(x)
    y = (x - whole) * -math.log(2)
    power = np.ones_like(x)
    for term in range(_TERMS, 0, -1):
        power = 1.0 + power * y / term
    return np.ldexp(power, -whole.astype(np.int64))
