"""The order of the memories that answer a question: worked out, or known from before.

Everything that an order rests on stands in `Question` and in the namespace's version, so whoever knows both may give
the order without working it out: see `somabrain_service.cached`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain import lexical
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.scoring import LexicalQuery, Ranking, Tuning, rank
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import Search, Statistics

CANDIDATES = 200
"""The best so many by words, and by vector: they hold .95 of the evidence in long conversations."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is sought: `terms` sorted, and float32[d] `vector` of `encoder_id`; None: words alone.

    `anew`: it is to be worked out, whatever is known from before.
    """

    terms: tuple[str, ...]
    vector: NDArray[np.float32] | None
    encoder_id: str
    filter: MemoryFilter
    top_k: int
    tuning: Tuning
    now: datetime
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The order, and the namespace as the reading sees it. `reencoding`: some memories have no vector yet."""

    namespace: Namespace
    ranking: Ranking
    reencoding: bool
    cached: bool = False


class Rankings(Protocol):
    """Whoever can tell the order."""

    async def rank(self, reading: Snapshot, tenant: TenantId, question: Question) -> Found:
        """Order the memories that a reading sees.

        Raises:
            NotFound: no such namespace.
        """
        ...


class ExactRankings:
    """Works each order out."""

    async def rank(self, reading: Snapshot, tenant: TenantId, question: Question) -> Found:
        """See `Rankings.rank`."""
        seen = await reading.statistics(question.terms)
        reencoding = question.vector is not None and seen.vectors < seen.memories
        return Found(seen.namespace, await _ranking(reading, seen, question), reencoding)


async def _ranking(reading: Snapshot, seen: Statistics, question: Question) -> Ranking:
    weights = lexical.idf(seen.memories, seen.df)
    search = Search(
        terms=question.terms,
        idf=tuple(weights.tolist()),
        seeds=_positions(lexical.rare(seen.memories, seen.df)),
        mean_length=seen.mean_length,
        vector=question.vector,
        encoder_id=question.encoder_id,
        filter=question.filter,
        limit=CANDIDATES,
    )
    found = await reading.candidates(search)
    every = _positions(n > 0 for n in seen.df)
    if found.answers.sum() < question.top_k and every != search.seeds:
        # The rare terms found too few for the answer, as within a narrow filter: then the common ones, too.
        found = await reading.candidates(dataclasses.replace(search, seeds=every))
    return rank(
        found,
        LexicalQuery(weights, seen.mean_length),
        top_k=question.top_k,
        now_s=question.now.timestamp(),
        half_life=seen.namespace.settings.recency_half_life,
        tuning=question.tuning,
    )


def _positions(chosen: Iterable[bool]) -> tuple[int, ...]:
    return tuple(i for i, yes in enumerate(chosen) if yes)
