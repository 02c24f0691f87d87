"""An agent of LangGraph that remembers across threads: a memory saved in one conversation is found in another.

    python examples/integrations/langgraph_agent.py [ADDRESS [TOKEN_FILE]]

A scripted model stands for the language model, so no key is needed: it calls the tools as a language model would.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedStore, ToolNode, tools_condition
from langgraph.store.base import BaseStore

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.langgraph import SomaBrainStore

NAMESPACE = "langgraph-example"
PLACE = ("users", "ada", "preferences")


@tool
def save(name: str, text: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Save what the user prefers."""
    store.put(PLACE, name, {"text": text})
    return f"saved {name}"


@tool
def find(question: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Find what the user prefers."""
    return "\n".join(item.value["text"] for item in store.search(PLACE, query=question, limit=1))


def call(name: str, /, **arguments: str) -> AIMessage:
    """Return the message of a model that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


def agent(store: BaseStore, *script: AIMessage) -> Any:
    """Return a graph whose model says the messages of a script, and whose tools use the store."""
    model = GenericFakeChatModel(messages=iter(script))
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([save, find]))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile(store=store, checkpointer=InMemorySaver())


def converse(store: BaseStore, thread: str, text: str, *script: AIMessage) -> list[Any]:
    """Send a message in a thread, and return the messages of the thread."""
    config = {"configurable": {"thread_id": thread}}
    messages: list[Any] = agent(store, *script).invoke({"messages": [("user", text)]}, config)["messages"]
    return messages


def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Save in one thread, and find in another."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE, content="facts")
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        store = SomaBrainStore(client, NAMESPACE)
        saving = call("save", name="drink", text="Ada prefers green tea in the morning.")
        converse(store, "monday", "I like green tea in the morning.", saving, AIMessage("I will remember."))
        asking = call("find", question="What does Ada drink?")
        messages = converse(store, "friday", "What shall I drink?", asking, AIMessage("Green tea."))
        print("found:", next(message.content for message in messages if isinstance(message, ToolMessage)))


if __name__ == "__main__":
    main(*sys.argv[1:])
