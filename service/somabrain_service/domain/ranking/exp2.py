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
_TERMS = 20
"""Terms beyond it are below half a unit in the last place of 2^-f >= 1/2."""


def _coefficients() -> list[float]:
    """Return (-ln 2)^n / n!, each from the one before."""
    coefficients = [1.0]
    for n in range(1, _TERMS):
        coefficients.append(coefficients[-1] * -math.log(2) / n)
    return coefficients


_COEFFICIENTS = _coefficients()


def exp2_negative(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2^-x of x >= 0; float64 of any shape."""
    x = np.minimum(x, MAX_EXPONENT)
    whole = np.floor(x)
    fraction = x - whole
    power = np.zeros_like(x)
    for coefficient in reversed(_COEFFICIENTS):
        power = power * fraction + coefficient
    return np.ldexp(power, -whole.astype(np.int64))
