"""The round trip by fastmcp's client, in an environment of its own: `python fastmcp_client.py JSON`.

The argument is a list of servers: `{"url": ..., "token": ...}`, or `{"command": [...], "env": {...}}` for stdio. Each
step goes to the next of them, and must find what the step before did at another one. Prints a line for each step.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from contextlib import AsyncExitStack
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.exceptions import ToolError


def transport(server: dict[str, Any]) -> Any:
    """Return the client's transport to a server."""
    if "url" in server:
        headers = {"Authorization": f"Bearer {server['token']}"} if server["token"] else {}
        return StreamableHttpTransport(server["url"], headers=headers)
    command, *arguments = server["command"]
    return StdioTransport(command, arguments, env=server["env"], keep_alive=False)


async def main() -> None:
    """Go the round trip.

    Raises:
        RuntimeError: a step did not find what the one before did.
    """
    async with AsyncExitStack() as stack:
        servers = json.loads(sys.argv[1])
        clients = [await stack.enter_async_context(Client(transport(server))) for server in servers]
        turns = itertools.cycle(clients)

        async def call(tool: str, **arguments: object) -> dict[str, Any]:
            result = await next(turns).call_tool(tool, arguments)
            print(f"{tool}: {sorted(result.structured_content)}")
            return dict(result.structured_content)

        def check(found: object, expected: object) -> None:
            if found != expected:
                raise RuntimeError(f"{found} instead of {expected}")

        for client in clients:
            names = [tool.name for tool in await client.list_tools()]
            check(names, ["remember", "recall", "list", "get", "update", "forget", "sessions"])
        stored = await call("remember", text="Alice prefers green tea.", key="alice", session="monday")
        check((await call("recall", query="green tea"))["hits"][0]["memory"], stored)
        check((await call("list"))["memories"], [stored])
        changed = await call("update", key="alice", text="Alice prefers coffee.")
        check(await call("get", name=stored["name"]), changed)
        check([each["session"] for each in (await call("sessions"))["sessions"]], ["monday"])
        check(await call("forget", key="alice"), {"forgotten": "namespaces/agent/keys/alice"})
        try:
            await call("get", name=stored["name"])
        except ToolError as exc:
            check("NOT_FOUND" in str(exc), True)
        else:
            raise RuntimeError("a forgotten memory was found")


asyncio.run(main())
