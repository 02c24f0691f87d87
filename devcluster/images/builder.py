"""Build of image archives, each only if its inputs have changed."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devcluster import debian, pinned_tools, shell
from devcluster.images.archive import Archive, write_single_binary
from devcluster.images.base import ensure_base
from devcluster.images.buildah import Buildah
from devcluster.images.inputs import copied_paths, fingerprint
from devcluster.images.table import BinaryImage, DockerfileImage, Image
from devcluster.tools import Toolchain

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class ImageBuilder:
    """Caches one archive per image."""

    toolchain: Toolchain

    def ensure(self, images: Iterable[Image]) -> list[Archive]:
        """Return the archives of `images`, building missing and outdated ones first."""
        return [self._archive(image) for image in images]

    def _archive(self, image: Image) -> Archive:
        slug = image.name.rpartition("/")[2].replace(":", "-")
        folder = self.toolchain.paths.cache / "images"
        folder.mkdir(parents=True, exist_ok=True)
        with shell.locked(self.toolchain.paths.cache / "locks" / f"image-{slug}"):
            path = folder / f"{slug}@{self._fingerprint(image)}.tar"
            if not path.exists():
                draft = folder / f".{path.name}"
                draft.unlink(missing_ok=True)
                self._make(image, draft)
                for outdated in folder.glob(f"{slug}@*.tar"):
                    outdated.unlink()
                draft.rename(path)
        return Archive.read(image.name, path)

    def _fingerprint(self, image: Image) -> str:
        paths = self.toolchain.paths
        if isinstance(image, BinaryImage):
            writer_source = Path(__file__).with_name("archive.py").read_text()
            return fingerprint(paths.checkout, [], self.toolchain.name(pinned_tools.find(image.tool)), writer_source)
        dockerfile = (paths.checkout / image.dockerfile).read_text()
        if image.context:
            input_names = [self.toolchain.name(pinned_tools.find(tool)) for tool in (image.context, *_java(image))]
            return fingerprint(paths.checkout, [], dockerfile, *input_names)
        return fingerprint(paths.checkout, copied_paths(dockerfile), dockerfile, image.version)

    def _make(self, image: Image, draft: Path) -> None:
        paths, progress = self.toolchain.paths, self.toolchain.progress
        if isinstance(image, BinaryImage):
            binary = self.toolchain.folder(pinned_tools.find(image.tool)) / image.tool
            machine = platform.machine()
            write_single_binary(draft, image.name, binary, ARCHITECTURES.get(machine, machine))
            return
        buildah = Buildah(paths)
        buildah.require_root(image.name)
        debian.ensure(debian.IMAGES, paths, progress)
        ensure_base(buildah, progress)
        context = self.toolchain.folder(pinned_tools.find(image.context)) if image.context else paths.checkout
        with progress.step(f"Build the image {image.name}"):
            more = {name: self.toolchain.folder(pinned_tools.find(name)) for name in _java(image)}
            buildah.build(image.name, paths.checkout / image.dockerfile, context, image.version, more)
            buildah.export(image.name, draft)


def _java(image: DockerfileImage) -> tuple[str, ...]:
    return (pinned_tools.JAVA.name,) if image.java else ()
