"""Threads for searches: the kernel releases the interpreter's lock, so they run in parallel."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from common.processors import usable_processors
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.score import Ranking
from somabrain_service.store.records import Search
from somabrain_service.store.search_index.index import SearchIndex

MAX_INLINE_MEMORIES = 20_000
"""Maximum memories of an index that is searched by the event loop itself: that takes up to a millisecond, and the way
to a thread and back a third of one (`make bench-versus`, and py-spy: half of it in the thread's queue)."""
THREADS_PER_PROCESSOR = 4
"""Searches of one namespace share what they read of memory if they are more than the processors, so more may begin
(kernel/src/shared_scans.rs)."""


class SearchThreads:
    """Executor of searches."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS_PER_PROCESSOR * usable_processors(), "search")

    async def rank(self, index: SearchIndex, namespace: Namespace, search: Search, now: datetime) -> Ranking | None:
        """See `SearchIndex.rank`."""
        if index.memories <= MAX_INLINE_MEMORIES:
            return index.rank(namespace, search, now)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, index.rank, namespace, search, now)

    def close(self) -> None:
        """End the threads once they are idle."""
        self._executor.shutdown(wait=False)
