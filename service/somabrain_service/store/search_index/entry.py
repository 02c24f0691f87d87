"""An index in use, which changes beside the calls that search it: it catches up, and its token vectors come and go.

Each change holds `lock`. Token vectors are read in pages, in one snapshot, while the index advances to later versions:
it then gets those of the changed memories with the change, and the pages leave them out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from somabrain_service.domain.changes import Position
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.index_source import IndexSource
from somabrain_service.store.search_index.index import SearchIndex

_log = structlog.stdlib.get_logger(__name__)

MAX_CATCH_UP_CHANGES = 2_000
"""Maximum changes applied within one call; beyond them the index is loaded again in the background."""
TOKEN_PAGE_SIZE = 500
"""Number of memories per query while token vectors are loaded: 2 MB of those of turns of a conversation."""


@dataclass(slots=True)
class IndexEntry:
    """An index, when it was last used, and what is known of its namespace."""

    index: SearchIndex
    last_used_at: float
    unchanged: Namespace | None = None
    """The namespace, if the last call saw it at the index's version: the next one may assume that. None: doubted."""
    tokens_requested: bool = False
    """True once a call needed the token vectors, and they were not in memory."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: set[int] | None = None
    """Memories that changed since loading of token vectors began; None: it is not going on."""
    _token_bytes_per_memory: float = 0.0
    """Mean bytes of token vectors when they were last in memory, some or all."""

    @property
    def size_bytes(self) -> int:
        """Approximate size in memory, with token vectors."""
        return self.index.size_bytes + self.index.token_bytes

    @property
    def expected_token_bytes(self) -> float:
        """Size of all token vectors in memory, as far as it is known; initially 0."""
        return self._token_bytes_per_memory * self.index.memories

    def drop_tokens(self) -> None:
        """Remove all token vectors; loading, if it is going on, ends."""
        self._changed = None
        if self.index.has_tokens:
            self._token_bytes_per_memory = self.index.token_bytes / max(self.index.memories, 1)
        if self.index.token_bytes:
            self.index.drop_tokens()

    async def catch_up(self, target: NamespaceVersion, source: IndexSource) -> bool:
        """Advance the index to the target version by the feed; False: it must be loaded again. `lock` is held."""
        since = self.index.as_of
        if target.version - since.version > MAX_CATCH_UP_CHANGES:
            return False
        changes = await source.changes(Position(since.version), MAX_CATCH_UP_CHANGES + 1)
        if changes is None or len(changes) > MAX_CATCH_UP_CHANGES:
            return False
        # Versions have no gaps: one without a change in the feed needs the index to be loaded again.
        if len({change.position.version for change in changes}) != target.version - since.version:
            return False
        ids = sorted({int(change.name.memory) for change in changes})
        index_rows = await source.index_rows(ids, self.index.encoder_id)
        has_tokens = self.index.has_tokens or self._changed is not None
        token_rows = await source.token_rows(ids) if has_tokens else ()
        try:
            # It waits for running searches.
            await asyncio.to_thread(self.index.apply, ids, index_rows, target, token_rows)
        except RuntimeError:  # a fault of the kernel, after which the index is in an unknown state
            _log.exception("search index not updated")
            return False
        if self._changed is not None:
            self._changed.update(ids)
        return True

    async def begin_token_load(self) -> NamespaceVersion:
        """Begin to note which memories change, and return the version from which on."""
        async with self.lock:
            self._changed = set()
            return self.index.as_of

    async def load_tokens(self, source: IndexSource, has_headroom: Callable[[], bool]) -> None:
        """Load the token vectors of the snapshot `source`, not older than what `begin_token_load` returned.

        It ends early, and drops what it loaded, once `has_headroom` is false or `drop_tokens` was called.
        """
        after, count = -1, 0
        while ids := await source.identifiers(after, TOKEN_PAGE_SIZE):
            token_rows = await source.token_rows(ids)
            async with self.lock:
                changed = self._changed
                if changed is None:
                    return
                unchanged = [row for row in token_rows if row.memory not in changed]
                await asyncio.to_thread(self.index.add_tokens, unchanged, complete=False)
            after, count = ids[-1], count + len(ids)
            self._token_bytes_per_memory = self.index.token_bytes / count
            if not has_headroom():
                return
        async with self.lock:
            # Not in a thread: nothing may drop them in between.
            if self._changed is not None:
                self.index.add_tokens((), complete=True)

    def end_token_load(self) -> None:
        """End loading, and drop what was loaded if that is not all."""
        self._changed = None
        if not self.index.has_tokens:
            self.drop_tokens()
