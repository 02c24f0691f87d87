"""Client of chroma: its HTTP client, with the product's encoder as its embedding function."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import chromadb
import numpy as np
from chromadb import Documents, EmbeddingFunction, Embeddings
from chromadb.config import Settings

from bench.peers.client import TOP_K, Store
from bench.peers.dataset import Item
from bench.peers.encoder import encode

BATCH = 1_000


class SameEncoder(EmbeddingFunction[Documents]):  # type: ignore[misc] # chroma is not installed where mypy runs
    """The product's encoder behind chroma's interface for embeddings."""

    def __init__(self) -> None:
        """Load nothing yet: the first text does."""

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - the interface names it so
        """Return the vectors of texts."""
        return [np.array(row, np.float32) for row in encode(list(input))]

    @staticmethod
    def name() -> str:
        """Return the name by which a collection refers to this function."""
        return "somabrain-minilm"

    @staticmethod
    def build_from_config(config: dict[str, object]) -> SameEncoder:
        """Return the function for a collection that was opened again; nothing of it is configurable."""
        return SameEncoder()

    def get_config(self) -> dict[str, object]:
        """Return what a collection stores of this function."""
        return {}


class ChromaClient:
    """Client of chroma."""

    def __init__(self, address: str, scratch: Path) -> None:
        host, port = address.split(":")
        self._client = chromadb.HttpClient(host=host, port=int(port), settings=Settings(anonymized_telemetry=False))
        self._collections: dict[Store, chromadb.Collection] = {}

    async def create(self, store: Store) -> None:
        """Create an empty store."""
        self._collection(store)

    async def fill(self, store: Store, items: Sequence[Item]) -> None:
        """Store memories with their vectors, in batches."""
        for start in range(0, len(items), BATCH):
            self._add(store, items[start : start + BATCH])

    async def add(self, store: Store, item: Item) -> None:
        """Store one memory."""
        self._add(store, [item])

    async def search(self, store: Store, question: str, vector: list[float] | None) -> list[str]:
        """Return the texts of the best TOP_K memories."""
        query = {"query_texts": [question]} if vector is None else {"query_embeddings": [vector]}
        result = self._collection(store).query(**query, n_results=TOP_K)
        return list(result["documents"][0])

    def version(self) -> str:
        """Return name and version, as in the table."""
        return f"chroma {chromadb.__version__}"

    def durability(self) -> str:
        """Describe what this process writes to disk itself before an addition returns; empty: nothing."""
        return ""

    def _add(self, store: Store, items: Sequence[Item]) -> None:
        vectors = [item.vector for item in items]
        self._collection(store).add(
            ids=[str(uuid.uuid4()) for _ in items],
            documents=[item.text for item in items],
            embeddings=None if None in vectors else vectors,
            metadatas=[{"session": item.session} for item in items] if items[0].session else None,
        )

    def _collection(self, store: Store) -> chromadb.Collection:
        if store not in self._collections:
            self._collections[store] = self._client.get_or_create_collection(
                store.value,
                configuration={"hnsw": {"space": "cosine"}},
                embedding_function=SameEncoder() if store.is_encoded else None,
            )
        return self._collections[store]
