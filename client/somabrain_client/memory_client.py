"""The typed, asynchronous client. It caches no results."""

from __future__ import annotations

from somabrain_client.memories import Memories
from somabrain_client.namespaces import Namespaces
from somabrain_client.streams import Streams


class MemoryClient(Namespaces, Memories, Streams):
    """A connection to the memory service, for one event loop. Use it in `async with`.

    Every method raises a `CallError` of `somabrain_client.errors`. Writes are idempotent across retries: each carries a
    request id, which its retries repeat.
    """
