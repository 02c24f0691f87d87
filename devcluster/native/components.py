"""Processes of the cluster and their flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devcluster.native.layout import (
    API_PORT,
    NODE,
    NODE_ADDRESS,
    PODS,
    SERVICES,
    Layout,
)

AUDIT_POLICY = Path(__file__).parents[1] / "manifests" / "audit.yaml"


@dataclass(frozen=True, slots=True)
class Component:
    """One supervised process."""

    name: str
    argv: tuple[str, ...]


def components(layout: Layout, binaries: Path, python: str) -> tuple[Component, ...]:
    """Return the processes in start order."""
    pki, root = layout.pki, layout.root
    etcd = (
        f"--data-dir={root}/etcd",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
    )
    apiserver = (
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={NODE_ADDRESS}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        # Otherwise exec and logs would try to resolve the node's name.
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={AUDIT_POLICY}",
        f"--audit-log-path={layout.logs}/audit.log",
        "--audit-log-maxsize=50",
        "--audit-log-maxbackup=2",
        f"--cert-dir={root}/apiserver",
    )
    controllers = (
        *_client_flags(layout, "kube-controller-manager"),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-cidr={PODS}",
        "--allocate-node-cidrs=true",
        f"--service-cluster-ip-range={SERVICES}",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--leader-elect=false",
    )
    kubelet = (
        f"--config={root}/kubelet.json",
        f"--kubeconfig={layout.client_config('kubelet')}",
        f"--root-dir={root}/kubelet",
        f"--cert-dir={root}/kubelet/pki",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_ADDRESS}",
    )
    proxy = (
        f"--kubeconfig={layout.client_config('kube-proxy')}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={PODS}",
        f"--hostname-override={NODE}",
        "--conntrack-max-per-core=0",
    )
    scheduler = (*_client_flags(layout, "kube-scheduler"), "--leader-elect=false")
    return (
        Component("etcd", (f"{binaries}/etcd", *etcd)),
        Component("containerd", ("containerd", "--config", f"{root}/containerd.toml")),
        Component("kube-apiserver", (f"{binaries}/kube-apiserver", *apiserver)),
        Component("kubelet", (f"{binaries}/kubelet", *kubelet)),
        Component("kube-controller-manager", (f"{binaries}/kube-controller-manager", *controllers)),
        Component("kube-scheduler", (f"{binaries}/kube-scheduler", *scheduler)),
        Component("kube-proxy", (f"{binaries}/kube-proxy", *proxy)),
        Component("provisioner", (python, "-m", "devcluster.native.provisioner", str(root))),
    )


def _client_flags(layout: Layout, name: str) -> tuple[str, ...]:
    config = layout.client_config(name)
    return tuple(f"--{use}kubeconfig={config}" for use in ("", "authentication-", "authorization-"))
