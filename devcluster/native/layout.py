"""Fixed addresses and names of the native cluster, and the files in its folder."""

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

# Paths that the components hard-code; the cluster mounts its own tmpfs over them.
PRIVATE_FOLDERS = (Path("/run"), Path("/var/lib/cni"), Path("/var/lib/kubelet"), Path("/var/log/containers"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Files of one cluster under `root`."""

    root: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig for users and programs outside the namespaces."""
        return self.root / "kubeconfig"

    @property
    def logs(self) -> Path:
        """Folder of the logs: one file per component, and the audit log of the API server."""
        return self.root / "log"

    @property
    def containerd_socket(self) -> Path:
        """Socket of containerd; a short path, because socket paths have at most 107 characters."""
        return self.root / "c.sock"

    @property
    def volumes(self) -> Path:
        """Folder of the persistent volumes."""
        return self.root / "volumes"

    @property
    def anchor(self) -> Path:
        """File with id and start time of the process that owns the namespaces."""
        return self.root / "anchor"

    @property
    def launched(self) -> Path:
        """Marker file that exists once the whole cluster is set up and started."""
        return self.root / "launched"

    @property
    def kernel(self) -> Path:
        """File with the former kernel settings, to be restored."""
        return self.root / "kernel.json"

    def client_config(self, client: str) -> Path:
        """Return the kubeconfig of a component."""
        return self.root / "clients" / client
