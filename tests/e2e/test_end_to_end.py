"""End to end: a SomaBrain serves memories to callers with a token, and to no others."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from examples.kubectl import Kubectl
from somabrain_client import Filter, MemoryClient
from somabrain_client.errors import NotFoundError, UnauthenticatedError
from tests.e2e.support.brains import Brain

TEXTS = (
    "The ferry to the island leaves at seven in the morning.",
    "Marta is allergic to peanuts and carries a syringe.",
    "The spare key hangs behind the kitchen door.",
)


async def test_stored_memory_is_recalled_with_its_breakdown(served: Brain) -> None:
    """A stored memory is recalled at once, byte for byte, and its score equals its breakdown."""
    async with served.client() as client:
        await client.create_namespace("road")
        stored = [
            await client.remember("road", text, session="day", labels={"n": str(n)}) for n, text in enumerate(TEXTS)
        ]
        answer = await client.recall("road", "Where is the key for the door?", explain=True)
        best = answer.hits[0]
        assert best.memory.text == TEXTS[2]
        assert answer.degraded == ()
        assert answer.encoder_id == "minilm-l6-v2-int8"
        breakdown = best.breakdown
        assert breakdown is not None
        assert breakdown.dense > 0.2
        relevance = (2 * breakdown.meaning + breakdown.lexical_relative) / 3 + breakdown.contiguity
        factors = breakdown.recency * breakdown.salience * breakdown.question * breakdown.speaker
        assert best.score == pytest.approx(relevance * factors, abs=1e-4)
        assert answer.best_match == max(hit.breakdown.match for hit in answer.hits if hit.breakdown)
        assert [match.query_word for match in best.matches] == ["Where", "is", "the", "key", "for", "the", "door"]
        assert (await client.get(stored[1].name)).text == TEXTS[1]
        assert [memory.text async for memory in client.list("road", where=Filter(labels={"n": "0"}))] == [TEXTS[0]]
        await client.forget(stored[2].name)
        with pytest.raises(NotFoundError):
            await client.get(stored[2].name)
        assert TEXTS[2] not in {hit.memory.text for hit in (await client.recall("road", "key door")).hits}


@pytest.mark.parametrize("audience", [None, "someone-else", "forged"])
async def test_call_without_valid_token_is_unauthenticated(
    served: Brain, kubectl: Kubectl, audience: str | None
) -> None:
    """No token, a token for another audience, and a forged token are UNAUTHENTICATED."""
    token = None
    if audience is not None:
        good = audience == "forged"
        token = await asyncio.to_thread(kubectl.token, served.namespace, "agent", "somabrain" if good else audience)
        token = token[:-8] + token[-8:].swapcase() if good else token
    async with MemoryClient(await asyncio.to_thread(served.address), token=token) as client:
        with pytest.raises(UnauthenticatedError):
            await client.recall("road", "anything")


def test_reflection_lists_the_services(served: Brain) -> None:
    """Server reflection lists the services, as for grpcurl."""
    with grpc.insecure_channel(served.address()) as channel:
        names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {
        "somabrain.memory.v1.MemoryService",
        "somabrain.memory.v1.NamespaceService",
        "grpc.health.v1.Health",
    } <= names


def test_status_of_serving_resource_has_conditions_and_endpoint(served: Brain) -> None:
    """A serving resource has the expected conditions for its newest spec, and its endpoint."""
    conditions = served.conditions()
    assert {
        kind: condition.status for kind, condition in conditions.items() if kind not in ("Progressing", "Paused")
    } == {
        "Ready": "True",
        "ConfigValid": "True",
        "ReferencesResolved": "True",
        "Migrated": "True",
        "Available": "True",
        "Degraded": "False",
        "Reconciling": "False",
        "Stalled": "False",
    }
    assert all(condition.current and condition.message.endswith(".") for condition in conditions.values())
    status = served.resource()["status"]
    assert status["readyReplicas"] == 1
    assert status["endpoint"].endswith(f".{served.namespace}.svc:50052")


def test_project_namespaces_enforce_the_restricted_profile(served: Brain, kubectl: Kubectl) -> None:
    """Each namespace of the project enforces the restricted Pod Security profile."""
    for name in ("soma-infra", "somabrain-system", served.namespace):
        labels = kubectl.get(name, "namespace", name)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
