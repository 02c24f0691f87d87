"""A memory service on the whole platform, installed by the operator and by the chart `sb`.

It uses Keycloak for identities, OPA for decisions, Vault for secrets, etcd for flags, Redis as cache, Kafka for events,
and a collector for traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import pytest

from examples.kubectl import Kubectl
from somabrain_client import MemoryClient
from somabrain_client.errors import FailedPreconditionError, PermissionDeniedError, UnauthenticatedError
from tests.e2e.support.brains import Brain
from tests.e2e.support.database import INFRA, Database
from tests.e2e.support.install_methods import CACHED_S, INSTALL_METHODS, prepare
from tests.e2e.support.platform import Platform, full_profile, life_left_s
from tests.e2e.support.waiting import eventually

pytestmark = pytest.mark.timeout(1200)  # Java starts twice, on two cores that do everything else as well
TEXT = "The bakery on the corner opens at six."
FLAGS = ("somabrain-service", "flags")


@pytest.fixture(scope="module")
def platform(kubectl: Kubectl, database: Database) -> Iterator[Platform]:
    """soma-infra with the profile full, for the tests of this file."""
    with full_profile(kubectl) as running:
        yield running


@pytest.fixture(scope="module", params=INSTALL_METHODS)
def brain(platform: Platform, kubectl: Kubectl, node_address: str, request: pytest.FixtureRequest) -> Iterator[Brain]:
    """A memory service that uses every component, installed in each of the two ways, in its own namespace."""
    name = f"e2e-full-{request.param}-{uuid4().hex[:5]}"
    prepare(kubectl, name)
    brain = Brain(kubectl, node_address, name)
    INSTALL_METHODS[request.param](brain)
    yield brain
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def space(brain: Brain) -> str:
    """The namespace of the memories, which the first test creates."""
    return f"of-{brain.namespace}"


async def client_of(platform: Platform, brain: Brain, caller: str) -> MemoryClient:
    token, address = await asyncio.to_thread(platform.token, caller), await asyncio.to_thread(brain.address)
    return MemoryClient(address, token=token)


def test_helm_test_covers_every_component(platform: Platform) -> None:
    """`helm test` succeeds for each component."""
    output = platform.helm("test", INFRA, "--timeout", "10m")
    assert output.count("Phase:          Succeeded") == 7


async def test_keycloak_roles_and_opa_policy_apply(platform: Platform, brain: Brain, space: str) -> None:
    """Admin, agent and reader of a tenant have their own permissions, and another tenant has no access."""
    async with await client_of(platform, brain, "a-admin") as admin:
        await admin.create_namespace(space)
    async with await client_of(platform, brain, "a-agent") as agent:
        await agent.remember(space, TEXT, session="day")
        with pytest.raises(PermissionDeniedError):
            await agent.create_namespace(f"{space}-other")
    async with await client_of(platform, brain, "a-reader") as reader:
        assert (await reader.recall(space, "When does the bakery open?")).hits[0].memory.text == TEXT
        with pytest.raises(PermissionDeniedError):
            await reader.remember(space, "Readers write nothing.")
    async with await client_of(platform, brain, "b-admin") as stranger:
        assert [each.name async for each in stranger.list_namespaces()] == []
    for nobody in ("a-elsewhere", "nobody"):
        async with await client_of(platform, brain, nobody) as refused:
            with pytest.raises(UnauthenticatedError):
                await refused.recall(space, "anything")


async def test_revoked_token_is_refused_after_cache_expiry(platform: Platform, brain: Brain, space: str) -> None:
    """A revoked token is refused once the cached response expires, long before the token does."""
    token, address = await asyncio.to_thread(platform.token, "a-reader"), await asyncio.to_thread(brain.address)
    async with MemoryClient(address, token=token) as reader:
        await reader.recall(space, "bakery")
        await asyncio.to_thread(platform.revoke, "a-reader", token)
        await asyncio.sleep(CACHED_S + 1)
        with pytest.raises(UnauthenticatedError):
            await reader.recall(space, "bakery")
    assert life_left_s(token) > 60


def test_connection_strings_come_only_from_vault(brain: Brain, kubectl: Kubectl) -> None:
    """The namespace has no Secret for PostgreSQL, and no pod refers to one in its environment."""
    secrets = kubectl.get(brain.namespace, "secrets")["items"]
    keys = {key for secret in secrets for key in secret.get("data", {})}
    assert not {key for key in keys if "dsn" in key.lower()}
    for pod in brain.pods():
        assert "postgresql://" not in str(pod)
        assert "vault" in {container["name"] for container in pod["spec"]["initContainers"]}


async def test_second_recall_is_a_redis_cache_hit(platform: Platform, brain: Brain, space: str) -> None:
    """A repeated recall is a cache hit, by its response and by Redis' statistics."""
    async with await client_of(platform, brain, "a-agent") as agent:
        question = f"Where is the bakery {uuid4().hex}?"
        assert not (await agent.recall(space, question)).cached
        before = await asyncio.to_thread(platform.cache_hits)
        answer = await agent.recall(space, question)
        assert answer.cached
        assert await asyncio.to_thread(platform.cache_hits) > before
        await agent.remember(space, "The bakery moved to the harbour.")
        assert not (await agent.recall(space, question)).cached


async def test_etcd_flag_applies_to_the_running_service(platform: Platform, brain: Brain, space: str) -> None:
    """The flag read_only, set by the command in the pod, refuses writes until it is cleared."""

    def flags(*words: str) -> str:
        where = ("-n", brain.namespace, f"deployment/{brain.name}-server", "-c", "server")
        return brain.kubectl("exec", *where, "--", *FLAGS, *words, timeout_s=60)

    async with await client_of(platform, brain, "a-agent") as agent:
        await agent.remember(space, "Before the flag.")
        await asyncio.to_thread(flags, "set", "read_only", "true", "--tenant", "a")

        async def until_writing(allowed: bool) -> None:
            for _ in range(100):
                try:
                    await agent.remember(space, "While the flag may be set.")
                except FailedPreconditionError:
                    writable = False
                else:
                    writable = True
                if writable == allowed:
                    return
                await asyncio.sleep(0.1)
            pytest.fail(f"writing did not become {'allowed' if allowed else 'refused'}")

        await until_writing(allowed=False)
        assert "read_only" in await asyncio.to_thread(flags, "list", "--tenant", "a")
        await asyncio.to_thread(flags, "clear", "read_only", "--tenant", "a")
        await until_writing(allowed=True)


async def test_kafka_receives_every_change_in_order(platform: Platform, brain: Brain, space: str) -> None:
    """A remembered and forgotten memory gives two events in order, without its text."""
    namespace = f"{space}-events"
    async with await client_of(platform, brain, "a-admin") as admin:
        await admin.create_namespace(namespace)
        memory = await admin.remember(namespace, "A word that nobody is told: quicksilver.")
        await admin.forget(memory.name)
    events = await eventually(
        platform.events,
        lambda received: sum(event["data"]["namespace"] == f"namespaces/{namespace}" for event in received) >= 2,
        "Kafka was not told both changes",
        timeout_s=120,
    )
    ours = [event for event in events if event["data"]["namespace"] == f"namespaces/{namespace}"]
    assert [event["type"].split(".")[-2] for event in ours] == ["remembered", "forgotten"]
    assert {event["subject"] for event in ours} == {memory.name}
    assert ours[0]["sequence"] < ours[1]["sequence"]
    assert "quicksilver" not in str(events)


async def test_recall_spans_reach_the_collector(platform: Platform, brain: Brain, space: str) -> None:
    """The collector gets the spans of a Recall under the service's name, without the query's text."""
    async with await client_of(platform, brain, "a-agent") as agent:
        await agent.recall(space, "a word that no span holds: quicksilver")
    (pod,) = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
    await eventually(
        partial(platform.spans, pod),
        lambda names: any(name.endswith("MemoryService/Recall") for name in names),
        "The collector was told of no Recall",
    )
    log = await asyncio.to_thread(platform.collector_log)
    assert "service.name: Str(sb)" in log
    assert "quicksilver" not in log
