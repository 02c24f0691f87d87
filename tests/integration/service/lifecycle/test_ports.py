"""Memories are served over gRPC alone: the ports of the memory service's process, and the paths of its HTTP port."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess

LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def listening_ports(pid: int) -> set[int]:
    """TCP ports on which a process listens."""
    sockets = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
    rows = [
        line.split()
        for file in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets
    }


def test_service_listens_only_on_grpc_and_probe_ports(brain: ServiceProcess) -> None:
    """There is no third port, and the HTTP port has probes and metrics alone: no path of it leads to a memory."""
    (record,) = brain.events("listening")
    assert listening_ports(brain.process.pid) == {record["grpc_port"], record["http_port"]}
    for path in (
        "/mcp",
        "/",
        "/v1/memories",
        "/.well-known/oauth-protected-resource",
        "/somabrain.memory.v1.MemoryService",
    ):
        assert brain.get(path)[0] == 404, path


def test_http_port_serves_no_api_calls(brain: ServiceProcess, idp: Issuer) -> None:
    """With a valid token, too, MCP's and gRPC's requests are refused there."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    for path in ("/mcp", "/ready", "/metrics", "/somabrain.memory.v1.MemoryService/Recall"):
        headers = {"Authorization": f"Bearer {idp.token()}", "Content-Type": "application/json"}
        request = urllib.request.Request(brain.http + path, body, headers, method="POST")
        try:
            status = urllib.request.urlopen(request, timeout=5).status
        except urllib.error.HTTPError as error:
            status = error.code
        assert status in {404, 405}, path
