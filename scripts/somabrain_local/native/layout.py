"""The fixed addresses and names of the native cluster, and the files in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NODE = "somabrain"
HOST_LINK, NODE_LINK = "sb-host", "sb-node"
HOST_ADDRESS, NODE_ADDRESS, LINK_BITS = "172.30.99.1", "172.30.99.2", 30
SERVICES, API_SERVICE, DNS_SERVICE = "10.96.0.0/16", "10.96.0.1", "10.96.0.10"
PODS, NODE_PODS = "10.244.0.0/16", "10.244.0.0/24"
API_PORT = 6443
CGROUP = "somabrain"
STORAGE_PROVISIONER = "somabrain.io/node-folder"

# Paths that the components hard-code; the cluster has its own, in memory, in their place.
PRIVATE_FOLDERS = (Path("/run"), Path("/var/lib/cni"), Path("/var/lib/kubelet"), Path("/var/log/containers"))


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one cluster under `root`."""

    root: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For people and programs outside the namespaces."""
        return self.root / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file a component, and the audit log of the API server."""
        return self.root / "log"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens; short, because socket paths have 107 characters."""
        return self.root / "c.sock"

    @property
    def volumes(self) -> Path:
        """The folders behind persistent volumes."""
        return self.root / "volumes"

    @property
    def anchor(self) -> Path:
        """The process that holds the namespaces: its id and start time."""
        return self.root / "anchor"

    @property
    def launched(self) -> Path:
        """There once the whole of the cluster has been set up and started."""
        return self.root / "launched"

    @property
    def kernel(self) -> Path:
        """The kernel settings from before, to be put back."""
        return self.root / "kernel.json"

    def client_config(self, client: str) -> Path:
        """Return the kubeconfig of a component."""
        return self.root / "clients" / client
