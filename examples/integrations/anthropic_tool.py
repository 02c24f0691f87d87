"""Anthropic's memory tool over SomaBrain, called as the package's tool runner calls it.

    python examples/integrations/anthropic_tool.py [ADDRESS [TOKEN_FILE]]

The commands are those that a language model sends, so no key is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from anthropic.lib.tools import ToolError

from somabrain_client import Filter, SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.anthropic import SomaBrainMemoryTool

NAMESPACE = "anthropic-example"
COMMANDS: list[dict[str, object]] = [
    {"command": "create", "path": "/memories/tea.md", "file_text": "Ada drinks coffee.\n"},
    {"command": "str_replace", "path": "/memories/tea.md", "old_str": "coffee", "new_str": "green tea"},
    {"command": "view", "path": "/memories"},
    {"command": "view", "path": "/memories/tea.md"},
    {"command": "view", "path": "/memories/missing.md"},
]


def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Send commands, and print what the model would be told."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE, content="documents")
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        tool = SomaBrainMemoryTool(client, NAMESPACE, subject="ada")
        tool.clear_all_memory()
        for command in COMMANDS:
            try:
                print(tool.call(command))
            except ToolError as exc:
                print("error:", exc.content)
        result = client.recall(NAMESPACE, "What does Ada drink?", where=Filter(key_prefix="anthropic:ada/"))
        print("found by meaning:", result.hits[0].memory.key)


if __name__ == "__main__":
    main(*sys.argv[1:])
