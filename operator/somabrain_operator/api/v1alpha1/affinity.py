"""Affinity of pods as in k8s.io/api/core/v1, with bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from somabrain_operator.api.v1alpha1.base import ApiModel, rule, rules

LabelKey = Annotated[str, Field(min_length=1, max_length=316, pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*)$")]
"""Name of a label or annotation, with its optional prefix."""
Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]
_Weight = Annotated[int, Field(ge=1, le=100)]
_Values = Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)]


def _values_rule(field: str) -> ConfigDict:
    return ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.operator in ['Exists', 'DoesNotExist']) == (!has(self.values) || self.values.size() == 0)",
                f"spec.scheduling.affinity.{field}: Exists and DoesNotExist have no values, the others need some",
            )
        )
    )


class NodeSelectorRequirement(ApiModel):
    """Requirement on one label of nodes."""

    model_config = _values_rule("nodeAffinity")

    key: LabelKey
    """Label key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """Operator that compares the label's value with `values`."""
    values: _Values = ()
    """Values to compare with; a single integer for Gt and Lt."""


class NodeSelectorTerm(ApiModel):
    """Requirements that a node must all meet."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], Field(min_length=1, max_length=16)]
    """List of requirements."""


class NodeSelector(ApiModel):
    """Nodes that meet at least one term."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=8)]
    """Alternative terms."""


class PreferredSchedulingTerm(ApiModel):
    """Weighted preference for nodes."""

    weight: _Weight
    """Weight, 1 to 100, relative to the other preferences."""
    preference: NodeSelectorTerm
    """Term that preferred nodes meet."""


class NodeAffinity(ApiModel):
    """Nodes that pods must or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes a pod must run on; it stays pending until one has room."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredSchedulingTerm, ...], Field(max_length=16)
    ] = ()
    """Nodes to prefer where several are possible."""


class LabelSelectorRequirement(ApiModel):
    """Requirement on one label of pods."""

    model_config = _values_rule("podAffinity")

    key: LabelKey
    """Label key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """Operator that compares the label's value with `values`."""
    values: _Values = ()
    """Values to compare with."""


class LabelSelector(ApiModel):
    """Selector of pods by label."""

    match_labels: Labels = Field({})
    """Labels with these exact values."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16)] = ()
    """Requirements on labels, all of which must be met."""


class PodAffinityTerm(ApiModel):
    """Topology domains (node, zone, ...) in which certain pods run."""

    label_selector: LabelSelector
    """Selector of these pods."""
    topology_key: LabelKey
    """Node label whose values are the topology domains."""
    namespaces: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=16)] = ()
    """Namespaces of these pods. Empty: the SomaBrain's namespace."""


class WeightedPodAffinityTerm(ApiModel):
    """Weighted preference for topology domains."""

    weight: _Weight
    """Weight, 1 to 100, relative to the other preferences."""
    pod_affinity_term: PodAffinityTerm
    """Term that describes the domains."""


class PodAffinity(ApiModel):
    """Pods to run together with, or, as anti-affinity, apart from."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...], Field(max_length=8)
    ] = ()
    """Terms that must be met; a pod stays pending until they can be."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...], Field(max_length=8)
    ] = ()
    """Terms to prefer where several domains are possible."""


class Affinity(ApiModel):
    """Affinity of servers and migrations to nodes and to other pods."""

    node_affinity: NodeAffinity | None = None
    """Nodes to run on."""
    pod_affinity: PodAffinity | None = None
    """Pods to run in the same topology domain as."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to run in another topology domain than."""
