"""Who reaches the servers over the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from somabrain_operator.model.affinity import Labels
from somabrain_operator.model.base import ApiModel, rule, rules


class NetworkPolicyPeer(ApiModel):
    """Pods that may connect: those with `podLabels` in the namespaces with `namespaceLabels`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.namespaceLabels) || has(self.podLabels)",
                "spec.networkPolicy: a peer names neither namespaceLabels nor podLabels; name one, or write "
                "namespaceLabels: {} for every namespace",
            )
        )
    )

    namespace_labels: Labels | None = None
    """Labels of their namespaces; {}: any namespace. Not set: the SomaBrain's own."""
    pod_labels: Labels | None = None
    """Labels of the pods. Not set: all pods of these namespaces."""


class NetworkPolicy(ApiModel):
    """What may connect to the servers. It holds only where the cluster's network enforces NetworkPolicies."""

    clients: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=16)] = ()
    """Who may call. Empty: all pods of the SomaBrain's own namespace."""
    scrapers: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=16)] = ()
    """Who may read probes and metrics, beside the nodes. Empty: everybody; nothing of memory is served there."""
