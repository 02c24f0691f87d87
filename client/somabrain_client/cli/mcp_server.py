"""Subcommand `mcp`: the memory as tools of the Model Context Protocol. It is run by `somabrain_client.mcp.command`."""

from __future__ import annotations

from pathlib import Path

from somabrain_client.cli.arguments import Subparsers


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    mcp = commands.add_parser("mcp", help="serve the memory as MCP tools, over stdio or HTTP (docs/mcp.md)")
    mcp.add_argument(
        "--http",
        action="store_true",
        help="serve streamable HTTP as the settings SOMABRAIN_MCP__... say (default: stdio)",
    )
    mcp.add_argument(
        "--embedded",
        action="store_true",
        help="start a memory service on this machine, with embedded PostgreSQL, and stop it at the end",
    )
    mcp.add_argument("--data-dir", type=Path, help="data directory of --embedded (default: that of serve --embedded)")
    mcp.add_argument("--namespace", help="namespace of calls that name no other; with --embedded it is created")
