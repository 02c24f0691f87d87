"""The MCP server over stdio: with its own memory service, and with one that runs elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.mcp_process import REVISIONS, SCRIPT
from tests.integration.service.service_process import ServiceProcess, environment

PAGE = Path(__file__).parents[4] / "docs" / "mcp.md"


@asynccontextmanager
async def stdio(
    *arguments: str, revision: str = "2026-07-28", settings: dict[str, object] | None = None
) -> AsyncIterator[Client]:
    """The SDK's client, which starts `somabrain` with these arguments and speaks one of the revisions."""
    parameters = StdioServerParameters(
        command=str(SCRIPT), args=[*arguments], env=environment({"encoder__kind": "lexical", **(settings or {})})
    )
    async with Client(stdio_client(parameters), mode=REVISIONS[revision]) as client:
        assert client.protocol_version == revision
        yield client


async def call(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text(result)
    return dict(result.structured_content)


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_embedded_stdio_server_preserves_memories_between_clients(folder: Path) -> None:
    """`mcp --embedded` needs nothing else; the next client, of the other revision, finds what the first stored."""
    arguments = ("mcp", "--embedded", "--data-dir", str(folder / "mcp-embedded"))
    async with stdio(*arguments) as client:
        stored = await call(client, "remember", text="Alice prefers green tea.", key="alice")
    async with stdio(*arguments, revision="2025-11-25") as client:
        assert await call(client, "get", key="alice") == stored
        assert (await call(client, "recall", query="green tea"))["hits"][0]["memory"] == stored


async def test_documented_client_configuration_starts_the_server(folder: Path) -> None:
    """The configuration for a laptop in docs/mcp.md, in the form that MCP clients read, is sufficient."""
    block = PAGE.read_text().partition("```json")[2].partition("```")[0]
    server = json.loads(block)["mcpServers"]["memory"]
    assert server["command"] == SCRIPT.name
    async with stdio(*server["args"], "--data-dir", str(folder / "mcp-page")) as client:
        await call(client, "remember", text="Alice prefers green tea.")
        assert (await call(client, "recall", query="What does Alice drink?"))["hits"]


async def test_two_clients_share_one_data_dir(folder: Path) -> None:
    """Two programs on one machine with one folder share their memories, and one may end before the other."""
    arguments = ("mcp", "--embedded", "--data-dir", str(folder / "mcp-shared"), "--namespace", "shared")
    async with stdio(*arguments) as one:
        async with stdio(*arguments) as two:
            stored = await call(two, "remember", text="written by the second")
            assert await call(one, "get", name=stored["name"]) == stored
        assert (await call(one, "list"))["memories"] == [stored]


def test_embedded_service_exits_with_its_client(folder: Path) -> None:
    """No process remains, not even if the MCP server is killed."""
    data = folder / "mcp-killed"
    process = subprocess.Popen(
        [SCRIPT, "mcp", "--embedded", "--data-dir", str(data)],
        env=environment({"encoder__kind": "lexical"}),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert process.stdin is not None
    for line in process.stderr:
        if b'"listening"' in line:
            break
    started = services(data)
    assert len(started) == 1
    process.kill()
    process.wait()
    process.stdin.close()
    process.stderr.close()
    ends_at = time.monotonic() + 30
    while services(data) and time.monotonic() < ends_at:
        time.sleep(0.1)
    assert services(data) == []


def services(data: Path) -> list[int]:
    """Process ids of `serve --embedded` over the folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serve" in arguments and os.fsencode(data) in arguments:
                found.append(int(folder.name))
    return found


async def test_token_file_is_reread_for_each_call(
    brain: ServiceProcess, idp: Issuer, connect: Connect, tmp_path: Path
) -> None:
    """A token that is replaced on disk is used from the next call on, and so is one that is missing or refused."""
    for tenant in ("stdio-a", "stdio-b"):
        async with connect(tenant) as memory:
            await memory.create_namespace("agent")
    file = tmp_path / "token"
    file.write_text(idp.token("stdio-a"))
    settings: dict[str, object] = {
        "mcp__address": brain.address,
        "mcp__token_file": file,
        "mcp__namespace": "agent",
        "mcp__deadline_s": 5,
    }
    async with stdio("mcp", settings=settings) as client:
        stored = await call(client, "remember", text="of tenant a", key="k")
        file.write_text(idp.token("stdio-b"))
        assert "NOT_FOUND" in text(await client.call_tool("get", {"key": "k"}))
        file.write_text(idp.token("stdio-a", life_s=-60))
        assert "UNAUTHENTICATED" in text(await client.call_tool("get", {"key": "k"}))
        file.unlink()
        assert "UNAUTHENTICATED" in text(await client.call_tool("get", {"key": "k"}))
        file.write_text(idp.token("stdio-a"))
        assert await call(client, "get", key="k") == stored


async def test_token_comes_from_environment_or_option(
    brain: ServiceProcess, idp: Issuer, connect: Connect, tmp_path: Path
) -> None:
    """`SOMABRAIN_MCP__TOKEN`, or the command's own options, which come before settings."""
    async with connect("stdio-c") as memory:
        stored = (await memory.create_namespace("agent"), await memory.remember("agent", "of tenant c"))[1]
    async with stdio("mcp", settings={"mcp__address": brain.address, "mcp__token": idp.token("stdio-c")}) as client:
        assert (await call(client, "get", name=stored.name))["text"] == "of tenant c"
    file = tmp_path / "token"
    file.write_text(idp.token("stdio-c"))
    settings: dict[str, object] = {"mcp__address": "127.0.0.1:9", "mcp__token": "wrong"}
    arguments = ("--address", brain.address, "--token-file", str(file), "mcp", "--namespace", "agent")
    async with stdio(*arguments, settings=settings) as client:
        assert (await call(client, "list"))["memories"][0]["text"] == "of tenant c"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--address", "a:1", "mcp", "--embedded"), "--embedded starts a service of its own"),
        (("--address", "a:1", "mcp", "--http"), "--http takes no other options: set SOMABRAIN_MCP__ADDRESS"),
    ],
)
def test_conflicting_options_are_refused(arguments: tuple[str, ...], expected: str) -> None:
    done = subprocess.run(
        [SCRIPT, *arguments], env=environment({}), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
