"""LlamaIndex' memory block over SomaBrain, through LlamaIndex' own memory and by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core.base.llms.types import ChatMessage

from examples.integrations.llama_index_memory import memory_of, talk
from somabrain_client import SyncMemoryClient
from somabrain_client.errors import InvalidArgumentError
from somabrain_client.integrations.llama_index import SomaBrainMemoryBlock
from tests.integrations import access
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform

FILLER = [f"Let us talk about train number {number} to Basel and its stops." for number in range(12)]


def block_of(client: SyncMemoryClient, namespace: str, subject: str = "") -> SomaBrainMemoryBlock:
    return SomaBrainMemoryBlock(client=client, namespace=namespace, subject=subject)


async def test_flushed_short_term_memory_is_recalled_in_another_session(tenant: Tenant, platform: Platform) -> None:
    await talk(memory_of(tenant.client, tenant.namespace, "monday"), "Ada prefers green tea.", "Noted.", *FILLER)
    stored = [memory.text for memory in tenant.client.list(tenant.namespace)]
    assert stored[:2] == ["user: Ada prefers green tea.", "assistant: Noted."]
    platform.restart()
    friday = memory_of(tenant.client, tenant.namespace, "friday")
    await talk(friday, "Which tea does Ada prefer?")
    given = "\n".join(message.content or "" for message in await friday.aget())
    assert "user: Ada prefers green tea." in given
    assert "Which tea does Ada prefer?" in given


async def test_repeated_session_creates_no_duplicates(tenant: Tenant) -> None:
    for _ in range(2):
        await talk(memory_of(tenant.client, tenant.namespace, "monday"), "Ada prefers green tea.", "Noted.", *FILLER)
    texts = [memory.text for memory in tenant.client.list(tenant.namespace)]
    assert len(texts) == len(set(texts))
    assert {memory.session for memory in tenant.client.list(tenant.namespace)} == {"ada/monday"}


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("llama_index_memory.py", platform, tmp_path):
        assert output.endswith("given: user: Ada prefers green tea in the morning.\n")


async def test_subjects_have_separate_memories(tenant: Tenant) -> None:
    ada, bob = (block_of(tenant.client, tenant.namespace, subject) for subject in ("ada", "bob"))
    await ada.aput([ChatMessage(content="Ada drinks tea.")], session_id="s")
    assert await bob.aget([ChatMessage(content="tea")]) == ""
    assert await ada.aget([ChatMessage(content="tea")]) == "user: Ada drinks tea."
    assert tenant.client.erase_subject(tenant.namespace, "ada") == 1


@pytest.mark.parametrize("messages", [None, [], [ChatMessage(content="")], [ChatMessage(content=" ")]])
async def test_empty_query_returns_nothing(tenant: Tenant, messages: list[ChatMessage] | None) -> None:
    block = block_of(tenant.client, tenant.namespace)
    await block.aput([ChatMessage(content="Ada drinks tea."), ChatMessage(content="")])
    assert await block.aget(messages) == ""
    assert len(list(tenant.client.list(tenant.namespace))) == 1


async def test_block_is_truncated_from_its_end(tenant: Tenant) -> None:
    block = block_of(tenant.client, tenant.namespace)
    assert await block.atruncate("best line\nsecond line\nworst line", 1) == "best line\nsecond line"
    assert await block.atruncate("best line\nsecond line\nworst line", 4) == "best line"
    assert await block.atruncate("best line\nsecond line", 100) is None


async def test_text_over_the_limit_is_refused_by_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        await block_of(tenant.client, tenant.namespace).aput([ChatMessage(content="x" * 110_000)])


async def write(client: SyncMemoryClient, namespace: str, text: str) -> None:
    await block_of(client, namespace).aput([ChatMessage(content=text)], session_id="s")


async def read(client: SyncMemoryClient, namespace: str) -> list[str]:
    given = await block_of(client, namespace).aget([ChatMessage(content="heron")])
    return [line.removeprefix("user: ") for line in given.splitlines()]


async def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    await access.check_tenants(make_tenant, write, read)


async def test_revoked_token_is_refused(tenant: Tenant, platform: Platform) -> None:
    await access.check_revoked_token(tenant, platform, write, read)


async def test_read_only_tenant_can_only_read(tenant: Tenant, platform: Platform) -> None:
    await access.check_read_only(tenant, platform, write, read)


async def test_quota_is_enforced(make_tenant: MakeTenant, platform: Platform) -> None:
    await access.check_quota(make_tenant, platform, write, read)
