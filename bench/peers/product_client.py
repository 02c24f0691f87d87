"""Client of the product: its own asynchronous one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.peers.client import TOP_K, Store
from bench.peers.dataset import Item
from somabrain_client import CallError, MemoryClient, MemoryDraft

BATCH = 500
DEADLINE_S = 60.0


class ProductClient:
    """Client of the product."""

    def __init__(self, address: str, scratch: Path) -> None:
        self._client = MemoryClient(address, deadline_s=DEADLINE_S)

    async def create(self, store: Store) -> None:
        """Create an empty store."""
        await self._client.create_namespace(store)

    async def fill(self, store: Store, items: Sequence[Item]) -> None:
        """Store memories with their vectors, in batches."""
        for start in range(0, len(items), BATCH):
            drafts = [
                MemoryDraft(item.text, session=item.session, vector=item.vector) for item in items[start:][:BATCH]
            ]
            for result in await self._client.batch_remember(store, drafts):
                if isinstance(result, CallError):
                    raise result

    async def add(self, store: Store, item: Item) -> None:
        """Store one memory."""
        await self._client.remember(store, item.text, session=item.session, vector=item.vector)

    async def search(self, store: Store, question: str, vector: list[float] | None) -> list[str]:
        """Return the texts of the best TOP_K memories."""
        result = await self._client.recall(store, question, vector=vector, top_k=TOP_K)
        return [hit.memory.text for hit in result.hits]

    def version(self) -> str:
        """Return name and version, as in the table."""
        return f"SomaBrain {version('somabrain')}"

    def durability(self) -> str:
        """Describe what this process writes to disk itself before an addition returns; empty: nothing."""
        return ""
