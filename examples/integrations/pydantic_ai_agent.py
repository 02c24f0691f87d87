"""An agent of Pydantic AI whose notebook is in SomaBrain: a later run reads what an earlier one wrote.

    python examples/integrations/pydantic_ai_agent.py [ADDRESS [TOKEN_FILE]]

Pydantic AI's FunctionModel stands for the language model, so no key is needed: it calls the tools by a script.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness.memory import Memory

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.pydantic_ai_harness import SomaBrainMemoryStore

NAMESPACE = "pydantic-ai-example"


async def run(store: SomaBrainMemoryStore, prompt: str, *script: ToolCallPart | TextPart) -> list[ModelMessage]:
    """Run an agent whose model says a script, and return all messages."""
    parts = list(script)

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[parts.pop(0)])

    agent = Agent(FunctionModel(respond), capabilities=[Memory(store=store, namespace="ada")])
    return (await agent.run(prompt)).all_messages()


async def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Write in one run, and search in another."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE, content="documents")
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        store = SomaBrainMemoryStore(client, NAMESPACE)
        note = ToolCallPart("write_memory", {"content": "Ada prefers green tea.", "file": "tea.md"})
        await run(store, "I like green tea.", note, TextPart("Noted."))
        search = ToolCallPart("search_memory", {"query": "What does Ada drink?"})
        messages = await run(store, "What shall I drink?", search, TextPart("Green tea."))
        returned = [part for message in messages for part in message.parts if part.part_kind == "tool-return"]
        print("found:", returned[0].content)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
