"""TLS of the connection to the memory service."""

from __future__ import annotations

from common.config.settings import McpSettings
from somabrain_client.tls import Tls


def service_tls(mcp: McpSettings) -> Tls | None:
    """Return how to connect to the memory service by TLS; None: in plain text."""
    if not (mcp.tls or mcp.ca_file or mcp.cert_file):
        return None
    return Tls(mcp.ca_file, mcp.cert_file, mcp.key_file)
