"""Client of mem0, which is a library: it searches and scores in this process, and stores in PostgreSQL with pgvector.

`infer=False`: no language model is called. Vectors reach it through its provider `langchain` for embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from langchain.embeddings.base import Embeddings
from mem0 import Memory

from bench.peers.client import TOP_K, Store
from bench.peers.dataset import Item
from bench.peers.encoder import encode

USER = "bench"
DIMENSIONS = 384


class GivenOrEncoded(Embeddings):  # type: ignore[misc] # langchain is not installed where mypy runs
    """Embeddings that return the vector given for the next text, and without one that of the product's encoder."""

    def __init__(self) -> None:
        self.given: list[float] | None = None

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text; mem0 uses it for memories and for questions."""
        return encode([text])[0] if self.given is None else self.given

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        return [self.embed_query(text) for text in texts]


class Mem0Client:
    """Client of mem0. `address` is the URL of the database."""

    def __init__(self, address: str, scratch: Path) -> None:
        self._address, self._scratch = address, scratch
        self._embeddings = GivenOrEncoded()
        self._stores: dict[Store, Memory] = {}

    async def create(self, store: Store) -> None:
        """Create an empty store."""
        await self.search(store, "anything", [1.0] + [0.0] * (DIMENSIONS - 1))  # the first use creates the table

    async def fill(self, store: Store, items: Sequence[Item]) -> None:
        """Store memories with their vectors, in batches. It stores each memory on its own, in a batch too."""
        for item in items:
            await self.add(store, item)

    async def add(self, store: Store, item: Item) -> None:
        """Store one memory."""
        self._embeddings.given = item.vector
        metadata = {"session": item.session} if item.session else None
        self._memory(store).add(item.text, user_id=USER, metadata=metadata, infer=False)

    async def search(self, store: Store, question: str, vector: list[float] | None) -> list[str]:
        """Return the texts of the best TOP_K memories. No hit is dropped for its score, as in the other systems."""
        self._embeddings.given = vector
        result = self._memory(store).search(question, filters={"user_id": USER}, top_k=TOP_K, threshold=0.0)
        return [hit["memory"] for hit in result["results"]]

    def version(self) -> str:
        """Return name and version, as in the table."""
        return f"mem0 {version('mem0ai')}"

    def durability(self) -> str:
        """Describe what this process writes to disk itself before an addition returns; empty: nothing."""
        connection = self._memory(Store.LARGE).db.connection
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        }
        listed = ", ".join(f"{name}={value}" for name, value in settings.items())
        return f"then one of the SQLite file of its history, which each client's process has ({listed})"

    def _memory(self, store: Store) -> Memory:
        if store not in self._stores:
            self._stores[store] = Memory.from_config(
                {
                    "vector_store": {
                        "provider": "pgvector",
                        "config": {
                            "connection_string": self._address,
                            "collection_name": store.value,
                            "embedding_model_dims": DIMENSIONS,
                        },
                    },
                    "embedder": {"provider": "langchain", "config": {"model": self._embeddings}},
                    # It opens a client of a language model in any case, and calls it only to infer.
                    "llm": {"provider": "openai", "config": {"api_key": "never-used"}},
                    # One file in each process: sharing one, the processes would wait for its lock.
                    "history_db_path": str(self._scratch / "history.db"),
                }
            )
        return self._stores[store]
