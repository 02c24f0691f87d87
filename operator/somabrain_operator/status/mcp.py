"""The MCP server's part of the conditions: it counts once the servers match the spec."""

from __future__ import annotations

from dataclasses import dataclass, replace

from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.status import conditions
from somabrain_operator.status.rollout import Rollout


@dataclass(frozen=True, slots=True)
class McpState:
    """State of the MCP server's Deployment."""

    rollout: Rollout
    drift: str
    """Difference of the Deployment from its manifest after the apply, as a sentence; empty: none."""


def ready(plan: Plan, servers: ConditionResult, mcp: McpState | None) -> ConditionResult:
    """Return the condition Ready: of the servers, and if they are Ready, of the MCP server."""
    if mcp is None or servers.status != "True":
        return servers
    own = conditions.ready(plan, mcp.rollout, "", mcp.drift)
    return servers if own.status == "True" else _named(own)


def progressing(plan: Plan, servers: ConditionResult, mcp: McpState | None) -> ConditionResult:
    """Return the condition Progressing: of the servers, and if they are rolled out, of the MCP server."""
    if mcp is None or servers.reason != "RolledOut":
        return servers
    own = conditions.progressing(plan, mcp.rollout, mcp.drift)
    return servers if own.reason == "RolledOut" else _named(own)


def degraded(plan: Plan, servers: ConditionResult, mcp: McpState | None) -> ConditionResult:
    """Return the condition Degraded: of the servers, and if nothing is wrong with them, of the MCP server."""
    if mcp is None or servers.status == "True":
        return servers
    own = conditions.degraded(plan, mcp.rollout, "", "", "")
    if own.status == "True":
        return _named(own)
    return own if servers.reason == "AsExpected" else servers


def _named(result: ConditionResult) -> ConditionResult:
    return replace(result, message=f"MCP server: {result.message}")
