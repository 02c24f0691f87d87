"""Namespaces for one test."""

from __future__ import annotations

import uuid

from somabrain_client import MemoryClient


def unique() -> str:
    """Return the id of a namespace that no other test uses."""
    return f"n-{uuid.uuid4().hex[:12]}"


async def notes(client: MemoryClient) -> str:
    """Create a namespace and return its name."""
    return (await client.create_namespace(unique())).name
