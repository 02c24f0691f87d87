"""Server CPU of a Recall over MCP, both processes counted, beside that of the same Recall over gRPC, in turns.

    make bench-mcp OPTIONS="--memories 1000 --calls 200"

One memory service has the memories, and encodes each query; an MCP server is its client. Both get the same queries for
ten hits with the breakdown of each score: gRPC over a plain stub, MCP as single requests of the stateless revision, and
for comparison of the handshake revision. Rounds as in bench_versus. `--lexical` is without an encoder, where a Recall
costs least and the way to it weighs most. Exit status 1: the bound is exceeded even at the lower end of the interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp
import grpc.aio

from bench.bench_versus import DEADLINE_S, INDEXED, WARM, Side, compare
from bench.load_generator import LoadGenerator
from bench.process import cpu_s
from bench.server import Server, somabrain
from bench.synthetic_data import QUESTION_WORDS, SESSION_SIZE, texts
from somabrain.memory.v1 import memory_service_pb2
from somabrain.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from somabrain.memory.v1.namespace_service_pb2_grpc import NamespaceServiceStub
from tests.integration.service.mcp_process import McpProcess, mcp_server

BOUND: Final = 2.0
HITS: Final = 10
STATELESS, HANDSHAKE = "2026-07-28", "2025-11-25"


class Recalls:
    """The same Recall over both ways."""

    def __init__(self, side: Side, server: Server, mcp: McpProcess, http: aiohttp.ClientSession) -> None:
        self.side = side
        self._server = server
        self._mcp = mcp
        self._http = http
        self.hits = 0
        """Hits of all calls so far."""

    def both_cpu_s(self) -> float:
        """Return the processor time of both processes so far, in seconds."""
        return self._server.cpu_s() + cpu_s(self._mcp.process.pid)

    async def over_grpc(self, calls: int) -> float:
        """Measure Recall over gRPC, in milliseconds of server CPU per call."""
        queries = list(texts(calls, QUESTION_WORDS, next(self.side.numbers)))

        async def call(number: int) -> None:
            request = memory_service_pb2.RecallRequest(
                parent="namespaces/searched", query=queries[number], top_k=HITS, explain=True
            )
            self.hits += len((await self.side.memory.Recall(request, timeout=DEADLINE_S)).hits)

        return (await LoadGenerator(self._server.cpu_s).run(calls, call)).server_ms

    async def over_mcp(self, calls: int, revision: str = STATELESS) -> float:
        """Measure the tool `recall`, in milliseconds of both servers' CPU per call."""
        queries = list(texts(calls, QUESTION_WORDS, next(self.side.numbers)))
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": revision}
        params: dict[str, object] = {"name": "recall"}
        if revision == STATELESS:
            headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "recall"}
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": revision,
                "io.modelcontextprotocol/clientCapabilities": {},
            }

        async def call(number: int) -> None:
            arguments = {"query": queries[number], "limit": HITS}
            body = {
                "jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {**params, "arguments": arguments},
            }  # fmt: skip
            async with self._http.post(self._mcp.url, json=body, headers=headers) as response:
                result = json.loads(await response.read())
            self.hits += len(result["result"]["structuredContent"]["hits"])

        return (await LoadGenerator(self.both_cpu_s).run(calls, call)).server_ms

    async def over_handshake(self, calls: int) -> float:
        """Measure the tool `recall` by the handshake revision."""
        return await self.over_mcp(calls, HANDSHAKE)


async def measure(server: Server, mcp: McpProcess, options: argparse.Namespace) -> int:
    """Fill the service, compare, print a line for each revision, and return the exit status."""
    async with grpc.aio.insecure_channel(server.address) as channel, aiohttp.ClientSession() as http:
        stubs = MemoryServiceStub(channel), NamespaceServiceStub(channel)
        side = Side("this version", server, *stubs, count(1), SESSION_SIZE, encoded=True)
        await side.fill(options.memories)
        recalls = Recalls(side, server, mcp, http)
        while not server.first_metric(INDEXED):
            await recalls.over_grpc(WARM)
        stateless = await compare("stateless", (recalls.over_mcp, recalls.over_grpc), options.calls)
        handshake = await compare("handshake", (recalls.over_handshake, recalls.over_grpc), options.calls)
    if not recalls.hits:
        raise RuntimeError("no Recall returned a hit: nothing was measured")
    what = f"Recall among {options.memories:,}{', without an encoder' if options.lexical else ''}"
    print(f"{what}: server CPU over MCP {STATELESS} is {stateless} of gRPC's; at most {BOUND:g}")
    print(f"{what}: server CPU over MCP {HANDSHAKE} is {handshake} of gRPC's")
    return int(stateless.low > BOUND)


def main() -> int:
    """Start both servers and measure them."""
    parser = argparse.ArgumentParser(prog="make bench-mcp", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=10_000, help="number of memories (default: 10000)")
    parser.add_argument("--calls", type=int, default=200, help="calls per round and side (default: 200)")
    parser.add_argument("--lexical", action="store_true", help="let no encoder encode texts and queries")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="somabrain-mcp-") as folder:
        settings = {"encoder__kind": "lexical"} if options.lexical else {}
        with somabrain(["serve", "--embedded", "--data-dir", f"{folder}/data"], settings) as server:
            to_service = {"auth__mode": "none", "mcp__address": server.address, "mcp__namespace": "searched"}
            with mcp_server(Path(folder), to_service) as mcp:
                return asyncio.run(measure(server, mcp, options))


if __name__ == "__main__":
    sys.exit(main())
