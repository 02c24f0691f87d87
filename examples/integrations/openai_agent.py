"""An agent of OpenAI's Agents SDK whose conversation is in SomaBrain: another process continues it.

    python examples/integrations/openai_agent.py [ADDRESS [TOKEN_FILE]]

The SDK's scripted model stands for the language model, so no key is needed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agents import Agent, RunConfig, Runner
from agents.memory.session import Session
from agents.testing import ScriptedModel, assistant_message

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.openai_agents import SomaBrainSession

NAMESPACE = "openai-agents-example"


async def converse(session: Session, text: str, answer: str) -> list[object]:
    """Send a message in a session, and return the items that the model was given."""
    model = ScriptedModel([[assistant_message(answer)]])
    agent = Agent(name="assistant", model=model)
    await Runner.run(agent, text, session=session, run_config=RunConfig(tracing_disabled=True))
    call = model.first_call
    return list(call.input) if call is not None and not isinstance(call.input, str) else []


async def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Talk twice in one session: the second time the model is given what was said the first time."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE)
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        await SomaBrainSession("conversation-7", client, NAMESPACE).clear_session()
        await converse(SomaBrainSession("conversation-7", client, NAMESPACE), "I like green tea.", "Noted.")
        items = await converse(SomaBrainSession("conversation-7", client, NAMESPACE), "What do I like?", "Green tea.")
        print("the model was given", len(items), "items, the first:", items[0])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
