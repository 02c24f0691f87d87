"""BM25 (Robertson & Zaragoza 2009), with Anserini's k1 and b for passages.

    idf(t)      = ln(1 + (N - df + 1/2) / (df + 1/2))
    bm25(q, m)  = Σ over the terms t of q of idf(t) · tf (k1 + 1) / (tf + k1 (1 - b + b · length / mean length))
    max(q)      = (k1 + 1) · Σ idf(t)

A term contributes less than idf · (k1 + 1), so bm25 / max is an absolute number in [0, 1): it is comparable between
queries, and stays low for a query whose words occur in no memory. N, df and the mean length are those of all live
memories of the namespace, regardless of the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

K1 = 0.9
B = 0.4
MAX_DF_RATIO = 0.1
"""Terms in a larger share of the memories select no candidates if the query has rarer ones; they are still scored."""

Floats = NDArray[np.float64]


def idf(memories: int, df: Sequence[int]) -> Floats:
    """Return inverse document frequencies, always above 0; a term that occurs in no memory has the highest."""
    frequency = np.asarray(df, np.float64)
    return np.log1p((memories - frequency + 0.5) / (frequency + 0.5))


def max_score(weights: Floats) -> float:
    """Return the upper bound (exclusive) of BM25 for a query with these idf."""
    return float((K1 + 1) * weights.sum())


@dataclass(frozen=True, slots=True)
class Postings:
    """Postings of a query's terms: memory row and index of the term in the query, int64[p]; frequency, float64[p]."""

    row: NDArray[np.int64]
    term: NDArray[np.int64]
    tf: Floats


def scores(weights: Floats, postings: Postings, doc_length: Floats, mean_length: float) -> Floats:
    """Return the BM25 score of each memory.

    Args:
        weights: float64[t], idf of the query's terms.
        postings: postings of the query's terms, in any order.
        doc_length: float64[n], number of terms in each memory.
        mean_length: mean document length of all live memories; > 0 if there are any.

    Returns:
        float64[n], 0 where no term occurs.
    """
    # Summed in the order of terms, because the rounding error of a sum depends on its order.
    order = np.lexsort((postings.term, postings.row))
    row, tf = postings.row[order], postings.tf[order]
    norm = K1 * (1 - B + B * doc_length[row] / mean_length)
    parts = weights[postings.term[order]] * tf * (K1 + 1) / (tf + norm)
    return np.asarray(np.bincount(row, parts, minlength=len(doc_length)), np.float64)


def selective_terms(memories: int, df: Sequence[int]) -> list[bool]:
    """Return a flag per query term: True if it selects candidates. If all are common, all that occur do."""
    selective = [0 < n <= MAX_DF_RATIO * memories for n in df]
    return selective if any(selective) else [n > 0 for n in df]
