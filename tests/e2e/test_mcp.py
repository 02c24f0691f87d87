"""The MCP server of a SomaBrain on a real cluster: called by the SDK's client, and no part of the memory service."""

from __future__ import annotations

import asyncio
import json

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from examples.kubectl import Object
from tests.e2e.support.brains import Brain
from tests.e2e.support.waiting import eventually

RESOURCE = "https://memory.example.com/mcp"
TOOLS = {"remember", "recall", "list", "get", "update", "forget", "sessions"}
SERVER_PORTS = {8080, 8181, 8282, 50052}
"""Probes and metrics of the server; OPA's decisions, on loopback; OPA's health; gRPC."""
LISTENERS = (
    "import json; rows = [line.split() for file in ('tcp', 'tcp6') for line in open(f'/proc/net/{file}')];"
    "print(json.dumps([int(row[1].rpartition(':')[2], 16) for row in rows if row[3] == '0A']))"
)
"""Prints the ports of all sockets that listen in the pod."""


def mcp_pods(brain: Brain) -> list[Object]:
    """Return the pods of the MCP server that are not being deleted."""
    selector = f"app.kubernetes.io/instance={brain.name},app.kubernetes.io/component=mcp"
    pods = brain.kubectl.get(brain.namespace, "pods", "-l", selector)["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def inside(brain: Brain, pod: Object, container: str, script: str) -> str:
    """Run a Python script in a container, and return what it prints."""
    name = pod["metadata"]["name"]
    return brain.kubectl("exec", "-n", brain.namespace, name, "-c", container, "--", "python3", "-c", script).strip()


async def test_mcp_client_round_trip_reaches_the_service(brain: Brain) -> None:
    """With spec.mcp it becomes Ready; the SDK's client goes the round trip; without spec.mcp nothing of it is left."""
    mcp = {"resourceUrl": RESOURCE, "sameResource": True, "namespace": "notes", "replicas": 2, "networkPolicy": {}}
    await asyncio.to_thread(brain.apply, mcp=mcp)
    await brain.ready()
    assert (await brain.until("McpAvailable", "True")).reason == "PodsReady"
    assert (await asyncio.to_thread(brain.resource))["status"]["mcpEndpoint"] == (
        f"http://{brain.name}-mcp.{brain.namespace}.svc:8090/mcp"
    )
    async with brain.client() as memory:
        await memory.create_namespace("notes")
    token = await asyncio.to_thread(brain.kubectl.token, brain.namespace, "agent")
    with brain.kubectl.forward(brain.namespace, f"svc/{brain.name}-mcp", 8090) as address:
        url = f"http://{address}/mcp"
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as anonymous:
            refused = await anonymous.post(url, json={})
            assert refused.status_code == 401
            metadata = "https://memory.example.com/.well-known/oauth-protected-resource/mcp"
            assert metadata in refused.headers["WWW-Authenticate"]
        bearer = {"Authorization": f"Bearer {token}", "Host": f"{brain.name}-mcp.{brain.namespace}.svc:8090"}
        async with (
            httpx2.AsyncClient(headers=bearer, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            stored = await client.call_tool("remember", {"text": "Alice prefers green tea.", "session": "monday"})
            assert not stored.is_error
            found = await client.call_tool("recall", {"query": "What does Alice drink?"})
            assert found.structured_content is not None
            assert found.structured_content["hits"][0]["memory"] == stored.structured_content
    await asyncio.to_thread(brain.apply)
    await eventually(lambda: mcp_pods(brain), lambda pods: pods == [], "pods of the MCP server are left", 90)
    await brain.ready()
    assert "McpAvailable" not in await asyncio.to_thread(brain.conditions)


async def test_service_pod_opens_no_port_for_mcp(brain: Brain) -> None:
    """A pod of the servers listens on the ports of gRPC, probes and OPA alone; the MCP server's is in another pod."""
    await asyncio.to_thread(brain.apply, mcp={"resourceUrl": RESOURCE, "sameResource": True})
    await brain.ready()
    (server,), (mcp,) = await asyncio.to_thread(brain.pods), await asyncio.to_thread(mcp_pods, brain)
    ports = [
        json.loads(await asyncio.to_thread(inside, brain, *each, LISTENERS))
        for each in ((server, "server"), (mcp, "mcp"))
    ]
    assert [set(each) for each in ports] == [SERVER_PORTS, {8080, 8090}]
    probe = (
        "import urllib.request, urllib.error\ntry:\n    urllib.request.urlopen('http://127.0.0.1:8080/mcp', data=b'{}')"
    )
    answered = f"{probe}\nexcept urllib.error.HTTPError as exc:\n    print(exc.code)"
    assert await asyncio.to_thread(inside, brain, server, "server", answered) == "404"
