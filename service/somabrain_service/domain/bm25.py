"""BM25 (Robertson & Zaragoza 2009), with k1 and b as Anserini has them for passages.

    idf(t)      = ln(1 + (N - df + 1/2) / (df + 1/2))
    bm25(q, m)  = Σ over the terms t of q of idf(t) · tf (k1 + 1) / (tf + k1 (1 - b + b · length / mean length))
    bound(q)    = (k1 + 1) · Σ idf(t)

A term's part stays below idf · (k1 + 1), so bm25 / bound is an absolute number in [0, 1): it compares between
questions, and a question whose words nobody used cannot reach far. N, df and the mean length are those of all live
memories of the namespace, whatever the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

K1 = 0.9
B = 0.4
MAX_DF_RATIO = 0.1
"""A term in more than this share of the memories makes no candidates when rarer ones exist; it is still scored."""

Floats = NDArray[np.float64]


def idf(memories: int, df: Sequence[int]) -> Floats:
    """Inverse document frequencies, always above 0; a term in no memory has the highest."""
    frequency = np.asarray(df, np.float64)
    return np.log1p((memories - frequency + 0.5) / (frequency + 0.5))


def max_score(weights: Floats) -> float:
    """What BM25 stays below for a query with these idf."""
    return float((K1 + 1) * weights.sum())


@dataclass(frozen=True, slots=True)
class Postings:
    """Where a query's terms occur: in memory `row` the query's term number `term`, `tf` times; int64[p], float64[p]."""

    row: NDArray[np.int64]
    term: NDArray[np.int64]
    tf: Floats


def scores(weights: Floats, postings: Postings, doc_length: Floats, mean_length: float) -> Floats:
    """Score memories.

    Args:
        weights: float64[t], idf of the query's terms.
        postings: their occurrences, in any order.
        length: float64[n], terms in each memory.
        mean_length: of all live memories; > 0 when there is one.

    Returns:
        float64[n], 0 where no term occurs.
    """
    # Summed in the order of terms, because the rounding of a sum depends on its order.
    order = np.lexsort((postings.term, postings.row))
    row, tf = postings.row[order], postings.tf[order]
    norm = K1 * (1 - B + B * doc_length[row] / mean_length)
    parts = weights[postings.term[order]] * tf * (K1 + 1) / (tf + norm)
    return np.asarray(np.bincount(row, parts, minlength=len(doc_length)), np.float64)


def selective_terms(memories: int, df: Sequence[int]) -> list[bool]:
    """Which of the query's terms make candidates; all that occur when all are common."""
    selective = [0 < n <= MAX_DF_RATIO * memories for n in df]
    return selective if any(selective) else [n > 0 for n in df]
