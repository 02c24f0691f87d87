"""An agent of Strands that remembers across runs: it adds a fact, and another agent searches for it.

    python examples/integrations/strands_agent.py [ADDRESS [TOKEN_FILE]]

A scripted model stands for the language model, so no key is needed: it calls the tools as a language model would.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from strands import Agent
from strands.memory import InvocationTrigger, MemoryManager
from strands.models import Model

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.strands import SomaBrainMemoryStore

NAMESPACE = "strands-example"


class ScriptedModel(Model):
    """A model that says a script, a step a call: a text, or the name of a tool and its input."""

    def __init__(self, *script: str | tuple[str, dict[str, Any]]) -> None:
        self._script = list(script)

    def update_config(self, **model_config: Any) -> None:
        """Change nothing."""

    def get_config(self) -> dict[str, Any]:
        """Return no configuration."""
        return {}

    def structured_output(self, *arguments: Any, **options: Any) -> Any:
        """Refuse."""
        raise NotImplementedError

    async def stream(self, *arguments: Any, **options: Any) -> AsyncGenerator[Any, None]:
        """Yield the next step."""
        step = self._script.pop(0)
        yield {"messageStart": {"role": "assistant"}}
        if isinstance(step, str):
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": step}}}
        else:
            name, arguments_of_tool = step
            yield {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": f"call-{name}"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(arguments_of_tool)}}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if isinstance(step, str) else "tool_use"}}


def store_of(client: SyncMemoryClient, namespace: str) -> SomaBrainMemoryStore:
    """Return a store that is given every message of a run at its end."""
    extraction: Any = {"trigger": InvocationTrigger()}
    return SomaBrainMemoryStore(client, namespace, name="notes", subject="ada", extraction=extraction)


def run(store: SomaBrainMemoryStore, prompt: str, *script: str | tuple[str, dict[str, Any]]) -> list[Any]:
    """Run a new agent whose model says a script, and return its messages."""
    manager = MemoryManager(stores=[store], add_tool_config=True, injection=False)
    agent = Agent(model=ScriptedModel(*script), memory_manager=manager, callback_handler=None)
    agent(prompt)
    return list(agent.messages)


def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Add in one run, and search in another."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE)
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        note = {"entries": ["Ada prefers green tea in the morning."]}
        run(store_of(client, NAMESPACE), "I like green tea.", ("add_memory", note), "Noted.")
        search = ("search_memory", {"query": "Which tea does Ada prefer in the morning?"})
        messages = run(store_of(client, NAMESPACE), "What shall I drink?", search, "Here you are.")
        results = [block["toolResult"] for message in messages for block in message["content"] if "toolResult" in block]
        found = json.loads(results[0]["content"][0]["text"])
        print("found:", found[0]["content"])


if __name__ == "__main__":
    main(*sys.argv[1:])
