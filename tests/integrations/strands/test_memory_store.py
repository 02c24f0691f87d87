"""Strands' memory store over SomaBrain, through agents and by itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from strands.memory import AddMessagesContext, MemoryManager

from examples.integrations.strands_agent import run, store_of
from somabrain_client import SyncMemoryClient
from somabrain_client.errors import InvalidArgumentError, NotFoundError
from somabrain_client.integrations.strands import SomaBrainMemoryStore
from tests.integrations import access
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform


def contents(tenant: Tenant) -> list[str]:
    return [json.loads(memory.text)["content"] for memory in tenant.client.list(tenant.namespace)]


def say(text: str, role: str = "user") -> Any:
    return {"role": role, "content": [{"text": text}]}


def test_agents_share_facts_after_restart_without_duplicates(tenant: Tenant, platform: Platform) -> None:
    """A fact that two agents add is one memory; the messages of each run are stored once, in their order."""
    fact, search = "Ada prefers green tea in the morning.", ("search_memory", {"query": "Which tea does Ada prefer?"})
    store = store_of(tenant.client, tenant.namespace)
    for _ in range(2):
        run(store, "I like green tea.", ("add_memory", {"entries": [fact]}), "Noted.")
    assert contents(tenant).count(fact) == 1
    assert sorted(contents(tenant)) == sorted([fact, "I like green tea.", "Noted."])
    platform.restart()
    messages = run(store_of(tenant.client, tenant.namespace), "What shall I drink?", search, "Tea.")
    assert fact in str(messages)
    assert contents(tenant)[-2:] == ["What shall I drink?", "Tea."]


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("strands_agent.py", platform, tmp_path):
        assert output.endswith("found: Ada prefers green tea in the morning.\n")


async def test_memory_manager_accepts_store_and_metadata_round_trips(tenant: Tenant) -> None:
    store = SomaBrainMemoryStore(tenant.client, tenant.namespace, name="notes", description="Notes.")
    manager = MemoryManager(stores=[store], add_tool_config=True)
    await manager.add("The heron stands in the reeds.", {"metadata": {"page": 3, "of": ["birds"]}})
    (entry,) = await manager.search("heron")
    assert (entry.content, entry.store_name) == ("The heron stands in the reeds.", "notes")
    assert entry.metadata is not None
    assert (entry.metadata["page"], entry.metadata["of"]) == (3, ["birds"])
    assert entry.metadata["score"] > 0


async def test_resent_batch_is_stored_once_and_equal_messages_are_distinct(tenant: Tenant) -> None:
    store = SomaBrainMemoryStore(tenant.client, tenant.namespace)
    messages = [
        say("Yes."),
        say("ok", "assistant"),
        say("ok", "assistant"),
        {"role": "user", "content": [{"toolResult": {}}]},
    ]
    context = AddMessagesContext(sequence_numbers=[0, 1, 2, 3])
    await asyncio.gather(*(store.add_messages(messages, context) for _ in range(4)))
    assert sorted(contents(tenant)) == ["Yes.", "ok", "ok"]
    again = SomaBrainMemoryStore(tenant.client, tenant.namespace)
    await again.add_messages(messages[:1], AddMessagesContext(sequence_numbers=[0]))
    assert contents(tenant).count("Yes.") == 2


async def test_names_and_subjects_have_separate_memories(tenant: Tenant) -> None:
    names = [("", "a/b"), ("a", "b"), ("a/b", ""), ("", "b")]
    for subject, name in names:
        store = SomaBrainMemoryStore(tenant.client, tenant.namespace, name=name, subject=subject)
        await store.add(f"heron of {subject} and {name}")
    for subject, name in names:
        store = SomaBrainMemoryStore(tenant.client, tenant.namespace, name=name, subject=subject)
        assert [entry.content for entry in await store.search("heron")] == [f"heron of {subject} and {name}"]
    assert tenant.client.erase_subject(tenant.namespace, "a") == 1


async def test_search_respects_max_results(tenant: Tenant) -> None:
    store = SomaBrainMemoryStore(tenant.client, tenant.namespace, max_search_results=2)
    for number in range(4):
        await store.add(f"heron number {number}")
    assert len(await store.search("heron")) == 2
    assert len(await store.search("heron", {"max_search_results": 3})) == 3
    assert await store.search(" ") == []


async def test_missing_namespace_fails_agent_initialization(tenant: Tenant) -> None:
    await SomaBrainMemoryStore(tenant.client, tenant.namespace).initialize()
    with pytest.raises(NotFoundError, match="missing"):
        await SomaBrainMemoryStore(tenant.client, "missing").initialize()


async def test_text_over_the_limit_is_refused_by_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        await SomaBrainMemoryStore(tenant.client, tenant.namespace).add("x" * 110_000)


async def write(client: SyncMemoryClient, namespace: str, text: str) -> None:
    await SomaBrainMemoryStore(client, namespace).add(text)


async def read(client: SyncMemoryClient, namespace: str) -> list[str]:
    return [entry.content for entry in await SomaBrainMemoryStore(client, namespace).search("heron")]


async def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    await access.check_tenants(make_tenant, write, read)


async def test_revoked_token_is_refused(tenant: Tenant, platform: Platform) -> None:
    await access.check_revoked_token(tenant, platform, write, read)


async def test_read_only_tenant_can_only_read(tenant: Tenant, platform: Platform) -> None:
    await access.check_read_only(tenant, platform, write, read)


async def test_quota_is_enforced(make_tenant: MakeTenant, platform: Platform) -> None:
    await access.check_quota(make_tenant, platform, write, read)
