"""NetworkPolicy of the servers."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from somabrain_operator.api.v1alpha1.affinity import Labels
from somabrain_operator.api.v1alpha1.base import ApiModel, rule, rules


class NetworkPolicyPeer(ApiModel):
    """Pods that may connect: those with `podLabels` in the namespaces with `namespaceLabels`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.namespaceLabels) || has(self.podLabels)",
                "spec.networkPolicy: a peer has neither namespaceLabels nor podLabels; set one, or write "
                "namespaceLabels: {} for every namespace",
            )
        )
    )

    namespace_labels: Labels | None = None
    """Labels of their namespaces; {}: any namespace. Not set: the SomaBrain's own namespace."""
    pod_labels: Labels | None = None
    """Labels of the pods. Not set: all pods of these namespaces."""


class NetworkPolicy(ApiModel):
    """Pods that may connect to the servers. Effective only if the cluster's network enforces NetworkPolicies."""

    clients: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=16)] = ()
    """Pods that may call the gRPC port. Empty: all pods of the SomaBrain's own namespace."""
    scrapers: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=16)] = ()
    """Pods that may read probes and metrics, besides the nodes. Empty: all pods; that port serves no memories."""
