"""Provider for machines with a Docker engine, based on kind. Untested by its author, who had no Docker engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devcluster import pinned_tools, shell
from devcluster.errors import CommandFailed
from devcluster.images.table import DockerfileImage, project_images
from devcluster.tools import Toolchain

NAME = "somabrain"


@dataclass(frozen=True)
class KindCluster:
    """Cluster of one node container; the node pulls all images except the project's own."""

    toolchain: Toolchain

    def up(self, *, with_images: bool, full: bool = False) -> None:
        """Create the cluster unless it responds; recreate one that does not."""
        self.toolchain.ensure(pinned_tools.KIND_CLUSTER)
        if not self._answers():
            with self.toolchain.progress.step("Create the kind cluster"):
                self._kind("delete", "cluster")
                self.kubeconfig().parent.mkdir(parents=True, exist_ok=True)
                self._kind("create", "cluster", "--image", pinned_tools.KIND_NODE, "--wait", "180s")
        if with_images:
            self.toolchain.ensure(pinned_tools.USER_TOOLS)
            self.images()
            self.load()

    def down(self) -> None:
        """Delete the cluster and its kubeconfig."""
        self.toolchain.ensure(("kind",))
        self._kind("delete", "cluster")
        self.kubeconfig().unlink(missing_ok=True)

    def images(self, *, full: bool = False) -> None:
        """Build the project's images; Docker's build cache skips unchanged layers."""
        for image in project_images(self.toolchain.paths.checkout):
            self._build(image)

    def load(self, *, full: bool = False) -> None:
        """Copy the project's images to the node; kind skips those already present."""
        self.toolchain.ensure(("kind",))
        names = [image.name for image in project_images(self.toolchain.paths.checkout)]
        with self.toolchain.progress.step("Load the images"):
            shell.run([self.toolchain.paths.bin / "kind", "load", "docker-image", "--name", NAME, *names])

    def archive(self, image: DockerfileImage, folder: Path) -> Path:
        """Build an image and write its archive into `folder`."""
        self._build(image)
        path = folder / f"{image.name.rpartition('/')[2].replace(':', '-')}.tar"
        shell.run(["docker", "save", "--output", path, image.name])
        return path

    def load_archive(self, archive: Path) -> None:
        """Copy the image in an archive to the node."""
        self.toolchain.ensure(("kind",))
        shell.run([self.toolchain.paths.bin / "kind", "load", "image-archive", "--name", NAME, archive])

    def kill(self, container: str) -> None:
        """Send SIGKILL to the first process of a container."""
        ctr = ["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container]
        shell.run(["docker", "exec", f"{NAME}-control-plane", *ctr])

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig."""
        return self.toolchain.paths.state.with_name("kind.kubeconfig")

    def node_address(self) -> str:
        """Return the node container's address, reachable from a Linux host."""
        path = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"
        return shell.run([*self._kubectl(), "get", "nodes", "--output", f"jsonpath={path}"]).strip()

    def pytest_options(self) -> list[str]:
        """Return the options of the plugin pytest-kind: use this cluster, keep it, and use the pinned programs."""
        programs = self.toolchain.paths.bin
        options = {
            "kubeconfig": self.kubeconfig(),
            "kind-image": pinned_tools.KIND_NODE,
            "kind-bin": programs / "kind",
            "kind-kubectl-bin": programs / "kubectl",
        }
        return [f"--cluster-name={NAME}", "--keep-cluster", *(f"--{name}={value}" for name, value in options.items())]

    def status(self) -> str:
        """Return the state of the cluster in one sentence."""
        return f"The kind cluster {NAME} {'is running' if self._answers() else 'is not running'}."

    def _build(self, image: DockerfileImage) -> None:
        checkout = self.toolchain.paths.checkout
        with self.toolchain.progress.step(f"Build the image {image.name}"):
            file, version = checkout / image.dockerfile, f"VERSION={image.version}"
            log = self.toolchain.paths.cache / "log" / f"image-{image.dockerfile}.log"
            argv = ["docker", "build", "--file", file, "--build-arg", version, "--tag", image.name, checkout]
            shell.run(argv, log=log)

    def _answers(self) -> bool:
        try:
            return shell.run([*self._kubectl(), "get", "--raw", "/readyz"], timeout_s=10).strip() == "ok"
        except CommandFailed:
            return False

    def _kubectl(self) -> list[object]:
        return [self.toolchain.paths.bin / "kubectl", f"--kubeconfig={self.kubeconfig()}"]

    def _kind(self, *arguments: str) -> None:
        log = self.toolchain.paths.cache / "log" / "kind.log"
        options = ["--name", NAME, "--kubeconfig", self.kubeconfig()]
        shell.run([self.toolchain.paths.bin / "kind", *arguments, *options], log=log)
