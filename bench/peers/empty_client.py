"""Client of the handler that does nothing: every operation is the same empty call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from bench.peers.client import Store
from bench.peers.dataset import Item
from bench.trivial_server import METHOD


class EmptyClient:
    """Client of a handler that does nothing."""

    def __init__(self, address: str, scratch: Path) -> None:
        channel = grpc.aio.insecure_channel(address)
        self._call: grpc.aio.UnaryUnaryMultiCallable[Empty, Empty] = channel.unary_unary(
            METHOD, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
        )

    async def create(self, store: Store) -> None:
        """Create an empty store."""

    async def fill(self, store: Store, items: Sequence[Item]) -> None:
        """Store memories with their vectors, in batches."""

    async def add(self, store: Store, item: Item) -> None:
        """Store one memory."""
        await self._call(Empty())

    async def search(self, store: Store, question: str, vector: list[float] | None) -> list[str]:
        """Return the texts of the best TOP_K memories."""
        await self._call(Empty())
        return []

    def version(self) -> str:
        """Return name and version, as in the table."""
        return "empty handler"

    def durability(self) -> str:
        """Describe what this process writes to disk itself before an addition returns; empty: nothing."""
        return ""
