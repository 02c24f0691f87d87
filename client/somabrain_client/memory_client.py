"""The typed, asynchronous client. It holds no cache: what it answers is what the service answers."""

from __future__ import annotations

from somabrain_client.memories import Memories
from somabrain_client.namespaces import Namespaces
from somabrain_client.streams import Streams


class MemoryClient(Namespaces, Memories, Streams):
    """A connection to the memory service, for one event loop. Use it in `async with`.

    Every method raises a `CallError` of `somabrain_client.errors`. A write that was sent twice is kept once: each
    carries a request id, which retries repeat.
    """
