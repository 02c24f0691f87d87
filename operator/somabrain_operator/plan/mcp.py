"""Step that adds the MCP server: Deployment, Service and what protects it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from somabrain_operator.api.v1alpha1.mcp import Mcp
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.names import MCP, ChildId, child_id
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.plan.children import is_rolled_out
from somabrain_operator.plan.disruption import find_overlaps
from somabrain_operator.plan.last_applied import last_applied
from somabrain_operator.plan.ownership import add_children
from somabrain_operator.plan.plan import Plan
from somabrain_operator.plan.references import startup_digests
from somabrain_operator.render.deployment import with_replicas
from somabrain_operator.render.disruption import render_disruption_budget
from somabrain_operator.render.mcp import (
    mcp_replicas,
    render_mcp_deployment,
    render_mcp_network_policy,
    render_mcp_service,
)


def add_mcp(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Add the MCP server, if the spec has one.

    It is a client of the servers: until no server of an earlier template is left, its Deployment stays as last applied.
    """
    if (mcp := spec.mcp) is None:
        return plan
    rendered = render_mcp_deployment(plan.owner, spec, mcp, plan.image, _config_hash(plan))
    template = rendered if is_rolled_out(plan) else _previous(plan) or rendered
    deployment = with_replicas(template, mcp_replicas(spec, mcp))
    if mcp.pod_disruption_budget:
        plan = find_overlaps(plan, MCP, deployment, "spec.mcp.podDisruptionBudget")
    updated = add_children(plan, (render_mcp_service(plan.owner, mcp), deployment, *_protection(plan, spec, mcp)))
    return updated if updated.halted_by else replace(updated, mcp_deployment=deployment)


def _protection(plan: Plan, spec: SomaBrainSpec, mcp: Mcp) -> Iterator[Manifest]:
    if mcp.pod_disruption_budget:
        yield render_disruption_budget(plan.owner, mcp.pod_disruption_budget, MCP)
    if mcp.network_policy:
        yield render_mcp_network_policy(plan.owner, spec, mcp, mcp.network_policy)


def _config_hash(plan: Plan) -> str:
    return content_hash(startup_digests(plan.observed.references, MCP))


def _previous(plan: Plan) -> Manifest | None:
    """Return the Deployment as it was applied when all steps last passed, if it was."""
    identity = ChildId("Deployment", plan.owner.child(MCP))
    return next((each for each in last_applied(plan) if child_id(each) == identity), None)
