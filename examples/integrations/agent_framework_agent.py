"""An agent of Microsoft's Agent Framework that remembers across sessions: each run is given what was said before.

    python examples/integrations/agent_framework_agent.py [ADDRESS [TOKEN_FILE]]

A scripted chat client stands for the language model, so no key is needed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_framework import Agent, BaseChatClient, ChatResponse, Message

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.agent_framework import SomaBrainContextProvider

NAMESPACE = "agent-framework-example"


class ScriptedClient(BaseChatClient):
    """A chat client that gives one answer, and records what it was given."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer
        self.given: list[str] = []

    async def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> ChatResponse:
        self.given = [message.text for message in messages]
        return ChatResponse(messages=[Message("assistant", [self.answer])], response_id="scripted")


async def converse(provider: SomaBrainContextProvider, session_id: str, text: str, answer: str) -> list[str]:
    """Send a message in a session, and return the texts that the model was given."""
    client = ScriptedClient(answer)
    agent = Agent(client=client, context_providers=[provider])
    await agent.run(text, session=agent.create_session(session_id=session_id))
    return client.given


async def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Talk in one session, and be reminded in another."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE)
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        provider = SomaBrainContextProvider(client, NAMESPACE, subject="ada")
        await converse(provider, "monday", "I prefer green tea in the morning.", "Noted.")
        given = await converse(provider, "friday", "Which tea do I prefer?", "Green tea.")
        print("given:", next(text for text in given if "green tea" in text))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
