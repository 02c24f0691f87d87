"""Provider for machines with a Docker engine, based on kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devcluster import pinned_tools, shell
from devcluster.errors import CommandFailed, LocalError
from devcluster.images.builder import ImageBuilder
from devcluster.images.docker import PULL_TIMEOUT_S, Docker
from devcluster.images.table import DockerfileImage, Image, project_images, workload_images
from devcluster.tools import Toolchain

NAME = "somabrain"
NODE = f"{NAME}-control-plane"
NETWORK = "kind"
"""Docker network of all kind clusters of the engine."""


@dataclass(frozen=True)
class KindCluster:
    """Cluster of one node container, from `node_image`.

    The images of servers are pulled by the node; where that fails, the image builder's are loaded.
    """

    toolchain: Toolchain
    docker: Docker
    image_builder: ImageBuilder
    node_image: str

    def up(self, *, with_images: bool, full: bool = False) -> None:
        """Create the cluster unless it responds; recreate one that does not.

        Raises:
            LocalError: the node image cannot be had, or the node did not become ready.
        """
        self.toolchain.ensure(pinned_tools.KIND_CLUSTER)
        if not self._answers():
            self.ensure_node_image()
            with self.toolchain.progress.step("Create the kind cluster"):
                self._kind("delete", "cluster")
                self._kubeconfig.parent.mkdir(parents=True, exist_ok=True)
                self._kind("create", "cluster", "--image", self.node_image, "--wait", "180s")
        # `kind create --wait` only warns about a node that is not ready.
        shell.run([*self._kubectl(), "wait", "--for=condition=Ready", "node", "--all", "--timeout=180s"])
        if with_images:
            self.toolchain.ensure(pinned_tools.USER_TOOLS)
            self.images()
            self.load(full=full)

    def down(self) -> None:
        """Delete the cluster, its kubeconfig, the project's images in the engine, and the network of kind.

        The network stays while anything else uses it.
        """
        self.toolchain.ensure(("kind",))
        with self.toolchain.progress.step("Remove the kind cluster"):
            self._kind("delete", "cluster")
            self._kubeconfig.unlink(missing_ok=True)
            self._remove_network()
        with self.toolchain.progress.step("Remove the images that were built"):
            self.docker.remove_built(image.name.rpartition(":")[0] for image in self._project_images())

    def images(self, *, full: bool = False) -> None:
        """Build the project's images; those of servers are pulled or built by `load`."""
        for image in self._project_images():
            self.docker.build(image, self.toolchain.paths.checkout)

    def load(self, *, full: bool = False) -> None:
        """Copy the project's images to the node unless it has them, and let it pull those of servers."""
        self.toolchain.ensure(("kind",))
        for image in self._project_images():  # one by one: kind copies all that one command names if it lacks one
            with self.toolchain.progress.step(f"Load {image.name}"):
                self._load("docker-image", image.name)
        for server in workload_images(self.toolchain.paths.checkout, full=full):
            if server not in self._project_images():
                self._ensure_in_node(server)

    def archive(self, image: DockerfileImage, folder: Path) -> Path:
        """Build an image and write its archive (OCI image layout) into `folder`."""
        self.docker.build(image, self.toolchain.paths.checkout)
        path = folder / f"{image.name.rpartition('/')[2].replace(':', '-')}.tar"
        self.docker.save(image.name, path)
        return path

    def load_archive(self, archive: Path) -> None:
        """Copy the image in an archive to the node."""
        self.toolchain.ensure(("kind",))
        self._load("image-archive", archive)

    def kill(self, container: str) -> None:
        """Send SIGKILL to the first process of a container."""
        shell.run(self._in_node("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container))

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig.

        Raises:
            LocalError: there is no cluster.
        """
        if not self._kubeconfig.exists():
            raise LocalError("No kind cluster is running: run `make cluster`.")
        return self._kubeconfig

    def node_address(self) -> str:
        """Return the node container's address, reachable from a Linux host.

        Raises:
            LocalError: there is no cluster, or it does not answer.
        """
        self.kubeconfig()
        path = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"
        try:
            return shell.run([*self._kubectl(), "get", "nodes", "--output", f"jsonpath={path}"]).strip()
        except CommandFailed as error:
            raise LocalError(f"The kind cluster {NAME} does not answer: run `make cluster`. ({error})") from error

    def pytest_options(self) -> list[str]:
        """Return the options of the plugin pytest-kind: use this cluster, keep it, and use the pinned programs."""
        programs = self.toolchain.paths.bin
        options = {
            "kubeconfig": self._kubeconfig,
            "kind-image": self.node_image,
            "kind-bin": programs / "kind",
            "kind-kubectl-bin": programs / "kubectl",
        }
        return [f"--cluster-name={NAME}", "--keep-cluster", *(f"--{name}={value}" for name, value in options.items())]

    def status(self) -> str:
        """Return the state of the cluster in one sentence."""
        return f"The kind cluster {NAME} {'is running' if self._answers() else 'is not running'}."

    def ensure_node_image(self) -> None:
        """Pull the node image unless the engine has it.

        Raises:
            LocalError: it cannot be pulled; the message explains how to name another.
        """
        if not self.docker.has(self.node_image) and not self.docker.pull(self.node_image):
            raise LocalError(
                f"Docker has no node image {self.node_image} and cannot pull it: name one that it has, or that a mirror"
                " serves, in KIND_NODE, or use CLUSTER=native."
            )

    @property
    def _kubeconfig(self) -> Path:
        return self.toolchain.paths.state.with_name("kind.kubeconfig")

    def _project_images(self) -> tuple[DockerfileImage, ...]:
        return project_images(self.toolchain.paths.checkout)

    def _ensure_in_node(self, image: Image) -> None:
        """Give the node a server's image: the one it has, else a pulled one, else one that is built here."""
        if shell.succeeds(self._in_node("crictl", "inspecti", image.name)):
            return
        with self.toolchain.progress.step(f"Try to pull {image.name}"):
            pulled = shell.succeeds(self._in_node("crictl", "pull", image.name), timeout_s=PULL_TIMEOUT_S)
        if not pulled:
            (built,) = self.image_builder.ensure([image])
            with self.toolchain.progress.step(f"Load {image.name}, built here, because it cannot be pulled"):
                self.load_archive(built.path)

    def _remove_network(self) -> None:
        """Remove the network of kind if neither a cluster nor a container uses it."""
        others = shell.run([self.toolchain.paths.bin / "kind", "get", "clusters"]).split()
        containers = ["docker", "network", "inspect", "--format", "{{len .Containers}}", NETWORK]
        listed = shell.run(["docker", "network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$"]).split()
        if listed and not others and shell.run(containers).strip() == "0":
            shell.run(["docker", "network", "rm", NETWORK])

    def _answers(self) -> bool:
        try:
            return shell.run([*self._kubectl(), "get", "--raw", "/readyz"], timeout_s=10).strip() == "ok"
        except CommandFailed:
            return False

    def _in_node(self, *argv: object) -> list[object]:
        return ["docker", "exec", NODE, *argv]

    def _kubectl(self) -> list[object]:
        return [self.toolchain.paths.bin / "kubectl", f"--kubeconfig={self._kubeconfig}"]

    def _load(self, what: str, image: object) -> None:
        shell.run([self.toolchain.paths.bin / "kind", "load", what, "--name", NAME, image])

    def _kind(self, *arguments: str) -> None:
        log = self.toolchain.paths.cache / "log" / "kind.log"
        options = ["--name", NAME, "--kubeconfig", self._kubeconfig]
        shell.run([self.toolchain.paths.bin / "kind", *arguments, *options], log=log)
