"""Steps that add children to the plan, and the one that prunes children that left it."""

from __future__ import annotations

from dataclasses import replace

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.children import last_applied_id
from somabrain_operator.kube.names import SERVER, child_id
from somabrain_operator.kube.objects import Manifest, items, number, text
from somabrain_operator.kube.owner import Owner, belongs_to
from somabrain_operator.observe.pod_status import of_component
from somabrain_operator.plan.disruption import find_overlaps
from somabrain_operator.plan.ownership import add_children
from somabrain_operator.plan.plan import Plan, vault_image
from somabrain_operator.render.autoscaling import desired_replicas, render_autoscaler, replica_bounds
from somabrain_operator.render.base import render_headless_service, render_service, render_service_account
from somabrain_operator.render.config import default_policy, render_config, render_policy
from somabrain_operator.render.deployment import Images, render_deployment, with_replicas
from somabrain_operator.render.disruption import render_disruption_budget
from somabrain_operator.render.metadata import rendered_hash
from somabrain_operator.render.network import render_network_policy
from somabrain_operator.render.provision import render_job_network_policy


def add_base_objects(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Add the ServiceAccount and the Services."""
    owner = plan.owner
    return add_children(
        plan, (render_service_account(owner), render_service(owner, spec), render_headless_service(owner, spec.grpc))
    )


def add_deployment(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Add settings, policy and Deployment; reached only if the database has the schema that the image needs."""
    owner = plan.owner
    images = Images(plan.image, spec.opa.image or plan.release.opa_image, vault_image(spec, plan.release))
    deployment = render_deployment(owner, spec, images, plan.config_hash)
    autoscaler = _autoscaler_manifests(owner, spec)
    live = plan.observed.children.get(child_id(deployment))
    deployment = with_replicas(deployment, desired_replicas(spec.replicas, replica_bounds(autoscaler), live))
    policy = (
        ()
        if spec.opa.policy or not spec.opa.enabled
        else (render_policy(owner, default_policy(plan.release.policy, plan.image)),)
    )
    updated = add_children(
        plan, (render_config(owner, spec, (plan.image, *_running_images(plan))), *policy, deployment)
    )
    return updated if updated.halted_by else replace(updated, deployment=deployment)


def _running_images(plan: Plan) -> set[str]:
    """Return the images of the servers that run: one that restarts reads the settings again."""
    servers = of_component(plan.observed.pods, SERVER)
    containers = [each for pod in servers for each in items(pod, "spec", "containers") if text(each, "name") == SERVER]
    return {text(container, "image") for container in containers}


def add_autoscaler(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Add the autoscaler, after the Deployment that it scales."""
    return add_children(plan, _autoscaler_manifests(plan.owner, spec))


def _autoscaler_manifests(owner: Owner, spec: SomaBrainSpec) -> tuple[Manifest, ...]:
    return (render_autoscaler(owner, spec.autoscaling),) if spec.autoscaling else ()


def add_disruption_budget_and_network_policy(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Add the PodDisruptionBudget, with a check for those of others, and the NetworkPolicy."""
    budget, network = spec.pod_disruption_budget, spec.network_policy
    if budget:
        plan = find_overlaps(plan, SERVER, plan.deployment, "spec.podDisruptionBudget")
        plan = add_children(plan, (render_disruption_budget(plan.owner, budget, SERVER),))
    if network is None or plan.halted_by:
        return plan
    provisions = spec.database is not None and spec.database.provision is not None
    jobs = (render_job_network_policy(plan.owner),) if provisions else ()
    servers = render_network_policy(plan.owner, network, with_mcp=spec.mcp is not None)
    return add_children(plan, (servers, *jobs))


def prune(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Delete our children and orphans that left the plan; ConfigMaps only after the pods that mount them are gone."""
    planned = {child_id(manifest) for manifest in plan.apply} | {last_applied_id(plan.owner.key.name)}
    rollout_complete = is_rolled_out(plan)
    obsolete = tuple(
        identity
        for identity, live in plan.observed.children.items()
        if identity not in planned
        and belongs_to(live, plan.owner)
        and identity.kind not in plan.observed.missing_kinds
        and (rollout_complete or identity.kind != "ConfigMap")
    )
    return replace(plan, delete=plan.delete + obsolete)


def is_rolled_out(plan: Plan) -> bool:
    """Return whether the rollout is complete: no pod of an earlier template is left."""
    deployment = plan.deployment
    live = plan.observed.children.get(child_id(deployment)) if deployment else None
    if deployment is None or live is None:
        return False
    return (
        rendered_hash(live) == rendered_hash(deployment)
        and number(live, "status", "observedGeneration") >= number(live, "metadata", "generation")
        and number(live, "status", "replicas") == number(live, "status", "updatedReplicas")
    )
