"""Interface of a client of each measured system; each runs in a separate process."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from bench.peers.dataset import Item

TOP_K = 10


class System(StrEnum):
    """System that is measured."""

    EMPTY = "empty"
    PRODUCT = "somabrain"
    CHROMA = "chroma"
    MEM0 = "mem0"


class Store(StrEnum):
    """Set of memories: a namespace of the product, a collection of chroma, a table of mem0."""

    SMALL = "small"
    LARGE = "large"
    ENCODED = "encoded"
    ADDED = "added"
    ADDED_ENCODED = "added-encoded"

    @property
    def is_encoded(self) -> bool:
        """True if the system encodes texts and questions itself."""
        return self in (Store.ENCODED, Store.ADDED_ENCODED)


class Client(Protocol):
    """Connection of one process to a system. A method returns once the system has answered."""

    async def create(self, store: Store) -> None:
        """Create an empty store."""

    async def fill(self, store: Store, items: Sequence[Item]) -> None:
        """Store memories with their vectors, in the batches that the client offers."""

    async def add(self, store: Store, item: Item) -> None:
        """Store one memory."""

    async def search(self, store: Store, question: str, vector: list[float] | None) -> list[str]:
        """Return the texts of the best TOP_K memories. `vector` None: the system encodes the question."""

    def version(self) -> str:
        """Return name and version, as in the table."""

    def durability(self) -> str:
        """Describe what this process writes to disk itself before an addition returns; empty: nothing."""
