"""Native provider: start, repair, replace and remove the cluster."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from devcluster import debian, pinned_tools, shell
from devcluster.api import Api, ApiError
from devcluster.errors import CommandFailed, LocalError, Timeout
from devcluster.images.archive import Archive
from devcluster.images.builder import ImageBuilder
from devcluster.images.table import CLUSTER_IMAGES, DockerfileImage, workload_images
from devcluster.native import cgroups, kernel, launch, network
from devcluster.native.layout import API_PORT, HOST_LINK, NODE, NODE_ADDRESS, PRIVATE_FOLDERS, Layout
from devcluster.parallel import run_parallel
from devcluster.tools import Toolchain

MANIFESTS = Path(__file__).parents[1] / "manifests"
RECOVERY_TIMEOUT_S, READY_TIMEOUT_S = 45.0, 120.0


@dataclass(frozen=True)
class NativeCluster:
    """One-node Kubernetes in namespaces of this machine."""

    toolchain: Toolchain
    image_builder: ImageBuilder
    layout: Layout

    @property
    def _api(self) -> Api:
        return Api(f"https://{NODE_ADDRESS}:{API_PORT}", self.layout.pki)

    @property
    def _ctr(self) -> list[object]:
        return ["ctr", "--address", self.layout.containerd_socket, "--namespace", "k8s.io"]

    def up(self, *, with_images: bool, full: bool = False) -> None:
        """Ensure a ready cluster: return at once if it is healthy, else let it recover or recreate it."""
        self._require_root()
        if with_images:
            run_parallel(self._up_with_tools, partial(self.images, full=full))
            self.load(full=full)
        else:
            self._up()

    def down(self) -> None:
        """Remove the cluster and all its resources.

        Raises:
            LocalError: resources remain; the message lists them.
        """
        self._require_root()
        with shell.locked(self._lock):
            if leftovers(self.layout):
                with self.toolchain.progress.step("Remove the cluster"):
                    self._tear_down()
        if left := leftovers(self.layout):
            raise LocalError(f"Resources of the cluster remain: {'; '.join(left)}.")

    def images(self, *, full: bool = False) -> None:
        """Build missing and outdated images."""
        self._require_root()
        self.image_builder.ensure(workload_images(self.toolchain.paths.checkout, full=full))

    def load(self, *, full: bool = False) -> None:
        """Import the images that the cluster lacks, building them first if needed."""
        self._require_root()
        self._import(self.image_builder.ensure(workload_images(self.toolchain.paths.checkout, full=full)))

    def archive(self, image: DockerfileImage, folder: Path) -> Path:
        """Return the archive of an image in the image builder's cache; `folder` is not used."""
        self._require_root()
        (built,) = self.image_builder.ensure([image])
        return built.path

    def load_archive(self, archive: Path) -> None:
        """Load the image of an archive into the cluster."""
        self._require_root()
        shell.run([*self._ctr, "images", "import", archive])

    def kill(self, container: str) -> None:
        """Send SIGKILL to the first process of a container."""
        self._require_root()
        shell.run([*self._ctr, "tasks", "kill", "--signal", "SIGKILL", container])

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig.

        Raises:
            LocalError: there is no cluster.
        """
        if not self.layout.kubeconfig.exists():
            raise LocalError("No cluster is running: run `make cluster`.")
        return self.layout.kubeconfig

    def node_address(self) -> str:
        """Return the address of NodePorts."""
        return NODE_ADDRESS

    def pytest_options(self) -> list[str]:
        """Return no options: the tests use `kubeconfig`."""
        return []

    def status(self) -> str:
        """Return the state of the cluster in one sentence."""
        if not self._is_launched():
            left = leftovers(self.layout)
            return "No cluster is running" + (f", but resources remain: {'; '.join(left)}." if left else ".")
        health = "healthy" if self._is_healthy() else "not healthy; `up` repairs it"
        return f"The native cluster at {NODE_ADDRESS} is {health}. Its files: {self.layout.root}"

    @property
    def _lock(self) -> Path:
        return self.toolchain.paths.cache / "locks" / "cluster"

    def _require_root(self) -> None:
        if os.geteuid() != 0:
            raise LocalError("The native cluster needs root: run it with sudo, or start Docker to use kind.")

    def _is_launched(self) -> bool:
        return self.layout.launched.exists() and launch.is_anchored(self.layout)

    def _is_healthy(self) -> bool:
        return self._is_launched() and self._node_is_ready() and self._resolves()

    def _node_is_ready(self) -> bool:
        """Return whether API, kubelet (checked through the API) and node are healthy."""
        if not self._api.answers(f"/api/v1/nodes/{NODE}/proxy/healthz"):
            return False
        conditions = self._status_of(f"/api/v1/nodes/{NODE}").get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _resolves(self) -> bool:
        path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
        return bool(self._status_of(path).get("availableReplicas"))

    def _status_of(self, path: str) -> dict[str, Any]:
        """Return the status of the object at `path`; empty if the API does not respond."""
        try:
            status: dict[str, Any] = json.loads(self._api.call("GET", path))["status"]
        except ApiError:
            return {}
        return status

    def _recovers(self) -> bool:
        """Wait for the supervisor to restart dead components; return False if that fails or it is dead itself."""
        if not self._is_launched():
            return False
        try:
            with self.toolchain.progress.step("Wait for the cluster to recover"):
                shell.wait_until(self._is_healthy, what="The cluster did not recover", timeout_s=RECOVERY_TIMEOUT_S)
        except Timeout:
            return False
        return True

    def _up_with_tools(self) -> None:
        # Sequentially: two concurrent Go builds would compile the same packages twice.
        self.toolchain.ensure((*pinned_tools.NATIVE_CLUSTER, *pinned_tools.USER_TOOLS))
        self._up()

    def _up(self) -> None:
        with shell.locked(self._lock):
            if self._is_healthy() or self._recovers():
                return
            self._prepare()
            self._tear_down()
            self._launch()

    def _import(self, archives: Sequence[Archive]) -> None:
        if not self.layout.containerd_socket.exists():
            raise LocalError("No cluster is running to load images into: run `make cluster`.")
        rows = [line.split() for line in shell.run([*self._ctr, "images", "list"]).splitlines()[1:]]
        present = {(row[0], row[2]) for row in rows}
        for archive in archives:
            if (archive.name, archive.digest) not in present:
                with self.toolchain.progress.step(f"Load {archive.name}"):
                    self.load_archive(archive.path)

    def _prepare(self) -> None:
        paths, progress = self.toolchain.paths, self.toolchain.progress
        debian.ensure(debian.CLUSTER, paths, progress)
        self.toolchain.ensure(pinned_tools.NATIVE_CLUSTER)

    def _launch(self) -> None:
        paths, progress, layout = self.toolchain.paths, self.toolchain.progress, self.layout
        archives = self.image_builder.ensure(CLUSTER_IMAGES)
        with progress.step("Start the cluster"):
            launch.write_files(layout, "native" if paths.on_overlay else "overlayfs")
            launch.start(layout, paths.bin, paths.checkout)
            try:
                shell.wait_until(layout.containerd_socket.exists, what="containerd did not start", timeout_s=30)
                self._import(archives)
                shell.wait_until(lambda: self._api.answers("/readyz"), what="The API did not start", timeout_s=60)
                kubectl = [paths.bin / "kubectl", f"--kubeconfig={layout.kubeconfig}"]
                for manifest in ("coredns.yaml", "storage.yaml"):
                    shell.run([*kubectl, "apply", "--server-side", "-f", MANIFESTS / manifest])
                shell.wait_until(self._node_is_ready, what="The node did not become ready", timeout_s=READY_TIMEOUT_S)
                shell.wait_until(self._resolves, what="The cluster's DNS did not start", timeout_s=60)
                layout.launched.touch()
            except (Timeout, CommandFailed) as error:
                raise LocalError(f"{error} The components' logs are in {layout.logs}.") from error

    def _tear_down(self) -> None:
        """Remove everything that exists of the cluster, complete or partial."""
        cgroups.kill()  # with the first process all namespaces, mounts and rules are removed
        network.disconnect()
        cgroups.remove()
        kernel.restore(self.layout.kernel)
        if self.layout.root.exists():
            shutil.rmtree(self.layout.root)
        for folder in PRIVATE_FOLDERS:
            with suppress(OSError):  # in use by others, or never created
                folder.rmdir()


def leftovers(layout: Layout) -> list[str]:
    """Return a short description of each resource of the cluster that exists on this machine."""
    remains = [f"process {pid}" for pid in sorted(cgroups.members())]
    remains += [f"control group {folder}" for folder in cgroups.remaining()]
    mounts = Path("/proc/mounts").read_text().splitlines()
    remains += [f"mount {line.split()[1]}" for line in mounts if line.split()[1].startswith(str(layout.root))]
    remains += [f"link {HOST_LINK}"] if network.is_connected() else []
    remains += [f"folder {layout.root}"] if layout.root.exists() else []
    return remains
