"""NetworkPolicy of the servers: allowed peers of each port."""

from __future__ import annotations

from collections.abc import Iterable

from somabrain_operator.api.v1alpha1.network import NetworkPolicy, NetworkPolicyPeer
from somabrain_operator.kube import names
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.metadata import render_object

_OWN_NAMESPACE: dict[str, Json] = {"podSelector": {}}


def render_network_policy(owner: Owner, policy: NetworkPolicy, *, with_mcp: bool) -> Manifest:
    """Return the policy. The kubelet's probes come from the node, whose traffic a NetworkPolicy always allows.

    Args:
        owner: the SomaBrain.
        policy: its spec's policy.
        with_mcp: True if the spec has an MCP server, which is always admitted as a client.
    """
    clients = peers(policy.clients)
    if with_mcp and policy.clients:
        clients.append({"podSelector": {"matchLabels": names.selector(owner.key.name, names.MCP)}})
    return render_object(
        owner,
        names.SERVER,
        ("networking.k8s.io/v1", "NetworkPolicy"),
        {
            "spec": {
                "podSelector": {"matchLabels": names.selector(owner.key.name, names.SERVER)},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"ports": [{"port": "grpc", "protocol": "TCP"}], "from": clients},
                    http_ingress(policy.scrapers),
                ],
            }
        },
    )


def peers(clients: Iterable[NetworkPolicyPeer]) -> list[Json]:
    """Return the peers of a rule; without any, all pods of the own namespace."""
    return [_peer(each) for each in clients] or [_OWN_NAMESPACE]


def http_ingress(scrapers: Iterable[NetworkPolicyPeer]) -> dict[str, Json]:
    """Return the rule for the port of probes and metrics; without any scrapers it admits all pods."""
    sources: list[Json] = [_peer(each) for each in scrapers]
    return {"ports": [{"port": "http", "protocol": "TCP"}], **({"from": sources} if sources else {})}


def _peer(peer: NetworkPolicyPeer) -> dict[str, Json]:
    rendered: dict[str, Json] = {}
    if peer.namespace_labels is not None:
        rendered["namespaceSelector"] = _selector(peer.namespace_labels)
    if peer.pod_labels is not None:
        rendered["podSelector"] = _selector(peer.pod_labels)
    return rendered


def _selector(labels: dict[str, str]) -> dict[str, Json]:
    return {"matchLabels": labels} if labels else {}
