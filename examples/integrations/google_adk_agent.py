"""An agent of Google's ADK that remembers across sessions: what is said in one is found in another.

    python examples/integrations/google_adk_agent.py [ADDRESS [TOKEN_FILE]]

A scripted model stands for the language model, so no key is needed: it calls the tools as a language model would.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from google.adk.agents import LlmAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.memory.base_memory_service import BaseMemoryService
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools.load_memory_tool import LoadMemoryTool
from google.genai.types import Content, FunctionCall, Part

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.google_adk import SomaBrainMemoryService

NAMESPACE = "adk-example"
APP, USER = "tea", "ada"


class ScriptedLlm(BaseLlm):
    """A model that says the parts of a script, one a call."""

    model: str = "scripted"
    script: list[Part]

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """Yield the next part of the script."""
        yield LlmResponse(content=Content(role="model", parts=[self.script.pop(0)]))


async def save_session(callback_context: CallbackContext) -> None:
    """Add the session so far to the memory, after each turn."""
    await callback_context.add_session_to_memory()


def runner(memory: BaseMemoryService, sessions: InMemorySessionService, *script: Part) -> Runner:
    """Return a runner whose model says a script, and whose agent saves each turn and may search."""
    agent = LlmAgent(
        name="assistant",
        model=ScriptedLlm(script=list(script)),
        tools=[LoadMemoryTool()],
        after_agent_callback=save_session,
    )
    return Runner(app_name=APP, agent=agent, session_service=sessions, memory_service=memory)


async def converse(
    memory: BaseMemoryService, sessions: InMemorySessionService, session_id: str, text: str, *script: Part
) -> list[str]:
    """Send a message in a session, and return what its searches of the memory found."""
    if await sessions.get_session(app_name=APP, user_id=USER, session_id=session_id) is None:
        await sessions.create_session(app_name=APP, user_id=USER, session_id=session_id)
    found: list[str] = []
    message = Content(role="user", parts=[Part(text=text)])
    async for event in runner(memory, sessions, *script).run_async(
        user_id=USER, session_id=session_id, new_message=message
    ):
        for response in event.get_function_responses():
            result = (response.response or {})["result"]
            found += [part.text or "" for entry in result.memories for part in entry.content.parts or ()]
    return found


async def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Talk in one session, and find it in another."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE)
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        memory, sessions = SomaBrainMemoryService(client, NAMESPACE), InMemorySessionService()
        await converse(memory, sessions, "monday", "I like green tea in the morning.", Part(text="Noted."))
        search = Part(function_call=FunctionCall(name="load_memory", args={"query": "Which tea does the user like?"}))
        found = await converse(memory, sessions, "friday", "What shall I have?", search, Part(text="Here you are."))
        print("found:", found[0])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
