"""The one interface behind which the two providers stand, and the choice between them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from somabrain_local import shell
from somabrain_local.errors import LocalError
from somabrain_local.images.builder import ImageBuilder
from somabrain_local.images.table import DockerfileImage
from somabrain_local.kind import KindCluster
from somabrain_local.native.cluster import NativeCluster
from somabrain_local.native.layout import Layout
from somabrain_local.tools import Toolchain


class Provider(Protocol):
    """A Kubernetes on this machine. Every method may be called again at any point."""

    def up(self, *, with_images: bool, full: bool = False) -> None:
        """Return with a ready cluster, and with the project's images in it if they are asked for.

        Here and below, `full`: also the images of the profile `full` of soma-infra.
        """

    def down(self) -> None:
        """Remove the cluster and everything of it."""

    def images(self, *, full: bool = False) -> None:
        """Build the images that are missing or out of date."""

    def load(self, *, full: bool = False) -> None:
        """Give the cluster those images it does not have yet."""

    def archive(self, image: DockerfileImage, folder: Path) -> Path:
        """Build an image of the checkout unless that is done, and return its archive (OCI image layout).

        It is in `folder` where the provider keeps no archives of its own; it is to be read only.
        """

    def load_archive(self, archive: Path) -> None:
        """Give the cluster the image of an archive, under the name that the archive has for it."""

    def kill(self, container: str) -> None:
        """Send SIGKILL to the first process of a container, by the id that the pod's status shows."""

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig."""

    def node_address(self) -> str:
        """Return the address at which NodePorts answer."""

    def pytest_options(self) -> list[str]:
        """Return the options with which pytest finds the cluster by itself; none where it asks here."""

    def status(self) -> str:
        """Say in one sentence how the cluster is."""


def choose(requested: str | None, toolchain: Toolchain) -> Provider:
    """Return the provider `wanted`, or kind where a Docker engine answers and native where none does.

    Raises:
        LocalError: there is no such provider.
    """
    if requested not in (None, "kind", "native"):
        raise LocalError(f"CLUSTER={requested} is unknown: use kind or native, or leave it out.")
    if requested == "kind" or (requested is None and shell.succeeds(["docker", "info"])):
        return KindCluster(toolchain)
    return NativeCluster(toolchain, ImageBuilder(toolchain), Layout(toolchain.paths.state))
