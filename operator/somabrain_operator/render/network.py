"""NetworkPolicy of the servers: allowed peers of each port."""

from __future__ import annotations

from somabrain_operator.api.v1alpha1.network import NetworkPolicy, NetworkPolicyPeer
from somabrain_operator.kube import names
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.metadata import render_object

_OWN_NAMESPACE: dict[str, Json] = {"podSelector": {}}


def render_network_policy(owner: Owner, policy: NetworkPolicy) -> Manifest:
    """Return the policy. The kubelet's probes come from the node, whose traffic a NetworkPolicy always allows."""
    clients = [_peer(each) for each in policy.clients] or [_OWN_NAMESPACE]
    http: dict[str, Json] = {"ports": [{"port": "http", "protocol": "TCP"}]}
    if policy.scrapers:
        http["from"] = [_peer(each) for each in policy.scrapers]
    return render_object(
        owner,
        names.SERVER,
        ("networking.k8s.io/v1", "NetworkPolicy"),
        {
            "spec": {
                "podSelector": {"matchLabels": names.selector(owner.key.name, names.SERVER)},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": "grpc", "protocol": "TCP"}], "from": clients}, http],
            }
        },
    )


def _peer(peer: NetworkPolicyPeer) -> dict[str, Json]:
    rendered: dict[str, Json] = {}
    if peer.namespace_labels is not None:
        rendered["namespaceSelector"] = _selector(peer.namespace_labels)
    if peer.pod_labels is not None:
        rendered["podSelector"] = _selector(peer.pod_labels)
    return rendered


def _selector(labels: dict[str, str]) -> dict[str, Json]:
    return {"matchLabels": labels} if labels else {}
