"""Image builds by a Docker engine, whose layers stay in the engine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster import debian, shell
from devcluster.environment import LocalPaths, inherited, package_index
from devcluster.errors import CommandFailed, LocalError
from devcluster.images.base import ensure_base
from devcluster.images.buildah import BUNDLE, Buildah, build_arguments
from devcluster.images.docker_archive import convert, is_oci_layout
from devcluster.images.table import BASE, DockerfileImage
from devcluster.progress import Progress

PULL_TIMEOUT_S = 600.0
ENGINE_VERSION = ("docker", "version", "--format", "{{.Server.Version}}")
"""Fails with one line, the reason, where no engine answers."""
BUILD_BASE = "localhost/somabrain-build-base"
"""The base with the host's certificates: for stages of a build, never for what is shipped."""
LABELS = (
    "io.somabrain.build-stage",
    "org.opencontainers.image.title=somabrain-service",
    "org.opencontainers.image.title=somabrain-operator",
)
"""One of them is on every image that a build of the project makes, those of its stages included."""
CERTIFICATES_DOCKERFILE = f"FROM {BASE}\nCOPY {BUNDLE.name} {BUNDLE}\nLABEL {LABELS[0]}=certificates\n"


def build_argv(image: DockerfileImage, checkout: Path, index: Mapping[str, str], *, bundle: bool) -> list[object]:
    """Return the command that builds an image of the project.

    Args:
        image: what to build.
        checkout: root of the repository, the build's context.
        index: package and crate indexes and proxy variables of the host.
        bundle: whether BUILD_BASE, which has the host's certificates, is there for the stages of the build.
    """
    arguments = build_arguments(index, bundle=bundle) | {"VERSION": image.version}
    arguments |= {"BUILD_BASE": BUILD_BASE} if bundle else {}
    passed = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
    return ["docker", "build", "--file", checkout / image.dockerfile, *passed, "--tag", image.name, checkout]


@dataclass(frozen=True, slots=True)
class Docker:
    """The Docker engine that the `docker` program reaches."""

    paths: LocalPaths
    progress: Progress

    def require(self) -> None:
        """Return if the engine answers.

        Raises:
            LocalError: it does not; the message has Docker's reason and the remedy.
        """
        try:
            shell.run(ENGINE_VERSION, timeout_s=10)
        except CommandFailed as error:
            reason = str(error).strip().splitlines()[-1]
            raise LocalError(f"Docker does not answer ({reason}): start it, or use CLUSTER=native.") from error

    def answers(self) -> bool:
        """Return whether the engine answers."""
        return shell.succeeds(ENGINE_VERSION)

    def has(self, name: str) -> bool:
        """Return whether the engine has an image."""
        return shell.succeeds(["docker", "image", "inspect", name])

    def pull(self, name: str) -> bool:
        """Pull an image, and return whether that succeeded."""
        with self.progress.step(f"Try to pull {name}"):
            return shell.succeeds(["docker", "pull", "--quiet", name], timeout_s=PULL_TIMEOUT_S)

    def build(self, image: DockerfileImage, checkout: Path) -> None:
        """Build an image of the project; the build cache skips what is unchanged.

        The build gets the host's package index, proxy and certificates, as the native provider's builds do.
        """
        self._ensure_base()
        if BUNDLE.exists():
            self._add_certificates()
        argv = build_argv(image, checkout, package_index(), bundle=BUNDLE.exists())
        with self.progress.step(f"Build the image {image.name}"):
            self._build(argv, f"image-{image.dockerfile}.log")

    def save(self, name: str, path: Path) -> None:
        """Write an image to `path` as an OCI image layout, with any version of the engine."""
        shell.run(["docker", "save", "--output", path, name])
        if not is_oci_layout(path):  # Docker 24 or older
            draft = path.with_name(f".{path.name}")
            convert(path, draft, name)
            draft.replace(path)

    def remove_built(self, repositories: Iterable[str]) -> None:
        """Remove all tags of the named repositories, and what is left of builds of the project; build caches stay."""
        listing = ("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter")
        for repository in (*repositories, BUILD_BASE):
            for name in shell.run([*listing, f"reference={repository}"]).split():
                if not name.endswith(":<none>"):
                    shell.run(["docker", "image", "rm", name])
        for label in LABELS:
            shell.run(["docker", "image", "prune", "--force", "--filter", f"label={label}"])

    def _ensure_base(self) -> None:
        """Take the base that the engine has, or else pull it, or else make it with debootstrap.

        Raises:
            LocalError: it cannot be pulled, and cannot be made here.
        """
        if self.has(BASE) or self.pull(BASE):
            return
        buildah = Buildah(self.paths)
        buildah.require_root(BASE)
        debian.ensure(debian.IMAGES, self.paths, self.progress)
        ensure_base(buildah, self.progress)
        with self.progress.step(f"Load {BASE} into Docker"), self._folder() as folder:
            buildah.export_for_docker(BASE, Path(folder) / "base.tar")
            shell.run(["docker", "load", "--input", Path(folder) / "base.tar"])

    def _add_certificates(self) -> None:
        """Make the base of the build's stages; a step of the build cache unless the certificates have changed."""
        with self._folder() as folder:
            shutil.copy(BUNDLE, folder)
            (Path(folder) / "Dockerfile").write_text(CERTIFICATES_DOCKERFILE)
            self._build(["docker", "build", "--tag", BUILD_BASE, folder], "image-certificates.log")

    def _build(self, argv: list[object], log: str) -> None:
        # With attestations the image would be an index where the containerd image store is in use.
        env = inherited(BUILDX_NO_DEFAULT_ATTESTATIONS="1")
        shell.run(argv, env=env, log=self.paths.cache / "log" / log)

    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        self.paths.cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self.paths.cache, prefix="draft-docker-")
