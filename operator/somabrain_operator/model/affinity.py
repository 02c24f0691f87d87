"""Affinity, as pods have it (k8s.io/api/core/v1, Affinity), bounded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from somabrain_operator.model.base import ApiModel, rule, rules

LabelKey = Annotated[str, Field(min_length=1, max_length=316, pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*)$")]
"""A label's or annotation's name, with its optional prefix."""
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
    """A wish about one label of nodes."""

    model_config = _values_rule("nodeAffinity")

    key: LabelKey
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label's value is compared."""
    values: _Values = ()
    """With what; one whole number for Gt and Lt."""


class NodeSelectorTerm(ApiModel):
    """Wishes that hold together."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], Field(min_length=1, max_length=16)]
    """Each of them."""


class NodeSelector(ApiModel):
    """Nodes that meet at least one term."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=8)]
    """The terms."""


class PreferredSchedulingTerm(ApiModel):
    """Nodes that are better."""

    weight: _Weight
    """How much better."""
    preference: NodeSelectorTerm
    """Which."""


class NodeAffinity(ApiModel):
    """Which nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """A server that finds none waits."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredSchedulingTerm, ...], Field(max_length=16)
    ] = ()
    """Taken where there is a choice."""


class LabelSelectorRequirement(ApiModel):
    """A wish about one label of pods."""

    model_config = _values_rule("podAffinity")

    key: LabelKey
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value is compared."""
    values: _Values = ()
    """With what."""


class LabelSelector(ApiModel):
    """Which pods."""

    match_labels: Labels = Field({})
    """Labels they have."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16)] = ()
    """Wishes about their labels."""


class PodAffinityTerm(ApiModel):
    """Places where certain pods run."""

    label_selector: LabelSelector
    """The pods."""
    topology_key: LabelKey
    """The label of nodes that tells places apart."""
    namespaces: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=16)] = ()
    """Where the pods are. Empty: in the SomaBrain's namespace."""


class WeightedPodAffinityTerm(ApiModel):
    """Places that are better."""

    weight: _Weight
    """How much better."""
    pod_affinity_term: PodAffinityTerm
    """Which."""


class PodAffinity(ApiModel):
    """Near which pods, or far from which."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...], Field(max_length=8)
    ] = ()
    """A server that finds no such place waits."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...], Field(max_length=8)
    ] = ()
    """Taken where there is a choice."""


class Affinity(ApiModel):
    """Near what servers run, and far from what."""

    node_affinity: NodeAffinity | None = None
    """Which nodes."""
    pod_affinity: PodAffinity | None = None
    """Near which pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Far from which pods."""
