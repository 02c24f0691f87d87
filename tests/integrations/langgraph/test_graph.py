"""Graphs of LangGraph and agents of deepagents over the store, with a scripted model in place of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepagents import create_deep_agent
from deepagents.backends import StoreBackend
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage

from examples.integrations.langgraph_agent import PLACE, call, converse
from somabrain_client import SyncMemoryClient
from somabrain_client.integrations.langgraph import SomaBrainStore
from tests.integrations.conftest import Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform


def test_second_thread_finds_saved_item_after_server_restart(tenant: Tenant, platform: Platform) -> None:
    store = SomaBrainStore(tenant.client, tenant.namespace)
    text = "Ada prefers green tea in the morning."
    converse(store, "monday", "I like green tea.", call("save", name="drink", text=text), AIMessage("Saved."))
    platform.restart()
    with SyncMemoryClient(platform.address, token=tenant.token) as client:
        again = SomaBrainStore(client, tenant.namespace)
        asking = call("find", question="What does Ada drink?")
        messages = converse(again, "friday", "What shall I drink?", asking, AIMessage("Green tea."))
        assert [message.content for message in messages if isinstance(message, ToolMessage)] == [text]
        assert [item.value for item in again.search(PLACE)] == [{"text": text}]


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("langgraph_agent.py", platform, tmp_path):
        assert output.endswith("found: Ada prefers green tea in the morning.\n")


class ScriptedModel(GenericFakeChatModel):
    """LangChain's scripted model; it takes tools, which its script already calls."""

    def bind_tools(self, tools: object, **_: object) -> Any:
        return self


def test_deepagents_files_are_shared_between_agents(tenant: Tenant) -> None:
    """A file that one agent writes, another reads, edits and finds by its words."""

    def run(*script: AIMessage) -> list[ToolMessage]:
        store = SomaBrainStore(tenant.client, tenant.namespace)
        backend = StoreBackend(store=store, namespace=lambda _: ("files", "ada"))
        agent = create_deep_agent(model=ScriptedModel(messages=iter([*script, AIMessage("Done.")])), backend=backend)
        messages = agent.invoke({"messages": [("user", "Go on.")]})["messages"]
        return [message for message in messages if isinstance(message, ToolMessage)]

    (written,) = run(call("write_file", file_path="/notes.md", content="Ada drinks tea.\nBob drinks coffee."))
    assert written.status == "success", written.content
    read, edited = run(
        call("read_file", file_path="/notes.md"),
        call("edit_file", file_path="/notes.md", old_string="coffee", new_string="water"),
    )
    assert "Bob drinks coffee." in read.content
    assert edited.status == "success", edited.content
    (listed, found) = run(call("ls", path="/"), call("grep", pattern="water"))
    assert "/notes.md" in listed.content
    assert "notes.md" in found.content
    (item,) = SomaBrainStore(tenant.client, tenant.namespace).search(("files", "ada"))
    assert "Bob drinks water." in str(item.value["content"])
