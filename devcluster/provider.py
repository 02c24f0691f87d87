"""Common interface of the two providers, and the choice between them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from devcluster import pinned_tools
from devcluster.environment import requested_node_image
from devcluster.errors import LocalError
from devcluster.images.builder import ImageBuilder
from devcluster.images.docker import Docker
from devcluster.images.table import DockerfileImage
from devcluster.kind import KindCluster
from devcluster.native.cluster import NativeCluster
from devcluster.native.layout import Layout
from devcluster.tools import Toolchain


class Provider(Protocol):
    """Kubernetes cluster on this machine. All methods are idempotent."""

    def up(self, *, with_images: bool, full: bool = False) -> None:
        """Ensure a ready cluster; if `with_images`, with the project's images loaded.

        `full`, in all methods: include the images of the profile `full` of soma-infra.
        """

    def down(self) -> None:
        """Remove the cluster and all its resources."""

    def images(self, *, full: bool = False) -> None:
        """Build missing and outdated images."""

    def load(self, *, full: bool = False) -> None:
        """Load missing images into the cluster."""

    def archive(self, image: DockerfileImage, folder: Path) -> Path:
        """Build an image of the checkout if needed, and return its archive (OCI image layout).

        The archive is in `folder` if the provider has no archive cache of its own; treat it as read-only.
        """

    def load_archive(self, archive: Path) -> None:
        """Load the image of an archive into the cluster, under the name recorded in the archive."""

    def kill(self, container: str) -> None:
        """Send SIGKILL to the first process of a container, given by its id in the pod's status."""

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig; without a cluster, raise LocalError."""

    def node_address(self) -> str:
        """Return the address of NodePorts."""

    def pytest_options(self) -> list[str]:
        """Return the options by which a pytest plugin finds the cluster; empty if the tests use this interface."""

    def status(self) -> str:
        """Return the state of the cluster in one sentence."""


def choose(requested: str | None, toolchain: Toolchain) -> Provider:
    """Return the provider `requested`; if None, kind if a Docker engine responds and native otherwise.

    Raises:
        LocalError: `requested` is not a provider, or is kind where no Docker engine responds.
    """
    if requested not in (None, "kind", "native"):
        raise LocalError(f"CLUSTER={requested} is unknown: use kind or native, or leave it out.")
    docker = Docker(toolchain.paths, toolchain.progress)
    if requested == "kind":
        docker.require()
    if requested == "kind" or (requested is None and docker.answers()):
        node_image = requested_node_image() or pinned_tools.KIND_NODE
        return KindCluster(toolchain, docker, ImageBuilder(toolchain), node_image)
    return NativeCluster(toolchain, ImageBuilder(toolchain), Layout(toolchain.paths.state))
