"""Messages of conversations as memories, each stored once: keys, sessions and queries that adapters share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from somabrain_client.errors import AlreadyExistsError, CallError
from somabrain_client.integrations.json_values import digest
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Filter, MemoryDraft

MAX_BATCH = 500
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""Bytes of texts in one call; the contract's bound of 3 MiB includes all else of a memory."""
MAX_SESSION_BYTES = 256
MAX_QUERY_BYTES = 64 * 1024


def path_of(*parts: str) -> str:
    """Return the parts with slashes between them, so that other parts give another path."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def session_of(*parts: str) -> str:
    """Return the session of a conversation that these parts identify: their path, or its digest if that is too long."""
    path = path_of(*parts)
    return path if len(path.encode()) <= MAX_SESSION_BYTES else digest(path)


def query_of(text: str) -> str:
    """Return a text as a query: its first 64 KiB, which is the contract's bound, without NUL."""
    return text.replace("\0", " ").encode(errors="replace")[:MAX_QUERY_BYTES].decode(errors="ignore").strip()


async def keys_below(client: MemoryClient, namespace: str, prefix: str) -> set[str]:
    """Return the keys that begin with a prefix."""
    listed = client.list(namespace, where=Filter(key_prefix=prefix), page_size=1000)
    return {memory.key async for memory in listed}


async def remember_once(client: MemoryClient, namespace: str, drafts: Sequence[MemoryDraft]) -> None:
    """Store drafts in order, but not those whose key a memory has.

    Raises:
        CallError: a draft was rejected; those before it, and others of its batch, are stored.
    """
    for batch in batches(drafts):
        for result in await client.batch_remember(namespace, batch):
            if isinstance(result, CallError) and not isinstance(result, AlreadyExistsError):
                raise result


def batches(drafts: Sequence[MemoryDraft]) -> Iterator[list[MemoryDraft]]:
    """Yield the drafts in as many as one call takes."""
    batch: list[MemoryDraft] = []
    size = 0
    for draft in drafts:
        draft_size = len(draft.text.encode()) + len(draft.index_text.encode()) + len(draft.key.encode())
        if batch and (len(batch) == MAX_BATCH or size + draft_size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(draft)
        size += draft_size
    if batch:
        yield batch
