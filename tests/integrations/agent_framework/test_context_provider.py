"""Agent Framework's context provider over SomaBrain, through agents and sessions of the framework."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_framework import Agent, AgentSession

from examples.integrations.agent_framework_agent import ScriptedClient, converse
from somabrain_client import SyncMemoryClient
from somabrain_client.errors import InvalidArgumentError
from somabrain_client.integrations.agent_framework import DEFAULT_PROMPT, SomaBrainContextProvider
from tests.integrations import access
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform


def texts(tenant: Tenant) -> list[str]:
    return [memory.text for memory in tenant.client.list(tenant.namespace)]


def provider_of(tenant: Tenant, subject: str = "ada") -> SomaBrainContextProvider:
    return SomaBrainContextProvider(tenant.client, tenant.namespace, subject=subject)


async def test_run_recalls_another_session_after_restart(tenant: Tenant, platform: Platform) -> None:
    given = await converse(provider_of(tenant), "monday", "I prefer green tea in the morning.", "Noted.")
    assert given == ["I prefer green tea in the morning."]
    platform.restart()
    given = await converse(provider_of(tenant), "friday", "Which tea do I prefer?", "Green tea.")
    assert given[0].startswith(DEFAULT_PROMPT)
    assert "user: I prefer green tea in the morning." in given[0]
    assert given[-1] == "Which tea do I prefer?"
    assert texts(tenant) == [
        "user: I prefer green tea in the morning.",
        "assistant: Noted.",
        "user: Which tea do I prefer?",
        "assistant: Green tea.",
    ]


async def test_resumed_session_stores_each_message_once(tenant: Tenant) -> None:
    """Two equal turns of a session, which is saved and loaded between them, are two turns of two messages."""
    agent = Agent(client=ScriptedClient("ok"), context_providers=[provider_of(tenant)])
    session = agent.create_session(session_id="s")
    await agent.run("yes", session=session)
    await agent.run("yes", session=AgentSession.from_dict(session.to_dict()))
    assert texts(tenant) == ["user: yes", "assistant: ok"] * 2


async def test_repeated_run_of_a_session_creates_no_duplicates(tenant: Tenant) -> None:
    for _ in range(2):
        await converse(provider_of(tenant), "monday", "I prefer green tea.", "Noted.")
    assert texts(tenant) == ["user: I prefer green tea.", "assistant: Noted."]


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("agent_framework_agent.py", platform, tmp_path):
        assert "user: I prefer green tea in the morning." in output


async def test_subjects_have_separate_memories(tenant: Tenant) -> None:
    await converse(provider_of(tenant), "s", "I prefer green tea.", "Noted.")
    assert await converse(provider_of(tenant, "bob"), "s", "Which tea?", "None.") == ["Which tea?"]
    assert tenant.client.erase_subject(tenant.namespace, "ada") == 2


async def test_text_over_the_limit_is_refused_by_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        await converse(provider_of(tenant), "s", "heron " * 20_000, "Noted.")


async def write(client: SyncMemoryClient, namespace: str, text: str) -> None:
    await converse(SomaBrainContextProvider(client, namespace), text, text, " ")


async def read(client: SyncMemoryClient, namespace: str) -> list[str]:
    """The texts that a run would be given, without a run, which would store its own input, too."""
    from agent_framework import Message, SessionContext

    context = SessionContext(input_messages=[Message("user", ["heron"])])
    provider = SomaBrainContextProvider(client, namespace)
    agent = Agent(client=ScriptedClient(""))
    await provider.before_run(agent=agent, session=agent.create_session(), context=context, state={})
    given = [
        line
        for messages in context.context_messages.values()
        for message in messages
        for line in message.text.splitlines()
    ]
    return [line.removeprefix("user: ") for line in given if line.startswith("user: ")]


async def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    await access.check_tenants(make_tenant, write, read)


async def test_revoked_token_is_refused(tenant: Tenant, platform: Platform) -> None:
    await access.check_revoked_token(tenant, platform, write, read)


async def test_read_only_tenant_can_only_read(tenant: Tenant, platform: Platform) -> None:
    await access.check_read_only(tenant, platform, write, read)


async def test_quota_is_enforced(make_tenant: MakeTenant, platform: Platform) -> None:
    await access.check_quota(make_tenant, platform, write, read)
