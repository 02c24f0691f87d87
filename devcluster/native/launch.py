"""Creation of the cluster's files and start of its first process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devcluster import shell
from devcluster.environment import inherited
from devcluster.native import cgroups, kernel, network
from devcluster.native.config import render_cni, render_containerd, render_kubelet
from devcluster.native.layout import (
    API_PORT,
    API_SERVICE,
    NODE,
    NODE_ADDRESS,
    PRIVATE_FOLDERS,
    Layout,
)
from devcluster.pki import CertificateAuthority

API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)
CLIENTS = {
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
}


def write_files(layout: Layout, snapshotter: str) -> None:
    """Write keys, kubeconfigs and configuration into the empty folder of a new cluster."""
    layout.root.mkdir(parents=True, mode=0o755)
    for folder in (layout.logs, layout.root / "clients", layout.root / "cni"):
        folder.mkdir()
    authority = CertificateAuthority.create(layout.pki)
    authority.make_service_account_key()
    names = [*(f"DNS:{name}" for name in API_NAMES), *(f"IP:{ip}" for ip in ("127.0.0.1", NODE_ADDRESS, API_SERVICE))]
    authority.issue_server("apiserver", "/CN=kube-apiserver", names)
    authority.issue_server("kubelet-serving", CLIENTS["kubelet"], [f"DNS:{NODE}", f"IP:{NODE_ADDRESS}"])
    authority.issue_client("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    authority.issue_client("admin", "/O=system:masters/CN=admin")
    for name, subject in CLIENTS.items():
        authority.issue_client(name, subject)
        layout.client_config(name).write_text(authority.kubeconfig(name, f"https://127.0.0.1:{API_PORT}"))
    (layout.root / "containerd.toml").write_text(render_containerd(layout, snapshotter))
    (layout.root / "cni" / "10-bridge.conflist").write_text(render_cni(layout))
    (layout.root / "kubelet.json").write_text(render_kubelet(layout))
    (layout.root / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    layout.kubeconfig.write_text(authority.kubeconfig("admin", f"https://{NODE_ADDRESS}:{API_PORT}"))
    layout.kubeconfig.chmod(0o600)


def start(layout: Layout, binaries: Path, checkout: Path) -> None:
    """Start the first process in new namespaces and connect it to the host."""
    kernel.prepare(layout.kernel)
    for folder in PRIVATE_FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
    join = 'echo $$ > "$0" && exec "$@"'
    unshare = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    init = [sys.executable, "-m", "devcluster.native.init", str(layout.root), str(binaries)]
    with (layout.logs / "init.log").open("ab") as log:
        outer = subprocess.Popen(
            ["sh", "-c", join, str(cgroups.create()), *unshare, *init],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env=inherited(PYTHONPATH=str(checkout), PYTHONDONTWRITEBYTECODE="1"),
        )
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    shell.wait_until(
        lambda: bool(children.read_text().split()) and _unshared(children),
        what="The namespaces were not created",
        timeout_s=10,
        every_s=0.01,
    )
    network.connect(int(children.read_text().split()[0]))
    layout.anchor.write_text(identity(outer.pid))


def _unshared(children: Path) -> bool:
    """Return whether the first child is in a separate network namespace."""
    child = children.read_text().split()[0]
    return Path(f"/proc/{child}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def is_anchored(layout: Layout) -> bool:
    """Return whether the recorded first process is alive."""
    try:
        recorded = layout.anchor.read_text()
        return identity(int(recorded.split()[0])) == recorded
    except (OSError, ValueError, IndexError):
        return False


def identity(pid: int) -> str:
    """Return process id, start time and boot id, because process ids are reused.

    Raises:
        ProcessLookupError: the process is a zombie.
        FileNotFoundError: no such process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)
    return f"{pid} {fields[19]} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
