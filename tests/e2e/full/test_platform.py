"""A SomaBrain on the whole platform.

Known by Keycloak, decided by OPA, its secrets from Vault, switched by etcd, cached in Redis, told to Kafka, seen in a
collector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from examples.kubectl import Kubectl
from somabrain_client import MemoryClient
from somabrain_client.errors import FailedPreconditionError, PermissionDeniedError, UnauthenticatedError
from tests.e2e.support.brains import Brain
from tests.e2e.support.database import INFRA, Database
from tests.e2e.support.platform import ISSUER, Platform, full_profile, life_left_s
from tests.e2e.support.waiting import eventually

pytestmark = pytest.mark.timeout(1200)  # Java starts twice, on two cores that do everything else as well
SPACE = f"full-{uuid4().hex[:6]}"
TEXT = "The bakery on the corner opens at six."
FLAGS = ("somabrain-service", "flags")


@pytest.fixture(scope="module")
def platform(kubectl: Kubectl, database: Database) -> Iterator[Platform]:
    """soma-infra with its profile full, for the tests of this file."""
    with full_profile(kubectl) as running:
        yield running


@pytest.fixture(scope="module")
def brain(platform: Platform, kubectl: Kubectl, node_address: str) -> Iterator[Brain]:
    """A SomaBrain that names each part of the platform, in a namespace that has no Secret of the database."""
    name = f"e2e-full-{uuid4().hex[:5]}"
    kubectl.ensure_namespace(name)
    kubectl("label", "namespace", name, "e2e=true")
    kubectl.copy_secret("somabrain-auth", INFRA, name)
    redis = kubectl.get(INFRA, "secret", "somabrain-redis")["data"]["url"]
    settings = {"SOMABRAIN_TRACE__ENDPOINT": "http://otel-collector.soma-infra.svc:4318"}
    kubectl.apply(name, {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cache"}, "data": {"SOMABRAIN_CACHE__URL": redis},
    })  # fmt: skip
    kubectl.apply(name, {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tracing"},
        "data": {**settings, "SOMABRAIN_TRACE__SAMPLE_RATIO": "1"},
    })  # fmt: skip
    brain = Brain(kubectl, node_address, name)
    where = "secret/data/somabrain/database"
    kubectl.apply(name, brain.manifest({
        "vault": {
            "address": "http://vault.soma-infra.svc:8200",
            "role": "somabrain",
            "secrets": [
                {"path": where, "key": "app-dsn", "file": "SOMABRAIN_POSTGRES_DSN"},
                {"path": where, "key": "worker-dsn", "file": "SOMABRAIN_WORKER_DSN"},
                {"path": where, "key": "owner-dsn", "file": "SOMABRAIN_OWNER_DSN"},
            ],
        },
        "auth": {
            "mode": "introspection",
            "issuer": ISSUER,
            "tenantClaim": "/tenant",
            "scopeClaim": "/scope",
            "cacheSeconds": 5,
            "introspection": {"secretRef": {"name": "somabrain-auth"}},
        },
        "flags": {"endpoints": ["http://etcd.soma-infra.svc:2379"], "prefix": f"/{name}/flags"},
        "events": {"brokers": ["kafka.soma-infra.svc:9092"]},
        "secretRefs": [{"name": "cache"}],
        "configMapRefs": [{"name": "tracing"}],
    }))  # fmt: skip
    asyncio.run(brain.ready(timeout_s=300))
    yield brain
    kubectl("delete", "namespace", name, "--wait=false")


async def client_of(platform: Platform, brain: Brain, caller: str) -> MemoryClient:
    token, address = await asyncio.to_thread(platform.token, caller), await asyncio.to_thread(brain.address)
    return MemoryClient(address, token=token)


def test_helm_test_asks_every_part(platform: Platform) -> None:
    """Each component does for a pod what it does for a SomaBrain."""
    told = platform.helm("test", INFRA, "--timeout", "10m")
    assert told.count("Phase:          Succeeded") == 7


async def test_keycloak_says_who_calls_and_opa_what_they_may(platform: Platform, brain: Brain) -> None:
    """A tenant's admin makes a namespace, its agent writes, its reader only reads, and another tenant sees nothing."""
    async with await client_of(platform, brain, "a-admin") as admin:
        await admin.create_namespace(SPACE)
    async with await client_of(platform, brain, "a-agent") as agent:
        await agent.remember(SPACE, TEXT, session="day")
        with pytest.raises(PermissionDeniedError):
            await agent.create_namespace(f"{SPACE}-other")
    async with await client_of(platform, brain, "a-reader") as reader:
        assert (await reader.recall(SPACE, "When does the bakery open?")).hits[0].memory.text == TEXT
        with pytest.raises(PermissionDeniedError):
            await reader.remember(SPACE, "Readers write nothing.")
    async with await client_of(platform, brain, "b-admin") as stranger:
        assert [each.name async for each in stranger.list_namespaces()] == []
    for nobody in ("a-elsewhere", "nobody"):
        async with await client_of(platform, brain, nobody) as refused:
            with pytest.raises(UnauthenticatedError):
                await refused.recall(SPACE, "anything")


async def test_a_token_taken_back_is_refused(platform: Platform, brain: Brain) -> None:
    """Within the life of a cached answer, five seconds here, though the token itself would be good for minutes."""
    token, address = await asyncio.to_thread(platform.token, "a-reader"), await asyncio.to_thread(brain.address)
    async with MemoryClient(address, token=token) as reader:
        await reader.recall(SPACE, "bakery")
        await asyncio.to_thread(platform.revoke, "a-reader", token)
        await asyncio.sleep(6)
        with pytest.raises(UnauthenticatedError):
            await reader.recall(SPACE, "bakery")
    assert life_left_s(token) > 60


def test_secrets_come_from_vault_alone(brain: Brain, kubectl: Kubectl) -> None:
    """The namespace has no Secret with a word of PostgreSQL, and no pod names one in its environment."""
    secrets = kubectl.get(brain.namespace, "secrets")["items"]
    keys = {key for secret in secrets for key in secret.get("data", {})}
    assert not {key for key in keys if "dsn" in key.lower()}
    for pod in brain.pods():
        assert "postgresql://" not in str(pod)
        assert "vault" in {container["name"] for container in pod["spec"]["initContainers"]}


async def test_the_second_recall_is_answered_by_redis(platform: Platform, brain: Brain) -> None:
    """The answer says so, and so does Redis."""
    async with await client_of(platform, brain, "a-agent") as agent:
        question = f"Where is the bakery {uuid4().hex}?"
        assert not (await agent.recall(SPACE, question)).cached
        before = await asyncio.to_thread(platform.cache_hits)
        answer = await agent.recall(SPACE, question)
        assert answer.cached
        assert await asyncio.to_thread(platform.cache_hits) > before
        await agent.remember(SPACE, "The bakery moved to the harbour.")
        assert not (await agent.recall(SPACE, question)).cached


async def test_a_flag_in_etcd_acts_on_a_running_service(platform: Platform, brain: Brain) -> None:
    """Set by the command in the pod: writing is refused, and allowed again when it is cleared."""

    def flags(*words: str) -> str:
        where = ("-n", brain.namespace, f"deployment/{brain.name}-server", "-c", "server")
        return brain.kubectl("exec", *where, "--", *FLAGS, *words, timeout_s=60)

    async with await client_of(platform, brain, "a-agent") as agent:
        await agent.remember(SPACE, "Before the flag.")
        await asyncio.to_thread(flags, "set", "read_only", "true", "--tenant", "a")

        async def until_writing(allowed: bool) -> None:
            for _ in range(100):
                try:
                    await agent.remember(SPACE, "While the flag may be set.")
                except FailedPreconditionError:
                    seen = False
                else:
                    seen = True
                if seen == allowed:
                    return
                await asyncio.sleep(0.1)
            pytest.fail(f"writing did not become {'allowed' if allowed else 'refused'}")

        await until_writing(allowed=False)
        assert "read_only" in await asyncio.to_thread(flags, "list", "--tenant", "a")
        await asyncio.to_thread(flags, "clear", "read_only", "--tenant", "a")
        await until_writing(allowed=True)


async def test_kafka_is_told_every_change_in_order(platform: Platform, brain: Brain) -> None:
    """What was remembered and forgotten in a namespace of its own comes out of the topic, and no word of its text."""
    space = f"{SPACE}-events"
    async with await client_of(platform, brain, "a-admin") as admin:
        await admin.create_namespace(space)
        kept = await admin.remember(space, "A word that nobody is told: quicksilver.")
        await admin.forget(kept.name)
    events = await eventually(
        platform.events,
        lambda seen: sum(event["data"]["namespace"] == f"namespaces/{space}" for event in seen) >= 2,
        "Kafka was not told both changes",
        timeout_s=120,
    )
    ours = [event for event in events if event["data"]["namespace"] == f"namespaces/{space}"]
    assert [event["type"].split(".")[-2] for event in ours] == ["remembered", "forgotten"]
    assert {event["subject"] for event in ours} == {kept.name}
    assert ours[0]["sequence"] < ours[1]["sequence"]
    assert "quicksilver" not in str(events)


async def test_a_recall_is_seen_in_the_collector(platform: Platform, brain: Brain) -> None:
    """The span of the call and those below it, under the service's name, and no word of the question."""
    async with await client_of(platform, brain, "a-agent") as agent:
        await agent.recall(SPACE, "a word that no span holds: quicksilver")
    await eventually(
        platform.spans,
        lambda names: any(name.endswith("MemoryService/Recall") for name in names),
        "The collector was told of no Recall",
    )
    told = await asyncio.to_thread(platform.told)
    assert "service.name: Str(sb)" in told
    assert "quicksilver" not in told
