"""Threads for searches: the kernel releases the interpreter's lock, so they run in parallel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import structlog

from common.processors import usable_processors
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.late_interaction import Shortlist
from somabrain_service.domain.ranking.score import Ranking
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.records import Search
from somabrain_service.store.search_index.index import SearchIndex

_log = structlog.stdlib.get_logger(__name__)

MAX_INLINE_MEMORIES = 20_000
"""Maximum memories of an index that is searched by the event loop itself: that takes up to a millisecond, and the way
to a thread and back a third of one (`make bench-versus`, and py-spy: half of it in the thread's queue)."""
THREADS_PER_PROCESSOR = 4
"""Searches of one namespace share what they read of memory if they are more than the processors, so more may begin
(kernel/src/shared_scans.rs)."""

MAX_INLINE_WORD_PIECES = 24
"""Maximum word pieces of a query that the event loop itself compares with a shortlist: that takes up to a millisecond
with AVX2."""


class SearchThreads:
    """Executor of searches."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS_PER_PROCESSOR * usable_processors(), "search")
        self.failures = 0
        """Number of searches that failed."""

    async def rank(self, index: SearchIndex, namespace: Namespace, search: Search, now: datetime) -> Ranking | None:
        """Run `SearchIndex.rank`. None also if the kernel failed, so that PostgreSQL searches."""
        try:
            if index.memories <= MAX_INLINE_MEMORIES:
                return index.rank(namespace, search, now)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, index.rank, namespace, search, now)
        except RuntimeError:  # the kernel failed; the index stays valid, because a search does not change it
            self.failures += 1
            _log.exception("search in memory failed", effect="PostgreSQL searches")
            return None

    async def shortlist(
        self, index: SearchIndex, namespace: Namespace, ids: Sequence[int], query: QueryTokens
    ) -> Shortlist | None:
        """Run `SearchIndex.shortlist`, in a thread if the query is long."""
        if len(query.codes) <= MAX_INLINE_WORD_PIECES:
            return index.shortlist(namespace, ids, query)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, index.shortlist, namespace, ids, query)

    def close(self) -> None:
        """End the threads once they are idle."""
        self._executor.shutdown(wait=False)
