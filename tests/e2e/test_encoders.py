"""A SomaBrain with vectors from its clients, and a database that another SomaBrain migrates."""

from __future__ import annotations

import asyncio

import pytest

from somabrain_client.errors import InvalidArgumentError
from tests.e2e.support.brains import Brain

OURS = {"kind": "ours", "threads": 2, "client": [{"id": "ours", "dimensions": 4}]}
TEXTS = {
    "The lighthouse keeper whistles at dusk.": (1.0, 0.0, 0.0, 0.0),
    "A crate of oranges fell from the quay.": (0.0, 1.0, 0.0, 0.0),
}


async def test_client_vectors_are_stored_and_searched(served: Brain, brain: Brain) -> None:
    """The nearest client vector is found whatever the text, and a vector of another length is refused.

    The SomaBrain `served` has migrated the database, which both use.
    """
    await asyncio.to_thread(brain.apply, config={"encoder": OURS}, migration={"enabled": False})
    await brain.ready()
    assert (await asyncio.to_thread(brain.conditions))["Migrated"].reason == "Skipped"
    async with brain.client() as client:
        await client.create_namespace("harbour")
        assert (await client.get_namespace("harbour")).encoder == "ours"
        for text, vector in TEXTS.items():
            await client.remember("harbour", text, vector=vector)
        for text, vector in TEXTS.items():
            answer = await client.recall("harbour", "zebra", vector=vector)
            assert (answer.encoder_id, answer.hits[0].memory.text) == ("ours", text)
        with pytest.raises(InvalidArgumentError, match="vector"):
            await client.remember("harbour", "Too short.", vector=(1.0,))
